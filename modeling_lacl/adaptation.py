"""The second stage: a source-trained model takes on the types of a handful of labelled sentences."""

from __future__ import annotations

import math
import random
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from .arguments import LaclTrainingArguments
from .card_facts import CardFacts, fingerprint, with_data
from .card_training import facts_of_training
from .checks import real_number, whole_number
from .configuration_lacl import OUTSIDE
from .data import LaclDataError, entity_types, load_label_names, read_dataset, shipped_label_names
from .data.labels import to_io
from .data.reading import check_source
from .given_support import LabelledWords
from .label_set import copy_with_tokenizer
from .model_card import known_facts
from .modeling_lacl import LaclForTokenClassification
from .prompts import split_prompt
from .support import encode_support, support_words, tokenize_support
from .trainer import LaclTrainer

ENOUGH = 0.2
"""Context–label loss at which adapting ends, chosen on development data (see docs/experiments.md)."""
MOST_STEPS = 40
"""Optimiser steps at which adapting ends otherwise."""
MOST_EPOCHS = 3
"""Passes over a support set so large that they take more steps than that."""


def adapt(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    support: str | Path | Dataset | Iterable[Mapping[str, Any]],
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    steps: int | None = None,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.01,
    batch_size: int = 32,
    seed: int = 0,
    callbacks: Sequence[TrainerCallback] | None = None,
) -> LaclForTokenClassification:
    """Adapts a model to the entity types of a support set.

    Fine-tunes a copy of the model on the support sentences with the source stage's own objective, all types
    in the prompt in shuffled order, then keeps the Gaussian of every support token for decoding.

    Args:
        model: The source-trained model; it is left as it was.
        tokenizer: Its tokenizer.
        support: The labelled sentences: whatever `read_dataset` reads.
        label_names: Natural-language names of types: a mapping, a YAML file, or the name of a shipped map; by
            rule where a type has none.
        steps: Optimiser steps; 0 only encodes the support set. By default adapting ends when the model tells
            the types of the examples by their names: when the context–label loss, a mean over one pass, is
            below 0.2; at the latest after 40 steps or three passes, whichever takes more steps.
        learning_rate: Of AdamW, constant.
        weight_decay: Of AdamW.
        batch_size: Sentences a step; a smaller support set is one batch.
        seed: Of the order of sentences and labels and of dropout. The same seed gives the same model.
        callbacks: Of the trainer that fine-tunes, as transformers knows them: to log, to watch, to stop.

    Returns:
        A model that holds the new label set and the support, ready for `predict`.

    Raises:
        LaclDataError: The support set is empty or without an entity, or a type has no example.
        ValueError: Two labels share a natural-language name, or an argument is out of its range.
        TypeError: An argument is of another type than told.
    """
    check_model(model)
    steps = None if steps is None else whole_number("steps", steps, 0)
    learning_rate = real_number("learning_rate", learning_rate, 0)
    weight_decay = real_number("weight_decay", weight_decay, 0)
    batch_size = whole_number("batch_size", batch_size, 1)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    dataset = support_dataset(support)
    types = entity_types(dataset)
    names = names_of(types, label_names)
    adapted = copy_with_tokenizer(model, tokenizer)
    adapted.set_labels(types, names)
    source = known_facts(model)
    facts = with_data(CardFacts() if source is None else source.inherited(), dataset, types)
    facts = replace(facts, stage="adapted", hyperparameters={"steps": 0})
    with _random_numbers_put_back():
        if steps != 0:
            optimizer = {"learning_rate": learning_rate, "weight_decay": weight_decay, "seed": seed}
            trainer = _fine_tune(adapted, tokenizer, dataset, steps, batch_size, callbacks or (), **optimizer)
            facts = replace(facts, **_of_fine_tuning(trainer))
    words = support_words(tokenizer, dataset)
    adapted.set_support(*encode_support(adapted, tokenizer, dataset, batch_size), words)
    facts.fingerprint = fingerprint(adapted)
    adapted.card_facts = facts
    return adapted.eval()


