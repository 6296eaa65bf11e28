"""Tables: CSV, Parquet, and folders of a `datasets.Dataset`; a row for each sentence, or for each word."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from datasets import Dataset, DatasetDict, Value, load_from_disk
from datasets.table import InMemoryTable

from ...files import new_folder, write_atomically
from ..column_kinds import likely_tag_columns, likely_token_column
from ..examples import (
    DOCUMENT_COLUMNS,
    SPAN_COLUMNS,
    TAG_COLUMNS,
    TOKEN_COLUMNS,
    LaclDataError,
    Origin,
    Sentence,
)
from ..lines import read_bytes, read_lines
from ..records import read_records
from ..tag_schemes import may_be_tag
from ..tags import span_features
from .labelled_text import LabelledText

# Names of columns that have a word or a tag in each row, in lower case.
_WORD_NAMES = ("word", "words", "token", "tokens", "form")
_TAG_NAMES = ("tag", "tags", "ner_tag", "ner_tags", "ner", "label", "labels", "entity", "iob", "bio")
_SENTENCE_NAMES = (
    "sentence #",
    "sentence_id",
    "sentence",
    "sent_id",
    "sentence_idx",
    "sentence_number",
    "id",
)
_KNOWN = {
    *_WORD_NAMES,
    *_TAG_NAMES,
    *_SENTENCE_NAMES,
    *SPAN_COLUMNS,
    *TAG_COLUMNS,
    *DOCUMENT_COLUMNS,
    "text",
} - {"o"}
# What NumPy writes: Python would read it as one string.
_NO_COMMA = re.compile(r"""['"]\s+['"]""")

Rows = Sequence[tuple[int, Sequence[str]]]
"""Rows with the line that each begins in."""


def separator(lines: Sequence[str]) -> str | None:
    """Return what separates the columns of a file's first lines, a comma or a semicolon, or None."""
    for sign in (",", ";"):
        try:  # with the csv module, since separators inside quotes do not count
            rows = [row for row in csv.reader((line + "\n" for line in lines), delimiter=sign) if row]
        except csv.Error:
            continue
        widths = {len(row) for row in rows[:-1] or rows}  # the last may go on behind the lines given
        if len(widths) == 1 and max(widths) > 1:
            return sign
    return None


def is_csv(lines: Sequence[str]) -> bool:
    """Return whether first lines are CSV: separators and no blanks, or columns of known names."""
    sign = separator(lines)
    if sign is None or any("\t" in line for line in lines):
        return False
    header = [name.strip('" ').lower() for name in lines[0].split(sign)]
    return all(len(line.split()) == 1 for line in lines) or len(_KNOWN.intersection(header)) > 1


def read_csv(
    path: Path,
    encoding: str = "utf-8",
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    id2label: Mapping[int, str] | None = None,
    forms: Counter[str] | None = None,
) -> Iterator[Sentence]:
    """Read the sentences of a CSV file: a row for each sentence, or for each word.

    A row for each sentence has named columns, as an example has keys; lists stand in them as JSON or as
    Python writes them, tags also with spaces between them. Rows of words have a column that tells the
    sentence (filled in each row, or in the first), or empty rows between sentences; their columns need no
    names.

    Args:
        path: The file.
        encoding: Its encoding.
        token_column, tag_column: Name or number of a column; detected if None.
        id2label, forms: As for `read_records`.

    Yields:
        The sentences.

    Raises:
        LaclDataError: There are no such columns, or a row is invalid; the message gives file and line.
    """
    # With their endings: offsets count those inside of a cell.
    lines = [line for _, line in read_lines(path, encoding, ends=True)]
    sign = separator([line.rstrip("\r\n") for line in lines if line.strip()][:20])
    if sign is None:
        raise LaclDataError(
            f"{path}: no separator is the same in all lines; put commas, semicolons or tabs between the "
            "columns, and a cell with one into double quotes"
        )
    reader = csv.reader(lines, delimiter=sign)
    rows: list[tuple[int, list[str]]] = []
    number = 1
    try:
        for row in reader:
            rows.append((number, row))
            number = reader.line_num + 1
    except csv.Error as error:
        raise LaclDataError(f"{path}:{number}: {error}; put the cell into double quotes") from error
    header = [name.strip() for name in rows[0][1]]
    if (
        isinstance(token_column, str)
        or isinstance(tag_column, str)
        or _KNOWN.intersection(map(str.lower, header))
    ):
        names, rows = header, rows[1:]
    else:
        names = [str(index) for index in range(len(header))]
    for number, row in rows:
        if len(row) not in (0, len(names)):
            raise LaclDataError(
                f"{path}:{number}: {len(row)} columns where the first row has {len(names)}; put a cell that "
                f"has {sign!r} into double quotes"
            )
    origin = Origin(str(path))
    token, tag = (
        _named(column, argument, names, origin)
        for column, argument in ((token_column, "token_column"), (tag_column, "tag_column"))
    )
    yield from read_rows(rows, names, origin, token, tag, id2label, forms)


