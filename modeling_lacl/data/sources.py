"""Open a labelled source, whatever its format: detected by content, its sentences read lazily."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset

from .columns import read_columns
from .examples import (
    DOCUMENT_COLUMNS,
    SPAN_COLUMNS,
    TAG_COLUMNS,
    TOKEN_COLUMNS,
    LaclDataError,
    Origin,
    Sentence,
)
from .formats.brat import read_brat
from .formats.conllu import is_conllu, read_conllu
from .formats.json_tools import TOOL_COLUMNS
from .formats.registry import FORMATS as WRITTEN
from .formats.spacy_docs import read_docbin
from .formats.tables import is_csv, load_folder, load_parquet, read_csv, read_rows, rows_of_words
from .jsonl import is_json_array, is_jsonl, is_pair_line, read_json, read_jsonl
from .lines import open_bytes, read_lines, read_once
from .records import read_records

FORMATS = ("columns", "jsonl", "json", "csv", "conllu", "brat", "spacy", "parquet", "dataset")
"""Values of `format`: how a file is read. Forms of JSON examples are told apart by their keys."""

_OF_WRITERS = {"conll": "columns", **{name: None for name in WRITTEN if name not in (*FORMATS, "conll")}}
"""The other names of `lacl convert --to`, and how these are read; those of tools are told by their keys."""

TITLES = {
    "columns": "columns of words and tags",
    "conllu": "CoNLL-U",
    "brat": "brat",
    "spacy": "spaCy's DocBin",
}
_SAMPLE_LINES = 2000
_BINARY = {b"PAR1": "parquet", b"x\x9c": "spacy"}


@dataclass
class Source:
    """A labelled source that is being read.

    Attributes:
        sentences: Its sentences.
        origin: Its name, for messages.
        declared: Tags of its ClassLabel, in their order.
        forms: Number of examples by the name of their format, as far as they are read.
    """

    sentences: Iterator[Sentence]
    origin: Origin
    declared: Sequence[str] = ()
    forms: Counter[str] = field(default_factory=Counter)

    @property
    def format(self) -> str:
        """Names of the formats that were found."""
        return ", ".join(self.forms) or "no example"


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source; see `read_dataset`.

    Attributes:
        format: One of `FORMATS`, or None.
        token_column, tag_column: Number or key of a column, or None.
        id2label: Names of tags that are numbers.
        encoding: Encoding of files.
        stacked: Whether several columns of tags are read together.
    """

    format: str | None = None
    token_column: int | str | None = None
    tag_column: int | str | None = None
    id2label: Mapping[int, str] | None = None
    encoding: str = "utf-8"
    stacked: bool = False

    def keys(self) -> tuple[str | None, str | None]:
        """Return the columns as keys of examples."""
        return (
            None if self.token_column is None else str(self.token_column),
            None if self.tag_column is None else str(self.tag_column),
        )


