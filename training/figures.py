"""Figures of the experiments: scores of variants, and learning curves over several seeds. Needs `plot`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modeling_lacl.evaluation.calibration import Bin
from modeling_lacl.optional import require
from modeling_lacl.viz.plots import save_figure

Values = Mapping[str, Mapping[str, Sequence[float]]]
"""Scores by variant and column, one per seed."""

Curves = Mapping[str, Sequence[Mapping[str, tuple[list[int], list[float]]]]]
"""Learning curves by variant, one set per seed, as `modeling_lacl.viz.plots.learning_curves` returns them."""

# Logged quantities to plot by default.
PANELS = ("context_context_loss", "context_label_loss", "grad_norm", "eval_f1")


_IN_A_ROW = 4
"""Panels that stand in one row; more are put into several."""


def plot_scores(values: Values, file: Path) -> None:
    """Plot a panel per column, with a dot for each run of a variant and a bar for their mean."""
    columns = list(dict.fromkeys(key for row in values.values() for key in row))
    figure = require("matplotlib.figure", "plot").Figure(
        figsize=(2.2 * len(columns) + 2, 0.35 * len(values) + 1.2), layout="constrained"
    )
    axes = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    variants = list(values)
    for axis, column in zip(axes, columns, strict=True):
        for place, variant in enumerate(variants):
            scores = values[variant].get(column, [])
            if scores:
                axis.barh(place, np.mean(scores), color="#bbdefb")
                axis.plot(scores, [place] * len(scores), ".", color="#0d47a1")
        axis.set_title(column, fontsize=8)
        axis.set_yticks(range(len(variants)), variants, fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
    figure.supxlabel("F1 in percent", fontsize=8)
    axes[0].invert_yaxis()  # the first variant on top; all panels share this axis
    save_figure(figure, file)


def plot_curves(curves: Curves, file: Path, panels: Sequence[str] = PANELS, quantity: str = "") -> None:
    """Plot quantities by step: a line for the mean over the seeds, in a band from minimum to maximum.

    Args:
        curves: The curves.
        file: Image to write.
        panels: Names of the curves to plot, each in a panel with its name as the title.
        quantity: What all of them are, if their names do not say it.
    """
    shown = [name for name in panels if any(name in run for runs in curves.values() for run in runs)]
    columns = len(shown) if len(shown) <= _IN_A_ROW else _IN_A_ROW - 1
    rows = math.ceil(len(shown) / columns)
    figure = require("matplotlib.figure", "plot").Figure(
        figsize=(4.2 * columns, 3.2 * rows + 0.4), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[len(shown) :]:
        unused.remove()
    legend: dict[str, Any] = {}  # one line per variant, for a common legend below all panels
    for axis, name in zip(axes, shown, strict=False):
        for place, (variant, runs) in enumerate(curves.items()):
            lines = [run[name] for run in runs if name in run]
            if not lines:
                continue
            steps = lines[0][0]
            if any(other != steps for other, _ in lines):  # one run ended early
                warnings.warn(
                    f"{name} of {variant} is not plotted: its seeds have different steps", stacklevel=2
                )
                continue
            heights = np.array([line for _, line in lines])
            color = f"C{place}"  # the same in all panels, even if a variant is missing from one
            (legend[variant],) = axis.plot(steps, heights.mean(0), color=color)
            axis.fill_between(steps, heights.min(0), heights.max(0), color=color, alpha=0.2)
        axis.set(xlabel="step", title=name)
        if name.endswith(("loss", "norm")):
            axis.set_yscale("log")
    figure.supylabel(quantity, fontsize=10)
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=5, fontsize=8)
    save_figure(figure, file)


def plot_reliability(
    curves: Mapping[str, tuple[Sequence[Bin], Mapping[str, Mapping[str, float]]]], file: Path
) -> None:
    """Plot how often predictions are right by their score, and precision and recall by threshold.

    Args:
        curves: For each kind of prediction the bins of its scores, and `P` and `R` by threshold.
        file: Image to write.
    """
    figure = require("matplotlib.figure", "plot").Figure(figsize=(9.6, 4.2), layout="constrained")
    right, by_threshold = figure.subplots(1, 2)
    right.plot([0, 1], [0, 1], ":", color="grey", label="perfect calibration")
    for place, (name, (bins, thresholds)) in enumerate(curves.items()):
        color = f"C{place}"
        right.plot([one.score for one in bins], [one.correct for one in bins], "o-", color=color, label=name)
        at = [float(threshold) for threshold in thresholds]
        for key, style in (("P", "-"), ("R", "--")):
            heights = [row[key] for row in thresholds.values()]
            by_threshold.plot(at, heights, style, color=color)
    right.set(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    by_threshold.set(
        xlabel="threshold", ylabel="precision (solid) and recall (dashed), percent", ylim=(0, 100)
    )
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    save_figure(figure, file)
