"""Report of an evaluation, with mean and spread over support sets, as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..reporting import markdown_table, percent
from .episodes import EpisodeResult
from .results import TransferResult

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Spread:
    """Mean and spread of scores over support sets, in the unit of the scores.

    Attributes:
        mean: Mean of the scores.
        deviation: Sample standard deviation (n − 1); None for a single score.
        low, high: Bounds of the 95 % bootstrap interval of the mean; None for a single score.
        count: Number of scores.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int


def spread(scores: Sequence[float], seed: int = 0) -> Spread:
    """Return mean, sample standard deviation, and 95 % percentile bootstrap interval of 10,000 resamples."""
    values = np.asarray(scores, dtype=np.float64)
    count = len(values)
    if count == 0:
        raise ValueError("no scores to summarise")
    if count == 1:
        return Spread(float(values[0]), None, None, None, 1)
    picks = np.random.default_rng(seed).integers(count, size=(_RESAMPLES, count))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return Spread(float(values.mean()), float(values.std(ddof=1)), float(low), float(high), count)


def pooled_interval(counts: Sequence[tuple[int, int, int]], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the pooled micro-F1.

    It is estimated from 10,000 resamples of the episodes.

    Args:
        counts: Correct, predicted and gold entities of each episode.
        seed: Random seed of the resampling.

    Returns:
        The lower and upper bound.
    """
    values = np.asarray(counts, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    correct, found, gold = (values[:, column][picks].sum(axis=1) for column in range(3))
    # F1 is 1 if there are neither gold nor predicted entities, as in `EpisodeCounts.f1`.
    f1 = np.divide(2 * correct, found + gold, out=np.ones_like(correct), where=found + gold > 0)
    low, high = np.quantile(f1, [0.025, 0.975])
    return float(low), float(high)


@dataclass(kw_only=True)
class TransferReport:
    """All results of an evaluation, and how they were obtained.

    Args:
        checkpoint: The source model, as named in the recipe.
        seed: Random seed of adapting and of the bootstrap.
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
                "f1": asdict(spread([result.f1 for result in group], self.seed)),
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
        f1 = {**asdict(spread([one.f1 for one in result.episodes], self.seed)), "pooled": result.f1}
        if f1["count"] > 1:
            counts = [(one.correct, one.found, one.gold) for one in result.episodes]
            f1["low"], f1["high"] = pooled_interval(counts, self.seed)
        return f1

    def to_dict(self) -> dict[str, Any]:
        """Return the report and its summary as plain values for JSON, with scores in [0, 1]."""
        return {**asdict(self), "summary": self.summary()}

    def to_markdown(self) -> str:
        """Return the summary as Markdown tables, with scores in percent, command, and machine."""
        rows = self.summary()
        scores = [
            [
                row["target"],
                row["shots"],
                str(row["f1"]["count"]),
                percent(row["f1"].get("pooled", row["f1"]["mean"])),
                percent(row["f1"]["deviation"]),
                _interval(row["f1"]["low"], row["f1"]["high"]),
                percent(row["precision"]),
                percent(row["recall"]),
                ", ".join(map(percent, row["f1_of_each_set"])),
            ]
            for row in rows
        ]
        types = [
            [row["target"], row["shots"], name, percent(f1)]
            for row in rows
            for name, f1 in row["per_type_f1"].items()
        ]
        header = "target, shots, sets, F1, sd, 95 % interval, precision, recall, F1 of each set".split(", ")
        adapt = ", ".join(
            f"{key} {'by rule' if value is None else value}" for key, value in self.adapt.items()
        )
        machine = self.machine
        return "\n".join(
            [
                "# Domain transfer",
                "",
                f"Source model `{self.checkpoint}`, adapted on each support set ({adapt}, seed {self.seed})",
                "and scored on the whole test set: entity micro-F1 in percent, mean over support sets,",
                "sample standard deviation, 95 % bootstrap interval of the mean. A zero-shot row has no",
                "support set: label similarity alone. Episodes: F1 over the entities of all with its 95 %",
                "bootstrap interval over episodes, deviation of the single episodes' F1.",
                "",
                *markdown_table(header, scores, numbers=range(2, 9)),
                "",
                "F1 of each type, mean over support sets:",
                "",
                *markdown_table(["target", "shots", "type", "F1"], types, numbers=[3]),
                "",
                f"- Command: `{self.command}`",
                f"- Wall time: {self.seconds:.0f} s",
                f"- Machine: {machine['processor']}, {machine['cpu_count']} CPU cores, "
                f"{machine['threads']} threads, device {machine['device']}",
                f"- lacl {machine['lacl']}, Python {machine['python']}, torch {machine['torch']}, "
                f"transformers {machine['transformers']}",
                "",
            ]
        )

    def save(self, folder: str | Path) -> None:
        """Write `report.md` and `report.json` into `folder`, each atomically."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(
            folder / "report.json", json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"
        )
        write_atomically(folder / "report.md", self.to_markdown())


def _mean_by_type(results: Sequence[TransferResult]) -> dict[str, float]:
    """Return the mean F1 of each type; 0 for a support set where neither gold nor predictions have it."""
    types = sorted(set().union(*(result.per_type for result in results)))
    f1 = {
        name: [one.per_type[name]["f1"] if name in one.per_type else 0.0 for one in results] for name in types
    }
    return {name: float(np.mean(scores)) for name, scores in f1.items()}


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{percent(low)}–{percent(high)}"
