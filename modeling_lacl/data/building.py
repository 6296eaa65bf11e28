"""Sentences of any reader, collected into a `datasets.Dataset` with BIO tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from datasets import ClassLabel, Dataset, Features, List, Value
from datasets.table import InMemoryTable
from numpy.typing import NDArray

from ..errors import LaclDataError
from ..schemes import NormalizedTags, bio_tags
from ..sentences import Origin, Sentence
from ..tag_table import TagTable

_CHUNK_SENTENCES = 2000


def build(
    sentences: Iterable[Sentence],
    origin: Origin,
    labels: list[str] | None,
    scheme: str | None,
    declared: Sequence[str] = (),
) -> Dataset:
    """Collect sentences straight into Arrow, whose memory is a small multiple of the file's size."""
    table = TagTable(origin, declared)
    chunks: list[pa.Table] = []
    pending: list[Sentence] = []
    for sentence in sentences:
        table.add(sentence)
        pending.append(sentence)
        if len(pending) == _CHUNK_SENTENCES:
            chunks.append(_chunk(pending, len(table.lengths) - len(pending)))
            pending = []
    if pending:
        chunks.append(_chunk(pending, len(table.lengths) - len(pending)))
    types, bio_ids = _ordered(table.normalized(scheme), labels, table)
    return _assemble(chunks, bio_ids, np.array(table.lengths, dtype=np.int64), types)


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
    normalized: NormalizedTags, labels: list[str] | None, table: TagTable
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
