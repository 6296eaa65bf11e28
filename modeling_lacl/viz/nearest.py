"""The example of the support set that stands behind a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..model.modeling_lacl import LaclForTokenClassification, LaclOutput
from ..model.prediction_lacl import Entity, Predictor, Text, text_from_string, text_from_words


def support_similarities(
    model: LaclForTokenClassification, sentences: Sequence[Sequence[str]], batch_size: int = 32
) -> list[Tensor]:
    """The similarity of every word of every sentence to each support token.

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
    """For each entity the example of its type with the support token nearest to one of its words.

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
    predictor = Predictor.build(model, batch_size)
    # Support tokens take the place of labels: windows and batches are those of every prediction.
    places = [str(index) for index in range(len(model.support_labels))]
    return replace(predictor, model=cast(Any, _SupportSimilarity(model)), labels=places).scores(texts)


class _SupportSimilarity(nn.Module):
    """A model whose scores are the similarity of each token to each support token, `(B, L, S)`."""

    def __init__(self, model: LaclForTokenClassification) -> None:
        super().__init__()
        self.model = model
        self.config, self.device, self.tokenizer = model.config, model.device, model.tokenizer

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> LaclOutput:
        output = self.model(input_ids, attention_mask, **options)
        support = (self.model.support_mean, self.model.support_variance)
        tokens = (output.mean.flatten(0, 1), output.variance.flatten(0, 1))
        return LaclOutput(logits=self.model.similarity(tokens, support).view(*input_ids.shape, -1))