def _named(column: int | str | None, argument: str, names: Sequence[str], origin: Origin) -> str | None:
    if isinstance(column, int) and -len(names) <= column < len(names):
        return names[column]
    if column is not None and column not in names:
        raise LaclDataError(f"{origin.name}: {argument} is {column!r}; the columns are {', '.join(names)}")
    return None if column is None else str(column)


def read_rows(
    rows: Rows,
    names: Sequence[str],
    origin: Origin,
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
    forms: Counter[str] | None = None,
) -> Iterator[Sentence]:
    """Read the sentences of rows of strings; see `read_csv`."""
    filled = [(number, row) for number, row in rows if any(map(str.strip, row))]
    records = [(number, _record(names, row, origin.at(number))) for number, row in filled]
    first = [record for _, record in records[:20]]
    texts = _texts_with_tags(first)
    if texts is None and not any(_has_lists(first, name) for name in names):
        yield from _sentences_of_words(rows, names, origin, token_column, tag_column, forms)
        return
    if texts is not None:
        records = [(number, _with_words(record, *texts)) for number, record in records]
    yield from read_records(records, origin, token_column, tag_column, id2label, forms)


def _record(names: Sequence[str], row: Sequence[str], place: str) -> dict[str, Any]:
    """Return the cells of a row that are not empty by their column; lists are read."""
    return {name: _value(cell, place) for name, cell in zip(names, row, strict=True) if cell}


