"""The tags of a source's sentences, collected as numbers and brought to types."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence

import numpy as np

from .errors import LaclDataError
from .schemes import NormalizedTags, normalize, sentence_starts, spelt_like_scheme
from .sentences import Origin, Sentence

logger = logging.getLogger(__name__)


class TagTable:
    """Distinct tags as ids, and the number of the line or example where each was seen first.

    Args:
        origin: What the sentences come from.
        declared: Tags that come first, seen or not.
    """

    def __init__(self, origin: Origin, declared: Sequence[str] = ()) -> None:
        self.origin = origin
        self.ids: dict[str, int] = {tag: index for index, tag in enumerate(declared)}
        self.first_numbers: dict[str, int] = {}
        self.lengths = array("q")
        self._tag_ids = array("i")
        self._numbers = array("q")  # the first of each sentence
        self._from_spans: bool | None = None
        self._cut_words = self._first_cut = 0

    def add(self, sentence: Sentence) -> None:
        """Takes up a sentence's tags.

        Raises:
            LaclDataError: It has tags where those before it have character spans, or the other way round.
        """
        number = sentence.number(0)
        if self._from_spans not in (None, sentence.from_spans):
            raise LaclDataError(
                f"{self.origin.at(number)}: tags and character spans in one source; read them apart"
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
        """Where a tag was seen first."""
        number = self.first_numbers.get(tag)
        return self.origin.name if number is None else self.origin.at(number)

    def normalized(self, scheme: str | None = None) -> NormalizedTags:
        """The types and starts of all tokens; what was read otherwise than it is written is told in warnings.

        Raises:
            LaclDataError: No sentence, or as `normalize`.
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
        if normalized.respelt:
            first = normalized.respelt[0]
            logger.warning(
                "%s: the tags have a scheme's prefix in another spelling and were read as it: %r as %r",
                self.place(first),
                first,
                spelt_like_scheme([first], normalized.scheme)[0],
            )
        for tag in normalized.doubtful:
            logger.warning(
                "%s: the tag %r was taken for the name of a type; write %s, or give the scheme IO if it is "
                "right",
                self.place(tag),
                tag,
                "a capital O if it means outside"
                if tag in "o0"
                else f"{tag[0].upper()}-TYPE if it has a prefix",
            )
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
                "%s: %d words in which a span begins or ends were split there (the first at %s); a "
                "prediction takes such a word whole",
                self.origin.name,
                self._cut_words,
                self.origin.at(self._first_cut),
            )
        return normalized
