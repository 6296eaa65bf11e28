"""Collect the sentences of any reader into a `datasets.Dataset`: with BIO tags, or with nested entities."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from datasets import Dataset
from datasets.table import InMemoryTable
from numpy.typing import NDArray

from .examples import LaclDataError, Origin, Sentence
from .label_table import LabelTable
from .spans import NESTED_OPTION, Entities
from .tag_schemes import split_tag
from .tags import bio_features, span_features

logger = logging.getLogger(__name__)

_CHUNK_SENTENCES = 2000


def build(
    sentences: Iterable[Sentence],
    origin: Origin,
    labels: list[str] | None,
    scheme: str | None,
    declared: Sequence[str] = (),
    nested: str = "error",
) -> Dataset:
    """Build a dataset from sentences: with BIO tags, or with entities if these are kept nested.

    Sentences are moved to Arrow in chunks, so that memory stays a small multiple of the file size.

    Args:
        sentences: Sentences of one source.
        origin: The source, for error messages and warnings.
        labels: Entity types allowed, in the order of the dataset's classes; None takes those that occur.
        scheme: Tag scheme, one of `SCHEMES`; None detects it.
        declared: Tags of the source's ClassLabel, which determine the order of the types.
        nested: One of `NESTED`, as for `read_dataset`.

    Raises:
        LaclDataError: There is no sentence, a type is not in `labels`, entities share a word and `nested` is
            "error", or as `normalize`.
    """
    table = LabelTable(origin, declared, scheme)
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
    entities = table.entities()
    columns = pa.concat_tables(chunks)
    if nested != "keep":
        entities = _flat(entities, nested, table, columns)
    entities = _ordered(entities, labels, table)
    sizes = np.array(table.lengths, dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    if nested == "keep":
        columns = columns.append_column("entities", _struct_lists(entities, offsets))
        features = span_features()
    else:
        ids = pa.array(entities.bio_ids(int(offsets[-1])), pa.int64())
        tags = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), ids)
        columns = columns.append_column("ner_tags", tags)
        features = bio_features(entities.types)
    return Dataset(InMemoryTable(columns.cast(features.arrow_schema)))


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


def _flat(entities: Entities, nested: str, table: LabelTable, columns: pa.Table) -> Entities:
    """Return the entities if no two share a word; else those that are kept, or an error."""
    later = entities.overlaps()
    if not len(later):
        return entities
    place = table.sentence_place(table.sentence_of(int(entities.starts[later[0]])))
    if nested == "error":
        # Of the entities before it, the one that reaches farthest.
        first = int(entities.ends[: later[0]].argmax())
        pair = " and ".join(_shown(entities, index, table, columns) for index in (first, later[0]))
        raise LaclDataError(f"{place}: the entities {pair} overlap; {NESTED_OPTION}")
    flat = entities.flat(innermost=nested == "innermost")
    logger.warning(
        "%s: %d entities that overlap a %s one were left out (the first in the sentence at %s)",
        table.origin.name,
        len(entities) - len(flat),
        "longer" if nested == "outermost" else "shorter",
        place,
    )
    lost = set(entities.type_ids.tolist()) - set(flat.type_ids.tolist())
    left = [index for index in range(len(flat.types)) if index not in lost]
    return _with_types(flat, [flat.types[index] for index in left])


def _shown(entities: Entities, index: int, table: LabelTable, columns: pa.Table) -> str:
    start, end = int(entities.starts[index]), int(entities.ends[index])
    sentence = table.sentence_of(start)
    before = sum(table.lengths[:sentence])
    words = columns["tokens"][sentence].as_py()[start - before : end - before]
    name = entities.types[entities.type_ids[index]]
    return f"{' '.join(words)!r} ({name}, words {start - before}–{end - before})"


def _ordered(entities: Entities, labels: list[str] | None, table: LabelTable) -> Entities:
    """Return the entities with the types in the order of `labels`, if given."""
    if labels is None:
        return entities
    present = set(np.unique(entities.type_ids).tolist())
    names = {entities.types[index] for index in present}
    if not names <= set(labels) and all(split_tag(label)[0] in ("B", "I") for label in labels):
        labels = list(dict.fromkeys(split_tag(label)[1] for label in labels))  # tags, not types
    for index, name in enumerate(entities.types):
        if name not in labels and index in present:
            found = [tag for tag in table.first_numbers if name in tag]
            tag = next((tag for tag in found if name in (tag, tag[2:])), found[0])
            raise LaclDataError(
                f"{table.place(tag)}: the tag {tag!r} is not in the label set ({', '.join(labels)}); "
                "correct the tag or add its type to labels"
            )
    return _with_types(entities, labels)


def _with_types(entities: Entities, types: list[str]) -> Entities:
    """Return the entities with other types, which have those of all of them."""
    order = {name: index for index, name in enumerate(types)}
    renumber = np.array([order.get(name, -1) for name in entities.types], dtype=np.int64)
    return replace(entities, types=types, type_ids=renumber[entities.type_ids])


def _struct_lists(entities: Entities, offsets: NDArray[np.int64]) -> pa.ListArray:
    """Return the entities of each sentence as structs, in positions of its words."""
    sentence = np.searchsorted(offsets[1:], entities.starts, side="right")
    names = pa.array(entities.types, pa.string()).take(pa.array(entities.type_ids))
    structs = pa.StructArray.from_arrays(
        [
            pa.array((entities.starts - offsets[sentence]).astype(np.int32)),
            pa.array((entities.ends - offsets[sentence]).astype(np.int32)),
            names,
        ],
        names=["start", "end", "label"],
    )
    bounds = np.searchsorted(sentence, np.arange(len(offsets)), side="left").astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(bounds), structs)
