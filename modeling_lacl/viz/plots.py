"""Plots: learning curves, the embedding space of support and query tokens, the confusion matrix.

For each there is a function that returns the numbers and one that plots them. The file extension determines
the format (`.svg`, `.png`, `.pdf`). Needs the extra `plot`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from ..data.support import encode_support
from ..model.modeling_lacl import LaclForTokenClassification
from ..optional import require
from .marks import Colours

Curves = dict[str, tuple[list[int], list[float]]]
"""Steps and values of each logged quantity, by its name."""

# Logged values about the run, not about the model.
_NO_CURVE = ("epoch", "step", "total_flos", "train_runtime")
_GREY = "#9e9e9e"

_MANY = 400
"""Points and numbers beyond which they are pixels inside of an SVG or PDF file, so that it stays small."""

_WIDEST = 12.0
"""Side of the largest confusion matrix, in inches."""


def learning_curves(trainer_state: str | Path | Mapping[str, Any]) -> Curves:
    """Return the steps and values of all logged quantities, such as `loss`, `eval_f1`, `learning_rate`.

    Args:
        trainer_state: A `trainer_state.json`, the folder that contains it, or its contents.

    Raises:
        OSError: The file does not exist.
        ValueError: The file is not JSON, or nothing was logged.
    """
    place = "trainer_state"
    if isinstance(trainer_state, Mapping):
        state = trainer_state
    else:
        file = Path(trainer_state)
        file = file / "trainer_state.json" if file.is_dir() else file
        place = str(file)
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: not JSON ({error}): give the output folder of a training") from error
    curves: Curves = defaultdict(lambda: ([], []))
    for entry in state.get("log_history", ()):
        for name, value in entry.items():
            if name not in _NO_CURVE and isinstance(value, int | float):
                curves[name][0].append(entry["step"])
                curves[name][1].append(float(value))
    if not curves:
        raise ValueError(f"{place} has no logged values: train with logging_steps below max_steps")
    return dict(curves)


def plot_learning_curves(trainer_state: str | Path | Mapping[str, Any], file: str | Path) -> None:
    """Plot losses, gradient norm, and evaluation scores (F1, precision, recall), each in a separate panel."""
    _check_ending(file)
    curves = learning_curves(trainer_state)
    losses = [name for name in curves if name.endswith("loss") and name != "train_loss"]
    scores = [name for name in curves if name in ("eval_f1", "eval_precision", "eval_recall")]
    norms = [name for name in curves if name == "grad_norm"]
    every = (("loss", losses), ("gradient norm", norms), ("score", scores))
    panels = [(title, names) for title, names in every if names]
    if not panels:
        raise ValueError(f"trainer_state has neither losses nor scores, only {', '.join(curves)}")
    figure, axes = _figure(len(panels))
    for axis, (title, names) in zip(axes, panels, strict=True):
        many = sum(len(curves[name][0]) for name in names) > _MANY
        for name in names:
            marker = "." if len(curves[name][0]) < 50 else None
            axis.plot(*curves[name], label=name, marker=marker, rasterized=many)
        axis.set(xlabel="step", ylabel=title)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    save_figure(figure, file)


def embedding_space(model: LaclForTokenClassification, query: Dataset) -> dict[str, tuple[Tensor, Tensor]]:
    """Project the means of support tokens and of the words of labelled sentences to two principal components.

    With cosine similarity, means are first normalised to length 1.

    Args:
        model: An adapted model.
        query: Labelled sentences from `read_dataset`; types that the model does not have count as outside.

    Returns:
        For `support` and for `query`, the coordinates `(N, 2)` and the label ids `(N,)`.

    Raises:
        ValueError: The model has no support.
    """
    if not model.has_support:
        raise ValueError("the model has no support: adapt it to examples first")
    words = encode_support(model, query)
    points = torch.cat([model.support_mean, words.mean]).cpu().double()
    if model.config.divergence == "cosine":
        points = torch.nn.functional.normalize(points, dim=-1)
    plane = principal_components(points)
    number = len(model.support_labels)
    return {
        "support": (plane[:number], model.support_labels.cpu()),
        "query": (plane[number:], words.labels.cpu()),
    }


def principal_components(points: Tensor, number: int = 2) -> Tensor:
    """Project points `(N, d)` to their first principal components, `(N, number)`."""
    centred = points - points.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:number].T


def plot_embedding_space(model: LaclForTokenClassification, query: Dataset, file: str | Path) -> None:
    """Plot support tokens as stars and words of labelled sentences as dots, coloured by type."""
    _check_ending(file)
    space = embedding_space(model, query)
    figure, (axis,) = _figure(1, 8.0)
    shades = Colours(model.entity_types)
    legend = [
        axis.scatter([], [], s=90, c="white", marker="*", edgecolors="black", label="word of the support set")
    ]
    legend += [axis.scatter([], [], s=20, c="black", marker=".", label="word of the sentences")]
    for label, name in model.config.id2label.items():
        colour = shades[name].deep if label else _GREY
        for kind, marker, size in (("query", ".", 20), ("support", "*", 90)):
            points, labels = space[kind]
            x, y = points[labels == label].numpy().T
            # Most words are outside: plot them behind the others.
            edge = {"edgecolors": "black", "linewidths": 0.5} if kind == "support" else {}
            many = len(x) > _MANY
            axis.scatter(
                x, y, s=size, c=colour, marker=marker, zorder=1 + bool(label), rasterized=many, **edge
            )
        named = f"{_literal(name)}{'' if label else ' (outside of entities)'}"
        legend.append(axis.scatter([], [], s=60, c=colour, marker="s", label=named))
    axis.set(xlabel="first component", ylabel="second component")
    figure.legend(handles=legend, loc="outside right upper", frameon=False)
    save_figure(figure, file)


def confusion(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> tuple[list[str], NDArray[np.int64]]:
    """Compute the confusion matrix of words from BIO tags.

    Rows are reference types, columns are predicted types.

    Returns:
        The labels, `O` first and the types in alphabetical order, and the counts `(K, K)`.

    Raises:
        ValueError: References and predictions differ in shape.
    """
    if [len(tags) for tags in references] != [len(tags) for tags in predictions]:
        raise ValueError("references and predictions differ in shape: give one tag per word in both")
    pairs = [
        (_type(gold), _type(found))
        for one, other in zip(references, predictions, strict=True)
        for gold, found in zip(one, other, strict=True)
    ]
    labels = ["O", *sorted({label for pair in pairs for label in pair} - {"O"})]
    number = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for gold, found in pairs:
        counts[number[gold], number[found]] += 1
    return labels, counts


def plot_confusion(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], file: str | Path
) -> None:
    """Plot the confusion matrix, coloured by the share of each reference type, with counts in the cells.

    Cells of no word stay empty.
    """
    _check_ending(file)
    labels, counts = confusion(references, predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = min(0.6 * len(labels), _WIDEST)
    figure, (axis,) = _figure(1, 3.2 + cells, 1.8 + cells)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = min(10.0, 30 * cells / len(labels))  # a third of a cell, in points
    many = np.count_nonzero(counts) > _MANY
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        number = axis.text(
            column, row, str(counts[row, column]), ha="center", va="center", color=colour, size=size
        )
        number.set_rasterized(many)
        number.set_in_layout(False)  # they are inside of the axes, and many
    names = [_literal(label) for label in labels]
    axis.set_xticks(range(len(labels)), names, rotation=45, ha="right", size=max(size, 6))
    axis.set_yticks(range(len(labels)), names, size=max(size, 6))
    axis.set(xlabel="predicted type of words", ylabel="reference type of words")
    figure.colorbar(image, label="share of the reference type", shrink=0.6)
    save_figure(figure, file)


def _type(tag: str) -> str:
    return tag if tag == "O" else tag[2:]


def _literal(label: str) -> str:
    """Return a label with dollar signs escaped, since matplotlib renders text between them as a formula."""
    return label.replace("$", r"\$")


def _check_ending(file: str | Path) -> None:
    """Raise an error for a file without extension, to which matplotlib would add one."""
    if not Path(file).suffix:
        raise ValueError(
            f"{file} has no extension that determines the format: name it {file}.svg, .png or .pdf"
        )


def save_figure(figure: Any, file: str | Path) -> None:
    """Write a figure; SVG has text as text, which is small and can be searched, and no date."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": "lacl"}
    with require("matplotlib", "plot").rc_context(settings):
        figure.savefig(file, metadata={"Date": None} if Path(file).suffix.lower() == ".svg" else None)


def _figure(panels: int, width: float = 5.4, height: float = 4.2) -> tuple[Any, Any]:
    """Return a figure without a window, and its panels side by side; sizes are in inches."""
    figure = require("matplotlib.figure", "plot").Figure(
        figsize=(width * panels, height), layout="constrained"
    )
    return figure, figure.subplots(1, panels, squeeze=False)[0]
