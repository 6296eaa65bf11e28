"""The Hugging Face pipelines: `few-shot-ner` around `predict`, and `token-classification`.

An aggregation strategy combines tokens into entities. `first` is the one of `predict`: the scores of a word
are those of its first subword, as in training. The other strategies use all tokens of a text. With every
strategy labels are not split into tag and type, long texts are split into windows, `word` is a substring of
the text, and scores are probabilities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import Pipeline, PreTrainedTokenizerBase, TokenClassificationPipeline
from transformers.utils import ModelOutput

from .configuration_lacl import LaclConfig
from .decoding_lacl import OUTSIDE, log_softmax, outside_scores, softmax
from .modeling_lacl import LaclForTokenClassification, LaclModel
from .prediction_lacl import Entity, Predictor, Scores, Window, model_for_call, real_number
from .words_lacl import Text, answer, share_words, tokenizer_lock, without_surrogates

# `config.json` refers to all classes of a checkpoint through this file.
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
    threshold: float | None = None,
    overlap: str = "flat",
    batch_size: int | None = None,
    stride: int = 32,
) -> Any:
    """Find the tokens or entities of one text, several texts, or a stream of texts.

    Args:
        model, inputs, is_split_into_words, labels, support: As in `predict`.
        aggregation_strategy: `none` returns tokens, each with its best label. `simple` joins adjacent tokens
            of one label, regardless of words. With the other strategies each word has one label. Its scores
            are those of its first subword (`first`), the average over its subwords (`average`), or those of
            the subword with the most probable label (`max`). Words are decoded and joined as in `predict`.
        ignore_labels: Labels that are not returned. Without `O`, outside is returned as well.
        delimiter: Delimiter between the words of a list.
        threshold, overlap, batch_size, stride: As in `predict`. A model of spans finds them with `first`;
            with the other strategies it labels tokens, by their scores of being inside an entity.

    Returns:
        As in `predict`. With `none`, each dict has `entity` (label), `score`, `index` (of the token in the
        whole text, including special tokens), `word`, `start` and `end`.

    Raises:
        ValueError: If the strategy is unknown, or as in `predict`.
        TypeError: As in `predict`.
    """
    minimum = None if threshold is None else real_number("threshold", threshold, 0, 1)
    strategy = _strategy(aggregation_strategy)
    called = model_for_call(model, labels, support, batch_size)
    predictor = STRATEGIES[strategy].build(called, batch_size, stride, overlap=overlap)
    find = partial(_found_tokens, predictor) if strategy == "none" else predictor.entities
    return answer(
        inputs,
        lambda texts: find(texts, minimum, ignore_labels),
        is_split_into_words,
        delimiter,
    )


@dataclass(frozen=True)
class _Tokens(Text):
    """A text whose words are its tokens, except tokens without visible characters."""

    places: np.ndarray  # (W,) int64, index of each token in the text, including special tokens
    input_ids: np.ndarray  # (T,) int64, of the whole text
    before: int  # number of special tokens before the text
    after: int  # number of special tokens after it


class _TokenPredictor(Predictor):
    """Predictor of tokens, by their index: tokens of one character (bytes) have the same offsets."""

    def windows(self, texts: Sequence[Text]) -> list[Window]:
        windows = []
        bases = np.cumsum([0, *(len(text.words) for text in texts)])  # tokens are counted across the buffer
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
    """Return (N, 2) spans of length 1 that start at `places` (N,)."""
    return np.stack([places, places + 1], axis=1)


class _TokenLabelPredictor(_TokenPredictor):
    """Predictor that assigns every token its best label."""

    def label_ids(self, texts: Iterable[Text]) -> Iterator[tuple[Text, Scores, NDArray[np.int64]]]:
        return super().label_ids(_tokens(self.model.tokenizer, text) for text in texts)

    def decode(self, texts: Sequence[Text], scores: Sequence[Scores]) -> list[NDArray[np.int64]]:
        return [text_scores.argmax(1) for text_scores in scores]


class _SimplePredictor(_TokenLabelPredictor):
    """The same, but tokens that share a character have the label of the first: runs do not overlap."""

    def decode(self, texts: Sequence[Text], scores: Sequence[Scores]) -> list[NDArray[np.int64]]:
        firsts = []
        for text in texts:
            is_first = np.append(True, text.words[1:, 0] >= text.words[:-1, 1])[: len(text.words)]
            firsts.append(np.maximum.accumulate(np.where(is_first, np.arange(len(is_first)), 0)))
        return [ids[first] for ids, first in zip(super().decode(texts, scores), firsts, strict=True)]


class _WordPredictor(_TokenPredictor, ABC):
    """Predictor that computes the scores of a word from all of its subwords."""

    def scores(self, texts: Sequence[Text]) -> list[Scores]:
        tokens = [_tokens(self.model.tokenizer, text) for text in texts]
        token_scores = super().scores(tokens)
        return [
            self._word_scores(text.words, own.words, scores)
            for text, own, scores in zip(texts, tokens, token_scores, strict=True)
        ]

    def _word_scores(self, words: NDArray[np.int64], tokens: NDArray[np.int64], scores: Scores) -> Scores:
        """Return (W, K) log-scores of words (W, 2) from the log-scores (T, K) of tokens (T, 2)."""
        result = np.tile(outside_scores(len(self.labels)), (len(words), 1))
        first = np.searchsorted(tokens[:, 1], words[:, 0], side="right")
        counts = np.maximum(np.searchsorted(tokens[:, 0], words[:, 1], side="left") - first, 0)
        found = np.flatnonzero(counts)
        counts = counts[found]
        if not len(found):
            return result
        # The tokens of all words, concatenated; a token may belong to several words.
        starts = np.cumsum(counts) - counts
        nth = np.arange(counts.sum()) - np.repeat(starts, counts)
        result[found] = self.combine(scores[np.repeat(first[found], counts) + nth], starts)
        return result

    @abstractmethod
    def combine(self, scores: Scores, starts: NDArray[np.int64]) -> Scores:
        """Return (W, K) log-scores of words from (N, K) of their tokens; `starts` (W,) are the first ones."""


class _AveragePredictor(_WordPredictor):
    def combine(self, scores: Scores, starts: NDArray[np.int64]) -> Scores:
        counts = np.diff(starts, append=len(scores))[:, None]
        mean = np.add.reduceat(softmax(scores), starts) / counts
        # Not `IMPOSSIBLE`, by which words without a token are known.
        lowest = np.full(mean.shape, np.finfo(np.float32).min, dtype=np.float32)
        return np.log(mean, out=lowest, where=mean > 0, casting="same_kind")


class _MaxPredictor(_WordPredictor):
    def combine(self, scores: Scores, starts: NDArray[np.int64]) -> Scores:
        words = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(scores)))
        # Sort by word, then by probability; among equal tokens the first comes first.
        order = np.lexsort((-np.exp(log_softmax(scores).max(1)), words))
        return scores[order[starts]]


STRATEGIES = {
    "none": _TokenLabelPredictor,
    "simple": _SimplePredictor,
    "first": Predictor,
    "average": _AveragePredictor,
    "max": _MaxPredictor,
}
"""Predictor of each aggregation strategy."""


def _strategy(given: Any) -> str:
    """Return the name of a strategy: of an `AggregationStrategy` of transformers, or a name in any case."""
    name = str(getattr(given, "value", given)).lower()
    if name not in STRATEGIES:
        raise ValueError(f"aggregation_strategy is {given!r}: give one of {', '.join(STRATEGIES)}")
    return name


def _found_tokens(
    predictor: Predictor, texts: Iterable[Text], threshold: float | None, ignored: Collection[str]
) -> Iterator[list[Entity]]:
    """Yield the tokens of each text, in the order of the texts."""
    for text, scores, ids in predictor.label_ids(texts):
        assert isinstance(text, _Tokens)
        probabilities = softmax(scores).max(1).tolist()
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
            if score >= (threshold or 0) and predictor.labels[label] not in ignored
        ]


def _tokens(tokenizer: PreTrainedTokenizerBase, text: Text) -> _Tokens:
    """Tokenize a whole text, without truncation."""
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
        # Some tokenizers include the space before a word in its first subword.
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


class _BatchingPipeline(Pipeline):
    """Base class of pipelines that process all inputs of a call together, instead of one text at a time.

    This allows sorting texts by length into batches.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = None  # loaded if saved with the model, else the one of the model

    def __init__(self, model: Any, tokenizer: Any = None, **kwargs: Any) -> None:
        if tokenizer is None:
            tokenizer = model.tokenizer
        else:
            model.tokenizer = tokenizer  # also used for label names given in a call
        super().__init__(model=model, tokenizer=tokenizer, **kwargs)

    def __call__(  # type: ignore[override]  # one signature for all kinds of input
        self, inputs: Any, *, num_workers: Any = None, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """Process one text, a list of texts, or a stream.

        Args:
            inputs: As in [`LaclForTokenClassification.predict`].
            num_workers: Accepted for compatibility with other pipelines, and ignored.
            batch_size: Windows of text per batch.
            **kwargs: As in [`LaclForTokenClassification.predict`] or, for `token-classification`, in
                [`pipeline_lacl.aggregate`]. They take precedence over those of the constructor.
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


class LaclPipeline(_BatchingPipeline):
    """Pipeline for few-shot NER: `LaclPipeline(model)("Ana Ruiz flew to Quito.")`.

    Inputs, keyword arguments and results are those of [`LaclForTokenClassification.predict`]. Keyword
    arguments of the constructor are defaults for every call. Unlike other pipelines, this one sorts texts by
    length into batches.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: A fast tokenizer. Defaults to that of the model.
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
        unknown = set(kwargs) - {"is_split_into_words", "labels", "support", "threshold", "overlap", "stride"}
        if unknown:
            raise TypeError(f"a LaclPipeline has no argument {', '.join(sorted(unknown))}")
        return {}, {name: value for name, value in kwargs.items() if value is not None}, {}

    def _forward(self, input_tensors: dict[str, Any], **forward_parameters: Any) -> ModelOutput:
        model: Any = self.model
        return ModelOutput(entities=model.predict(input_tensors["inputs"], **forward_parameters))


class LaclTokenClassificationPipeline(_BatchingPipeline, TokenClassificationPipeline):  # type: ignore[misc]
    """`pipeline("token-classification")` for LACL: with `aggregation_strategy="first"` like [`LaclPipeline`].

    Takes the arguments of the standard pipeline, and `labels`, `support`, `threshold` and `overlap`. The
    strategies are described in [`pipeline_lacl.aggregate`]. The standard pipeline removes everything before
    the first hyphen of a label as a tag prefix ("creative-work" becomes "work"), returns `word` as decoded by
    the tokenizer, and fails on texts longer than the encoder allows. This pipeline keeps labels unchanged,
    returns `word` as `text[start:end]`, splits long texts into windows that overlap by `stride`, and returns
    scores as float.

    Args:
        model: A [`LaclForTokenClassification`].
        tokenizer: A fast tokenizer. Defaults to that of the model.
        **kwargs: `device`, and defaults for the arguments of a call: `aggregation_strategy`, `ignore_labels`,
            `is_split_into_words`, `delimiter`, `stride`, `labels`, `support`, `threshold` and `overlap`.
    """

    def __init__(
        self, model: Any, tokenizer: Any = None, *, task: str = STANDARD_TASK, **kwargs: Any
    ) -> None:
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(  # type: ignore[override]
        self, *, aggregation_strategy: Any = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = {"ignore_labels", "is_split_into_words", "delimiter", "stride"}
        unknown = set(kwargs) - known - {"labels", "support", "threshold", "overlap"}
        if unknown:
            raise TypeError(f"a {type(self).__name__} has no argument {', '.join(sorted(unknown))}")
        options = {name: value for name, value in kwargs.items() if value is not None}
        if aggregation_strategy is not None:
            options["aggregation_strategy"] = _strategy(aggregation_strategy)
        return {}, options, {}

    def _forward(  # type: ignore[override]
        self, input_tensors: dict[str, Any], **forward_parameters: Any
    ) -> ModelOutput:
        model: Any = self.model
        return ModelOutput(entities=aggregate(model, input_tensors["inputs"], **forward_parameters))

    def check_model_type(self, supported_models: Any) -> None:
        """Accept the model; the standard pipeline would log an error for models that transformers lacks."""
