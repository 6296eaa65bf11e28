"""Prediction: text -> words -> windows -> batches -> scores of words -> labels -> entities with offsets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from .checks import fast_tokenizer, real_number, whole_number
from .configuration_lacl import OUTSIDE as OUTSIDE_LABEL
from .configuration_lacl import LaclConfig
from .decoding import OUTSIDE, decode_scores, entity_scores, label_runs, outside_scores
from .divergences import OF_MEANS
from .evaluating import evaluating
from .label_set import tokenizer_lock
from .prompts import build_prompt, split_prompt
from .sentences import without_surrogates
from .words import align_words, has_emoji, is_emoji, share_words, split_words, word_offsets

if TYPE_CHECKING:
    from .modeling_lacl import LaclForTokenClassification

__all__ = ["align_words", "predict", "predict_words", "split_words", "word_gaussians", "word_scores"]

Entity: TypeAlias = dict[str, Any]

BATCH_SIZE = 32
# A buffer of texts is sorted by length into batches of little padding; one buffer at a time is in memory.
_BATCHES_PER_BUFFER = 32


def predict(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
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
        model: A model with a label set, or any with `labels`.
        tokenizer: Its tokenizer, a fast one.
        inputs: A string gives its entities; a list or tuple of strings a list of those; any other iterable (a
            generator, an open file, a column of a dataset, transformers' `KeyDataset`) a generator of those,
            which reads ahead no further than 32 batches.
        is_split_into_words: The texts are given as lists of words: a list of strings is *one* sentence, a
            list of lists is many, any other iterable of lists streams. Offsets are into `" ".join(words)`.
        labels: Other entity types than the model's own, found by their names alone, without support: a list
            of labels, or a mapping from labels to natural-language names.
        support: Labelled examples of other entity types, as `adapt` takes them, for this call only: as if
            adapted to them with `steps=0`. A checkpoint's own code, where the package is not installed, reads
            a list of examples alone. `labels` may then give the names of types, as a mapping.
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
    if support is not None:
        from .given_support import with_support

        model, labels = with_support(model, tokenizer, support, labels, batch_size), None
    predictor = _Predictor.build(model, tokenizer, labels, batch_size, stride)
    return answer(inputs, lambda texts: predictor.entities(texts, threshold), is_split_into_words)


def answer(
    inputs: Any,
    entities: Callable[[Iterable[_Text]], Iterator[list[Entity]]],
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

    def of_words(words: Any, where: str) -> _Text:
        return _text_from_words(words, where, delimiter)

    to_text = of_words if is_split_into_words else _text_from_string

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


def predict_words(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Iterable[Sequence[str]],
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[list[int]]:
    """The label id of every word of every sentence, for evaluation.

    Args:
        sentences: Lists of words.
        model, tokenizer, labels, batch_size, stride: As in `predict`; `labels` are numbered from 1 in order.

    Returns:
        One list per sentence with one label id per word, 0 for outside.
    """
    predictor = _Predictor.build(model, tokenizer, labels, batch_size, stride)
    texts = (_text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences))
    return [ids.tolist() for _, _, ids in predictor.label_ids(texts)]


def word_scores(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Iterable[Sequence[str]],
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[Tensor]:
    """Log-scores of every word of every sentence, windows merged; arguments as in `predict_words`.

    Returns:
        (W, K) float32 CPU tensors. A word without a token is outside.
    """
    predictor = _Predictor.build(model, tokenizer, labels, batch_size, stride)
    texts = (_text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences))
    return [scores for _, scores, _ in predictor.label_ids(texts)]


class EncodedWords(NamedTuple):
    """The words of a sentence as Gaussians, on the CPU.

    Attributes:
        mean, variance: (W, d) float32, the mean NaN for a word without a token.
        windows: How many windows the sentence took.
    """

    mean: Tensor
    variance: Tensor
    windows: int


def word_gaussians(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Iterable[Sequence[str]],
    *,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[EncodedWords]:
    """The Gaussian of every word of every sentence, for a model without label prompts.

    Args:
        model: A model made with `use_prompts=False`; its labels and its support play no part.
        sentences: Lists of words.
        tokenizer, batch_size, stride: As in `predict`.
    """
    predictor = _Predictor.build(model, tokenizer, None, batch_size, stride, for_scores=False)
    texts = [_text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences)]
    windows = predictor.windows(texts)
    ends = np.cumsum([len(text.words) for text in texts])
    texts_of_windows = np.searchsorted(ends, [window.words[0] for window in windows], side="right")
    counts = np.bincount(texts_of_windows, minlength=len(texts))
    size = model.config.projection_size
    # Where variances play no part, a one that is stored once stands for all of them.
    of_means = model.config.divergence in OF_MEANS
    missing = torch.full((size if of_means else 2 * size,), torch.nan)
    values = predictor.read(texts, windows, predictor.means if of_means else predictor.gaussians, missing)
    one = torch.ones(())
    return [
        EncodedWords(row[:, :size], one.expand(len(row), size) if of_means else row[:, size:], int(count))
        for row, count in zip(values, counts, strict=True)
    ]


@dataclass(frozen=True)
class _Text:
    text: str
    words: np.ndarray  # (W, 2) int64, (start, end) of each word


@dataclass(frozen=True)
class _Window:
    """A part of a text that the encoder sees at once, and the words that are read from it."""

    input_ids: list[int]
    words: np.ndarray  # (n,) word numbers, counted through the whole buffer
    tokens: np.ndarray  # (n,) the first token of each, in this window


def _text_from_string(text: Any, where: str) -> _Text:
    if isinstance(text, Mapping):
        raise TypeError(f"{where} has the keys {sorted(map(str, text))}: give one column, dataset['text']")
    if not isinstance(text, str):
        raise TypeError(f"{where} is of type {type(text).__name__}: give a string")
    return _Text(text, np.asarray(split_words(text), dtype=np.int64).reshape(-1, 2))


def _text_from_words(words: Any, where: str, delimiter: str = " ") -> _Text:
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise TypeError(f"{where} is of type {type(words).__name__}: give a list of words")
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(
                f"{where}[{index}] is of type {type(word).__name__}: give a string for every word"
            )
    return _Text(delimiter.join(words), word_offsets(words, delimiter))


@dataclass(frozen=True)
class _Predictor:
    """All that one call needs; nothing is kept on the model, so that threads can share it."""

    model: LaclForTokenClassification
    tokenizer: PreTrainedTokenizerBase
    labels: list[str]  # by id
    prompts: list[tuple[Tensor, Tensor]]  # of the call's own labels; empty: the model's own
    groups: list[list[int]]  # the label ids in each of `prompts`
    batch_size: int
    max_length: int  # tokens of a window, special ones included
    stride: int

    @classmethod
    def build(
        cls,
        model: LaclForTokenClassification,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str] | Mapping[str, str] | None,
        batch_size: int | None,
        stride: int,
        for_scores: bool = True,
    ) -> _Predictor:
        batch_size = BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, 1)
        stride = whole_number("stride", stride, 0)
        fast_tokenizer(tokenizer)
        config = model.config
        if labels is None:
            if for_scores and not config.use_prompts and not model.has_support:
                raise ValueError(
                    "the model has neither a support nor label prompts: adapt it to examples first"
                )
            id2label: Any = config.id2label
            names = [id2label[index] for index in range(len(id2label))]
            token_ids = config.label_token_ids or []
        else:
            names, token_ids = _resolve_labels(model, labels)
        groups = split_prompt(token_ids, config.max_prompt_length) if config.use_prompts and token_ids else []
        max_length = longest_text(model, token_ids, groups)
        groups = [] if labels is None else groups  # the model packs its own labels itself
        prompts = [build_prompt(token_ids, config.separator_token_id, group) for group in groups]
        room = max_length - tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise ValueError(
                f"of the encoder's {model.encoder_positions} positions the label names leave none for text: "
                "give shorter names, or lower config.max_prompt_length"
            )
        return cls(model, tokenizer, names, prompts, groups, batch_size, max_length, min(stride, room // 2))

    def entities(
        self, texts: Iterable[_Text], threshold: float, ignored: Collection[str] = (OUTSIDE_LABEL,)
    ) -> Iterator[list[Entity]]:
        """The entities of each text but those of `ignored` labels, in the order of the texts."""
        for text, scores, ids in self.label_ids(texts):
            runs = label_runs(ids, with_outside=OUTSIDE_LABEL not in ignored)
            yield [
                self._entity(text, run, score)
                for run, score in zip(runs, entity_scores(scores, runs), strict=True)
                if score >= threshold and self.labels[run[2]] not in ignored
            ]

    def _entity(self, text: _Text, run: tuple[int, int, int], score: float) -> Entity:
        start, end = int(text.words[run[0], 0]), int(text.words[run[1] - 1, 1])
        return {
            "entity_group": self.labels[run[2]],
            "score": score,
            "word": text.text[start:end],
            "start": start,
            "end": end,
        }

    def label_ids(self, texts: Iterable[_Text]) -> Iterator[tuple[_Text, Tensor, np.ndarray]]:
        """Each text with its words' scores (W, K) and label ids (W,), in the order of the texts."""
        stream = iter(texts)
        while buffer := list(islice(stream, self.batch_size * _BATCHES_PER_BUFFER)):
            scores = self.scores(buffer)
            yield from zip(buffer, scores, self.decode(buffer, scores), strict=True)

    def decode(self, texts: Sequence[_Text], scores: Sequence[Tensor]) -> list[np.ndarray]:
        """(W,) label ids of each text from its scores (W, K); overridden where tokens decide one by one."""
        return _decode(self.model.config, texts, scores)

    def scores(self, texts: Sequence[_Text]) -> list[Tensor]:
        """(W, K) log-scores of the words of each text."""
        return self.read(texts, self.windows(texts), self.logits, outside_scores(len(self.labels)))

    def read(
        self,
        texts: Sequence[_Text],
        windows: Sequence[_Window],
        values: Callable[[Sequence[_Window]], Tensor],
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

    def logits(self, batch: Sequence[_Window]) -> Tensor:
        """(B, L, K) log-scores of a batch of windows."""
        input_ids, attention_mask = self.inputs(batch)
        device = input_ids.device
        if not self.prompts:
            return self.model(input_ids, attention_mask, return_dict=True).logits
        merged = torch.zeros(*input_ids.shape, len(self.labels), device=device)
        for (prompt_ids, prompt_labels), group in zip(self.prompts, self.groups, strict=True):
            output = self.model(
                input_ids,
                attention_mask,
                prompt_ids=prompt_ids.to(device).expand(len(batch), -1),
                prompt_labels=prompt_labels.to(device).expand(len(batch), -1),
                return_dict=True,
            )
            # Several prompts are compared through "outside", which stands in each of them.
            merged[..., group] = (output.logits - output.logits[..., :1])[..., group].float()
        return merged.log_softmax(dim=-1)

    def means(self, batch: Sequence[_Window]) -> Tensor:
        """(B, L, d) means of a batch of windows, without a prompt."""
        return self.model.lacl(*self.inputs(batch)).mean

    def gaussians(self, batch: Sequence[_Window]) -> Tensor:
        """(B, L, 2d) means and variances of a batch of windows, without a prompt."""
        states = self.model.lacl(*self.inputs(batch))
        return torch.cat([states.mean, states.variance], dim=-1)

    def inputs(self, batch: Sequence[_Window]) -> tuple[Tensor, Tensor]:
        """(B, L) token ids and (B, L) attention mask."""
        lengths = np.asarray([len(window.input_ids) for window in batch])
        inside = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(inside.shape, self.model.config.pad_token_id or 0, dtype=np.int64)
        ids[inside] = np.concatenate([window.input_ids for window in batch])
        device = self.model.device
        return torch.from_numpy(ids).to(device), torch.from_numpy(inside.astype(np.int64)).to(device)

    def windows(self, texts: Sequence[_Text]) -> list[_Window]:
        """Cuts texts into windows of at most `max_length` tokens; each word with a token is read in one."""
        # Word numbers count on through the buffer. Texts without a word need no encoder.
        bases = np.cumsum([0, *(len(text.words) for text in texts)])
        numbers = [number for number, text in enumerate(texts) if len(text.words)]
        if not numbers:
            return []
        with tokenizer_lock:
            encoded = self.tokenizer(
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
            if self.tokenizer.truncation_side == "left":
                parts.reverse()  # such a tokenizer cuts from the end
            offsets = [np.asarray(encoded["offset_mapping"][part], dtype=np.int64) for part in parts]
            for part, (words, tokens) in zip(parts, share_words(offsets, texts[number].words), strict=True):
                if len(words):
                    windows.append(_Window(encoded["input_ids"][part], words + bases[number], tokens))
        return windows


def decode_words(
    config: LaclConfig, sentences: Iterable[Sequence[str]], scores: Sequence[Tensor]
) -> list[list[int]]:
    """The label id of every word, as `predict_words` gives it, from scores that are there already.

    Args:
        config: Of the model.
        sentences: Lists of words.
        scores: (W, K) log-scores of each sentence, as `word_scores` gives them.
    """
    texts = [_text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences)]
    return [ids.tolist() for ids in _decode(config, texts, scores)]


def _decode(config: LaclConfig, texts: Sequence[_Text], scores: Sequence[Tensor]) -> list[np.ndarray]:
    labels = decode_scores(config, scores)
    return [_without_edge_emoji(text, ids) for text, ids in zip(texts, labels, strict=True)]


def _without_edge_emoji(text: _Text, label_ids: np.ndarray) -> np.ndarray:
    """(W,) label ids in which no entity begins or ends with an emoji, but those of emoji alone."""
    if not has_emoji(text.text):
        return label_ids
    trimmed = label_ids.copy()
    for first, stop, _ in label_runs(label_ids):
        is_word = np.asarray([not is_emoji(text.text[start:end]) for start, end in text.words[first:stop]])
        kept = np.flatnonzero(is_word)
        if len(kept):
            trimmed[first : first + kept[0]] = OUTSIDE
            trimmed[first + kept[-1] + 1 : stop] = OUTSIDE
    return trimmed


def _resolve_labels(
    model: LaclForTokenClassification, labels: Sequence[str] | Mapping[str, str]
) -> tuple[list[str], list[list[int]]]:
    """Labels by id with outside first, and the tokens of their names."""
    if not model.config.use_prompts:
        raise ValueError(
            "labels needs a model with label prompts, and this one was made with use_prompts=False"
        )
    if isinstance(labels, str) or not isinstance(labels, Sequence | Mapping):
        raise TypeError(f"labels is {labels!r}: give a list of labels, or a mapping from labels to names")
    names = model.resolve_names(list(labels), labels if isinstance(labels, Mapping) else None)
    if len(names) < 2:
        raise ValueError(f"labels is {labels!r}: give at least one entity type")
    return list(names), model.tokenize_names(list(names.values()))


def longest_text(
    model: LaclForTokenClassification, token_ids: Sequence[Sequence[int]], groups: Sequence[Sequence[int]]
) -> int:
    """Longest text, in tokens with the special ones, that goes through the encoder with any of these prompts.

    Args:
        model: The model.
        token_ids: Tokens of each label's name, by label id.
        groups: Label ids of each prompt; none for a model without prompts.
    """
    prompts = (sum(len(token_ids[label]) + 1 for label in group) for group in groups)
    longest: int = min(model.config.max_text_length, model.encoder_positions - max(prompts, default=0))
    return longest
