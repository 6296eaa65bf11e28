"""Reports of an evaluation as Markdown and JSON: of one source model, or over those of several seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..reporting import markdown_table, percent
from .episodes import EpisodeResult
from .intervals import EPISODES, SOURCE_SEEDS, SUPPORT_SETS, pooled_interval, spread, value_of
from .results import TransferResult


@dataclass(kw_only=True)
class TransferReport:
    """All results of an evaluation, and how they were obtained.

    Args:
        checkpoint: The source model, as named in the recipe.
        seed: Random seed of adapting, and of the bootstrap over episodes.
        adapt: Arguments of adapting.
        results: One result per support set, in the order of the recipe.
        seconds: Wall time of all results, including those reused from an earlier run.
        command: The command line.
        machine: See [`describe_machine`].
        episodes: Results of targets that are episodes.
    """

    checkpoint: str
    seed: int
    adapt: dict[str, Any]
    results: list[TransferResult]
    seconds: float
    command: str
    machine: dict[str, Any]
    episodes: list[EpisodeResult] = field(default_factory=list)

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per target and number of shots.

        A row has the [`Spread`] of F1, mean precision and recall, and mean F1 by type. A target of episodes
        has micro scores over all episodes; its deviation is that of the individual episodes.
        """
        groups: dict[tuple[str, str], list[TransferResult]] = {}
        for result in self.results:
            groups.setdefault((result.target, result.shots), []).append(result)
        return [
            {
                "target": target,
                "shots": shots,
                "f1": asdict(spread([result.f1 for result in group])),
                "precision": float(np.mean([result.precision for result in group])),
                "recall": float(np.mean([result.recall for result in group])),
                "number": group[0].number,
                "per_type_f1": _mean_by_type(group),
                "f1_of_each_set": [result.f1 for result in group],
            }
            for (target, shots), group in groups.items()
        ] + [
            {
                "target": result.target,
                "shots": result.shots,
                "f1": self._pooled(result),
                "precision": result.precision,
                "recall": result.recall,
                "number": sum(one.gold for one in result.episodes),
                "per_type_f1": {},
                "f1_of_each_set": [],
            }
            for result in self.episodes
        ]

    def _pooled(self, result: EpisodeResult) -> dict[str, Any]:
        """Return mean and deviation of the individual episodes' F1, and the pooled F1 with its interval."""
        f1 = {**asdict(spread([one.f1 for one in result.episodes], EPISODES)), "pooled": result.f1}
        if f1["count"] > 1:
            counts = [(one.correct, one.found, one.gold) for one in result.episodes]
            f1["low"], f1["high"] = pooled_interval(counts, self.seed)
        return f1

    def to_dict(self) -> dict[str, Any]:
        """Return the report and its summary as plain values for JSON, with scores in [0, 1]."""
        return {**asdict(self), "summary": self.summary()}

    def to_markdown(self) -> str:
        """Return the summary as Markdown tables, with scores in percent, command, and machine."""
        return _markdown(
            self.summary(),
            f"Source model `{self.checkpoint}`, adapted on each support set ({_adapting(self)})",
            SUPPORT_SETS,
            self,
        )

    def save(self, folder: str | Path) -> None:
        """Write `report.md` and `report.json` into `folder`, each atomically."""
        _save(self, Path(folder))