@contextmanager
def _random_numbers_put_back() -> Iterator[None]:
    """Python's, NumPy's and torch's generators, all of which training seeds, go on as before afterwards."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def check_model(model: Any) -> None:
    """Checks that `model` can take on types.

    Raises:
        TypeError: It is no LACL model: the name of one, or one of another kind.
    """
    # By what it can do: a checkpoint's own code has a class of its own.
    if not hasattr(model, "set_labels"):
        raise TypeError(
            f"model is of type {type(model).__name__}: give a model, as "
            "LaclForTokenClassification.from_pretrained(…) loads it"
        )


def support_dataset(support: str | Path | Dataset | Iterable[Mapping[str, Any]]) -> Dataset:
    """Reads a support set and checks that each of its types has an example.

    Raises:
        LaclDataError: No sentence, no entity, or a type without an example.
        TypeError: No labelled sentences, but something else.
    """
    check_source(support, "support")
    dataset = read_dataset(support)
    check_support(dataset, str(support) if isinstance(support, str | Path) else "the support set")
    return dataset


def labelled_words(
    support: str | Path | Dataset | Iterable[Mapping[str, Any]],
) -> tuple[list[str], list[LabelledWords]]:
    """The types and the sentences of a support set, each word with its type; raises as `support_dataset`."""
    dataset = support_dataset(support)
    types = entity_types(dataset)
    names = [OUTSIDE, *types]
    return types, [
        [(word, names[label]) for word, label in zip(words, labels, strict=True)]
        for words, labels in zip(dataset["tokens"], to_io(dataset, types), strict=True)
    ]


def check_support(dataset: Dataset, place: str = "the support set") -> None:
    """Raises as `support_dataset` for sentences from `read_dataset`."""
    if not len(dataset):
        raise LaclDataError(f"{place}: has no sentence; give at least one labelled sentence a type")
    types = entity_types(dataset)
    if not types:
        raise LaclDataError(f"{place}: has no entity; give at least one labelled example a type")
    seen = {label for sentence in to_io(dataset, types) for label in sentence}
    missing = [name for index, name in enumerate(types, start=1) if index not in seen]
    if missing:
        raise LaclDataError(
            f"{place}: no example of {', '.join(missing)}; add a sentence with one, or leave the type out"
        )


def names_of(types: list[str], label_names: str | Path | Mapping[str, str] | None) -> dict[str, str]:
    """The given names of these types. A map shipped for a corpus may name more types than there are."""
    if label_names is None:
        return {}
    names = load_label_names(label_names)
    unseen = [name for name in names if name not in (*types, OUTSIDE)]
    if unseen and label_names not in shipped_label_names():
        place = label_names if isinstance(label_names, str | Path) else "label_names"
        raise LaclDataError(
            f"{place} has a name for {', '.join(unseen)}, of which the support set has no example; add a "
            "sentence with one, or take the name out"
        )
    return {name: words for name, words in names.items() if name not in unseen}


class _StopWhenTold(TrainerCallback):
    """Ends training when the context–label loss, a mean over so many batches, is low enough.

    Of a baseline without names it is the loss itself.
    """

    def __init__(self, batches: int) -> None:
        self.losses: deque[float] = deque(maxlen=batches)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        # A model that is trained without names has one loss alone, which is logged at every step.
        loss = (logs or {}).get("context_label_loss", (logs or {}).get("loss"))
        if loss is not None:
            self.losses.append(loss)
            if len(self.losses) == self.losses.maxlen and sum(self.losses) / len(self.losses) < ENOUGH:
                control.should_training_stop = True


def _fine_tune(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    steps: int | None,
    batch_size: int,
    callbacks: Sequence[TrainerCallback],
    **options: Any,
) -> LaclTrainer:
    rows = tokenize_support(model, tokenizer, dataset)
    batches = math.ceil(len(rows) / batch_size)
    stopping: list[TrainerCallback] = [_StopWhenTold(batches)] if steps is None else []
    if steps is None:
        steps = max(MOST_STEPS, MOST_EPOCHS * batches)
    number = len(model.config.label_token_ids)
    # A label set that no single prompt can hold is learnt in parts: every batch draws another.
    groups = split_prompt(model.config.label_token_ids, model.config.max_prompt_length)
    with tempfile.TemporaryDirectory() as folder:
        arguments = LaclTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            lr_scheduler_type="constant",
            per_device_train_batch_size=batch_size,
            labels_per_prompt=min(map(len, groups)) - 1 if len(groups) > 1 else number - 1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            dataloader_pin_memory=False,
            **options,
        )
        trainer = LaclTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            processing_class=tokenizer,
            callbacks=[*stopping, *callbacks],
        )
        # A library that is asked for a model does not print its running time.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer


def _of_fine_tuning(trainer: LaclTrainer) -> dict[str, Any]:
    """What a trainer knows for the card, without the name of its folder."""
    facts = facts_of_training(trainer)
    return {"hyperparameters": facts.hyperparameters, "curve": facts.curve}
