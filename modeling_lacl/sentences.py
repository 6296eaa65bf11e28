"""What a reader yields: one sentence with its tags as they are written, and where it was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Origin:
    """Names a place in a source: ``train.txt:12`` for lines of a file, ``examples[12]`` elsewhere."""

    name: str
    has_lines: bool = True

    def at(self, number: int) -> str:
        return f"{self.name}:{number}" if self.has_lines else f"{self.name}[{number}]"


@dataclass(frozen=True)
class Sentence:
    """One sentence as read.

    Attributes:
        tokens: the words, none of them empty.
        tags: as many tags, in the source's own scheme.
        numbers: for each token its line number in the file, or one number that holds for all of them.
        id, document_id: as the source gives them; None where it does not.
        from_spans: the tags were made from character spans, so they are BIO whatever the rest of the file
            uses.
        cut_words: number of words that borders of spans fall into.
    """

    tokens: Sequence[str]
    tags: Sequence[str]
    numbers: Sequence[int] | int
    id: str | None = None
    document_id: str | None = None
    from_spans: bool = False
    cut_words: int = 0

    def number(self, position: int) -> int:
        return self.numbers if isinstance(self.numbers, int) else self.numbers[position]


def without_surrogates(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 can hold, as U+FFFD: the same number of characters."""
    return _SURROGATES.sub("\ufffd", text)
