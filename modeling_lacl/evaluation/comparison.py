"""Evaluation of a recipe, and the comparison of several methods on the same targets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..reporting import command_line, markdown_table, percent
from .intervals import SOURCE_SEEDS, spread, value_of
from .recipe import ComparisonRecipe, TransferRecipe, read_recipe
from .report import SeedsReport, TransferReport
from .transfer import evaluate_sources


@dataclass(kw_only=True)
class ComparisonReport:
    """The reports of several methods.

    Args:
        reports: Reports by the name of the method.
        command: The command line.
        machine: See [`describe_machine`].
    """

    reports: Mapping[str, TransferReport | SeedsReport]
    command: str
    machine: dict[str, Any]

    def scores(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the F1 of the reports' summaries, in [0, 1], by method and setting ("WNUT-17, 1-shot")."""
        return {
            name: {f"{row['target']}, {row['shots']}": row["f1"] for row in report.summary()}
            for name, report in self.reports.items()
        }

    def to_markdown(self) -> str:
        """Return a Markdown table with one row per method.

        A row has F1 in percent with standard deviation and 95 % interval for each setting, and their average
        over the settings that all methods have; only LACL has zero-shot. Of a method with several source
        models all three are over these, the average included.
        """
        scores = self.scores()
        settings = list(dict.fromkeys(key for row in scores.values() for key in row))
        common = [key for key in settings if all(key in row for row in scores.values())]
        rows = [
            [
                name,
                *(_cell(row.get(key)) for key in settings),
                _cell(_average([row[key] for key in common]) if common else None),
            ]
            for name, row in scores.items()
        ]
        left_out = [key for key in settings if key not in common]
        note = f" without {'; '.join(left_out)}" if left_out else ""
        machine = self.machine
        seconds = {name: f"{name} {report.seconds:.0f} s" for name, report in self.reports.items()}
        return "\n".join(
            [
                "# Methods side by side",
                "",
                *self._meaning(),
                f"The average is over settings{note}.",
                "",
                *markdown_table(["method", *settings, "average"], rows, numbers=range(1, len(settings) + 2)),
                "",
                f"- Command: `{self.command}`",
                f"- Wall time of adapting and tagging: {', '.join(seconds.values())}",
                f"- Machine: {machine['processor']}, {machine['cpu_count']} CPU cores, "
                f"{machine['threads']} threads, device {machine['device']}",
                f"- lacl {machine['lacl']}, Python {machine['python']}, torch {machine['torch']}, "
                f"transformers {machine['transformers']}",
                "",
            ]
        )

    def _meaning(self) -> list[str]:
        """Return what the numbers mean: over source seeds, over support sets, or some so and some so."""
        seeds = {
            name: len(report.reports)
            for name, report in self.reports.items()
            if isinstance(report, SeedsReport) and len(report.reports) > 1
        }
        lines = ["Entity micro-F1 in percent on whole test sets.", ""]
        if seeds:
            whose = ", ".join(f"{name} ({number})" for name, number in seeds.items())
            lines += [
                f"Over {SOURCE_SEEDS}: {whose}. The value of a source model is its mean over support sets;",
                "of episodes, F1 over the entities of all. Mean over source models ± sample standard",
                "deviation (95 % t-interval of the mean over source models).",
                "",
            ]
        if len(seeds) < len(self.reports):
            whose = ", ".join(name for name in self.reports if name not in seeds)
            lines += [
                f"Over support sets, with one source model: {whose}.",
                "Mean over support sets ± sample standard deviation (95 % t-interval of the mean over",
                "support sets, in which the variation between source models is not included). Episodes:",
                "F1 over the entities of all (95 % bootstrap interval over episodes) ± deviation of the",
                "single episodes' F1.",
                "",
            ]
        return lines

    def save(self, folder: str | Path) -> None:
        """Write `comparison.md` and `comparison.json` into `folder`, each atomically."""
        folder = Path(folder)
        values = {"scores": self.scores(), "command": self.command, "machine": self.machine}
        write_atomically(folder / "comparison.json", json.dumps(values, ensure_ascii=False, indent=2) + "\n")
        write_atomically(folder / "comparison.md", self.to_markdown())


def evaluate_recipe(
    path: str | Path,
    *,
    methods: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    **overrides: Any,
) -> TransferReport | SeedsReport | ComparisonReport:
    """Evaluate the recipe in a YAML file, as `lacl evaluate` does.

    Args:
        path: The recipe; its keys are the arguments of [`TransferRecipe`], or of [`ComparisonRecipe`] if
            `methods` is one of them.
        methods: Names of the methods to evaluate, for a recipe with several methods; None for all.
        targets: Names of the targets and episodes to evaluate on; None for all.
        **overrides: Values that replace those of the recipe (`checkpoint`, `output`, `limit`, `data_root`,
            …); None keeps the recipe's value.

    Returns:
        The report, which has also been written to the output folder.

    Raises:
        ValueError: As for `evaluate_transfer`; or `methods` is given for a recipe without methods, or
            `checkpoint` for one whose methods each have their own.
    """
    values = read_recipe(path)
    if "methods" not in values:
        if methods:
            raise ValueError(f"{path} has no 'methods' to choose from (--method)")
        recipe = TransferRecipe.from_yaml(path, **overrides)
        if targets:
            recipe.select(targets)
        return evaluate_sources(recipe)
    if overrides.get("checkpoint") is not None and "checkpoint" not in values:
        raise ValueError(f"each method of {path} has a checkpoint of its own: --checkpoint cannot replace it")
    return compare(ComparisonRecipe.from_yaml(path, **overrides), methods, targets)


def compare(
    recipe: ComparisonRecipe, only: Sequence[str] | None = None, targets: Sequence[str] | None = None
) -> ComparisonReport:
    """Evaluate methods one after another with `evaluate_sources`, which reuses finished results.

    Args:
        recipe: The methods and the targets.
        only: Names of the methods to evaluate; None for all.
        targets: Names of the targets and episodes to evaluate on; None for all.

    Returns:
        The report, which has also been written to the output folder.
    """
    recipes = recipe.recipes(only)
    if targets:
        for one in recipes.values():
            one.select(targets)
    reports = {name: evaluate_sources(one) for name, one in recipes.items()}
    # The same machine for all methods; taken from a report because models may have been on a GPU.
    machine = next(iter(reports.values())).machine
    report = ComparisonReport(reports=reports, command=command_line(), machine=machine)
    report.save(recipe.output)
    return report


def _average(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean over settings; of several source models with its spread over them."""
    if all("of_each" in f1 for f1 in settings):
        by_seed = zip(*(f1["of_each"] for f1 in settings), strict=True)
        return asdict(spread([float(np.mean(values)) for values in by_seed], SOURCE_SEEDS))
    return {"mean": float(np.mean([value_of(f1) for f1 in settings])), "deviation": None}


def _cell(f1: dict[str, Any] | None) -> str:
    if f1 is None:
        return "–"
    if f1["deviation"] is None:
        return percent(value_of(f1))
    interval = f"({percent(f1['low'])}–{percent(f1['high'])})"
    return f"{percent(value_of(f1))} ± {percent(f1['deviation'])} {interval}"
