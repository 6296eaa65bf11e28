"""Words of a text, their first subwords, the windows of a long text, and the forms of inputs and answers.

Without torch, as prediction and decoding, so that exported models need none.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

# No word: characters without a shape, or of which none is known, that stand between words.
_UNSEEN = r"[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{DI}\u2800\ufffd]"
# Scripts written without spaces. There, each letter with its marks is a word, as no rule finds longer words.
_SPACELESS = (
    r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\uff70\uff9e\uff9f]&&\p{L}]"
)
_SPACED = rf"[[\p{{L}}\p{{N}}_]--{_SPACELESS}--\p{{DI}}]"
# Marks, and the invisible characters inside words: soft hyphen, zero-width joiner and non-joiner.
_INSIDE = r"[\p{M}\u00ad\u200c\u200d]"
# An English ending that is a word of its own: the possessive, and verbs that are shortened like it.
_ENDING = rf"['’ʼ＇](?i:s|ll|re|ve)(?!{_SPACED}|{_INSIDE})"
_RUN = rf"{_SPACED}(?:(?!{_ENDING})(?:{_SPACED}|{_INSIDE}))*"
# As in H&M, example.org, c/o, 40,000, 10:30, L'Oréal and WH-1000, not in UK-based.
_JOINT = r"(?:[&./+@'’]|://|(?<=\p{N})[,:](?=\p{N})|-(?!\p{Ll}))"
_WORD = regex.compile(
    rf"""
      {_SPACELESS}\p{{M}}*
    | (?<=\S){_ENDING}
    | {_RUN}(?:(?!{_ENDING}){_JOINT}{_RUN})*
    | \p{{RI}}\p{{RI}}  # a flag
    # punctuation, a symbol, an emoji sequence
    | (?!{_UNSEEN})\S(?:[\p{{M}}\p{{EMod}}\u200d\U000e0020-\U000e007f]|(?<=\u200d)\p{{ExtPict}})*
    """,
    regex.VERBOSE | regex.V1,
)

EMOJI = regex.compile(r"[\p{ExtPict}\p{RI}]")
"""Begins an emoji or a flag."""


def split_words(text: str) -> list[tuple[int, int]]:
    """Split a text into words: runs of letters, marks, digits and `_`; any other visible character is a word.

    Runs are one word where `&`, `.`, `/`, `+`, `@`, `://` or an apostrophe joins them, `,` or `:` between
    digits, or a hyphen that no lower-case letter follows. `'s`, `'ll`, `'re` and `'ve` at an end are their
    own words. In scripts written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar) each
    letter with its marks is a word. An emoji sequence is one. Control and format characters, those for
    private use and U+FFFD are not words.

    Returns:
        `(start, end)` character offsets, in order. Every visible character is in exactly one word.
    """
    return [match.span() for match in _WORD.finditer(text)]


def word_offsets(words: Sequence[str], delimiter: str = " ") -> np.ndarray:
    """Return the (W, 2) int64 character offsets of words in `delimiter.join(words)`."""
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    starts = np.cumsum(lengths + len(delimiter)) - lengths - len(delimiter)
    return np.stack([starts, starts + lengths], axis=1)


@dataclass(frozen=True)
class Text:
    """A text and its words."""

    text: str
    words: NDArray[np.int64]  # (W, 2), (start, end) of each word


def text_from_string(text: Any, where: str) -> Text:
    """Split a string into words; `where` is its place in error messages."""
    if isinstance(text, Mapping):
        raise TypeError(f"{where} has the keys {sorted(map(str, text))}: give one column, dataset['text']")
    if not isinstance(text, str):
        raise TypeError(f"{where} is of type {type(text).__name__}: give a string")
    return Text(text, np.asarray(split_words(text), dtype=np.int64).reshape(-1, 2))


def text_from_words(words: Any, where: str, delimiter: str = " ") -> Text:
    """Join a list of words; `where` is its place in error messages."""
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise TypeError(f"{where} is of type {type(words).__name__}: give a list of words")
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"{where}[{index}] is of type {type(word).__name__}: give every word as a string")
    return Text(delimiter.join(words), word_offsets(words, delimiter))


def align_words(offsets: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return the first subword of each word: the first token that ends after the start of the word.

    Args:
        offsets: (T, 2) int, the offset mapping of a fast tokenizer; may include special tokens.
        words: (W, 2) int, (start, end) of the words in the same text.

    Returns:
        (W,) int64 token indices; -1 for words without tokens, such as control characters.
    """
    if not len(offsets):
        return np.full(len(words), -1, dtype=np.int64)
    # Special tokens have offsets (0, 0), which are not in order at the end of a text.
    ends = np.maximum.accumulate(offsets[:, 1])
    token = np.searchsorted(ends, words[:, 0], side="right")
    found = token < len(offsets)
    token = np.where(found, token, 0)
    return np.where(found & (offsets[token, 0] < words[:, 1]), token, -1).astype(np.int64)


