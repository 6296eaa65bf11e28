"""The nearest example in the support set for each predicted entity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..model.decoding_lacl import IMPOSSIBLE
from ..model.losses_lacl import Gaussians
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.prediction_lacl import Entity, Predictor
from ..model.spans_lacl import by_role
from ..model.words_lacl import Text, text_from_string, text_from_words


def support_similarities(
    model: LaclForTokenClassification, sentences: Sequence[Sequence[str]], batch_size: int = 32
) -> list[Tensor]:
    """Return the similarity of every word of every sentence to each support token.

    Args:
        model: An adapted model.
        sentences: Sentences as lists of words.
        batch_size: Number of windows of text that go through the encoder at once.

    Returns:
        A float32 CPU tensor `(W, S)` per sentence; support tokens are in the order of
        `model.support_labels`.

    Raises:
        ValueError: The model has no support.
    """
    if not model.has_support:
        raise ValueError("the model holds no examples: adapt it first")
    parts = [text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences)]
    return _similarities(model, parts, batch_size)


def nearest_examples(
    model: LaclForTokenClassification,
    texts: Sequence[str] | Sequence[Sequence[str]],
    entities: Sequence[Sequence[Entity]],
    batch_size: int = 32,
    is_split_into_words: bool = False,
) -> list[list[str | None]]:
    """Return the nearest example of each entity: the one with the support token nearest to any of its words.

    Only examples of the type of the entity are considered.

    Args:
        model: An adapted model.
        texts: The texts.
        entities: The entities of each text, from the model's `predict` with its own labels.
        batch_size: Number of windows of text that go through the encoder at once.
        is_split_into_words: Whether the texts are lists of words, as for `predict`.

    Returns:
        For each entity of each text, the example as written in the support set; None if there is no example
        of its type.

    Raises:
        ValueError: The model has no support, or was adapted by a version that did not store examples.
    """
    words = model.config.support_words
    if not model.has_support or not words:
        raise ValueError("the model holds no examples: adapt it again with this version")
    labels = list(model.config.id2label.values())
    to_text = text_from_words if is_split_into_words else text_from_string
    parts = [to_text(text, f"texts[{index}]") for index, text in enumerate(texts)]
    label_of = model.support_labels.cpu()
    if model.config.max_span_words:  # of words inside of entities, the last of the roles
        label_of = label_of[:, -1]
    found: list[list[str | None]] = []
    for part, similarity, one in zip(parts, _similarities(model, parts, batch_size), entities, strict=True):
        found.append([])
        for entity in one:
            inside = (part.words[:, 0] >= entity["start"]) & (part.words[:, 1] <= entity["end"])
            own = label_of == labels.index(entity["entity_group"])
            best = similarity[torch.from_numpy(np.flatnonzero(inside))].amax(0).masked_fill(~own, -torch.inf)
            found[-1].append(words[int(best.argmax())] if bool(own.any()) else None)
    return found


def _similarities(model: LaclForTokenClassification, texts: Sequence[Text], batch_size: int) -> list[Tensor]:
    """Return the similarity of the words of each text to each support token, `(W, S)`."""
    predictor = Predictor.build(model, batch_size)
    support = _compared(model, (model.support_mean, model.support_variance))

    def to_support(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the similarities of a batch, `(B, L, S)`."""
        output = model(input_ids, attention_mask, return_dict=True)
        tokens = _compared(model, (output.mean.flatten(0, 1), output.variance.flatten(0, 1)))
        return model.similarity(tokens, support).unflatten(0, output.mean.shape[:2])

    # A word without a token is not similar to any example.
    missing = np.full(len(model.support_labels), IMPOSSIBLE, dtype=np.float32)
    read = predictor.read(texts, predictor.windows(texts), to_support, missing)
    return [torch.from_numpy(similarity) for similarity in read]


def _compared(model: LaclForTokenClassification, tokens: Gaussians) -> Gaussians:
    """Return the Gaussians `(N, d)` to compare: for a model of spans, those of words inside of entities."""
    if not model.config.max_span_words:
        return tokens
    mean, variance = by_role(tokens)
    return mean[-1], variance[-1]
