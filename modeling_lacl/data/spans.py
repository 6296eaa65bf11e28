"""Entities as spans of words: which of them nest or overlap, and which are left in a flat set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .tag_schemes import NormalizedTags

Nested = Literal["error", "outermost", "innermost", "keep"]
NESTED: tuple[str, ...] = get_args(Nested)
# For errors: how to say what becomes of nested entities.
NESTED_OPTION = (
    "keep one of them by --nested outermost or innermost, in Python read_dataset(…, nested='outermost'), or, "
    "for a model of spans, both by --nested keep or nested='keep'"
)


def checked_nested(nested: str) -> Nested:
    """Return a value of the argument `nested`.

    Raises:
        ValueError: It is none of `NESTED`.
    """
    if nested not in NESTED:
        raise ValueError(f"nested must be one of {', '.join(NESTED)}, got {nested!r}")
    return cast(Nested, nested)


WordSpan = tuple[int, int, str]
"""An entity of a sentence: its first word, one past its last, and its type."""


@dataclass(frozen=True)
class Entities:
    """The N entities of all sentences of a source, in the order of start, end and type; none twice.

    Attributes:
        types: Entity types.
        type_ids: (N,) int64, index into `types`.
        starts, ends: (N,) int64, first word and one past the last, counted through all sentences.
    """

    types: list[str]
    type_ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def make(
        cls,
        types: list[str],
        type_ids: NDArray[np.int64],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> Entities:
        """Return entities in order, each once."""
        rank = np.argsort(np.argsort(np.array(types, dtype=object), kind="stable"), kind="stable")
        order = np.lexsort((rank[type_ids] if len(types) else type_ids, ends, starts))
        rows = np.stack((type_ids, starts, ends))[:, order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
        return cls(types, *rows[:, new])

    @classmethod
    def of_tags(cls, tags: NormalizedTags) -> Entities:
        """Return the entities of normalised tags, in the positions of these tags."""
        starts = np.flatnonzero(tags.starts)
        stops = np.flatnonzero(np.append((tags.type_ids < 0) | tags.starts, True))
        ends = stops[np.searchsorted(stops, starts, side="right")]
        return cls(tags.types, tags.type_ids[starts], starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def overlaps(self) -> NDArray[np.int64]:
        """Return the indices of the entities that share a word with one before them."""
        reached = np.concatenate(([0], np.maximum.accumulate(self.ends)[:-1])) if len(self) else self.ends
        return np.flatnonzero(self.starts < reached)

    def select(self, kept: NDArray[np.bool_]) -> Entities:
        """Return the entities of a mask."""
        return replace(self, type_ids=self.type_ids[kept], starts=self.starts[kept], ends=self.ends[kept])

    def flat(self, innermost: bool = False) -> Entities:
        """Return entities of which no two share a word.

        Where some do, the longest is kept, or the shortest if `innermost`; of equal length the first, and for
        one span the first type in alphabetical order.
        """
        later = self.overlaps()
        kept = np.ones(len(self), dtype=bool)
        if not len(later):
            return self
        is_later = np.zeros(len(self), dtype=bool)
        is_later[later] = True
        # Runs of entities that are linked by shared words: each begins with one that shares none before it.
        bounds = np.append(np.flatnonzero(~is_later), len(self)).tolist()
        for first, stop in zip(bounds[:-1], bounds[1:], strict=True):
            if stop - first == 1:
                continue
            starts, ends = self.starts[first:stop], self.ends[first:stop]
            lengths = ends - starts
            taken = np.zeros(int(ends.max() - starts[0]), dtype=bool)
            for index in np.argsort(lengths if innermost else -lengths, kind="stable").tolist():
                words = slice(int(starts[index] - starts[0]), int(ends[index] - starts[0]))
                if taken[words].any():
                    kept[first + index] = False
                taken[words] |= bool(kept[first + index])
        return self.select(kept)

    def bio_ids(self, words: int) -> NDArray[np.int64]:
        """Return the BIO ids of all words, as indices into `bio_tags(self.types)`; the entities are flat."""
        ids = np.zeros(words, dtype=np.int64)
        lengths = self.ends - self.starts
        inside = np.arange(int(lengths.sum())) + np.repeat(
            self.starts - (np.cumsum(lengths) - lengths), lengths
        )
        ids[inside] = np.repeat(2 * self.type_ids + 2, lengths)
        ids[self.starts] = 2 * self.type_ids + 1
        return ids


def bio_of_spans(spans: Sequence[WordSpan], words: int) -> list[str]:
    """Return the BIO tags of a sentence whose entities do not share a word."""
    tags = ["O"] * words
    for start, end, name in spans:
        tags[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
    return tags


def outermost(spans: Sequence[WordSpan]) -> list[WordSpan]:
    """Return the spans of a sentence that are left where the longest of those that share a word is kept."""
    kept: list[WordSpan] = []
    for span in sorted(set(spans), key=lambda one: (one[0] - one[1], one)):
        if all(span[1] <= other[0] or other[1] <= span[0] for other in kept):
            kept.append(span)
    return sorted(kept)
