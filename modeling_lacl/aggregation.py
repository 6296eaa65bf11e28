"""The strategies of the standard token-classification pipeline, by which tokens become entities.

`first` is what `predict` does: a word has the scores of its first token, as in training. The others go by all
tokens of a text. Under every strategy labels stay whole, long text goes through windows, a word is as it
stands in the text, and a score is a probability.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .checks import real_number
from .configuration_lacl import OUTSIDE
from .decoding import IMPOSSIBLE, outside_scores
from .given_support import with_support
from .label_set import tokenizer_lock
from .prediction import Entity, _Predictor, _Text, _Window, answer
from .sentences import without_surrogates
from .words import share_words

if TYPE_CHECKING:
    from .modeling_lacl import LaclForTokenClassification


def aggregate(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Any,
    *,
    aggregation_strategy: str = "none",
    ignore_labels: Collection[str] = (OUTSIDE,),
    is_split_into_words: bool = False,
    delimiter: str = " ",
    labels: Sequence[str] | Mapping[str, str] | None = None,
    support: Any = None,
    threshold: float = 0.0,
    batch_size: int | None = None,
    stride: int = 32,
) -> Any:
    """Tokens or entities of one text, of many, or of a stream.

    Args:
        model, tokenizer, inputs, is_split_into_words, labels, support: As in `predict`.
        aggregation_strategy: `none` gives tokens, each with its own best label. `simple` makes an entity of
            neighbouring tokens of one label, wherever words begin. By the others no label changes inside of a
            word, whose scores are those of its `first` token, the `average` over its tokens, or those of the
            token whose best label is the most probable (`max`); words are labelled and joined as in
            `predict`.
        ignore_labels: Labels that are left out; without `O`, what is outside is given as well.
        delimiter: Stands between words that are given as a list.
        threshold, batch_size, stride: As in `predict`.

    Returns:
        As `predict`. By `none` a dict has `entity` (label), `score`, `index` (of the token in the whole text,
        special tokens counted), `word`, `start` and `end`.

    Raises:
        ValueError: An unknown strategy, or as `predict`.
        TypeError: As `predict`.
    """
    threshold = real_number("threshold", threshold, 0, 1)
    if aggregation_strategy not in STRATEGIES:
        raise ValueError(
            f"aggregation_strategy is {aggregation_strategy!r}: give one of {', '.join(STRATEGIES)}"
        )
    if support is not None:
        model, labels = with_support(model, tokenizer, support, labels, batch_size), None
    predictor = STRATEGIES[aggregation_strategy].build(model, tokenizer, labels, batch_size, stride)
    find = partial(_found_tokens, predictor) if aggregation_strategy == "none" else predictor.entities
    return answer(
        inputs,
        lambda texts: find(texts, threshold, ignore_labels),
        is_split_into_words,
        delimiter,
    )


@dataclass(frozen=True)
class _Tokens(_Text):
    """A text whose words are its tokens, but for those that cover no visible character."""

    places: np.ndarray  # (W,) int64, which token of the text each is, special ones counted
    input_ids: np.ndarray  # (T,) int64, of the whole text
    before: int  # special tokens before the text
    after: int  # and after it


class _OfTokens(_Predictor):
    """Reads tokens by their number: those of one character, as bytes are, share their offsets."""

    def windows(self, texts: Sequence[_Text]) -> list[_Window]:
        windows = []
        bases = np.cumsum([0, *(len(text.words) for text in texts)])  # numbers count on through the buffer
        for text, base in zip(texts, bases[:-1], strict=True):
            assert isinstance(text, _Tokens)
            if not len(text.words):
                continue
            ids, before, end = text.input_ids, text.before, len(text.input_ids) - text.after
            room = self.max_length - before - text.after
            starts = range(before, max(end - self.stride, before + 1), room - self.stride)
            parts = [np.arange(start, min(start + room, end)) for start in starts]
            shares = share_words([_spans(part) for part in parts], _spans(text.places))
            for part, (words, tokens) in zip(parts, shares, strict=True):
                if len(words):
                    input_ids = [*ids[:before].tolist(), *ids[part].tolist(), *ids[end:].tolist()]
                    windows.append(_Window(input_ids, words + base, tokens + before))
        return windows


def _spans(places: np.ndarray) -> np.ndarray:
    """(N, 2) of (N,): from each number to the next."""
    return np.stack([places, places + 1], axis=1)


class _ByToken(_OfTokens):
    """Takes every token for a word, and its best label for the label."""

    def label_ids(self, texts: Iterable[_Text]) -> Iterator[tuple[_Text, Tensor, np.ndarray]]:
        return super().label_ids(_tokens(self.tokenizer, text) for text in texts)

    def decode(self, texts: Sequence[_Text], scores: Sequence[Tensor]) -> list[np.ndarray]:
        return [of_text.argmax(dim=1).numpy() for of_text in scores]


class _ByWholeWord(_OfTokens, ABC):
    """Gives a word scores that go by all of its tokens."""

    def scores(self, texts: Sequence[_Text]) -> list[Tensor]:
        tokens = [_tokens(self.tokenizer, text) for text in texts]
        of_tokens = super().scores(tokens)
        return [
            self._of_words(text.words, own.words, scores)
            for text, own, scores in zip(texts, tokens, of_tokens, strict=True)
        ]

    def _of_words(self, words: np.ndarray, tokens: np.ndarray, scores: Tensor) -> Tensor:
        """(W, K) log-scores of words (W, 2) from those (T, K) of tokens (T, 2)."""
        result = outside_scores(len(self.labels)).repeat(len(words), 1)
        first = np.searchsorted(tokens[:, 1], words[:, 0], side="right")
        counts = np.maximum(np.searchsorted(tokens[:, 0], words[:, 1], side="left") - first, 0)
        found = np.flatnonzero(counts)
        counts = counts[found]
        # Every token of every word, one after the other; a token may belong to several words.
        rows = np.repeat(np.arange(len(found)), counts)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = torch.from_numpy(np.repeat(first[found], counts) + nth)
        result[torch.from_numpy(found)] = self.combine(scores[taken], torch.from_numpy(rows), len(found))
        return result

    @abstractmethod
    def combine(self, scores: Tensor, words: Tensor, number: int) -> Tensor:
        """(number, K) log-scores of words from those (N, K) of their tokens, sorted by `words` (N,)."""


class _ByAverage(_ByWholeWord):
    def combine(self, scores: Tensor, words: Tensor, number: int) -> Tensor:
        total = torch.zeros(number, scores.shape[1], dtype=torch.float64)
        total = total.index_add(0, words, scores.double().softmax(dim=1))
        counts = torch.bincount(words, minlength=number).unsqueeze(1)
        return (total / counts).log().clamp(min=IMPOSSIBLE).float()


class _ByMost(_ByWholeWord):
    def combine(self, scores: Tensor, words: Tensor, number: int) -> Tensor:
        best = scores.softmax(dim=1).amax(dim=1)
        # The most probable token of a word first; of equal ones the first.
        order = np.lexsort((-best.numpy(), words.numpy()))
        starts = np.searchsorted(words.numpy(), np.arange(number))
        return scores[torch.from_numpy(order[starts])]


STRATEGIES = {
    "none": _ByToken,
    "simple": _ByToken,
    "first": _Predictor,
    "average": _ByAverage,
    "max": _ByMost,
}
"""What scores a text by each strategy."""


def _found_tokens(
    predictor: _Predictor, texts: Iterable[_Text], threshold: float, ignored: Collection[str]
) -> Iterator[list[Entity]]:
    """The tokens of each text, in the order of the texts."""
    for text, scores, ids in predictor.label_ids(texts):
        assert isinstance(text, _Tokens)
        probabilities = scores.double().softmax(dim=1).amax(dim=1).tolist()
        rows = zip(ids.tolist(), probabilities, text.places.tolist(), text.words.tolist(), strict=True)
        yield [
            {
                "entity": predictor.labels[label],
                "score": score,
                "index": place,
                "word": text.text[start:end],
                "start": start,
                "end": end,
            }
            for label, score, place, (start, end) in rows
            if score >= threshold and predictor.labels[label] not in ignored
        ]


def _tokens(tokenizer: PreTrainedTokenizerBase, text: _Text) -> _Tokens:
    with tokenizer_lock:
        encoded = tokenizer(
            without_surrogates(text.text),
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # a long text is cut into windows later
        )
    words, places = [], []
    special = encoded["special_tokens_mask"]
    for place, ((start, end), is_special) in enumerate(zip(encoded["offset_mapping"], special, strict=True)):
        # Some tokenizers count the space before a word as part of its first token.
        start += len(text.text[start:end]) - len(text.text[start:end].lstrip())
        if start < end and not is_special:
            words.append((start, end))
            places.append(place)
    return _Tokens(
        text.text,
        np.asarray(words, dtype=np.int64).reshape(-1, 2),
        np.asarray(places, dtype=np.int64),
        np.asarray(encoded["input_ids"], dtype=np.int64),
        before=(special + [0]).index(0),
        after=(special[::-1] + [0]).index(0),
    )
