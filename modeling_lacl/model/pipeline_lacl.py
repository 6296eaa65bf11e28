"""The Hugging Face pipelines: `few-shot-ner` around `predict`, and `token-classification`.

By a strategy tokens become entities. `first` is what `predict` does: a word has the scores of its first
token, as in training. The others go by all tokens of a text. Under every strategy labels stay whole, long
text goes through windows, a word is as it stands in the text, and a score is a probability.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Pipeline, PreTrainedTokenizerBase, TokenClassificationPipeline
from transformers.utils import ModelOutput

from .configuration_lacl import OUTSIDE, LaclConfig, real_number
from .decoding_lacl import IMPOSSIBLE, outside_scores
from .labels_lacl import tokenizer_lock
from .modeling_lacl import LaclForTokenClassification, LaclModel
from .prediction_lacl import Entity, Predictor, Text, Window, answer, model_for_call, predict
from .words_lacl import share_words, without_surrogates

# `config.json` names all of a checkpoint's classes in this file.
__all__ = [
    "STRATEGIES",
    "LaclConfig",
    "LaclForTokenClassification",
    "LaclModel",
    "LaclPipeline",
    "LaclTokenClassificationPipeline",
    "aggregate",
]


def aggregate(
    model: LaclForTokenClassification,
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
        model, inputs, is_split_into_words, labels, support: As in `predict`.
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
    called = model_for_call(model, labels, support, batch_size)
    predictor = STRATEGIES[aggregation_strategy].build(called, batch_size, stride)
    find = partial(_found_tokens, predictor) if aggregation_strategy == "none" else predictor.entities
    return answer(
        inputs,
        lambda texts: find(texts, threshold, ignore_labels),
        is_split_into_words,
        delimiter,
    )


@dataclass(frozen=True)
class _Tokens(Text):
    """A text whose words are its tokens, but for those that cover no visible character."""

    places: np.ndarray  # (W,) int64, which token of the text each is, special ones counted
    input_ids: np.ndarray  # (T,) int64, of the whole text
    before: int  # special tokens before the text
    after: int  # and after it


class _OfTokens(Predictor):
    """Reads tokens by their number: those of one character, as bytes are, share their offsets."""

    def windows(self, texts: Sequence[Text]) -> list[Window]:
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
                    windows.append(Window(input_ids, words + base, tokens + before))
        return windows


def _spans(places: np.ndarray) -> np.ndarray:
    """(N, 2) of (N,): from each number to the next."""
    return np.stack([places, places + 1], axis=1)


class _ByToken(_OfTokens):
    """Takes every token for a word, and its best label for the label."""

    def label_ids(self, texts: Iterable[Text]) -> Iterator[tuple[Text, Tensor, np.ndarray]]:
        return super().label_ids(_tokens(self.model.tokenizer, text) for text in texts)

    def decode(self, texts: Sequence[Text], scores: Sequence[Tensor]) -> list[np.ndarray]:
        return [of_text.argmax(dim=1).numpy() for of_text in scores]


class _ByWholeWord(_OfTokens, ABC):
    """Gives a word scores that go by all of its tokens."""

    def scores(self, texts: Sequence[Text]) -> list[Tensor]:
        tokens = [_tokens(self.model.tokenizer, text) for text in texts]
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
    "first": Predictor,
    "average": _ByAverage,
    "max": _ByMost,
}
"""What scores a text by each strategy."""


def _found_tokens(
    predictor: Predictor, texts: Iterable[Text], threshold: float, ignored: Collection[str]
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


def _tokens(tokenizer: PreTrainedTokenizerBase, text: Text) -> _Tokens:
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


TASK = "few-shot-ner"
STANDARD_TASK = "token-classification"


class _AllAtOnce(Pipeline):
    """Of a pipeline that is given all inputs of a call at once, where others go text by text.

    So texts can be sorted by length into batches.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = None  # loaded where there is one beside the model, else the model's own

    def __init__(self, model: Any, tokenizer: Any = None, **kwargs: Any) -> None:
        if tokenizer is None:
            tokenizer = model.tokenizer
        else:
            model.tokenizer = tokenizer  # label names given in a call are written in the same tokens
        super().__init__(model=model, tokenizer=tokenizer, **kwargs)

    def __call__(  # type: ignore[override]  # one signature for all kinds of input
        self, inputs: Any, *, num_workers: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """What the pipeline finds in one text, a list, or a stream.

        Args:
            inputs: As in [`prediction.predict`].
            num_workers: Taken as every pipeline does; there is no work for them.
            batch_size: Windows of text that go through the encoder at once.
            **kwargs: As in [`prediction.predict`] or, for `token-classification`, in
                [`aggregation.aggregate`]; they go before those of the constructor.
        """
        options = {**self._forward_params, **self._sanitize_parameters(**kwargs)[1]}
        batch_size = self._batch_size if batch_size is None else batch_size
        if batch_size is not None:
            options["batch_size"] = batch_size
        return self.postprocess(self.forward(self.preprocess(inputs), **options))

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> dict[str, Any]:
        return {"inputs": input_}

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        return model_outputs["entities"]


class LaclPipeline(_AllAtOnce):
    """Text in, entities out: `LaclPipeline(model)("Ana Ruiz flew to Quito.")`.

    Takes the inputs and the keyword arguments of [`prediction.predict`] and gives its results; keyword
    arguments of the constructor are defaults for every call. Where other pipelines go text by text, this one
    sorts texts by length into batches.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: Its fast tokenizer; by default the one that the model holds or was saved with.
        **kwargs: `device`, and defaults for `predict`'s arguments.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, LaclPipeline
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> tagger = LaclPipeline(model, labels=["person", "city"])
        >>> [entity["word"] for entity in tagger("Ana Ruiz lives in Quito.")]
        ['Ana Ruiz', 'Quito']
    """

    def __init__(self, model: Any, tokenizer: Any = None, *, task: str = TASK, **kwargs: Any) -> None:
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = set(kwargs) - {"is_split_into_words", "labels", "support", "threshold", "stride"}
        if unknown:
            raise TypeError(f"a LaclPipeline has no argument {', '.join(sorted(unknown))}")
        return {}, kwargs, {}

    def _forward(self, input_tensors: dict[str, Any], **forward_parameters: Any) -> ModelOutput:
        return ModelOutput(entities=predict(self.model, input_tensors["inputs"], **forward_parameters))


class LaclTokenClassificationPipeline(_AllAtOnce, TokenClassificationPipeline):  # type: ignore[misc]
    """`pipeline("token-classification")` for LACL: with `aggregation_strategy="first"` as [`LaclPipeline`].

    Takes the arguments of the standard pipeline, and `labels`, `support` and `threshold`; what each strategy
    does stands at [`aggregation.aggregate`]. The standard pipeline takes what stands before the first hyphen
    of a label for a tag's prefix, and so makes "work" of "creative-work", writes `word` as the tokenizer
    does, and fails on a text longer than the encoder. Here a label stays whole, `text[start:end]` is the
    word, long text goes through windows (`stride` only says how far they overlap), and a score is a float.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: Its fast tokenizer; by default the one that the model holds or was saved with.
        **kwargs: `device`, and defaults for the arguments of a call: `aggregation_strategy`, `ignore_labels`,
            `is_split_into_words`, `delimiter`, `stride`, `labels`, `support` and `threshold`.
    """

    def __init__(
        self, model: Any, tokenizer: Any = None, *, task: str = STANDARD_TASK, **kwargs: Any
    ) -> None:
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(  # type: ignore[override]
        self, *, aggregation_strategy: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = {"ignore_labels", "is_split_into_words", "delimiter", "stride"}
        unknown = set(kwargs) - known - {"labels", "support", "threshold"}
        if unknown:
            raise TypeError(f"a {type(self).__name__} has no argument {', '.join(sorted(unknown))}")
        options = {name: value for name, value in kwargs.items() if value is not None}
        if aggregation_strategy is not None:
            # transformers' own `AggregationStrategy`, or its name in letters of any case.
            strategy = str(getattr(aggregation_strategy, "value", aggregation_strategy)).lower()
            if strategy not in STRATEGIES:
                raise ValueError(
                    f"aggregation_strategy is {aggregation_strategy!r}: give one of {', '.join(STRATEGIES)}"
                )
            options["aggregation_strategy"] = strategy
        return {}, options, {}

    def _forward(  # type: ignore[override]
        self, input_tensors: dict[str, Any], **forward_parameters: Any
    ) -> ModelOutput:
        model: Any = self.model
        return ModelOutput(entities=aggregate(model, input_tensors["inputs"], **forward_parameters))

    def check_model_type(self, supported_models: Any) -> None:
        """The list of transformers' own models, which the standard pipeline holds against every other."""
