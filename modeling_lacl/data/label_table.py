"""The labels of all sentences of a source while it is read, and the entities that they are together.

Tags mean something only together: which scheme they follow shows when all of them are known. They are stored
as ids. Where a word has several tags (two columns of tags, or ``B-organisation|B-place`` in one), a sentence
has several rows of tags; all rows follow one scheme.
"""

from __future__ import annotations

import logging
import re
from array import array
from collections.abc import Sequence

import numpy as np

from .examples import LaclDataError, Origin, Sentence
from .spans import Entities
from .tag_schemes import (
    SCHEME_OPTION,
    NormalizedTags,
    looks_like_tag,
    means_outside,
    normalize,
    sentence_starts,
    spelt_like_scheme,
    split_tag,
)

logger = logging.getLogger(__name__)

_JOINTS = re.compile(r"[|#]")


class LabelTable:
    """The labels of all sentences, with the line or example where each distinct one appears first.

    Args:
        origin: The source of the sentences.
        declared: Tags that get the first ids, whether they occur or not.
        scheme: Tag scheme, one of `SCHEMES`; None detects it.
    """

    def __init__(self, origin: Origin, declared: Sequence[str] = (), scheme: str | None = None) -> None:
        self.origin = origin
        self.scheme = scheme
        self.ids: dict[str, int] = {tag: index for index, tag in enumerate(declared)}
        self.first_numbers: dict[str, int] = {}
        self.lengths = array("q")
        self.from_spans: bool | None = None
        self._words = 0
        self._numbers = array("q")  # line or example number at which each sentence begins
        self._joined: set[str] = set()
        # Rows of tags: their ids one behind another, the length of each, and its first word in the source.
        self._tag_ids = array("i")
        self._row_lengths = array("q")
        self._row_words = array("q")
        # In place of tags: type, first word and one past the last.
        self._spans = array("q")
        self._cut_words = self._first_cut = 0

    def add(self, sentence: Sentence) -> None:
        """Add the labels of a sentence.

        Raises:
            LaclDataError: It has tags where the sentences before it have spans, or vice versa.
        """
        number = sentence.number(0)
        from_spans = sentence.entities is not None
        if self.from_spans not in (None, from_spans):
            raise LaclDataError(
                f"{self.origin.at(number)}: tags and spans in one source; read them separately"
            )
        self.from_spans = from_spans
        if sentence.cut_words and not self._cut_words:
            self._first_cut = number
        self._cut_words += sentence.cut_words
        if sentence.entities is None:
            for row in (sentence.tags, *sentence.more_tags):
                self._add_tags(row, sentence)
        else:
            for start, end, name in sorted(sentence.entities):
                index = self.ids.setdefault(name, len(self.ids))
                self.first_numbers.setdefault(name, sentence.number(start))
                self._spans.extend((index, self._words + start, self._words + end))
        self._numbers.append(number)
        self.lengths.append(len(sentence.tokens))
        self._words += len(sentence.tokens)

    def _add_tags(self, tags: Sequence[str], sentence: Sentence) -> None:
        if not self.first_numbers.keys() >= set(tags):
            for position, tag in enumerate(tags):
                if tag in self.first_numbers:
                    continue
                self.first_numbers[tag] = sentence.number(position)
                if self.scheme != "IO" and _is_joined(tag):
                    self._joined.add(tag)
                else:
                    self.ids.setdefault(tag, len(self.ids))
        rows: list[Sequence[str]] = [tags]
        if not self._joined.isdisjoint(tags):
            rows = list(split_joined(tags))
            for position, tag in (one for row in rows for one in enumerate(row)):
                self.ids.setdefault(tag, len(self.ids))
                self.first_numbers.setdefault(tag, sentence.number(position))
        for row in rows:
            self._tag_ids.extend(self.ids[tag] for tag in row)
            self._row_lengths.append(len(row))
            self._row_words.append(self._words)

    def place(self, label: str) -> str:
        """Return the place where a label appears first."""
        number = self.first_numbers.get(label)
        return self.origin.name if number is None else self.origin.at(number)

    def sentence_of(self, word: int) -> int:
        """Return the number of the sentence that has a word, both counted through the source."""
        return int(np.searchsorted(np.cumsum(np.array(self.lengths)), word, side="right"))

    def sentence_place(self, sentence: int) -> str:
        """Return the place where a sentence begins."""
        return self.origin.at(self._numbers[sentence])

    def entities(self) -> Entities:
        """Return the entities of all sentences.

        Labels that were not read literally, or that look like mistakes, are logged as warnings.

        Raises:
            LaclDataError: There is no sentence, or as `normalize`.
        """
        if not self.lengths:
            raise LaclDataError(f"{self.origin.name}: no sentence; give at least one labelled example")
        if self._cut_words:
            logger.warning(
                "%s: %d words in which a span begins or ends were split there (the first at %s); "
                "predictions never split such a word",
                self.origin.name,
                self._cut_words,
                self.origin.at(self._first_cut),
            )
        if self.from_spans:
            for name in self.ids:
                if split_tag(name)[0] in ("B", "I"):
                    self._warn_of_type(f"B-{name}", name, self.place(name))
            spans = np.array(self._spans, dtype=np.int64).reshape(-1, 3)
            return Entities.make(list(self.ids), *spans.T)
        tags = self._normalized()
        self._warn_of_spellings(tags)
        found = Entities.of_tags(tags)
        if len(self._row_lengths) == len(self.lengths):
            return found
        lengths = np.array(self._row_lengths, dtype=np.int64)
        row = np.searchsorted(np.cumsum(lengths), found.starts, side="right")
        shift = np.array(self._row_words, dtype=np.int64) - (np.cumsum(lengths) - lengths)
        return Entities.make(found.types, found.type_ids, found.starts + shift[row], found.ends + shift[row])

    def _normalized(self) -> NormalizedTags:
        sizes = np.array(self._row_lengths, dtype=np.int64)
        tags = normalize(
            list(self.ids),
            np.array(self._tag_ids, dtype=np.int64),
            sentence_starts(sizes),
            self.scheme,
            self.place,
        )
        if len(tags.repaired):
            row = int(np.searchsorted(np.cumsum(sizes), tags.repaired[0], side="right"))
            logger.warning(
                "%s: %d %s tags that continue an entity without its begin were read as begins "
                "(the first in the sentence at %s)",
                self.origin.name,
                len(tags.repaired),
                tags.scheme,
                self.sentence_place(self.sentence_of(self._row_words[row])),
            )
        return tags

    def _warn_of_spellings(self, tags: NormalizedTags) -> None:
        """Log which tags were read in another spelling, and which were read literally in spite of theirs."""
        if tags.respelt:
            first = tags.respelt[0]
            spelt = dict(zip(self.ids, spelt_like_scheme(list(self.ids), self.scheme), strict=True))
            logger.warning(
                "%s: tags in another spelling were read as those of a scheme: %s",
                self.place(first),
                ", ".join(f"{tag!r} as {spelt[tag]!r}" for tag in tags.respelt[:5]),
            )
        for tag in tags.doubtful:
            self._warn_of_type(tag, tag, self.place(tag))

    def _warn_of_type(self, tag: str, name: str, place: str) -> None:
        logger.warning(
            "%s: the tag %r was taken for the name of a type; write %s%s",
            place,
            name,
            "a capital O if it means outside"
            if means_outside(name)
            else f"{split_tag(name)[1]!r} if it has a prefix"
            if self.from_spans
            else "B-TYPE or I-TYPE if its end is a prefix"
            if name[-2:-1] in ("-", "_")
            else f"{name[0].upper()}-TYPE if it has a prefix",
            "" if self.from_spans else f", or give the scheme IO if it is correct: {SCHEME_OPTION}",
        )


