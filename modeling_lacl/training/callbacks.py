"""Helpers of the trainer: averages of logs, timing of training, order of epochs, higher rates, stopping."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler  # type: ignore[import-untyped]
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..data.corpus_sampling import CorpusBatchSampler
from ..data.sampling import EpisodeBatchSampler


class LogWindow:
    """Sums of the values between two logs."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.batches = 0
        self.tokens: Tensor | int = 0
        self.seconds = 0.0

    def add(self, parts: Mapping[str, Tensor], tokens: Tensor) -> None:
        """Add the parts of the loss and the number of tokens of one batch."""
        for name, value in parts.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.batches += 1
        self.tokens = self.tokens + tokens

    def drain(self, accelerator: Any) -> dict[str, float]:
        """Return means over the batches and tokens per second, both over all processes; reset the sums."""
        logs: dict[str, float] = {}
        if self.batches:
            for name, total in self.sums.items():
                logs[name] = accelerator.reduce(total / self.batches, "mean").item()
            tokens = accelerator.reduce(torch.as_tensor(self.tokens), "sum").item()
            logs["tokens_per_second"] = round(tokens / max(self.seconds, 1e-9), 1)
        self.sums, self.batches, self.tokens, self.seconds = {}, 0, 0, 0.0
        return logs


class Stopwatch(TrainerCallback):
    """Times training alone, without evaluations and saves."""

    def __init__(self, window: LogWindow) -> None:
        self.window = window
        self.mark = time.perf_counter()

    def _restart(self, *args: Any, **kwargs: Any) -> None:
        self.mark = time.perf_counter()

    on_train_begin = on_evaluate = on_save = _restart

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        now = time.perf_counter()
        self.window.seconds += now - self.mark
        self.mark = now
        self._log_before_saving(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._log_before_saving(control)

    def _log_before_saving(self, control: TrainerControl) -> None:
        # The sums are not part of a checkpoint: without a log before every save, a resumed run would log
        # other values than an uninterrupted one. An evaluation may lead to a save of the best model.
        control.should_log = control.should_log or control.should_save or control.should_evaluate


class EpochStart(TrainerCallback):
    """Makes the order of examples in an epoch depend on the random seed and the epoch alone.

    The order is then the same after resuming and in all processes. The `Trainer` ensures this only for
    random sampling, and with accelerate 1.3 not in the epoch in which a run is resumed.
    """

    def __init__(self) -> None:
        self.sampler: (
            EpisodeBatchSampler | CorpusBatchSampler | SeedableRandomSampler | LengthGroupedSampler | None
        ) = None

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        epoch = int(state.epoch or 0)
        if isinstance(self.sampler, EpisodeBatchSampler | CorpusBatchSampler | SeedableRandomSampler):
            self.sampler.set_epoch(epoch)
        # In the first epoch, PyTorch's global generator is in the same state however often a run is resumed.
        # It is used there, so that the order for a given seed does not change between versions. With several
        # processes it is not, since they may have sampled different numbers of values from it.
        elif self.sampler is not None and (epoch or args.world_size > 1):
            seed = args.seed if args.data_seed is None else args.data_seed
            self.sampler.generator = torch.Generator().manual_seed(seed + epoch)


class RaiseRate(TrainerCallback):
    """Raises the learning rates if the first batch shows that the model does not know its types.

    Args:
        threshold: Context–label loss of the first batch above which the rates are raised.
        factor: What all rates are multiplied by, from the second step on.
    """

    def __init__(self, threshold: float, factor: float) -> None:
        self.threshold = threshold
        self.factor = factor
        self.raised = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        loss = (logs or {}).get("context_label_loss", 0.0)
        if state.global_step != 1 or self.raised or loss <= self.threshold:
            return
        self.raised = True
        scheduler = kwargs["lr_scheduler"]
        scheduler.base_lrs = [self.factor * rate for rate in scheduler.base_lrs]
        for group in kwargs["optimizer"].param_groups:  # the rates of the second step are there already
            group["lr"] *= self.factor


class StopBelowLoss(TrainerCallback):
    """Stops training once the context–label loss is low.

    The loss is averaged over the last batches. For a baseline that uses no label names, the total loss is
    compared instead.

    Args:
        threshold: The loss below which training stops.
        batches: Number of batches to average over, such as those of an epoch.
    """

    def __init__(self, threshold: float, batches: int) -> None:
        self.threshold = threshold
        self.losses: deque[float] = deque(maxlen=batches)
        self.stopped = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        # A model trained without label names has only the total loss, which is logged at every step.
        loss = (logs or {}).get("context_label_loss", (logs or {}).get("loss"))
        if loss is None:
            return
        self.losses.append(loss)
        full = len(self.losses) == self.losses.maxlen
        if full and sum(self.losses) / len(self.losses) < self.threshold:
            control.should_training_stop = self.stopped = True
