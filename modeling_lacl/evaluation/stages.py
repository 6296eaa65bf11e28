"""Second stages: `adapt`, and those of CONTaiNER and ProML, as in their authors' code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ..baselines.proml import PromlModel, mixed_support
from ..data.support import Support, read_support
from ..model.labels_lacl import with_own_labels
from ..model.modeling_lacl import LaclForTokenClassification
from ..training.adaptation import adapt

LONGEST_RUN = 100
"""Maximum number of steps, reached if the loss never rises."""

Stage: TypeAlias = Callable[..., LaclForTokenClassification]
"""A function that takes a source model, a support set and label names, and returns an adapted model."""


def adapt_container(
    model: LaclForTokenClassification,
    support: Support,
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    steps: int | None = None,
    learning_rate: float = 5e-5,
    seed: int = 0,
) -> LaclForTokenClassification:
    """Fine-tune on the support set, and decode by the nearest support token in the encoder's last layer.

    The whole support set is one batch, and fine-tuning ends when the loss first rises. Decoding compares
    hidden states, normalised to length 1, by squared Euclidean distance; the projection head is used only in
    training (Das et al., section 3.3).

    Args:
        model: A model trained with CONTaiNER's loss; it is not modified.
        support, label_names, learning_rate, seed: As in `adapt`.
        steps: Number of optimiser steps; by default until the loss first rises.

    Returns:
        The adapted model, in evaluation mode.
    """
    read = read_support(support)
    stopping = [_StopWhenLossRises()] if steps is None else []
    return adapt(
        model,
        read,
        label_names,
        steps=LONGEST_RUN if steps is None else steps,
        learning_rate=learning_rate,
        weight_decay=0.0,
        batch_size=len(read.dataset),
        seed=seed,
        decoding="unit_hidden",
        callbacks=stopping,
    )


def adapt_proml(
    model: LaclForTokenClassification,
    support: Support,
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    steps: int | None = None,
    learning_rate: float = 3e-5,
    seed: int = 0,
) -> LaclForTokenClassification:
    """Fine-tune on the support set by ProML's loss, and decode by the nearest support token.

    The whole support set is one batch, in which each word is compared with all others. Decoding compares
    hidden states by squared Euclidean distance: those of support words are the mean of both views, those of
    other words have the label names beside the text alone.

    Args:
        model: A `PromlModel`; it is not modified.
        support, label_names, learning_rate, seed: As in `adapt`.
        steps: Number of optimiser steps; by default by the rule of `adapt`, with ProML's loss.

    Returns:
        The adapted model, in evaluation mode.

    Raises:
        TypeError: The model is another one.
    """
    if not isinstance(model, PromlModel):
        raise TypeError(
            f"stage proml adapts a PromlModel, not a {type(model).__name__}: give method proml, too"
        )
    read = read_support(support)
    learner = with_own_labels(model)
    learner.leave_one_out = True
    adapted = adapt(
        learner,
        read,
        label_names,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=len(read.dataset),
        seed=seed,
        decoding="hidden",
    )
    adapted.set_support(*mixed_support(adapted, read), adapted.config.support_words)
    return adapted


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


STAGES: dict[str, Stage] = {"lacl": adapt, "container": adapt_container, "proml": adapt_proml}
"""The second stages, by their names in recipes."""


def second_stage(name: str) -> Stage:
    """Return the second stage of this name.

    Raises:
        ValueError: There is no such stage.
    """
    if name not in STAGES:
        raise ValueError(f"stage is {name!r}; choose one of {', '.join(STAGES)}")
    return STAGES[name]
