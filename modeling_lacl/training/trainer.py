"""`LaclTrainer`: the Hugging Face `Trainer` with sampled label sets, episodes, and F1 on held-out types."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, cast

import torch
from accelerate.data_loader import SeedableRandomSampler  # type: ignore[import-untyped]
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedTokenizerBase
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import speed_metrics
from transformers.training_args import ParallelMode

from ..data.corpus_sampling import CorpusBatchSampler
from ..data.sampling import EpisodeBatchSampler, LabelSet
from ..hub.card_facts import CardFacts
from ..hub.model_card import known_facts
from ..model.modeling_lacl import LaclForTokenClassification
from .arguments import LaclTrainingArguments
from .callbacks import EpochStart, LogWindow, Stopwatch
from .collator import LaclDataCollator, PaddingCollator, occurring_labels
from .corpora import TrainingCorpora
from .default_collator import default_collator
from .hub_trainer import HubTrainer
from .validation import FewShotValidation

LOSS_PARTS = ("context_context_loss", "context_label_loss")


class LaclTrainer(HubTrainer):
    """Trains a `LaclForTokenClassification`, on source data (one corpus or many) or on a support set.

    In addition to the logs of `Trainer`, the parts of the loss (means since the last log) and
    `tokens_per_second` are logged (text tokens, without padding and prompts, during training alone).
    `evaluate` returns entity scores on types that are not trained on, see `FewShotValidation`. Therefore
    `metric_for_best_model="f1"`, `EarlyStoppingCallback` and `load_best_model_at_end` use few-shot F1.
    `predict` takes sequences from `tokenize_dataset`, and its logits are by the names of all labels of the
    model, in the order of `config.id2label`; `model.predict` tags texts, and uses the support set.

    Every save writes the model card, from `card_facts` and the state of the training.

    Args:
        model: The model, with the label set of `train_dataset`; `None` with `model_init`.
        args: The training arguments.
        train_dataset: Sequences from `tokenize_dataset`, with label ids as in `model.config.label2id`.
        eval_dataset: Sentences from `read_dataset` with held-out types, or a mapping of names to such data.
        processing_class: The tokenizer; by default the model's.
        data_collator: The collator; by default a `LaclDataCollator` for the model's labels, set up by `args`.
        coarse_names: Type -> name of its coarse group, for `args.coarse_probability`.
        eval_label_names: Label names of the held-out types. A type without one gets a name derived from its
            label.
        card_facts: Facts about the training data, for the model card.
        corpora: Many corpora in place of `train_dataset`, each with a label set of its own.
        **kwargs: Further arguments of `Trainer`: `callbacks`, `model_init`, …

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
        corpora: TrainingCorpora | None = None,
        **kwargs: Any,
    ) -> None:
        if corpora is not None:
            if train_dataset is not None or args.sampling != "plain":
                raise ValueError("corpora are trained on without train_dataset, and with sampling='plain'")
            _check_sizes(corpora, args.group_size)
            train_dataset = corpora.sequences
        self.corpora = corpora
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
        if processing_class is None:  # that of the first model from `model_init`
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
        # Checked now, so that unusable evaluation data fails before hours of training.
        self._validations: dict[int, FewShotValidation] = {}
        for dataset in (
            self.eval_dataset.values() if isinstance(self.eval_dataset, dict) else [self.eval_dataset]
        ):
            if dataset is not None:
                self._validation(dataset)

    def get_train_dataloader(self) -> DataLoader:
        """Return batches of random sentences, groups from many corpora, or one episode per batch.

        An epoch has the same number of batches in all cases. With several processes, their plain batches
        together form one contrastive batch, whereas every process has separate episodes, or groups of
        corpora.
        """
        if self.model_init is not None:  # a trial of a search has another model and arguments
            self._renew_collator()
        dataset: Any = self.train_dataset
        if dataset is None or (self.args.sampling == "plain" and self.corpora is None):
            if isinstance(self.data_collator, LaclDataCollator):
                self.data_collator.deferred = self._across_processes
            plain: Any = super().get_train_dataloader()
            if isinstance(plain.get_sampler(), SeedableRandomSampler):
                self._epoch_start.sampler = plain.get_sampler()
            return cast(DataLoader, plain)
        if self.corpora is None:
            dataset = self._remove_unused_columns(dataset, description="Training")
        # Each process gets the same number: accelerate 1.3 cannot even out batches of different sizes.
        self.accelerator.even_batches = False
        each = -(-len(dataset) // (self._train_batch_size * self.args.world_size))
        sampler = self._batch_sampler(dataset, each * self.args.world_size)
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

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader:
        """Return batches as those of `get_test_dataloader`."""
        with self._without_sampled_prompts():
            loader: DataLoader = super().get_eval_dataloader(*args, **kwargs)
        return loader

    def get_test_dataloader(self, *args: Any, **kwargs: Any) -> DataLoader:
        """Return batches for `predict`, in which labels are numbered as in the model's configuration."""
        with self._without_sampled_prompts():
            loader: DataLoader = super().get_test_dataloader(*args, **kwargs)
        return loader

    @contextmanager
    def _without_sampled_prompts(self) -> Iterator[None]:
        """Have loaders made with batches that are only padded, unless a collator was given."""
        of_training = self.data_collator
        if self._own_collator:
            self.data_collator = PaddingCollator(self.model.tokenizer)
        try:
            yield
        finally:
            self.data_collator = of_training

    def _batch_sampler(self, dataset: Dataset, batches: int) -> EpisodeBatchSampler | CorpusBatchSampler:
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if self.corpora is not None:
            return CorpusBatchSampler(
                [corpus.lengths for corpus in self.corpora.corpora],
                [corpus.weight for corpus in self.corpora.corpora],
                size=self._train_batch_size,
                group_size=self.args.group_size,
                batches=batches,
                seed=seed,
            )
        return EpisodeBatchSampler(
            dataset["labels"],
            len(self.model.config.id2label or {}),
            n_way=self.args.n_way,
            k_shot=self.args.k_shot,
            q_shot=self.args.q_shot,
            episodes=batches,
            seed=seed,
        )

    def _renew_collator(self) -> None:
        if self._own_collator:
            self.data_collator = default_collator(self.model, self.args, self._coarse_names, self.corpora)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        sampler = super()._get_train_sampler(train_dataset)
        self._epoch_start.sampler = sampler if isinstance(sampler, LengthGroupedSampler) else None
        return sampler

    @property
    def _across_processes(self) -> bool:
        """Whether the batches of all processes form one contrastive batch."""
        return self.args.parallel_mode == ParallelMode.DISTRIBUTED and self.args.sampling == "plain"

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        # A prompt from a collator was sampled for one process, with its own numbering of the labels.
        if not (self._across_processes and self.model.training) or "prompt_ids" in inputs:
            return inputs
        if isinstance(self.data_collator, LaclDataCollator):
            label_set = self._shared_label_set(self.data_collator, inputs)
            inputs = self.data_collator.add_prompt(inputs, label_set)
        return {**inputs, "across_processes": True}

    def _shared_label_set(self, collator: LaclDataCollator, inputs: Mapping[str, Tensor]) -> LabelSet:
        """Sample one label set for the batches of all processes, as for one batch of all their sequences."""
        padding = -100
        ids = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, padding)
        sequences = torch.stack([ids, inputs["labels"]], dim=-1)
        for dimension in (1, 0):
            sequences = self.accelerator.pad_across_processes(sequences, dim=dimension, pad_index=padding)
        ids, labels = self.accelerator.gather(sequences).cpu().unbind(-1)
        features = [{"input_ids": sequence[sequence != padding]} for sequence in ids]
        everything = {"labels": labels}
        if "entities" in inputs:
            entities = inputs["entities"]
            for dimension in (1, 0):
                entities = self.accelerator.pad_across_processes(entities, dim=dimension, pad_index=padding)
            everything["entities"] = self.accelerator.gather(entities).cpu()
        return collator.sample_label_set(features, occurring_labels(everything))

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Return the batches of the next step; none if a run is resumed at its last step."""
        # `Trainer` only checks after a step whether training is over, and would do one step too many.
        if self.state.global_step >= self.state.max_steps:
            return [], None
        samples: tuple[list[Any], Any] = super().get_batch_samples(*args, **kwargs)
        return samples

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The trainer state marks a checkpoint as complete: save it after the random states of all processes.
        self.accelerator.wait_for_everyone()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimiser of `Trainer`, with `args.head_learning_rate` for all that is not encoder.

        Raises:
            ValueError: Weights are in fp16, where steps of AdamW overflow.
        """
        if any(weight.dtype == torch.float16 for weight in self.model.parameters() if weight.requires_grad):
            raise ValueError(
                "the model's weights are in fp16, in which the steps of AdamW overflow: train model.float(), "
                "with fp16=True in the arguments for mixed precision, and cast it afterwards"
            )
        is_new = self.optimizer is None
        # transformers 5.0 has no argument here.
        optimizer = super().create_optimizer(*([] if model is None else [model]))
        if is_new and self.args.head_learning_rate is not None:
            encoder = {id(parameter) for parameter in self.model.lacl.encoder.parameters()}
            head = {id(one) for one in self.model.parameters() if id(one) not in encoder}
            for group in list(optimizer.param_groups):
                own = [parameter for parameter in group["params"] if id(parameter) in head]
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in head]
                optimizer.param_groups.append({**group, "params": own, "lr": self.args.head_learning_rate})
        return optimizer

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `Trainer` does; afterwards the model is in its own precision again.

        While it trains in mixed precision, its `forward` is wrapped, also after saving and evaluating.
        """
        try:
            return super().train(*args, **kwargs)
        finally:
            own = self.accelerator.unwrap_model(self.model).__dict__
            if own.pop("_original_forward", None) is not None:
                own.pop("forward")
                own.pop("_is_accelerate_prepared", None)  # so that it is wrapped again when trained again

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch.

        Raises:
            FloatingPointError: The loss is NaN or infinite. The message names the affected part of the loss.
        """
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        parts = {name: outputs[name].detach().mean() for name in LOSS_PARTS if outputs.get(name) is not None}
        if not torch.isfinite(loss).all():
            raise FloatingPointError(_not_finite(parts, self.state.global_step + 1, self.args))
        if model.training:
            self._window.add(parts, inputs["attention_mask"].sum())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss and the throughput to the logs of training."""
        if "loss" in logs:
            logs.update(self._window.drain(self.accelerator))
        super().log(logs, start_time)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Evaluate the model on types that it is not trained on, without modifying it.

        Args:
            eval_dataset: Sentences from `read_dataset`, a mapping of names to such data, or a name in the
                trainer's `eval_dataset`. By default, the trainer's `eval_dataset`.
            ignore_keys: Not used; part of the signature of `Trainer.evaluate`.
            metric_key_prefix: Prefix of the name of each metric.

        Returns:
            The scores of `FewShotValidation.scores` and the run time.

        Raises:
            ValueError: There is no evaluation data.
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
                    self.accelerator.unwrap_model(self.model),
                    self.args.per_device_eval_batch_size,
                )
            ]
        # The scores come from one process: with rounding, processes could disagree on when to stop.
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
        """Run the search of `Trainer`, by default for the best `args.metric_for_best_model`.

        The default of `Trainer` would minimise the sum of all metrics: F1, precision and recall, overall and
        of each type.
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


def _check_sizes(corpora: TrainingCorpora, group_size: int) -> None:
    """Raise `ValueError` for corpora with fewer sequences than a group has."""
    small = {one.name: len(one.lengths) for one in corpora.corpora if len(one.lengths) < group_size}
    if small:
        raise ValueError(
            f"(corpus: sequences) {small} have fewer sequences than a group, {group_size}; exclude them, or "
            "lower group_size"
        )


def _not_finite(parts: Mapping[str, Tensor], step: int, args: LaclTrainingArguments) -> str:
    bad = {name: value.item() for name, value in parts.items() if not torch.isfinite(value)}
    found = (
        ", ".join(f"{name} is {value}" for name, value in bad.items())
        or "its parts are finite, their sum is not"
    )
    saves = args.save_strategy != "no"
    remedies = [
        f"{'resume from the last checkpoint' if saves else 'try again'} with a lower learning_rate than "
        f"{args.learning_rate:g}",
        *(["without fp16"] if args.fp16 else []),
        # Adaptation uses the temperature of the source model.
        *(["with a higher similarity_temperature"] if saves else []),
    ]
    return (
        f"the loss of step {step} is not a finite number: {found}. Training stops, and no saved model is "
        f"overwritten; {', or '.join(remedies)}"
    )
