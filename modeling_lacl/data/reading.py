"""`read_dataset`: any labelled source as a `datasets.Dataset`, with BIO tags or with nested entities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict

from .building import build
from .columns import looks_like_csv, read_columns
from .examples import (
    DOCUMENT_COLUMNS,
    SPAN_COLUMNS,
    TAG_COLUMNS,
    TOKEN_COLUMNS,
    LaclDataError,
    Origin,
)
from .jsonl import is_json_array, is_jsonl, read_json, read_jsonl
from .lines import read_lines, read_once
from .records import OTHER_COLUMNS, read_records
from .spans import Nested, checked_nested
from .tag_schemes import split_tag
from .tags import is_bio_dataset, is_span_dataset

FORMATS = ("columns", "jsonl", "json")


def read_dataset(
    source: str | Path | Dataset | Iterable[Mapping[str, Any]],
    *,
    format: str | None = None,
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    labels: Sequence[str] | None = None,
    scheme: str | None = None,
    id2label: Mapping[int, str] | Sequence[str] | None = None,
    encoding: str = "utf-8",
    nested: Nested = "error",
) -> Dataset:
    """Read labelled sentences from a file, a Dataset or a list of examples.

    Args:
        source: Path of a column file (CoNLL, FEW-NERD), of JSON Lines or of a JSON array; a
            `datasets.Dataset`; or examples ``{"tokens": […], "ner_tags": […]}``, ``{"text": "…", "entities":
            [{"start", "end", "label"}]}`` with character positions, or ``{"tokens": […], "entities": […]}``
            with those of words; ends are exclusive. The key `entity_group` of predictions is accepted for
            `label`, and examples of Prodigy, doccano, Label Studio (JSON-MIN), GLiNER and spaCy's pairs are
            read as well; those with the `answer` "reject" or "ignore" are left out, with a warning.
        format: "columns", "jsonl" or "json" (an array); None detects it from the suffix and the first line.
        token_column, tag_column: For column files the number of the column from 0 (negative from the right),
            else the key; None detects them.
        labels: Entity types allowed, in the order of the dataset's classes; None takes those in the source,
            in order of first appearance (or in the order of its ClassLabel).
        scheme: "IO", "IOB1", "BIO", "BIOES" or "BILOU"; None detects it.
        id2label: Names of tags that are given as numbers without a ClassLabel.
        encoding: Encoding of the file. Invalid bytes become U+FFFD and are logged as a warning.
        nested: What becomes of entities that share a word: nested or overlapping ones, and several types of
            one span. "error" raises; "outermost" keeps the longest of them and "innermost" the shortest, and
            logs how many are left out; "keep" keeps all. Files can have them as spans, as further columns of
            tags (GermEval), or as tags joined by ``|`` or ``#``.

    Returns:
        An in-memory Dataset with `id` (str), `document_id` (str), `tokens` (list of str) and `ner_tags` (list
        of ClassLabel with the names O, B-x, I-x, B-y, …). With `nested="keep"`, `entities` is in the place of
        `ner_tags`: a sorted list of {"start": int, "end": int, "label": str} in positions of words.

    Raises:
        LaclDataError: The data cannot be read; the message gives the place (``file:line``) and the remedy.
        FileNotFoundError: There is no such file.
        TypeError: `source` is none of these.

    Example:
        >>> from modeling_lacl import read_dataset
        >>> spans = [{"start": 0, "end": 8, "label": "person"}]
        >>> dataset = read_dataset([{"text": "Ana Ruiz left.", "entities": spans}])
        >>> dataset["tokens"][0], dataset["ner_tags"][0]
        (['Ana', 'Ruiz', 'left', '.'], [1, 2, 0, 0])
        >>> spans = [{"start": 0, "end": 3, "label": "university"}, {"start": 2, "end": 3, "label": "city"}]
        >>> examples = [{"tokens": ["University", "of", "Oslo"], "entities": spans}]
        >>> read_dataset(examples, nested="keep")["entities"][0] == spans
        True
        >>> read_dataset(examples, nested="outermost")["ner_tags"][0]
        [1, 2, 2]
    """
    checked_nested(nested)
    names = _as_mapping(id2label)
    labels = None if labels is None else _as_types(labels)
    check_source(source, "source")
    if isinstance(source, str | Path):
        path = Path(source)
        with read_once(path):
            format = _format_of(path, format, encoding)
            origin = Origin(str(source), has_lines=format != "json")
            read: Any = {"columns": read_columns, "jsonl": read_jsonl, "json": read_json}[format]
            given = (nested != "error",) if format == "columns" else (names,)
            sentences = read(path, encoding, token_column, tag_column, *given)
            return build(sentences, origin, labels, scheme, nested=nested)
    else:
        if format is not None:
            raise ValueError("format is for files; leave it out for a Dataset or a list of examples")
        for argument, column in (("token_column", token_column), ("tag_column", tag_column)):
            if column is not None and not isinstance(column, str):
                raise ValueError(
                    f"{argument} must be a column's name for a Dataset or examples, got {column!r}"
                )
        keys = (
            None if token_column is None else str(token_column),
            None if tag_column is None else str(tag_column),
        )
        if isinstance(source, Dataset):
            is_read = is_span_dataset if nested == "keep" else is_bio_dataset
            if (labels, scheme, names, *keys) == (None,) * 5 and is_read(source):
                return source.with_format(None)
            origin = Origin("dataset", has_lines=False)
            return _from_dataset(source, origin, *keys, labels, scheme, names, nested)
        origin = Origin("examples", has_lines=False)
        sentences = read_records(enumerate(source), origin, *keys, names)
    return build(sentences, origin, labels, scheme, nested=nested)


def check_source(source: Any, argument: str) -> None:
    """Check that `source` is of a type that `read_dataset` reads.

    Args:
        source: The value to check.
        argument: Name of the argument in the error message.

    Raises:
        TypeError: It is not.
    """
    if isinstance(source, DatasetDict):
        raise TypeError(f"{argument} is a DatasetDict; pass one of its splits: {', '.join(map(str, source))}")
    if not isinstance(source, Iterable | Path) or isinstance(source, Mapping | bytes | bytearray):
        hint = ""
        if isinstance(source, Mapping):
            hint = (
                "; put an example into a list, as [{…}], and make a Dataset of whole columns, by "
                "Dataset.from_dict"
            )
        raise TypeError(
            f"{argument} must be a path, a datasets.Dataset or a list of examples, got "
            f"{type(source).__name__}{hint}"
        )


def _as_mapping(id2label: Mapping[int, str] | Sequence[str] | None) -> Mapping[int, str] | None:
    if id2label is None or isinstance(id2label, Mapping):
        return id2label
    return dict(enumerate(id2label))


def _as_types(labels: Sequence[str]) -> list[str]:
    """Return entity types; a list that contains "O" consists of tags, whose prefixes are removed."""
    if isinstance(labels, str):
        raise ValueError(f"labels must be a list of entity types, got the string {labels!r}")
    if "O" in labels:
        labels = [split_tag(label)[1] for label in labels if label != "O"]
    return list(dict.fromkeys(labels))


def _format_of(path: Path, format: str | None, encoding: str) -> str:
    """Return the format of a file: the one given, or the one detected from its first line and suffix."""
    if format is not None and format not in FORMATS:
        raise ValueError(f"the format must be one of {', '.join(FORMATS)}, got {format!r}")
    if path.is_dir():
        raise LaclDataError(f"{path}: is a folder; name one of the files in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if format is not None:
        return format
    suffix = path.suffix.lower()
    first = next((line.lstrip() for _, line in read_lines(path, encoding) if line.strip()), "")
    if is_json_array(first, suffix):
        return "json"
    if suffix == ".csv" and "\t" not in first:
        problem = looks_like_csv([first]) or "is called .csv: write tabs in place of the separators"
        raise LaclDataError(f"{path}: {problem}")
    return "jsonl" if suffix in (".jsonl", ".ndjson", ".json") or is_jsonl(first) else "columns"


def _from_dataset(
    dataset: Dataset,
    origin: Origin,
    token_column: str | None,
    tag_column: str | None,
    labels: list[str] | None,
    scheme: str | None,
    id2label: Mapping[int, str] | None,
    nested: str,
) -> Dataset:
    wanted = {
        token_column,
        tag_column,
        "id",
        "text",
        *TOKEN_COLUMNS,
        *TAG_COLUMNS,
        *SPAN_COLUMNS,
        *DOCUMENT_COLUMNS,
        *OTHER_COLUMNS,
    }
    dataset = dataset.with_format(None).select_columns(
        [name for name in dataset.column_names if name in wanted]
    )
    tag_key = tag_column or next((name for name in TAG_COLUMNS if name in dataset.column_names), None)
    feature = getattr(dataset.features.get(tag_key), "feature", None) if tag_key else None
    declared: Sequence[str] = ()
    if isinstance(feature, ClassLabel) and id2label is None:
        declared = feature.names
        id2label = dict(enumerate(declared))
    sentences = read_records(enumerate(dataset), origin, token_column, tag_column, id2label)
    return build(sentences, origin, labels, scheme, declared, nested)
