"""Sentences of any reader, collected into a `datasets.Dataset` with BIO tags."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from datasets import ClassLabel, Dataset, Features, List, Value
from datasets.table import InMemoryTable
from numpy.typing import NDArray

from .errors import LaclDataError
from .schemes import NormalizedTags, bio_tags, normalize, sentence_starts, spelt_like_scheme
from .sentences import Origin, Sentence

logger = logging.getLogger(__name__)

_CHUNK_SENTENCES = 2000


class _TagTable:
    """Distinct tags as ids, and the number of the line or example where each was seen first."""

    def __init__(self, declared: Sequence[str], origin: Origin) -> None:
        self.origin = origin
        self.ids: dict[str, int] = {tag: index for index, tag in enumerate(declared)}
        self.first_numbers: dict[str, int] = {}

    def encode(self, sentence: Sentence) -> list[int]:
        if not self.first_numbers.keys() >= set(sentence.tags):
            for position, tag in enumerate(sentence.tags):
                self.ids.setdefault(tag, len(self.ids))
                self.first_numbers.setdefault(tag, sentence.number(position))
        return [self.ids[tag] for tag in sentence.tags]

    def place(self, tag: str) -> str:
        number = self.first_numbers.get(tag)
        return self.origin.name if number is None else self.origin.at(number)


def build(
    sentences: Iterable[Sentence],
    origin: Origin,
    labels: list[str] | None,
    scheme: str | None,
    declared: Sequence[str] = (),
) -> Dataset:
    """Collect sentences straight into Arrow, whose memory is a small multiple of the file's size."""
    table = _TagTable(declared, origin)
    tag_ids, lengths, first_numbers = array("i"), array("q"), array("q")
    chunks: list[pa.Table] = []
    pending: list[Sentence] = []
    from_spans: bool | None = None
    cut_words = first_cut = 0
    for sentence in sentences:
        if from_spans not in (None, sentence.from_spans):
            raise LaclDataError(
                f"{origin.at(sentence.number(0))}: tags and character spans in one source; read them apart"
            )
        from_spans = sentence.from_spans
        if sentence.cut_words and not cut_words:
            first_cut = sentence.number(0)
        cut_words += sentence.cut_words
        tag_ids.extend(table.encode(sentence))
        first_numbers.append(sentence.number(0))
        lengths.append(len(sentence.tokens))
        pending.append(sentence)
        if len(pending) == _CHUNK_SENTENCES:
            chunks.append(_chunk(pending, len(lengths) - len(pending)))
            pending = []
    if pending:
        chunks.append(_chunk(pending, len(lengths) - len(pending)))
    if not chunks:
        raise LaclDataError(f"{origin.name}: no sentence; give at least one labelled example")

    sizes = np.array(lengths, dtype=np.int64)
    normalized = normalize(
        list(table.ids),
        np.array(tag_ids, dtype=np.int64),
        sentence_starts(sizes),
        "BIO" if from_spans else scheme,
        table.place,
    )
    if normalized.respelt:
        first = normalized.respelt[0]
        logger.warning(
            "%s: the tags have a scheme's prefix in another spelling and were read as it: %r as %r",
            table.place(first),
            first,
            spelt_like_scheme([first], normalized.scheme)[0],
        )
    for tag in normalized.doubtful:
        logger.warning(
            "%s: the tag %r was taken for the name of a type; write %s, or give the scheme IO if it is right",
            table.place(tag),
            tag,
            "a capital O if it means outside" if tag in "o0" else f"{tag[0].upper()}-TYPE if it has a prefix",
        )
    if len(normalized.repaired):
        sentence_index = int(np.searchsorted(np.cumsum(sizes), normalized.repaired[0], side="right"))
        logger.warning(
            "%s: %d %s tags that continue an entity without its begin were read as begins "
            "(the first in the sentence at %s)",
            origin.name,
            len(normalized.repaired),
            normalized.scheme,
            origin.at(first_numbers[sentence_index]),
        )
    if cut_words:
        logger.warning(
            "%s: %d words in which a span begins or ends were split there (the first at %s); a prediction "
            "takes such a word whole",
            origin.name,
            cut_words,
            origin.at(first_cut),
        )
    types, bio_ids = _ordered(normalized, labels, table)
    return _assemble(chunks, bio_ids, sizes, types)


def _chunk(sentences: Sequence[Sentence], offset: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(
                [
                    str(offset + index) if sentence.id is None else sentence.id
                    for index, sentence in enumerate(sentences)
                ],
                pa.string(),
            ),
            "document_id": pa.array([sentence.document_id or "0" for sentence in sentences], pa.string()),
            "tokens": pa.array([sentence.tokens for sentence in sentences], pa.list_(pa.string())),
        }
    )


def _ordered(
    normalized: NormalizedTags, labels: list[str] | None, table: _TagTable
) -> tuple[list[str], NDArray[np.int64]]:
    """The dataset's types and the tokens' BIO ids, in the order of `labels` if given."""
    if labels is None:
        return normalized.types, normalized.bio_ids()
    present = set(np.unique(normalized.type_ids[normalized.starts]).tolist())
    order = {label: index for index, label in enumerate(labels)}
    for index, name in enumerate(normalized.types):
        if name not in order and index in present:
            tag = next(tag for tag in table.first_numbers if name in (tag, tag[2:]))
            raise LaclDataError(
                f"{table.place(tag)}: the tag {tag!r} is not in the label set ({', '.join(labels)}); "
                "correct the tag or add its type to labels"
            )
    renumber = np.array([order.get(name, -1) for name in normalized.types] + [-1])
    type_ids = renumber[normalized.type_ids]
    return labels, np.where(type_ids < 0, 0, 2 * type_ids + np.where(normalized.starts, 1, 2))


def _assemble(
    chunks: list[pa.Table], bio_ids: NDArray[np.int64], sizes: NDArray[np.int64], types: list[str]
) -> Dataset:
    features = Features(
        {
            "id": Value("string"),
            "document_id": Value("string"),
            "tokens": List(Value("string")),
            "ner_tags": List(ClassLabel(names=bio_tags(types))),
        }
    )
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    tags = pa.ListArray.from_arrays(pa.array(offsets), pa.array(bio_ids, pa.int64()))
    table = pa.concat_tables(chunks).append_column("ner_tags", tags)
    return Dataset(InMemoryTable(table.cast(features.arrow_schema)))
