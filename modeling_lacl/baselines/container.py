"""The second stage of CONTaiNER (Das et al., ACL 2022), as its authors' program does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ..adaptation import adapt, support_dataset
from ..configuration_lacl import LaclConfig
from ..modeling_lacl import LaclForTokenClassification
from ..support import encode_support

MOST_STEPS = 100
"""Where the loss never rises."""


def adapt_container(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    support: str | Path | Dataset | Iterable[Mapping[str, Any]],
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    steps: int | None = None,
    learning_rate: float = 5e-5,
    seed: int = 0,
) -> LaclForTokenClassification:
    """Fine-tunes on the support set, then decodes by the nearest support token in the encoder's last layer.

    The whole support set is one batch, and fine-tuning ends when the loss first rises. Decoding compares
    hidden states scaled to length 1 by squared Euclidean distance; the projection head serves training
    alone (Das et al., section 3.3).

    Args:
        model: A model trained with CONTaiNER's loss; it is left as it was.
        tokenizer, support, label_names, learning_rate, seed: As in `adapt`.
        steps: Optimiser steps, in the place of the rule.
    """
    dataset = support_dataset(support)
    stopping = [_StopWhenLossRises()] if steps is None else []
    adapted = adapt(
        model,
        tokenizer,
        dataset,
        label_names,
        steps=MOST_STEPS if steps is None else steps,
        learning_rate=learning_rate,
        weight_decay=0.0,
        batch_size=len(dataset),
        seed=seed,
        callbacks=stopping,
    )
    decoder = by_hidden_states(adapted)
    decoder.set_support(*encode_support(decoder, tokenizer, dataset))
    return decoder.eval()


def by_hidden_states(model: LaclForTokenClassification) -> LaclForTokenClassification:
    """A model with the same encoder and labels that compares hidden states of length 1."""
    values = model.config.to_dict()
    values |= {"projection": "unit_hidden", "divergence": "euclidean", "similarity_temperature": 1.0}
    values |= {"support_size": 0}
    other = LaclForTokenClassification(LaclConfig(**values))
    other.lacl.encoder = model.lacl.encoder
    other.tokenizer = model.tokenizer
    return other.to(model.device)


class _StopWhenLossRises(TrainerCallback):
    def __init__(self) -> None:
        self.last = float("inf")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            control.should_training_stop = logs["loss"] > self.last
            self.last = logs["loss"]
