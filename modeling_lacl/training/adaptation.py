"""The second stage: adapting a source-trained model to the entity types of a few labelled sentences."""

from __future__ import annotations

import copy
import logging
import math
import os
import random
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
)

from ..data.support import (
    Support,
    check_model,
    encode_tokenized,
    names_for,
    read_support,
    store_support,
    tokenize_support,
    widen_spans,
)
from ..hub.card_facts import CardFacts, fingerprint, with_data
from ..hub.model_card import known_facts
from ..model.configuration_lacl import LaclConfig
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.prediction_lacl import real_number, whole_number
from .arguments import LaclTrainingArguments, ModelArguments
from .callbacks import RaiseRate, StopBelowLoss
from .card import facts_of_training
from .collator import types_per_prompt
from .encoder_options import encoder_options
from .trainer import LaclTrainer

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")

LOSS_THRESHOLD = 0.2
"""Context–label loss below which adaptation stops (see docs/experiments/choices.md)."""
MAX_STEPS = 40
"""Maximum number of optimiser steps if the loss stays above the threshold."""
MAX_EPOCHS = 3
"""Maximum number of epochs; used instead of `MAX_STEPS` for support sets where it means more steps."""

SPAN_STEPS = 10
"""Number of optimiser steps for a model of spans, at least (see docs/experiments/spans.md)."""
SPAN_EPOCHS = 8
"""Number of epochs for a model of spans, if they are more steps."""
SPAN_LEARNING_RATE = 3e-5
"""Default learning rate for a model of spans. Its head, small beside the encoder, takes ten times as much."""
SPAN_BATCH_SIZE = 8
UNKNOWN_TYPES_LOSS = 5.0
"""Context–label loss of the first batch from which types count as unknown to a model of spans."""
UNKNOWN_TYPES_FACTOR = 10 / 3
"""What the default rates are multiplied by for types that are unknown, to 1e-4 and 1e-3."""
TOKEN_LEARNING_RATE = 1e-4
TOKEN_BATCH_SIZE = 32

DECODINGS = ("gaussian", "unit_hidden", "hidden")
"""Spaces in which an adapted model compares words with its examples."""

# Training seeds and draws from the generators of the process, which threads share. Callbacks may adapt, too.
_training_lock = threading.RLock()


def _renew_lock() -> None:
    """Renew the lock in a forked process, in which no thread would release it."""
    global _training_lock
    _training_lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows. Training takes long, so that forks do not wait for it.
    os.register_at_fork(after_in_child=_renew_lock)