def share_words(offsets: Sequence[np.ndarray], words: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Assign each word to the window that has the most context around it.

    Args:
        offsets: (T, 2) int per window, in the order of the text.
        words: (W, 2) int, (start, end) of the words in the text.

    Returns:
        Per window: the indices of its words, and the token index of the first subword of each word.
    """
    if len(offsets) == 1:
        tokens = align_words(offsets[0], words)
        found = np.flatnonzero(tokens >= 0)
        return [(found, tokens[found])]
    best = np.full(len(words), -1.0)  # tokens between a word and the nearest window edge
    window_of = np.full(len(words), -1)
    token_of = np.full(len(words), -1)
    for window, part in enumerate(offsets):
        content = np.flatnonzero(part[:, 1] > part[:, 0])
        if not len(content):
            continue
        # Only the words in this window, so that the run time is linear in the length of the text.
        first = np.searchsorted(words[:, 1], part[content, 0].min(), side="right")
        last = np.searchsorted(words[:, 0], part[content, 1].max(), side="left")
        tokens = align_words(part, words[first:last])
        before = tokens - content[0] if window > 0 else np.inf  # the ends of the text do not count as edges
        after = content[-1] - tokens if window < len(offsets) - 1 else np.inf
        distance = np.where(tokens >= 0, np.minimum(before, after), -1.0)
        # On a tie the earlier window is kept: a later one may begin with a later subword of the word.
        better = np.flatnonzero(distance > best[first:last])
        best[first + better] = distance[better]
        window_of[first + better] = window
        token_of[first + better] = tokens[better]
    order = np.argsort(window_of, kind="stable")
    edges = np.searchsorted(window_of[order], np.arange(len(offsets) + 1))
    shares = [order[edges[window] : edges[window + 1]] for window in range(len(offsets))]
    return [(share, token_of[share]) for share in shares]


_SURROGATES = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, with U+FFFD; the number of characters is kept."""
    return _SURROGATES.sub("\ufffd", text)


def fast_tokenizer(tokenizer: Any) -> None:
    """Check that `tokenizer` returns character offsets.

    Raises:
        TypeError: If it is not a tokenizer.
        ValueError: If it is a slow tokenizer.
    """
    if not hasattr(tokenizer, "is_fast"):
        raise TypeError(
            f"tokenizer is of type {type(tokenizer).__name__}: give `model.tokenizer`, or one from "
            "`AutoTokenizer.from_pretrained`"
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no character offsets: load the fast one, use_fast=True"
        )


tokenizer_lock = threading.Lock()
"""Held during calls of a fast tokenizer, which set its truncation and then use it, in two steps."""


def free_in_child(lock: Any) -> None:
    """Fork only while no other thread holds `lock`, which nobody would release in the child."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


free_in_child(tokenizer_lock)


def answer(
    inputs: Any,
    entities: Callable[[Iterable[Text]], Iterator[list[Any]]],
    is_split_into_words: bool = False,
    delimiter: str = " ",
) -> Any:
    """Apply `entities` to inputs of any form, and return the entities in the same form; see `predict`.

    Args:
        inputs: As in `predict`.
        entities: Function from texts to the entities of each text.
        is_split_into_words: As in `predict`.
        delimiter: Delimiter between the words of a list.
    """
    expected = "a list of words (is_split_into_words=True)" if is_split_into_words else "a string"

    def of_words(words: Any, where: str) -> Text:
        return text_from_words(words, where, delimiter)

    to_text = of_words if is_split_into_words else text_from_string

    def stream(items: Iterable[Any]) -> Iterator[list[Any]]:
        return entities(to_text(item, f"inputs[{index}]") for index, item in enumerate(items))

    if isinstance(inputs, str):
        if is_split_into_words:
            raise TypeError("inputs is a string, but is_split_into_words=True: give a list of words")
        return next(stream([inputs]))
    if not isinstance(inputs, Iterable) and hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):
        # A map-style dataset of torch, such as the `KeyDataset` of transformers.
        rows: Any = inputs
        return stream(rows[index] for index in range(len(rows)))
    if isinstance(inputs, bytes | bytearray | Mapping) or not isinstance(inputs, Iterable):
        raise TypeError(
            f"inputs is of type {type(inputs).__name__}: give {expected}, or a list or generator of those"
        )
    if not isinstance(inputs, list | tuple):
        return stream(inputs)
    if is_split_into_words and len(inputs) and isinstance(inputs[0], str):
        return next(entities([of_words(inputs, "inputs")]))
    return list(stream(inputs))
