"""Collect the sentences of any reader into a `datasets.Dataset` with BIO tags.

The tags are stored as ids while reading, and normalised to BIO at the end.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from datasets import Dataset
from datasets.table import InMemoryTable
from numpy.typing import NDArray

from .examples import LaclDataError, Origin, Sentence
from .tag_schemes import (
    SCHEME_OPTION,
    NormalizedTags,
    means_outside,
    normalize,
    sentence_starts,
    spelt_like_scheme,
    split_tag,
)
from .tags import bio_features

logger = logging.getLogger(__name__)


class TagTable:
    """The tags of all sentences as ids, with the line or example where each distinct tag appears first.

    Args:
        origin: The source of the sentences.
        declared: Tags that get the first ids, whether they occur or not.
    """

    def __init__(self, origin: Origin, declared: Sequence[str] = ()) -> None:
        self.origin = origin
        self.ids: dict[str, int] = {tag: index for index, tag in enumerate(declared)}
        self.first_numbers: dict[str, int] = {}
        self.lengths = array("q")
        self._tag_ids = array("i")
        self._numbers = array("q")  # line or example number at which each sentence begins
        self._from_spans: bool | None = None
        self._cut_words = self._first_cut = 0

    def add(self, sentence: Sentence) -> None:
        """Add the tags of a sentence.

        Raises:
            LaclDataError: It has tags where the sentences before it have character spans, or vice versa.
        """
        number = sentence.number(0)
        if self._from_spans not in (None, sentence.from_spans):
            raise LaclDataError(
                f"{self.origin.at(number)}: tags and character spans in one source; read them separately"
            )
        self._from_spans = sentence.from_spans
        if sentence.cut_words and not self._cut_words:
            self._first_cut = number
        self._cut_words += sentence.cut_words
        if not self.first_numbers.keys() >= set(sentence.tags):
            for position, tag in enumerate(sentence.tags):
                self.ids.setdefault(tag, len(self.ids))
                self.first_numbers.setdefault(tag, sentence.number(position))
        self._tag_ids.extend(self.ids[tag] for tag in sentence.tags)
        self._numbers.append(number)
        self.lengths.append(len(sentence.tokens))

    def place(self, tag: str) -> str:
        """Return the place where a tag appears first."""
        number = self.first_numbers.get(tag)
        return self.origin.name if number is None else self.origin.at(number)

    def normalized(self, scheme: str | None = None) -> NormalizedTags:
        """Return the types and entity starts of all tokens.

        Tags that were not read literally, or that look like mistakes, are logged as warnings.

        Args:
            scheme: Tag scheme, one of `SCHEMES`; None detects it.

        Raises:
            LaclDataError: There is no sentence, or as `normalize`.
        """
        if not self.lengths:
            raise LaclDataError(f"{self.origin.name}: no sentence; give at least one labelled example")
        sizes = np.array(self.lengths, dtype=np.int64)
        normalized = normalize(
            list(self.ids),
            np.array(self._tag_ids, dtype=np.int64),
            sentence_starts(sizes),
            "BIO" if self._from_spans else scheme,
            self.place,
        )
        self._warn_of_spellings(normalized, scheme)
        if len(normalized.repaired):
            sentence = int(np.searchsorted(np.cumsum(sizes), normalized.repaired[0], side="right"))
            logger.warning(
                "%s: %d %s tags that continue an entity without its begin were read as begins "
                "(the first in the sentence at %s)",
                self.origin.name,
                len(normalized.repaired),
                normalized.scheme,
                self.origin.at(self._numbers[sentence]),
            )
        if self._cut_words:
            logger.warning(
                "%s: %d words in which a span begins or ends were split there (the first at %s); "
                "predictions never split such a word",
                self.origin.name,
                self._cut_words,
                self.origin.at(self._first_cut),
            )
        return normalized

    def _warn_of_spellings(self, normalized: NormalizedTags, scheme: str | None) -> None:
        """Log which tags were read in another spelling, and which were read literally in spite of theirs."""
        if normalized.respelt:
            first = normalized.respelt[0]
            spelt = dict(zip(self.ids, spelt_like_scheme(list(self.ids), scheme), strict=True))
            logger.warning(
                "%s: tags in another spelling were read as those of a scheme: %s",
                self.place(first),
                ", ".join(f"{tag!r} as {spelt[tag]!r}" for tag in normalized.respelt[:5]),
            )
        doubtful = normalized.doubtful
        if self._from_spans:
            doubtful = [f"B-{name}" for name in normalized.types if split_tag(name)[0] in ("B", "I")]
        for tag in doubtful:
            name = tag.removeprefix("B-") if self._from_spans else tag
            logger.warning(
                "%s: the tag %r was taken for the name of a type; write %s%s",
                self.place(tag),
                name,
                "a capital O if it means outside"
                if means_outside(name)
                else f"{split_tag(name)[1]!r} if it has a prefix"
                if self._from_spans
                else "B-TYPE or I-TYPE if its end is a prefix"
                if name[-2:-1] in ("-", "_")
                else f"{name[0].upper()}-TYPE if it has a prefix",
                "" if self._from_spans else f", or give the scheme IO if it is correct: {SCHEME_OPTION}",
            )


_CHUNK_SENTENCES = 2000


def build(
    sentences: Iterable[Sentence],
    origin: Origin,
    labels: list[str] | None,
    scheme: str | None,
    declared: Sequence[str] = (),
) -> Dataset:
    """Build a dataset with BIO tags from sentences.

    Sentences are moved to Arrow in chunks, so that memory stays a small multiple of the file size.

    Args:
        sentences: Sentences of one source.
        origin: The source, for error messages and warnings.
        labels: Entity types allowed, in the order of the dataset's classes; None takes those that occur.
        scheme: Tag scheme, one of `SCHEMES`; None detects it.
        declared: Tags of the source's ClassLabel, which determine the order of the types.

    Raises:
        LaclDataError: There is no sentence, a tag is not in `labels`, or as `normalize`.
    """
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
    """Return the dataset's types, in the order of `labels` if given, and the BIO id of every token."""
    if labels is None:
        return normalized.types, normalized.bio_ids()
    present = set(np.unique(normalized.type_ids[normalized.starts]).tolist())
    names = {normalized.types[index] for index in present}
    if not names <= set(labels) and all(split_tag(label)[0] in ("B", "I") for label in labels):
        labels = list(dict.fromkeys(split_tag(label)[1] for label in labels))  # tags, not types
    order = {label: index for index, label in enumerate(labels)}
    for index, name in enumerate(normalized.types):
        if name not in order and index in present:
            found = [tag for tag in table.first_numbers if name in tag]
            tag = next((tag for tag in found if name in (tag, tag[2:])), found[0])
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
    features = bio_features(types)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    tags = pa.ListArray.from_arrays(pa.array(offsets), pa.array(bio_ids, pa.int64()))
    table = pa.concat_tables(chunks).append_column("ner_tags", tags)
    return Dataset(InMemoryTable(table.cast(features.arrow_schema)))