@dataclass(kw_only=True)
class SeedsReport:
    """The reports of one method with several source models, which differ in the seed of their training.

    Args:
        reports: The report of each source model, all with the same settings.
        command: The command line.
        machine: See [`describe_machine`].
    """

    reports: list[TransferReport]
    command: str
    machine: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Wall time of all results, including those reused from an earlier run."""
        return sum(report.seconds for report in self.reports)

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per target and number of shots, like `TransferReport.summary`.

        Every score is a mean over source models, of the mean over support sets or the pooled F1 over
        episodes of each; deviation and interval are over source models, too. The summary of a single source
        model is that of its report.
        """
        if len(self.reports) == 1:
            return self.reports[0].summary()
        return [_over_seeds(rows) for rows in zip(*(one.summary() for one in self.reports), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return the reports and their summary as plain values for JSON, with scores in [0, 1]."""
        return {**asdict(self), "seconds": self.seconds, "summary": self.summary()}

    def to_markdown(self) -> str:
        """Return the summary as Markdown tables, with scores in percent, command, and machine."""
        if len(self.reports) == 1:
            return self.reports[0].to_markdown()
        names = ", ".join(f"`{report.checkpoint}`" for report in self.reports)
        first = f"Source models {names}, each adapted on each support set ({_adapting(self.reports[0])})"
        return _markdown(self.summary(), first, SOURCE_SEEDS, self)

    def save(self, folder: str | Path) -> None:
        """Write `report.md` and `report.json` into `folder`, each atomically."""
        _save(self, Path(folder))


_MEANS = {
    SUPPORT_SETS: [
        "and scored on the whole test set: entity micro-F1 in percent, mean over support sets,",
        "sample standard deviation, 95 % t-interval of the mean over support sets, in which the",
        "variation between source models is not included. A zero-shot row has no support set: label",
        "similarity alone. Episodes: F1 over the entities of all with its 95 % bootstrap interval over",
        "episodes, deviation of the single episodes' F1.",
    ],
    SOURCE_SEEDS: [
        "and scored on the whole test set: entity micro-F1 in percent. The value of a source model is its",
        "mean over support sets; of episodes, F1 over the entities of all. Mean over source models,",
        "sample standard deviation and 95 % t-interval of the mean over source models.",
    ],
}
"""What the numbers of a report mean, by what their intervals are over."""


def _markdown(
    rows: Sequence[Mapping[str, Any]], first: str, over: str, report: TransferReport | SeedsReport
) -> str:
    """Return a report as Markdown: what was done, the scores, those of each type, and how to do it again."""
    of_each = "f1_of_each_seed" if over == SOURCE_SEEDS else "f1_of_each_set"
    unit = "seed" if over == SOURCE_SEEDS else "set"
    scores = [
        [
            row["target"],
            row["shots"],
            str(row["f1"]["count"]),
            percent(value_of(row["f1"])),
            percent(row["f1"]["deviation"]),
            _interval(row["f1"]["low"], row["f1"]["high"]),
            percent(row["precision"]),
            percent(row["recall"]),
            ", ".join(map(percent, row[of_each])),
        ]
        for row in rows
    ]
    types = [
        [row["target"], row["shots"], name, percent(f1)]
        for row in rows
        for name, f1 in row["per_type_f1"].items()
    ]
    header = ["target", "shots", f"{unit}s", "F1", "sd", "95 % interval", "precision", "recall"]
    machine = report.machine
    return "\n".join(
        [
            "# Domain transfer",
            "",
            first,
            *_MEANS[over],
            "",
            *markdown_table([*header, f"F1 of each {unit}"], scores, numbers=range(2, 9)),
            "",
            f"F1 of each type, mean over {over}:",
            "",
            *markdown_table(["target", "shots", "type", "F1"], types, numbers=[3]),
            "",
            f"- Command: `{report.command}`",
            f"- Wall time: {report.seconds:.0f} s",
            f"- Machine: {machine['processor']}, {machine['cpu_count']} CPU cores, "
            f"{machine['threads']} threads, device {machine['device']}",
            f"- lacl {machine['lacl']}, Python {machine['python']}, torch {machine['torch']}, "
            f"transformers {machine['transformers']}",
            "",
        ]
    )


def _adapting(report: TransferReport) -> str:
    """Return the arguments of adapting in words."""
    given = (f"{key} {'by rule' if value is None else value}" for key, value in report.adapt.items())
    return ", ".join([*given, f"seed {report.seed}"])


def _save(report: TransferReport | SeedsReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = json.dumps(report.to_dict(), ensure_ascii=False, indent=2)
    write_atomically(folder / "report.json", values + "\n")
    write_atomically(folder / "report.md", report.to_markdown())


def _over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row of a setting over source models, from the rows of each."""
    values = [value_of(row["f1"]) for row in rows]
    types = dict.fromkeys(name for row in rows for name in row["per_type_f1"])
    return {
        "target": rows[0]["target"],
        "shots": rows[0]["shots"],
        "f1": {**asdict(spread(values, SOURCE_SEEDS)), "of_each": values},
        "precision": float(np.mean([row["precision"] for row in rows])),
        "recall": float(np.mean([row["recall"] for row in rows])),
        "number": rows[0]["number"],
        "per_type_f1": {
            name: float(np.mean([row["per_type_f1"].get(name, 0.0) for row in rows])) for name in types
        },
        "f1_of_each_seed": values,
    }


def _mean_by_type(results: Sequence[TransferResult]) -> dict[str, float]:
    """Return the mean F1 of each type; 0 for a support set where neither gold nor predictions have it."""
    types = sorted(set().union(*(result.per_type for result in results)))
    f1 = {
        name: [one.per_type[name]["f1"] if name in one.per_type else 0.0 for one in results] for name in types
    }
    return {name: float(np.mean(scores)) for name, scores in f1.items()}


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{percent(low)}–{percent(high)}"
