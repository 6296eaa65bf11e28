"""`LaclTrainer`: the Hugging Face Trainer with drawn label sets, episodes, and F1 on held-out types."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, cast

import torch
from accelerate.data_loader import SeedableRandomSampler  # type: ignore[import-untyped]
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    DataCollatorForTokenClassification,
    PreTrainedTokenizerBase,
)
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import speed_metrics
from transformers.training_args import ParallelMode

from ..data.sampling import EpisodeBatchSampler, LabelSet
from ..hub.card_facts import CardFacts
from ..hub.model_card import known_facts
from ..model.modeling_lacl import LaclForTokenClassification
from .arguments import LaclTrainingArguments
from .callbacks import EpochStart, LogWindow, Stopwatch
from .collator import LaclDataCollator
from .hub_trainer import HubTrainer
from .validation import FewShotValidation

LOSS_PARTS = ("context_context_loss", "context_label_loss")


class LaclTrainer(HubTrainer):
    """Trains a `LaclForTokenClassification`, on source data or on a support set.

    Logs, beside what `Trainer` logs, the parts of the loss (means since the last log) and `tokens_per_second`
    (text tokens, without padding and prompts; evaluating and saving not counted). `evaluate` gives entity
    scores on types that are not trained on, see `FewShotValidation`; so `metric_for_best_model="f1"`,
    `EarlyStoppingCallback` and `load_best_model_at_end` work on few-shot F1.

    Every save writes the model card, from `card_facts` and what the trainer itself knows.

    Args:
        model: the model, whose own label set is that of `train_dataset`; None with `model_init`.
        args: the arguments.
        train_dataset: rows from `tokenize_dataset`, with labels numbered as in `model.config.label2id`.
        eval_dataset: sentences from `read_dataset` over held-out types, or several such by name.
        processing_class: the tokenizer; by default the model's.
        data_collator: by default a `LaclDataCollator` over the model's labels, as `args` describes it.
        coarse_names: type -> name of its coarse group, for `args.coarse_probability`.
        eval_label_names: natural-language names of held-out types; by rule where a type has none.
        card_facts: what is known of the training data, for the model card.
        **kwargs: passed on to `Trainer`: `callbacks`, `model_init`, …

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, LaclTrainer, LaclTrainingArguments
        >>> from modeling_lacl import read_dataset, tokenize_dataset
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> dataset = read_dataset([{"tokens": ["Ana", "left", "Oslo"], "ner_tags": ["person", "O", "city"]}])
        >>> model.set_labels(["person", "city"])
        >>> sequences = tokenize_dataset(dataset, model.tokenizer, model.entity_types)
        >>> arguments = LaclTrainingArguments(output_dir="outputs", max_steps=1, report_to="none")
        >>> LaclTrainer(model, arguments, sequences).train().global_step
        {'loss': ...
        1
    """

    args: LaclTrainingArguments
    model: LaclForTokenClassification

    def __init__(
        self,
        model: LaclForTokenClassification | None,
        args: LaclTrainingArguments,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | Mapping[str, Dataset] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        data_collator: Any = None,
        coarse_names: Mapping[str, str] | None = None,
        eval_label_names: Mapping[str, str] | None = None,
        card_facts: CardFacts | None = None,
        **kwargs: Any,
    ) -> None:
        if model is not None:
            if processing_class is not None:
                model.tokenizer = processing_class
            processing_class = model.tokenizer
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=dict(eval_dataset) if isinstance(eval_dataset, Mapping) else eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        if processing_class is None:  # of the first model that `model_init` made
            self.processing_class = self.callback_handler.processing_class = self.model.tokenizer
        self._coarse_names = coarse_names
        self._own_collator = data_collator is None
        self._renew_collator()
        if card_facts is None:
            source = known_facts(self.model)
            card_facts = CardFacts() if source is None else source.inherited()
        self.card_facts = card_facts
        self.eval_label_names = eval_label_names
        # The loss is a mean over a batch: the Trainer divides it by the number of accumulated batches.
        self.model_accepts_loss_kwargs = False
        self._window = LogWindow()
        self.add_callback(Stopwatch(self._window))
        self._epoch_start = EpochStart()
        self.add_callback(self._epoch_start)
        # Now, since data that cannot be evaluated on should not come to light after hours.
        self._validations: dict[int, FewShotValidation] = {}
        for dataset in (
            self.eval_dataset.values() if isinstance(self.eval_dataset, dict) else [self.eval_dataset]
        ):
            if dataset is not None:
                self._validation(dataset)

    def get_train_dataloader(self) -> DataLoader:
        """Batches of sentences at random, or, with `sampling="episodes"`, one episode each.

        An epoch of episodes has as many batches as one of plain batches. With several processes, their plain
        batches are one contrastive batch; episodes are tasks of their own, one a process.
        """
        if self.model_init is not None:  # a trial of a search has a model and arguments of its own
            self._renew_collator()
        if self.args.sampling == "plain" or self.train_dataset is None:
            if isinstance(self.data_collator, LaclDataCollator):
                self.data_collator.deferred = self._across_processes
            plain: Any = super().get_train_dataloader()
            if isinstance(plain.get_sampler(), SeedableRandomSampler):
                self._epoch_start.sampler = plain.get_sampler()
            return cast(DataLoader, plain)
        dataset = self._remove_unused_columns(self.train_dataset, description="Training")
        # As many for each process; accelerate 1.3 cannot fill up batches of different sizes.
        self.accelerator.even_batches = False
        each = -(-len(dataset) // (self._train_batch_size * self.args.world_size))
        sampler = EpisodeBatchSampler(
            dataset["labels"],
            len(self.model.config.id2label or {}),
            n_way=self.args.n_way,
            k_shot=self.args.k_shot,
            q_shot=self.args.q_shot,
            episodes=each * self.args.world_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
        )
        self._epoch_start.sampler = sampler
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )
        prepared: DataLoader = self.accelerator.prepare(loader)
        return prepared

    def _renew_collator(self) -> None:
        if self._own_collator:
            self.data_collator = default_collator(self.model, self.args, self._coarse_names)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        sampler = super()._get_train_sampler(train_dataset)
        self._epoch_start.sampler = sampler if isinstance(sampler, LengthGroupedSampler) else None
        return sampler

    @property
    def _across_processes(self) -> bool:
        """Whether the batches of all processes are one."""
        return self.args.parallel_mode == ParallelMode.DISTRIBUTED and self.args.sampling == "plain"

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        # A prompt that a collator has drawn for the rows of one process numbers labels for itself.
        if not (self._across_processes and self.model.training) or "prompt_ids" in inputs:
            return inputs
        if isinstance(self.data_collator, LaclDataCollator):
            inputs = self.data_collator.add_prompt(inputs, self._draw_together(self.data_collator, inputs))
        return {**inputs, "across_processes": True}

    def _draw_together(self, collator: LaclDataCollator, inputs: Mapping[str, Tensor]) -> LabelSet:
        """The label set for the rows of all processes: that of one process with all of these rows."""
        padding = -100
        ids = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, padding)
        rows = torch.stack([ids, inputs["labels"]], dim=-1)
        for dimension in (1, 0):
            rows = self.accelerator.pad_across_processes(rows, dim=dimension, pad_index=padding)
        ids, labels = self.accelerator.gather(rows).cpu().unbind(-1)
        return collator.sample_label_set([{"input_ids": row[row != padding]} for row in ids], labels)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """The batches of the next step: none for a run that is resumed at its last step."""
        # `Trainer` asks whether training is over after each step, and would do one more here.
        if self.state.global_step >= self.state.max_steps:
            return [], None
        samples: tuple[list[Any], Any] = super().get_batch_samples(*args, **kwargs)
        return samples

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The state of the trainer, which makes a checkpoint whole, comes after those of all processes.
        self.accelerator.wait_for_everyone()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimiser of `Trainer`, with `args.head_learning_rate` for the projection head."""
        is_new = self.optimizer is None
        # transformers 5.0 has no argument here.
        optimizer = super().create_optimizer(*([] if model is None else [model]))
        if is_new and self.args.head_learning_rate is not None:
            head = {id(parameter) for parameter in self.model.lacl.projection.parameters()}
            for group in list(optimizer.param_groups):
                own = [parameter for parameter in group["params"] if id(parameter) in head]
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in head]
                optimizer.param_groups.append({**group, "params": own, "lr": self.args.head_learning_rate})
        return optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch.

        Raises:
            FloatingPointError: the loss is NaN or infinite; names the part of it.
        """
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        parts = {name: outputs[name].detach().mean() for name in LOSS_PARTS if outputs.get(name) is not None}
        if not torch.isfinite(loss).all():
            raise FloatingPointError(_not_finite(parts, self.state.global_step + 1, self.args))
        if model.training:
            self._window.add(parts, inputs["attention_mask"].sum())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the parts of the loss and the throughput to what is logged during training."""
        if "loss" in logs:
            logs.update(self._window.drain(self.accelerator))
        super().log(logs, start_time)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Scores the model on types that it is not trained on, and leaves it as it was.

        Args:
            eval_dataset: sentences from `read_dataset`, several such by name, or a name; by default the
                trainer's own.
            ignore_keys: not used; part of the signature of `Trainer.evaluate`.
            metric_key_prefix: put before the name of each metric.

        Returns:
            The scores of `FewShotValidation.scores` and the run time.

        Raises:
            ValueError: there is nothing to evaluate on.
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str) and isinstance(self.eval_dataset, dict):
            dataset = self.eval_dataset[dataset]
        if dataset is None:
            raise ValueError(
                "evaluation needs an eval_dataset; give one, or hold out types of the training data"
            )
        if isinstance(dataset, Mapping):
            metrics: dict[str, float] = {}
            for name, one in dataset.items():
                metrics.update(self.evaluate(one, metric_key_prefix=f"{metric_key_prefix}_{name}"))
            return metrics
        start = time.time()
        validation = self._validation(dataset)
        shared: list[Any] = [None]
        if self.is_world_process_zero():
            shared = [
                validation.scores(
                    self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False),
                    self.args.per_device_eval_batch_size,
                )
            ]
        # One process decides, or rounding could make processes disagree on when to stop.
        broadcast_object_list(shared)
        metrics = {f"{metric_key_prefix}_{key}": value for key, value in shared[0].items()}
        metrics.update(speed_metrics(metric_key_prefix, start, num_samples=validation.num_samples))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def hyperparameter_search(  # type: ignore[override]
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], float] | None = None,
        n_trials: int = 20,
        direction: str | list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The search of `Trainer`, by default for the best `args.metric_for_best_model`.

        `Trainer` takes the sum of all metrics, in which F1, precision, recall and each type count, and looks
        for the least.
        """
        metric = f"eval_{str(self.args.metric_for_best_model).removeprefix('eval_')}"
        best = "minimize" if self.args.greater_is_better is False else "maximize"
        return super().hyperparameter_search(
            hp_space=hp_space,
            compute_objective=compute_objective or itemgetter(metric),
            n_trials=n_trials,
            direction=direction or (best if compute_objective is None else "minimize"),
            **kwargs,
        )

    def _validation(self, dataset: Dataset) -> FewShotValidation:
        if id(dataset) not in self._validations:
            validation = FewShotValidation(
                dataset,
                k_shot=self.args.eval_k_shot,
                draws=self.args.eval_draws,
                query_size=self.args.eval_query_size,
                seed=self.args.seed,
                label_names=self.eval_label_names,
            )
            model: LaclForTokenClassification = self.accelerator.unwrap_model(self.model)
            model.resolve_names(validation.types, validation.label_names)
            self._validations[id(dataset)] = validation
        return self._validations[id(dataset)]


def default_collator(
    model: LaclForTokenClassification,
    args: LaclTrainingArguments,
    coarse_names: Mapping[str, str] | None = None,
) -> Any:
    """The collator for a model's label set: with a drawn prompt, or plain where the model uses none.

    Args:
        model: the model, with its labels.
        args: the arguments.
        coarse_names: type -> name of its coarse group.
    """
    config: Any = model.config
    if not config.use_prompts:
        return DataCollatorForTokenClassification(model.tokenizer)
    names = config.label_names
    return LaclDataCollator(
        model.tokenizer,
        [names[config.id2label[label]] for label in range(len(config.id2label))],
        labels_per_prompt=args.labels_per_prompt,
        present_share=args.present_share,
        coarse_names={names[name]: coarse for name, coarse in (coarse_names or {}).items() if name in names},
        coarse_probability=args.coarse_probability,
        episodic=args.sampling == "episodes",
        max_prompt_length=config.max_prompt_length,
        seed=args.seed if args.data_seed is None else args.data_seed,
    )


def _not_finite(parts: Mapping[str, Tensor], step: int, args: LaclTrainingArguments) -> str:
    bad = {name: value.item() for name, value in parts.items() if not torch.isfinite(value)}
    found = (
        ", ".join(f"{name} is {value}" for name, value in bad.items())
        or "its parts are finite, their sum is not"
    )
    saves = args.save_strategy != "no"
    remedies = [
        f"{'go on from the last checkpoint' if saves else 'try again'} with a lower learning_rate than "
        f"{args.learning_rate:g}",
        *(["without fp16"] if args.fp16 else []),
        # A model that is adapted brings its own.
        *(["with a higher similarity_temperature"] if saves else []),
    ]
    return (
        f"the loss of step {step} is not a finite number: {found}. Training stops and nothing is saved over; "
        f"{', or '.join(remedies)}"
    )
