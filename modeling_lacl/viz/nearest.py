"""The example of the support set that stands behind a prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..model.decoding_lacl import IMPOSSIBLE
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.prediction_lacl import Entity, Predictor, Text, Window, text_from_string, text_from_words


def support_similarities(
    model: LaclForTokenClassification, sentences: Sequence[Sequence[str]], batch_size: int = 32
) -> list[Tensor]:
    """Return the similarity of every word of every sentence to each support token.

    Args:
        model: An adapted model.
        sentences: Lists of words.
        batch_size: Windows of text that go through the encoder at once.

    Returns:
        (W, S) float32 CPU tensors, to the support tokens in the order of `model.support_labels`.

    Raises:
        ValueError: The model has no support.
    """
    if not model.has_support:
        raise ValueError("the model holds no examples: adapt it first")
    parts = [text_from_words(words, f"sentences[{index}]") for index, words in enumerate(sentences)]
    return _similarities(model, parts, batch_size)


def nearest_examples(
    model: LaclForTokenClassification,
    texts: Sequence[str],
    entities: Sequence[Sequence[Entity]],
    batch_size: int = 32,
) -> list[list[str | None]]:
    """Return for each entity the example of its type with the support token nearest to one of its words.

    Args:
        model: An adapted model.
        texts: The texts.
        entities: What the model's `predict` found in each, with the model's own labels.
        batch_size: Windows of text that go through the encoder at once.

    Returns:
        For each text and entity the example as it stands in the support set; None without one of the type.

    Raises:
        ValueError: The model has no support, or was adapted before examples were kept with it.
    """
    words = model.config.support_words
    if not model.has_support or not words:
        raise ValueError("the model holds no examples: adapt it anew with this version")
    labels = list(model.config.id2label.values())
    parts = [text_from_string(text, f"texts[{index}]") for index, text in enumerate(texts)]
    label_of = model.support_labels.cpu()
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
    """(W, S) of each text: the similarity of its words to each support token."""
    predictor = Predictor.build(model, batch_size)
    support = (model.support_mean, model.support_variance)

    def to_support(batch: Sequence[Window]) -> Tensor:
        """(B, L, S) similarities of a batch."""
        output = model(*predictor.inputs(batch), return_dict=True)
        tokens = (output.mean.flatten(0, 1), output.variance.flatten(0, 1))
        return model.similarity(tokens, support).unflatten(0, output.mean.shape[:2])

    # A word without a token is like no example.
    missing = torch.full((len(model.support_labels),), IMPOSSIBLE)
    return predictor.read(texts, predictor.windows(texts), to_support, missing)