def without_tokenizer(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Accept the signature of version 0.1, in which the tokenizer followed the model."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        tokenizer = kwargs.pop("tokenizer", None)
        if tokenizer is None and len(args) > 1 and isinstance(args[1], PreTrainedTokenizerBase):
            tokenizer, args = args[1], (args[0], *args[2:])
        if tokenizer is not None:
            warnings.warn(
                f"{function.__name__} takes no tokenizer any more: the model has its own tokenizer; to use "
                "another, set model.tokenizer",
                FutureWarning,
                stacklevel=2,
            )
            model = args[0] if args else kwargs["model"]
            check_model(model)
            model.tokenizer = tokenizer
        return function(*args, **kwargs)

    return cast(Callable[_P, _R], called)


def copied(model: LaclForTokenClassification) -> LaclForTokenClassification:
    """Return a deep copy of a model that shares its tokenizer, which is slow to copy."""
    tokenizer = model.tokenizer
    return copy.deepcopy(model, {id(tokenizer): tokenizer})


@without_tokenizer
@torch.inference_mode(False)
def adapt(
    model: LaclForTokenClassification,
    support: Support,
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 0.01,
    batch_size: int | None = None,
    fixed_labels: bool = False,
    decoding: str = "gaussian",
    seed: int = 0,
    callbacks: Sequence[TrainerCallback] | None = None,
) -> LaclForTokenClassification:
    """Adapt a model to the entity types of a support set.

    Fine-tune a copy of the model on the support sentences, with the objective of source training and with
    all types in the prompt in shuffled order. Then store the Gaussian of every support token for decoding.
    Weights in half precision are trained in fp32, and cast back. Threads may call this at the same time: they
    train one after the other. The steps, the loss, and why training ended are logged at level INFO.

    Args:
        model: The source-trained model, with its tokenizer. It is not modified.
        support: The labelled sentences, in any format that `read_dataset` accepts.
        label_names: Label names of the types: a mapping, a YAML file, or the name of a built-in mapping. A
            type without one gets a name derived from its label.
        steps: Number of optimiser steps. With 0 the support set is encoded without fine-tuning. By default,
            fine-tuning stops once the model recognises the examples from label names alone, that is, once
            the context–label loss, averaged over one epoch, is below 0.2. It stops at the latest after 40
            steps or three epochs, whichever is more. A model of spans takes eight epochs, at least ten
            steps, while the learning rate falls to 0.
        learning_rate: Learning rate of AdamW; by default 1e-4, and for a model of spans 3e-5, or 1e-4 where
            the loss of the first step shows that the types are unlike all that the model knows. The head of
            such a model takes ten times as much.
        weight_decay: Weight decay of AdamW.
        batch_size: Sentences per step; by default 32, and for a model of spans 8. A smaller support set
            forms a single batch.
        fixed_labels: Whether the types stay in one order in the prompt, as in the code of the paper's
            authors, instead of being shuffled.
        decoding: Space in which words are compared with the examples: `gaussian`, that of the projection
            head; or, by squared Euclidean distance, `unit_hidden`, the last hidden states of the encoder,
            scaled to length 1, as in the code of the paper's authors and of CONTaiNER, or `hidden`, the
            states as they are. With these the result has no head, and the label names, which still go
            through the encoder with every text, have no weight (`label_weight` 0).
        seed: Random seed for the order of sentences and labels and for dropout. The same seed gives the
            same model.
        callbacks: Callbacks of the trainer that fine-tunes the model, for example for logging or stopping.

    Returns:
        A model with the new label set and the encoded support set, ready for `predict`.

    Raises:
        LaclDataError: The support set is empty or has no entity, or a type has no example.
        ValueError: Two labels share a label name, an argument is out of range, or a model of spans is to
            decode by hidden states, which have no roles.
        TypeError: An argument has the wrong type.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, adapt
        >>> source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> examples = [
        ...     {"tokens": ["Ana", "lives", "in", "Oslo"], "ner_tags": ["person", "O", "O", "city"]},
        ...     {"tokens": ["In", "Quito", "lives", "Tom"], "ner_tags": ["O", "city", "O", "person"]},
        ... ]
        >>> ner = adapt(source, examples)
        >>> ner.entity_types
        ['person', 'city']
    """
    check_model(model)
    steps = None if steps is None else whole_number("steps", steps, 0)
    spans = bool(model.config.max_span_words)
    raising = [RaiseRate(UNKNOWN_TYPES_LOSS, UNKNOWN_TYPES_FACTOR)] if spans and learning_rate is None else []
    if learning_rate is None:
        learning_rate = SPAN_LEARNING_RATE if spans else TOKEN_LEARNING_RATE
    learning_rate = real_number("learning_rate", learning_rate, 0)
    weight_decay = real_number("weight_decay", weight_decay, 0)
    if batch_size is None:
        batch_size = SPAN_BATCH_SIZE if spans else TOKEN_BATCH_SIZE
    batch_size = whole_number("batch_size", batch_size, 1)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    if not isinstance(fixed_labels, bool):
        raise TypeError(f"fixed_labels is {fixed_labels!r}: give True or False")
    if decoding not in DECODINGS:
        raise ValueError(f"decoding is {decoding!r}: give one of {', '.join(DECODINGS)}")
    if spans and decoding != "gaussian":
        raise ValueError(f"decoding is {decoding!r}: a model of spans can only decode by its 'gaussian' head")
    read = read_support(support, nested=spans)
    names = names_for(read.types, label_names)
    adapted = copied(model)
    adapted.set_labels(read.types, names)
    widen_spans(adapted, read.dataset)
    tokenized = tokenize_support(adapted, read.dataset, read.labels)
    source = known_facts(model)
    facts = with_data(CardFacts() if source is None else source.inherited(), read.dataset, read.types)
    facts = replace(facts, stage="adapted", hyperparameters={"steps": 0})
    if steps != 0:
        with _training_lock, _preserved_random_state(), in_full_precision(adapted), torch.enable_grad():
            options = {"learning_rate": learning_rate, "weight_decay": weight_decay, "seed": seed}
            options["fixed_labels"] = fixed_labels
            trainer = _fine_tune(
                adapted, tokenized.sequences, steps, batch_size, [*raising, *(callbacks or ())], **options
            )
            if any(one.raised for one in raising):
                logger.info("The types are unlike those that the model knows: learnt at a higher rate.")
            facts = replace(facts, **_fine_tuning_facts(trainer))
    if decoding != "gaussian":
        adapted = _by_hidden_states(adapted, decoding)
    store_support(adapted, encode_tokenized(adapted, tokenized, batch_size))
    facts.fingerprint = fingerprint(adapted)
    adapted.card_facts = facts
    return adapted.eval()


@contextmanager
def in_full_precision(model: nn.Module) -> Iterator[None]:
    """Hold half-precision weights in fp32 inside the context, where small steps are not lost or infinite."""
    half = {one: one.dtype for one in model.parameters() if one.dtype in (torch.float16, torch.bfloat16)}
    for weight in half:
        weight.data = weight.data.float()
    try:
        yield
    finally:
        for weight, dtype in half.items():
            weight.grad = None
            weight.data = weight.data.to(dtype)


@contextmanager
def _preserved_random_state() -> Iterator[None]:
    """Restore the random states of Python, NumPy and PyTorch, which training seeds, on exit."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _fine_tune(
    model: LaclForTokenClassification,
    sequences: Dataset,
    steps: int | None,
    batch_size: int,
    callbacks: Sequence[TrainerCallback],
    **options: Any,
) -> LaclTrainer:
    """Train a model on tokenised sentences, in place, and log what was done.

    Args:
        model: The model, with the label set of the sentences.
        sequences: The sentences as `tokenize_support` makes them.
        steps: Number of optimiser steps; None for the default of the kind of model (see `_schedule`).
        batch_size: Sentences per step.
        callbacks: Further callbacks of the trainer.
        **options: `learning_rate` and other arguments of [`LaclTrainingArguments`].

    Returns:
        The trainer after training, with its log.
    """
    batches = math.ceil(len(sequences) / batch_size)
    steps, stopping, scheduled = _schedule(model, steps, batches, options["learning_rate"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = LaclTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            labels_per_prompt=types_per_prompt(model),
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            dataloader_pin_memory=False,
            **scheduled,
            **options,
        )
        trainer = LaclTrainer(
            model=model,
            args=arguments,
            train_dataset=sequences,
            callbacks=[*stopping, *callbacks],
        )
        # A library function should not print training metrics to stdout.
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        # Dropout takes as long as the matrix products, and embeddings change little: without both, a step
        # takes half the time, and the result is as good.
        options_of_spans = ModelArguments(dropout=0.0, freeze_embeddings=True)
        with encoder_options(model, options_of_spans) if model.config.max_span_words else nullcontext():
            trainer.train()
    _log_summary(trainer, steps, any(one.stopped for one in stopping), time.perf_counter() - start)
    return trainer


def _schedule(
    model: LaclForTokenClassification, steps: int | None, batches: int, learning_rate: float
) -> tuple[int, list[StopBelowLoss], dict[str, Any]]:
    """Return the number of steps, what may stop training before, and arguments of the learning rates.

    A model of spans takes a fixed number of steps, while the learning rate falls to 0. One of tokens stops
    once its loss is low, unless the number of steps is given.
    """
    if model.config.max_span_words:
        steps = max(SPAN_STEPS, SPAN_EPOCHS * batches) if steps is None else steps
        return steps, [], {"lr_scheduler_type": "linear", "head_learning_rate": 10 * learning_rate}
    constant = {"lr_scheduler_type": "constant"}
    if steps is not None:
        return steps, [], constant
    return max(MAX_STEPS, MAX_EPOCHS * batches), [StopBelowLoss(LOSS_THRESHOLD, batches)], constant


def _log_summary(trainer: LaclTrainer, planned: int, loss_is_low: bool, seconds: float) -> None:
    """Log what fine-tuning did, and why it ended."""
    state = trainer.state
    losses = [row["loss"] for row in state.log_history if "loss" in row] or [math.nan]
    if loss_is_low:
        reason = f"the loss of an epoch was below {LOSS_THRESHOLD:g}"
    elif state.global_step == planned:
        reason = "all planned steps were done"
    else:
        reason = f"a callback stopped it before step {planned}"
    logger.info(
        "Adapted in %.1f s: %d steps, loss %.3g at the first and %.3g at the last; ended as %s.",
        seconds,
        state.global_step,
        losses[0],
        losses[-1],
        reason,
    )


def _by_hidden_states(model: LaclForTokenClassification, projection: str) -> LaclForTokenClassification:
    """Return a model with the same encoder and labels that compares hidden states, without a head."""
    values = model.config.to_dict()
    values |= {"projection": projection, "divergence": "euclidean", "similarity_temperature": 1.0}
    values |= {"label_weight": 0.0, "support_size": 0}
    other = LaclForTokenClassification(LaclConfig(**values))
    other.lacl.encoder = model.lacl.encoder
    other.tokenizer = model.tokenizer
    return other.to(model.device)


def _fine_tuning_facts(trainer: LaclTrainer) -> dict[str, Any]:
    """Return the training facts for the model card, without the name of the temporary folder."""
    facts = facts_of_training(trainer)
    return {"hyperparameters": facts.hyperparameters, "curve": facts.curve}
