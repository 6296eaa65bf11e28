"""Labels, scores and Gaussians of sentences that are given as lists of words, for evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model.configuration_lacl import LaclConfig
from ..model.decoding_lacl import OUTSIDE, label_runs
from ..model.losses_lacl import MEAN_DIVERGENCES
from ..model.prediction_lacl import (
    BATCH_SIZE,
    Predictor,
    SpanPredictor,
    decode_texts,
)
from ..model.words_lacl import text_from_words


def predict_words(
    model: Any,
    sentences: Iterable[Sequence[str]],
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[list[int]]:
    """Return the label id of every word of every sentence.

    Args:
        model: A [`LaclForTokenClassification`].
        sentences: Lists of words.
        labels, batch_size, stride: As in `predict`; `labels` are numbered from 1 in order.

    Returns:
        One list per sentence with one label id per word, 0 for outside.
    """
    predictor = Predictor.build(model if labels is None else model.with_labels(labels), batch_size, stride)
    texts = (text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences))
    return [ids.tolist() for _, _, ids in predictor.label_ids(texts)]


def predict_spans(
    model: Any,
    sentences: Iterable[Sequence[str]],
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    threshold: float | None = None,
    overlap: str = "flat",
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[list[tuple[int, int, str]]]:
    """Return the entities of every sentence as (first word, one past the last, type).

    The arguments are those of `predict_words` and `predict`.
    """
    called = model if labels is None else model.with_labels(labels)
    predictor = Predictor.build(called, batch_size, stride, overlap=overlap)
    texts = (text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences))
    if isinstance(predictor, SpanPredictor):
        found: Iterable[Iterable[tuple[int, int, int]]] = (
            [(first, last + 1, label) for first, last, label in spans]
            for _, spans, _ in predictor.spans(texts, threshold)
        )
    else:
        found = (label_runs(ids) for _, _, ids in predictor.label_ids(texts))
    return [[(first, stop, predictor.labels[label]) for first, stop, label in spans] for spans in found]


def predict_tags(
    model: Any,
    sentences: Sequence[Sequence[str]],
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    batch_size: int | None = BATCH_SIZE,
) -> list[list[str]]:
    """Return the BIO tag of every word of every sentence; the arguments are those of `predict_words`."""
    found = predict_spans(model, sentences, labels=labels, batch_size=batch_size)
    tags = [[OUTSIDE] * len(words) for words in sentences]
    for sentence, spans in zip(tags, found, strict=True):
        for first, stop, label in spans:
            sentence[first:stop] = [f"B-{label}", *[f"I-{label}"] * (stop - first - 1)]
    return tags


def word_scores(
    model: Any,
    sentences: Iterable[Sequence[str]],
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[Tensor]:
    """Return the log-scores of every word of every sentence, with windows merged.

    The arguments are those of `predict_words`.

    Returns:
        (W, K) float32 CPU tensors, one per sentence. A word without a token is outside.
    """
    predictor = Predictor.build(model if labels is None else model.with_labels(labels), batch_size, stride)
    texts = (text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences))
    return [torch.from_numpy(scores) for _, scores, _ in predictor.label_ids(texts)]


class EncodedWords(NamedTuple):
    """The words of a sentence as Gaussians, on the CPU.

    Attributes:
        mean, variance: (W, d) float32, the mean NaN for a word without a token.
        windows: Number of windows of the sentence.
    """

    mean: Tensor
    variance: Tensor
    windows: int


def word_gaussians(
    model: Any,
    sentences: Iterable[Sequence[str]],
    *,
    batch_size: int | None = BATCH_SIZE,
    stride: int = 32,
) -> list[EncodedWords]:
    """Return the Gaussian of every word of every sentence, for a model without label prompts.

    Args:
        model: A model with `use_prompts=False`; its labels and its support set are not used.
        sentences: Lists of words.
        batch_size, stride: As in `predict`.

    Returns:
        The encoded words of each sentence.
    """
    predictor = Predictor.build(model, batch_size, stride, for_scores=False)
    texts = [text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences)]
    windows = predictor.windows(texts)
    ends = np.cumsum([len(text.words) for text in texts])
    texts_of_windows = np.searchsorted(ends, [window.words[0] for window in windows], side="right")
    counts = np.bincount(texts_of_windows, minlength=len(texts))
    size = model.config.gaussian_size
    # Variances that the divergence ignores are a single 1, expanded to all words without a copy.
    of_means = model.config.divergence in MEAN_DIVERGENCES

    def gaussians(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the (B, L, d) means of a batch, or its (B, L, 2d) means and variances."""
        states = model.lacl(input_ids, attention_mask)
        mean: Tensor = states.mean
        return mean if of_means else torch.cat([mean, states.variance], dim=-1)

    missing = np.full(size if of_means else 2 * size, np.nan, dtype=np.float32)
    one = torch.ones(())
    read = predictor.read(texts, windows, gaussians, missing)
    return [
        EncodedWords(
            words[:, :size], one.expand(len(words), size) if of_means else words[:, size:], int(count)
        )
        for words, count in zip(map(torch.from_numpy, read), counts, strict=True)
    ]


def decode_words(
    config: LaclConfig, sentences: Iterable[Sequence[str]], scores: Sequence[Tensor]
) -> list[list[int]]:
    """Return the label id of every word, as `predict_words` does, from given scores.

    Args:
        config: Configuration of the model.
        sentences: Lists of words.
        scores: (W, K) log-scores of each sentence, from `word_scores`.

    Returns:
        One list per sentence with one label id per word, 0 for outside.
    """
    texts = [text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences)]
    return [ids.tolist() for ids in decode_texts(config, texts, [one.numpy() for one in scores])]
