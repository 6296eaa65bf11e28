"""What the trainer does beside the steps: sums up what is logged, times the training, starts epochs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler  # type: ignore[import-untyped]
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..data.sampling import EpisodeBatchSampler


class LogWindow:
    """What is summed up between two logs."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.batches = 0
        self.tokens: Tensor | int = 0
        self.seconds = 0.0

    def add(self, parts: Mapping[str, Tensor], tokens: Tensor) -> None:
        for name, value in parts.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.batches += 1
        self.tokens = self.tokens + tokens

    def drain(self, accelerator: Any) -> dict[str, float]:
        """Means over the batches of all processes, and tokens of all processes a second; starts anew."""
        logs: dict[str, float] = {}
        if self.batches:
            for name, total in self.sums.items():
                logs[name] = accelerator.reduce(total / self.batches, "mean").item()
            tokens = accelerator.reduce(torch.as_tensor(self.tokens), "sum").item()
            logs["tokens_per_second"] = round(tokens / max(self.seconds, 1e-9), 1)
        self.sums, self.batches, self.tokens, self.seconds = {}, 0, 0, 0.0
        return logs


class Stopwatch(TrainerCallback):
    """Times the training alone: the clock starts again after every evaluation and save."""

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
        # A checkpoint holds no half of a window: a run that goes on from it logs what an unbroken one does.
        # An evaluation may lead to a checkpoint, that of the best model.
        control.should_log = control.should_log or control.should_save or control.should_evaluate


class EpochStart(TrainerCallback):
    """Gives every epoch an order of its rows that depends on the seed and the epoch alone.

    So a resumed run and all processes have one and the same. The Trainer sees to it for rows at random alone,
    and with accelerate 1.3 not in the epoch in which a run is resumed.
    """

    def __init__(self) -> None:
        self.sampler: EpisodeBatchSampler | SeedableRandomSampler | LengthGroupedSampler | None = None

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        epoch = int(state.epoch or 0)
        if isinstance(self.sampler, EpisodeBatchSampler | SeedableRandomSampler):
            self.sampler.set_epoch(epoch)
        # In the first epoch the state of PyTorch's own generator is the same however often a run is resumed,
        # and the order that a seed has always given is kept; but processes may have drawn from it unevenly.
        elif self.sampler is not None and (epoch or args.world_size > 1):
            seed = args.seed if args.data_seed is None else args.data_seed
            self.sampler.generator = torch.Generator().manual_seed(seed + epoch)