@contextmanager
def open_source(source: str | Path | Dataset | Iterable[Any], options: ReadOptions) -> Iterator[Source]:
    """Open a path, a Dataset or examples; the sentences are to be read inside of the context.

    Raises:
        LaclDataError: There is no such format, or the data cannot be read.
        FileNotFoundError: There is no such file.
        ValueError: An option does not fit the source.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        with read_once(path):
            yield _of_path(path, str(source), options)
        return
    if options.format is not None:
        raise ValueError("format is for files; leave it out for a Dataset or a list of examples")
    for argument, column in (("token_column", options.token_column), ("tag_column", options.tag_column)):
        if column is not None and not isinstance(column, str):
            raise ValueError(f"{argument} must be a column's name for a Dataset or examples, got {column!r}")
    if isinstance(source, Dataset):
        yield _of_dataset(source, Origin("dataset", has_lines=False), options)
        return
    opened = Source(iter(()), Origin("examples", has_lines=False))
    opened.sentences = read_records(
        enumerate(source), opened.origin, *options.keys(), options.id2label, opened.forms
    )
    yield opened


def _of_path(path: Path, name: str, options: ReadOptions) -> Source:
    format = format_of(path, options.format, options.encoding)
    places: list[str] = []
    has_lines = format not in ("json", "spacy", "parquet", "dataset")
    opened = Source(iter(()), Origin(name, has_lines, places if format == "brat" else None))
    if format in ("parquet", "dataset"):
        dataset = load_parquet(path) if format == "parquet" else load_folder(path)
        return _of_dataset(dataset, opened.origin, options)
    columns = (options.token_column, options.tag_column)
    keys = (*columns, options.id2label, opened.forms)
    readers: dict[str, tuple[Any, ...]] = {
        "columns": (read_columns, path, options.encoding, *columns, options.stacked),
        "jsonl": (read_jsonl, path, options.encoding, *keys),
        "json": (read_json, path, options.encoding, *keys),
        "csv": (read_csv, path, options.encoding, *keys),
        "conllu": (read_conllu, path, options.encoding),
        "brat": (read_brat, path, options.encoding, places),
        "spacy": (read_docbin, path),
    }
    read, *arguments = readers[format]
    opened.sentences = read(*arguments)
    if format in TITLES:
        opened.forms[TITLES[format]] += 1
    return opened


def format_of(path: Path, format: str | None, encoding: str) -> str:
    """Return the format of a file or folder: the one given, or the one detected.

    Args:
        path: The file or folder.
        format: One of `FORMATS`, or a name of `lacl convert --to`, or None.
        encoding: Encoding of the file.

    Raises:
        LaclDataError: It is a folder of another kind.
        FileNotFoundError: There is no such file.
        ValueError: The format is unknown.
    """
    format = _OF_WRITERS.get(format, format) if format is not None else None
    if format is not None and format not in FORMATS:
        raise ValueError(f"the format must be one of {', '.join(FORMATS)}, got {format!r}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        found = "brat" if any(path.glob("*.ann")) else None
        if any((path / one).exists() for one in ("state.json", "dataset_info.json", "dataset_dict.json")):
            found = "dataset"
        if found is None or (format or found) != found:
            raise LaclDataError(
                f"{path}: is a folder, neither with brat's .ann files nor of a saved Dataset; name one of "
                "the files in it"
            )
        return found
    if format is not None:
        return format
    suffix = path.suffix.lower()
    with open_bytes(path) as file:
        head = file.read(4)
    binary = next((found for start, found in _BINARY.items() if head.startswith(start)), None)
    if binary:
        return binary
    if suffix == ".ann" or (suffix == ".txt" and path.with_suffix(".ann").is_file()):
        return "brat"
    lines = [
        line for _, line in islice(read_lines(path, encoding, tell=False), _SAMPLE_LINES) if line.strip()
    ]
    return _format_of_lines(lines, suffix)


def _format_of_lines(lines: Sequence[str], suffix: str) -> str:
    """Return the format of a text file, from its first lines that are not blank."""
    first = lines[0].lstrip() if lines else ""
    # An array, or one object over several lines.
    if (is_json_array(first, suffix) and not is_pair_line(first)) or first.strip() == "{":
        return "json"
    if suffix in (".jsonl", ".ndjson", ".json") or is_jsonl(first) or is_pair_line(first):
        return "jsonl"
    if is_conllu(lines):
        return "conllu"
    if (suffix == ".csv" and "\t" not in first) or is_csv(lines[:20]):
        return "csv"
    return "columns"


def _of_dataset(dataset: Dataset, origin: Origin, options: ReadOptions) -> Source:
    token_key, tag_key = options.keys()
    wanted = {token_key, tag_key, "id", "text", *TOKEN_COLUMNS, *TAG_COLUMNS, *SPAN_COLUMNS}
    wanted |= {*DOCUMENT_COLUMNS, *TOOL_COLUMNS}
    opened = Source(iter(()), origin)
    table = rows_of_words(dataset) if {token_key, tag_key} == {None} else None
    if table is not None:
        opened.sentences = read_rows(*table, origin, None, None, options.id2label, opened.forms)
        return opened
    names = [
        name
        for name in dataset.column_names
        if name in wanted or name.endswith((".responses", ".responses.status", ".suggestion"))
    ]
    dataset = dataset.with_format(None).select_columns(names)
    tags = tag_key or next((name for name in TAG_COLUMNS if name in dataset.column_names), None)
    feature = getattr(dataset.features.get(tags), "feature", None) if tags else None
    id2label = options.id2label
    if isinstance(feature, ClassLabel) and id2label is None:
        opened.declared = feature.names
        id2label = dict(enumerate(opened.declared))
    opened.sentences = read_records(enumerate(dataset), origin, token_key, tag_key, id2label, opened.forms)
    return opened
