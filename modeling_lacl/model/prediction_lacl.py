"""Prediction: text -> words -> windows -> batches -> scores of words -> labels -> entities with offsets."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from .configuration_lacl import OUTSIDE, OUTSIDE_ID, LaclConfig, real_number, whole_number
from .decoding_lacl import decode_scores, label_runs, outside_scores, run_scores
from .labels_lacl import fast_tokenizer, tokenizer_lock
from .saving_lacl import package
from .words_lacl import (
    has_emoji,
    is_emoji,
    share_words,
    split_words,
    without_surrogates,
    word_offsets,
)

_lock = threading.Lock()
# How many uses each part in training mode is set aside for. Models on the same weights share their parts.
_users: Counter[nn.Module] = Counter()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Dropout off inside; afterwards each part of the model is again in the mode in which it was.

    Threads can share the model: its parts go back to training mode with the last of those that are inside.
    What is no PyTorch module, an exported model, has no modes, and is left alone.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    with _lock:
        parts = [part for part in modules if part.training or part in _users]
        for part in parts:
            part.training = False
        _users.update(parts)
    try:
        yield
    finally:
        with _lock:
            for part in parts:
                _users[part] -= 1
                if not _users[part]:
                    del _users[part]
                    part.training = True


Entity: TypeAlias = dict[str, Any]

BATCH_SIZE = 32
# A buffer of texts is sorted by length into batches of little padding; one buffer at a time is in memory.
_BATCHES_PER_BUFFER = 32


def predict(
    model: Any,
    inputs: str | Iterable[str] | Iterable[Sequence[str]],
    *,
    is_split_into_words: bool = False,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    support: Any = None,
    threshold: float = 0.0,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[Entity] | list[list[Entity]] | Iterator[list[Entity]]:
    """Finds the entities of one text, of many, or of a stream.

    Args:
        model: A [`LaclForTokenClassification`] with a label set, or any with `labels`.
        inputs: A string gives its entities; a list or tuple of strings a list of those; any other iterable (a
            generator, an open file, a column of a dataset, transformers' `KeyDataset`) a generator of those,
            which reads ahead no further than 32 batches.
        is_split_into_words: The texts are given as lists of words: a list of strings is *one* sentence, a
            list of lists is many, any other iterable of lists streams. Offsets are into `" ".join(words)`.
        labels: Other entity types than the model's own, found by their names alone, without support: a list
            of labels, or a mapping from labels to natural-language names.
        support: Labelled examples of other entity types, as `adapt` takes them, for this call only: as if
            adapted to them with `steps=0`. Needs the installed package. `labels` may then give the names of
            types, as a mapping.
        threshold: Entities with a lower score are left out; from 0 to 1.
        batch_size: Windows of text that go through the encoder at once; None, as in pipelines, means 32.
        stride: Tokens that neighbouring windows of a long text share, at most half a window.

    Returns:
        Entities in order of their place, each a dict: `entity_group` (label), `score` (float in [0, 1], the
        mean probability of the label over the entity's words), `word`, `start` and `end`, where
        `text[start:end] == word`. Emoji at the edges of an entity are no part of it.

    Raises:
        TypeError: `inputs`, or one of the texts, or an argument is of another type than told.
        ValueError: An argument out of range, unusable labels or support, or a model that has nothing to
            compare with.
    """
    threshold = real_number("threshold", threshold, 0, 1)
    predictor = Predictor.build(model_for_call(model, labels, support, batch_size), batch_size, stride)
    return answer(inputs, lambda texts: predictor.entities(texts, threshold), is_split_into_words)


def model_for_call(model: Any, labels: Any, support: Any, batch_size: int | None) -> Any:
    """Return `model`, or one on its weights with the labels and the support of one call; see `predict`."""
    if support is not None:
        return package().with_support(model, support, labels, batch_size)
    return model if labels is None else model.with_labels(labels)


def answer(
    inputs: Any,
    entities: Callable[[Iterable[Text]], Iterator[list[Entity]]],
    is_split_into_words: bool = False,
    delimiter: str = " ",
) -> list[Entity] | list[list[Entity]] | Iterator[list[Entity]]:
    """What `entities` finds in texts, in the form in which they were given; see `predict`.

    Args:
        inputs: As in `predict`.
        entities: Takes texts and gives the entities of each.
        is_split_into_words: As in `predict`.
        delimiter: Stands between words that are given as a list.
    """
    wanted = "a list of words (is_split_into_words=True)" if is_split_into_words else "a string"

    def of_words(words: Any, where: str) -> Text:
        return text_from_words(words, where, delimiter)

    to_text = of_words if is_split_into_words else text_from_string

    def stream(items: Iterable[Any]) -> Iterator[list[Entity]]:
        return entities(to_text(item, f"inputs[{index}]") for index, item in enumerate(items))

    if isinstance(inputs, str):
        if is_split_into_words:
            raise TypeError("inputs is a string, but is_split_into_words=True: give a list of words")
        return next(stream([inputs]))
    if isinstance(inputs, Dataset) and not isinstance(inputs, Iterable):
        # Of torch, as transformers' `KeyDataset`: it has rows by number alone.
        rows: Any = inputs
        return stream(rows[index] for index in range(len(rows)))
    if isinstance(inputs, bytes | bytearray | Mapping) or not isinstance(inputs, Iterable):
        raise TypeError(
            f"inputs is of type {type(inputs).__name__}: give {wanted}, or a list or generator of those"
        )
    if not isinstance(inputs, list | tuple):
        return stream(inputs)
    if is_split_into_words and len(inputs) and isinstance(inputs[0], str):
        return next(entities([of_words(inputs, "inputs")]))
    return list(stream(inputs))


@dataclass(frozen=True)
class Text:
    text: str
    words: np.ndarray  # (W, 2) int64, (start, end) of each word


@dataclass(frozen=True)
class Window:
    """A part of a text that the encoder sees at once, and the words that are read from it."""

    input_ids: list[int]
    words: np.ndarray  # (n,) word numbers, counted through the whole buffer
    tokens: np.ndarray  # (n,) the first token of each, in this window


def text_from_string(text: Any, where: str) -> Text:
    if isinstance(text, Mapping):
        raise TypeError(f"{where} has the keys {sorted(map(str, text))}: give one column, dataset['text']")
    if not isinstance(text, str):
        raise TypeError(f"{where} is of type {type(text).__name__}: give a string")
    return Text(text, np.asarray(split_words(text), dtype=np.int64).reshape(-1, 2))


def text_from_words(words: Any, where: str, delimiter: str = " ") -> Text:
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise TypeError(f"{where} is of type {type(words).__name__}: give a list of words")
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(
                f"{where}[{index}] is of type {type(word).__name__}: give a string for every word"
            )
    return Text(delimiter.join(words), word_offsets(words, delimiter))


@dataclass(frozen=True)
class Predictor:
    """All that one call needs; nothing is kept on the model, so that threads can share it."""

    model: Any
    labels: list[str]  # by id
    batch_size: int
    max_length: int  # tokens of a window, special ones included
    stride: int

    @classmethod
    def build(
        cls, model: Any, batch_size: int | None = None, stride: int = 32, for_scores: bool = True
    ) -> Predictor:
        """Check the arguments of a call, and what the model has to compare with if `for_scores`."""
        batch_size = BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, 1)
        stride = whole_number("stride", stride, 0)
        tokenizer = model.tokenizer
        fast_tokenizer(tokenizer)
        config = model.config
        if for_scores and not config.use_prompts and not model.has_support:
            raise ValueError("the model has neither a support nor label prompts: adapt it to examples first")
        max_length = model.max_sequence_length
        room = max_length - tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise ValueError(
                "the label names leave none for text of the positions that the encoder has: "
                "give shorter names, or lower config.max_prompt_length"
            )
        labels = [config.id2label[index] for index in range(len(config.id2label))]
        return cls(model, labels, batch_size, max_length, min(stride, room // 2))

    def entities(
        self, texts: Iterable[Text], threshold: float, ignored: Collection[str] = (OUTSIDE,)
    ) -> Iterator[list[Entity]]:
        """The entities of each text but those of `ignored` labels, in the order of the texts."""
        for text, scores, ids in self.label_ids(texts):
            runs = label_runs(ids, with_outside=OUTSIDE not in ignored)
            yield [
                self._entity(text, run, score)
                for run, score in zip(runs, run_scores(scores, runs), strict=True)
                if score >= threshold and self.labels[run[2]] not in ignored
            ]

    def _entity(self, text: Text, run: tuple[int, int, int], score: float) -> Entity:
        start, end = int(text.words[run[0], 0]), int(text.words[run[1] - 1, 1])
        return {
            "entity_group": self.labels[run[2]],
            "score": score,
            "word": text.text[start:end],
            "start": start,
            "end": end,
        }

    def label_ids(self, texts: Iterable[Text]) -> Iterator[tuple[Text, Tensor, np.ndarray]]:
        """Each text with its words' scores (W, K) and label ids (W,), in the order of the texts."""
        stream = iter(texts)
        while buffer := list(islice(stream, self.batch_size * _BATCHES_PER_BUFFER)):
            scores = self.scores(buffer)
            yield from zip(buffer, scores, self.decode(buffer, scores), strict=True)

    def decode(self, texts: Sequence[Text], scores: Sequence[Tensor]) -> list[np.ndarray]:
        """(W,) label ids of each text from its scores (W, K); overridden where tokens decide one by one."""
        return decode_texts(self.model.config, texts, scores)

    def scores(self, texts: Sequence[Text]) -> list[Tensor]:
        """(W, K) log-scores of the words of each text."""
        return self.read(texts, self.windows(texts), self.logits, outside_scores(len(self.labels)))

    def read(
        self,
        texts: Sequence[Text],
        windows: Sequence[Window],
        values: Callable[[Sequence[Window]], Tensor],
        missing: Tensor,
    ) -> list[Tensor]:
        """(W, X) of each text: `values` (B, L, X) at a word's first token, else `missing` (X,)."""
        counts = [len(text.words) for text in texts]
        result = missing.repeat(sum(counts), 1)
        # The longest first: little padding, memory known.
        windows = sorted(windows, key=lambda window: -len(window.input_ids))
        with evaluating(self.model), torch.inference_mode():
            for first in range(0, len(windows), self.batch_size):
                batch = windows[first : first + self.batch_size]
                rows = np.repeat(np.arange(len(batch)), [len(window.words) for window in batch])
                tokens = np.concatenate([window.tokens for window in batch])
                words = np.concatenate([window.words for window in batch])
                read = values(batch)[torch.from_numpy(rows), torch.from_numpy(tokens)]
                result[torch.from_numpy(words)] = read.float().cpu()
        return list(result.split(counts))

    def logits(self, batch: Sequence[Window]) -> Tensor:
        """(B, L, K) log-scores of a batch of windows."""
        scores: Tensor = self.model(*self.inputs(batch), return_dict=True).logits
        return scores

    def inputs(self, batch: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """(B, L) token ids and (B, L) attention mask."""
        lengths = np.asarray([len(window.input_ids) for window in batch])
        inside = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(inside.shape, self.model.config.pad_token_id or 0, dtype=np.int64)
        ids[inside] = np.concatenate([window.input_ids for window in batch])
        device = self.model.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(inside.astype(np.int64)).to(device)

    def windows(self, texts: Sequence[Text]) -> list[Window]:
        """Cuts texts into windows of at most `max_length` tokens; each word with a token is read in one."""
        # Word numbers count on through the buffer. Texts without a word need no encoder.
        bases = np.cumsum([0, *(len(text.words) for text in texts)])
        numbers = [number for number, text in enumerate(texts) if len(text.words)]
        if not numbers:
            return []
        with tokenizer_lock:
            encoded = self.model.tokenizer(
                [without_surrogates(texts[number].text) for number in numbers],
                truncation=True,
                max_length=self.max_length,
                stride=self.stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        parts_of: list[list[int]] = [[] for _ in numbers]
        for part, sample in enumerate(encoded["overflow_to_sample_mapping"]):
            parts_of[sample].append(part)
        windows = []
        for number, parts in zip(numbers, parts_of, strict=True):
            if self.model.tokenizer.truncation_side == "left":
                parts.reverse()  # such a tokenizer cuts from the end
            offsets = [np.asarray(encoded["offset_mapping"][part], dtype=np.int64) for part in parts]
            for part, (words, tokens) in zip(parts, share_words(offsets, texts[number].words), strict=True):
                if len(words):
                    windows.append(Window(encoded["input_ids"][part], words + bases[number], tokens))
        return windows


def decode_texts(config: LaclConfig, texts: Sequence[Text], scores: Sequence[Tensor]) -> list[np.ndarray]:
    labels = decode_scores(config, scores)
    return [_without_edge_emoji(text, ids) for text, ids in zip(texts, labels, strict=True)]


def _without_edge_emoji(text: Text, label_ids: np.ndarray) -> np.ndarray:
    """(W,) label ids in which no entity begins or ends with an emoji, but those of emoji alone."""
    if not has_emoji(text.text):
        return label_ids
    trimmed = label_ids.copy()
    for first, stop, _ in label_runs(label_ids):
        is_word = np.asarray([not is_emoji(text.text[start:end]) for start, end in text.words[first:stop]])
        kept = np.flatnonzero(is_word)
        if len(kept):
            trimmed[first : first + kept[0]] = OUTSIDE_ID
            trimmed[first + kept[-1] + 1 : stop] = OUTSIDE_ID
    return trimmed
