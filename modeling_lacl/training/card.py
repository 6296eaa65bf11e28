"""The facts for a model card from a `LaclTrainer`: arguments, training curve, scores on held-out types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..hub.card_facts import CardFacts, Measured, fingerprint, read_emissions, versions, with_sequences
from ..reporting import ZERO_SHOT

_MAX_POINTS = 12
"""Maximum number of points of a training curve."""
_ARGUMENTS = (
    "learning_rate",
    "head_learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "sampling",
    "labels_per_prompt",
    "present_share",
    "coarse_probability",
    "seed",
)
_EPISODE_ARGUMENTS = ("n_way", "k_shot", "q_shot")
_CORPUS_ARGUMENTS = ("group_size", "foreign_labels", "variant_probability")


def facts_of_training(trainer: Any) -> CardFacts:
    """Return the `card_facts` of a `LaclTrainer`, completed with the current state of its training."""
    args, state = trainer.args, trainer.state
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    known = trainer.card_facts
    # Sequences of many corpora have label sets of their own.
    if not known.examples and trainer.train_dataset is not None and trainer.corpora is None:
        sequences: Any = trainer.train_dataset
        # Collected once, not at every save.
        known = trainer.card_facts = with_sequences(known, sequences, model.tokenizer, model.config.id2label)
    names = (
        *_ARGUMENTS,
        *(_EPISODE_ARGUMENTS if args.sampling == "episodes" else ()),
        *(() if trainer.corpora is None else _CORPUS_ARGUMENTS),
    )
    hyperparameters: dict[str, Any] = {name: _plain(getattr(args, name, None)) for name in names}
    hyperparameters |= {
        "processes": args.world_size,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32",
        "steps": state.global_step,
        "epochs": round(state.epoch, 2) if state.epoch else None,
    }
    return replace(
        known,
        name=known.name or Path(str(args.hub_model_id or args.output_dir)).name,
        stage=known.stage or "source",
        hyperparameters={key: value for key, value in hyperparameters.items() if value is not None},
        curve=curve(state.log_history),
        results=_held_out(trainer),
        versions=versions(),
        emissions=read_emissions(str(args.output_dir)),
        fingerprint=fingerprint(model),
    )


def curve(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return steps with their loss and, where measured, F1; thinned out evenly, first and last kept."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        values = {"loss": entry.get("loss"), "f1": entry.get("eval_f1")}
        found = {key: round(float(value), 4) for key, value in values.items() if value is not None}
        if found:
            rows.setdefault(int(entry["step"]), {}).update(found)
    if any("f1" in row for row in rows.values()):
        last: dict[str, float] = {}
        for row in rows.values():  # a step with an evaluation but no log has the previous loss
            last = {"loss": row["loss"]} if "loss" in row else last
            row.update(last)
        rows = {step: row for step, row in rows.items() if "f1" in row}
    steps = sorted(rows)
    if len(steps) > _MAX_POINTS:
        steps = [steps[round(index * (len(steps) - 1) / (_MAX_POINTS - 1))] for index in range(_MAX_POINTS)]
    return [{"step": step, **rows[step]} for step in steps]


def _held_out(trainer: Any) -> list[Measured]:
    """Return the scores of the current weights; empty if they were not evaluated."""
    named = trainer.eval_dataset if isinstance(trainer.eval_dataset, Mapping) else {"": trainer.eval_dataset}
    found = []
    for name, dataset in named.items():
        prefix = f"eval_{name}_" if name else "eval_"
        entry = _current_evaluation(trainer, f"{prefix}f1")
        if dataset is None or entry is None:
            continue
        per_type = f"{prefix}f1_"
        training = ", ".join(trainer.card_facts.datasets)
        found.append(
            Measured(
                dataset=name or (f"{training}, types held out of training" if training else "held-out types"),
                shots=f"{trainer.args.eval_k_shot}-shot" if trainer.args.eval_k_shot else ZERO_SHOT,
                sets=trainer.args.eval_draws,
                f1=entry[f"{prefix}f1"],
                precision=entry.get(f"{prefix}precision"),
                recall=entry.get(f"{prefix}recall"),
                per_type_f1={
                    key.removeprefix(per_type): value
                    for key, value in entry.items()
                    if key.startswith(per_type)
                },
                how=f"up to {trainer.args.eval_query_size} sentences per support set, "
                "which is encoded without fine-tuning",
            )
        )
    return found


def _current_evaluation(trainer: Any, key: str) -> Mapping[str, Any] | None:
    """Return the logged evaluation of the current weights, if there is one."""
    history: list[Any] = list(trainer.state.log_history)
    ends = [index for index, entry in enumerate(history) if "train_runtime" in entry]
    if ends and not trainer.is_in_train:
        after = [entry for entry in history[ends[-1] :] if key in entry]
        if after:
            return after[-1]
    step = trainer.state.global_step
    if not trainer.is_in_train and trainer.args.load_best_model_at_end and trainer.state.best_global_step:
        step = trainer.state.best_global_step
    measured = [entry for entry in history if key in entry and entry["step"] == step]
    return measured[-1] if measured else None


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)  # the value of an enum member
