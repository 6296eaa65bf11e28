"""What writers of all formats take: a text, its words, and its entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...model.words_lacl import word_offsets
from ..examples import Sentence
from ..spans import WordSpan


@dataclass(frozen=True)
class LabelledText:
    """A text with its words and entities.

    Attributes:
        text: The text; where the source has words alone, these with spaces between them.
        offsets: (start, end) of each word, in characters.
        entities: (First word, one past the last, type) of each entity, sorted; they can nest.
        id, document_id: Its ids.
    """

    text: str
    offsets: Sequence[tuple[int, int]]
    entities: Sequence[WordSpan]
    id: str = "0"
    document_id: str = "0"

    @classmethod
    def of_sentence(
        cls, sentence: Sentence, entities: Sequence[WordSpan], id: str, document_id: str
    ) -> LabelledText:
        """Return the text of a sentence as read, with its entities in the dataset that was made of it."""
        text, offsets = sentence.text, sentence.offsets
        if text is None or offsets is None:
            text = " ".join(sentence.tokens)
            offsets = [(start, end) for start, end in word_offsets(sentence.tokens).tolist()]
        return cls(text, offsets, entities, id, document_id)

    @property
    def tokens(self) -> list[str]:
        """The words."""
        return [self.text[start:end] for start, end in self.offsets]

    @property
    def spans(self) -> list[tuple[int, int, str]]:
        """The entities as (start, end, type) in characters."""
        return [
            (self.offsets[first][0], self.offsets[stop - 1][1], name) for first, stop, name in self.entities
        ]

    def overlap(self) -> tuple[WordSpan, WordSpan] | None:
        """Return two entities that share a word, or None."""
        widest: WordSpan | None = None
        for one in self.entities:
            if widest is not None and one[0] < widest[1]:
                return widest, one
            if widest is None or one[1] > widest[1]:
                widest = one
        return None
