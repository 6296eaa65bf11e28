"""The progress of adapting on the terminal. Not imported at start: it needs transformers."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class AdaptingProgress(TrainerCallback):
    """A line on stderr with the steps and the loss, if stderr is a terminal; it vanishes at the end.

    Used as a context, and given to `adapt` as a callback, several times if need be.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("Adapting", total=None, loss="")

    def __enter__(self) -> AdaptingProgress:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin anew."""
        self.bar.reset(self.task, total=state.max_steps, loss="")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the step and its loss."""
        if logs and "loss" in logs:
            self.bar.update(self.task, completed=state.global_step, loss=f"{float(logs['loss']):.3f}")
