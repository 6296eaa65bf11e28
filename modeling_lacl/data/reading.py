"""`read_dataset`: any labelled source as a `datasets.Dataset`, with BIO tags or with nested entities."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from .building import build
from .examples import Sentence
from .formats.labelled_text import LabelledText
from .sources import ReadOptions, open_source
from .spans import Nested, checked_nested
from .tag_schemes import split_tag
from .tags import entity_spans, is_bio_dataset, is_span_dataset

logger = logging.getLogger(__name__)


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
        source: Path of a file in a format of docs/formats.md (columns as of CoNLL and FEW-NERD, JSON, CSV,
            brat, spaCy, …), or of a folder of brat's or of a saved Dataset; a `datasets.Dataset`; or examples
            ``{"tokens": […], "ner_tags": […]}``, ``{"text": "…", "entities": [{"start", "end", "label"}]}``
            with character positions, or ``{"tokens": […], "entities": […]}`` with those of words; ends are
            exclusive. The key `entity_group` of predictions is accepted for `label`. Examples of Prodigy,
            doccano, Label Studio, Argilla, GLiNER and spaCy are read as well; those that were rejected,
            skipped or not annotated are left out, with a warning.
        format: "columns", "jsonl", "json" (an array), "csv", "conllu", "brat", "spacy", "parquet" or
            "dataset"; None detects it by content.
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
    check_source(source, "source")
    labels = None if labels is None else _as_types(labels)
    options = ReadOptions(
        format, token_column, tag_column, _as_mapping(id2label), encoding, stacked=nested != "error"
    )
    is_read = is_span_dataset if nested == "keep" else is_bio_dataset
    as_it_is = labels is None and scheme is None and options == ReadOptions(stacked=options.stacked)
    if isinstance(source, Dataset) and as_it_is and is_read(source):
        return source.with_format(None)
    with open_source(source, options) as opened:
        dataset = build(opened.sentences, opened.origin, labels, scheme, opened.declared, nested)
    if logger.isEnabledFor(logging.INFO):
        numbers = (len(dataset), sum(map(len, entity_spans(dataset))))
        logger.info("%s: %s, %d sentences, %d entities", opened.origin.name, opened.format, *numbers)
    return dataset


def read_texts(
    source: str | Path | Dataset | Iterable[Mapping[str, Any]],
    *,
    format: str | None = None,
    token_column: int | str | None = None,
    tag_column: int | str | None = None,
    scheme: str | None = None,
    encoding: str = "utf-8",
    nested: Nested = "keep",
) -> tuple[list[LabelledText], str]:
    """Read labelled sentences with the texts that they are from, to write them in another format.

    Args:
        source, format, token_column, tag_column, scheme, encoding, nested: As for `read_dataset`.

    Returns:
        The texts, and the name of their format.

    Raises:
        LaclDataError, FileNotFoundError, TypeError: As `read_dataset`.
    """
    check_source(source, "source")
    options = ReadOptions(format, token_column, tag_column, None, encoding, stacked=nested != "error")
    sentences: list[Sentence] = []

    def keep(read: Iterable[Sentence]) -> Iterable[Sentence]:
        for sentence in read:
            # Its labels are in the dataset.
            sentences.append(replace(sentence, tags=(), more_tags=(), entities=(), numbers=0))
            yield sentence

    with open_source(source, options) as opened:
        dataset = build(keep(opened.sentences), opened.origin, None, scheme, opened.declared, nested)
    columns = (sentences, entity_spans(dataset), dataset["id"][:], dataset["document_id"][:])
    texts = [LabelledText.of_sentence(*one) for one in zip(*columns, strict=True)]
    return texts, opened.format


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