def _has_lists(records: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Return whether a column has lists; a word such as "[1]" can look like one, too."""
    cells = [record[name] for record in records if name in record]
    return 2 * sum(isinstance(cell, list | dict) for cell in cells) > len(cells)


def _texts_with_tags(records: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return the columns of texts and of their tags, if a row has a tag for each of several words."""
    for record in records:
        text, tags = (
            next((key for key in keys if isinstance(record.get(key), str)), None)
            for keys in (("text", "sentence", *TOKEN_COLUMNS), (*TAG_COLUMNS, "label", "ner"))
        )
        if text and tags:
            words, given = record[text].split(), record[tags].split()
            if len(words) == len(given) > 1 and all(map(may_be_tag, given)):
                return text, tags
    return None


def _with_words(record: Mapping[str, Any], text: str, tags: str) -> dict[str, Any]:
    """Return an example with the words of its text and their tags as lists."""
    kept = {key: value for key, value in record.items() if key not in (text, tags)}
    words, given = (str(record.get(key, "")).split() for key in (text, tags))
    return {**kept, "tokens": words, "ner_tags": given}


def _value(cell: str, place: str) -> Any:
    """Return the list or mapping that a cell is, as JSON or as Python writes it; else the cell."""
    if cell[:1] + cell[-1:] not in ("[]", "{}"):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        found = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return cell
    if _NO_COMMA.search(cell):
        raise LaclDataError(
            f"{place}: {cell[:40]!r} has no commas, as NumPy writes a list; write lists as JSON, or save the "
            "table as Parquet"
        )
    return found


def _sentences_of_words(
    rows: Rows,
    names: Sequence[str],
    origin: Origin,
    token_column: str | None,
    tag_column: str | None,
    forms: Counter[str] | None,
) -> Iterator[Sentence]:
    """Read the sentences of rows that have a word each."""
    filled = [row for _, row in rows if any(map(str.strip, row))]
    lower = [name.lower() for name in names]
    if tag_column is None and (name := _first(_TAG_NAMES, lower)) is None:
        tag, _ = likely_tag_columns(filled[:2000], len(names), origin.name)
    else:
        tag = names.index(tag_column) if tag_column is not None else lower.index(str(name))
    word_name = _first(_WORD_NAMES, [*lower[:tag], "", *lower[tag + 1 :]])
    others = [column for column in range(len(names)) if column != tag]
    if token_column is not None:
        word = names.index(token_column)
    elif word_name is not None:
        word = lower.index(word_name)
    else:
        word = likely_token_column([filled[:2000]], others, origin.name)
    sentence_name = _first(
        _SENTENCE_NAMES, [name for column, name in enumerate(lower) if column in others and column != word]
    )
    key = None if sentence_name is None else lower.index(sentence_name)
    if forms is not None:
        forms["a word and its tag in each row"] += 1
    tokens: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    current = ""
    for number, row in rows:
        new = key is not None and bool(row) and row[key].strip() not in ("", current)
        if tokens and (new or not any(map(str.strip, row))):
            yield Sentence(tokens, tags, numbers)
            tokens, tags, numbers = [], [], []
        if not any(map(str.strip, row)):
            continue
        if new and key is not None:
            current = row[key].strip()
        if not row[word].strip() or not row[tag].strip():
            missing = names[word] if not row[word].strip() else names[tag]
            raise LaclDataError(
                f"{origin.at(number)}: the column {missing!r} is empty; fill it in or remove the row"
            )
        tokens.append(row[word].strip())
        tags.append(row[tag].strip())
        numbers.append(number)
    if tokens:
        yield Sentence(tokens, tags, numbers)


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def rows_of_words(dataset: Dataset) -> tuple[Rows, list[str]] | None:
    """Return the rows and column names of a table of strings and numbers; None if it has lists."""
    if any(not isinstance(feature, Value) for feature in dataset.features.values()):
        return None
    names = list(dataset.column_names)
    rows = [
        (number, ["" if row[name] is None else str(row[name]) for name in names])
        for number, row in enumerate(dataset)
    ]
    return rows, names


def load_parquet(path: Path) -> Dataset:
    """Return a Parquet file as a Dataset, with the features that it was written with.

    Raises:
        LaclDataError: It is no such file.
    """
    try:
        return Dataset(InMemoryTable(pq.read_table(io.BytesIO(read_bytes(path)))))
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise LaclDataError(f"{path}: cannot be read as Parquet ({error})") from error


def load_folder(path: Path) -> Dataset:
    """Return the Dataset that `save_to_disk` wrote to a folder.

    Raises:
        LaclDataError: The folder has several splits, or is no Dataset.
    """
    try:
        found = load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise LaclDataError(f"{path}: cannot be read as a Dataset ({error})") from error
    if isinstance(found, DatasetDict):
        raise LaclDataError(
            f"{path}: has several splits; name the folder of one: {', '.join(map(str, found))}"
        )
    return found


def as_dataset(texts: Sequence[LabelledText]) -> Dataset:
    """Return texts as the Dataset of `read_dataset(…, nested="keep")`."""
    return Dataset.from_dict(
        {
            "id": [one.id for one in texts],
            "document_id": [one.document_id for one in texts],
            "tokens": [one.tokens for one in texts],
            "entities": [
                [{"start": first, "end": stop, "label": name} for first, stop, name in one.entities]
                for one in texts
            ],
        },
        features=span_features(),
    )


def write_parquet(texts: Sequence[LabelledText], path: Path) -> None:
    """Write words and entities in word positions as Parquet."""
    table = io.BytesIO()
    as_dataset(texts).to_parquet(table)
    write_atomically(path, table.getvalue())


def write_folder(texts: Sequence[LabelledText], path: Path) -> None:
    """Write words and entities in word positions as a Dataset, as `save_to_disk` does, to a new folder."""
    with new_folder(path) as folder:
        as_dataset(texts).save_to_disk(str(folder))


def write_csv(texts: Sequence[LabelledText], path: Path) -> None:
    """Write a row for each text, its words and its entities in word positions as JSON."""
    names = ("id", *DOCUMENT_COLUMNS[:1], *TOKEN_COLUMNS[:1], *SPAN_COLUMNS[:1])
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(names)
    for row in as_dataset(texts):
        writer.writerow(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in (row[name] for name in names)
        )
    write_atomically(path, table.getvalue())