def _is_joined(tag: str) -> bool:
    """Return whether a tag is several: ``B-organisation|B-place``, also with ``#``."""
    parts = _JOINTS.split(tag)
    return len(parts) > 1 and all(map(looks_like_tag, parts))


def split_joined(tags: Sequence[str]) -> list[list[str]]:
    """Split tags of several labels into rows of tags with one.

    A tag that continues an entity goes into the row where the word before it has a tag of the same type; the
    order of the tags of a word tells two entities of one type apart.

    Args:
        tags: Tags of the words of a sentence.

    Returns:
        The rows, each with a tag for every word, at least one.

    Example:
        >>> split_joined(["B-university", "I-university", "I-university|B-city"])
        [['B-university', 'I-university', 'I-university'], ['O', 'O', 'B-city']]
    """
    rows: list[list[str]] = [["O"] * len(tags)]
    for word, tag in enumerate(tags):
        free = list(range(len(rows)))
        begins: list[str] = []
        for part in _JOINTS.split(tag) if _is_joined(tag) else [tag]:
            prefix, name = split_tag(part)
            row = next((row for row in free if word and _goes_on(rows[row][word - 1], name)), None)
            if prefix in ("B", "S", "U") or row is None:
                begins += [part] * (part != "O")
            else:
                rows[row][word] = part
                free.remove(row)
        for part in begins:
            if not free:
                rows.append(["O"] * len(tags))
                free.append(len(rows) - 1)
            rows[free.pop(0)][word] = part
    return rows


def _goes_on(before: str, name: str) -> bool:
    """Return whether an entity of type `name` can go on behind a tag."""
    prefix, other = split_tag(before)
    return other == name != "O" and prefix not in ("E", "S", "L", "U")
