"""Labelled words as model input: token ids, and one label at the first piece of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from .checks import fast_tokenizer
from .label_set import tokenizer_lock
from .words import align_words, word_offsets

IGNORED = -100


class Row(NamedTuple):
    """A text of its own, as model input.

    Attributes:
        input_ids: (L,) int64.
        labels: (L,) int64, -100 but at the first piece of a word.
    """

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]


class _Part(NamedTuple):
    """Words `first` to `stop` of a sentence, which become one row."""

    sentence: int
    first: int
    stop: int


def make_rows(
    sentences: Sequence[Sequence[str]],
    labels: Sequence[Sequence[int] | NDArray[np.int64]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[Row]:
    """Tokenises sentences, and cuts those that are longer than a row at word borders.

    Every word that the tokenizer gives a piece carries its label exactly once. A single word longer than a
    row keeps its first pieces. A sentence without words gives no row.

    Args:
        sentences: Lists of words, which are joined by single spaces and aligned by character offsets, as at
            prediction.
        labels: A label of each word.
        tokenizer: A fast one.
        max_length: Tokens of a row, special tokens included.

    Raises:
        ValueError: A tokenizer without offsets, or no room for a word in `max_length`.
    """
    fast_tokenizer(tokenizer)
    budget = max_length - tokenizer.num_special_tokens_to_add()
    if budget < 1:
        raise ValueError(
            f"max_length={max_length} leaves no room for a token beside the special ones; raise it"
        )
    rows: list[tuple[_Part, Row]] = []
    pending = [_Part(index, 0, len(words)) for index, words in enumerate(sentences) if words]
    while pending:
        words = [sentences[part.sentence][part.first : part.stop] for part in pending]
        with tokenizer_lock:
            encoding = tokenizer(
                [" ".join(sentence) for sentence in words],
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                return_attention_mask=False,
                return_token_type_ids=False,
                # The tokenizer's own warning about long texts would be about text that is cut below.
                verbose=False,
            )
        longer: list[_Part] = []
        for row, (part, sentence) in enumerate(zip(pending, words, strict=True)):
            ids, offsets = encoding["input_ids"][row], encoding["offset_mapping"][row]
            positions = align_words(np.array(offsets, dtype=np.int64).reshape(-1, 2), word_offsets(sentence))
            if len(ids) > max_length and len(sentence) > 1:
                longer.extend(_cut(part, positions, len(ids), budget))
                continue
            of_tokens = np.full(len(ids), IGNORED, dtype=np.int64)
            has_piece = positions >= 0
            of_words = np.array(labels[part.sentence][part.first : part.stop], dtype=np.int64)
            of_tokens[positions[has_piece]] = of_words[has_piece]
            keep = _kept(encoding["special_tokens_mask"][row], max_length)
            rows.append((part, Row(np.array(ids, dtype=np.int64)[keep], of_tokens[keep])))
        pending = longer
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _cut(part: _Part, positions: NDArray[np.int64], length: int, budget: int) -> list[_Part]:
    """Cut a part into runs of words that take at most `budget` tokens each, or one word that takes more.

    A run is a text of its own, which may be tokenised a little longer than within the sentence; it is then
    cut again.
    """
    # A word without a piece begins where the one before it does.
    begins = np.maximum.accumulate(positions)
    ends = np.append(begins[1:], length)
    parts: list[_Part] = []
    first = 0
    while first < len(positions):
        stop = max(int(np.searchsorted(ends, max(begins[first], 0) + budget, side="right")), first + 1)
        if first == 0 and stop == len(positions):
            stop -= 1
        parts.append(_Part(part.sentence, part.first + first, part.first + stop))
        first = stop
    return parts


def _kept(special_tokens_mask: Sequence[int], max_length: int) -> NDArray[np.int64]:
    """Positions of the tokens that stay: all, or of a word longer than a row its first pieces."""
    if len(special_tokens_mask) <= max_length:
        return np.arange(len(special_tokens_mask))
    special = np.array(special_tokens_mask, dtype=bool)
    pieces = np.flatnonzero(~special)[: max_length - int(special.sum())]
    return np.sort(np.concatenate((np.flatnonzero(special), pieces)))
