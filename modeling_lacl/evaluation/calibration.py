"""Whether scores mean what they say: calibration error, ranking, and the function that mends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

BINS = 10


class Bin(NamedTuple):
    """Predictions with scores in one part: how many, their mean score, and the share that is correct."""

    number: int
    score: float
    correct: float


def reliability(scores: ArrayLike, correct: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Return the predictions by equal parts of the range of scores; empty parts are left out.

    Args:
        scores: (N,) in [0, 1].
        correct: (N,) bool, whether each prediction is right.
        bins: Number of parts.
    """
    values, right = np.asarray(scores, dtype=float), np.asarray(correct, dtype=float)
    part = np.clip((values * bins).astype(int), 0, bins - 1)
    return [
        Bin(int((part == one).sum()), float(values[part == one].mean()), float(right[part == one].mean()))
        for one in range(bins)
        if (part == one).any()
    ]


def calibration_error(scores: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean distance of score and correctness (Guo et al. 2017).

    Example:
        >>> calibration_error([0.9, 0.9, 0.9, 0.9], [True, True, False, False])
        0.4
    """
    rows = reliability(scores, correct, bins)
    total = sum(row.number for row in rows)
    return round(sum(row.number * abs(row.score - row.correct) for row in rows) / max(total, 1), 12)


def ranking(scores: ArrayLike, correct: ArrayLike) -> float:
    """Return the AUROC: how often a right prediction scores higher than a wrong one; NaN without both."""
    right = np.asarray(correct, dtype=bool)
    return (
        float(roc_auc_score(right, np.asarray(scores))) if right.any() and not right.all() else float("nan")
    )


def fit_logistic(
    logits: ArrayLike, correct: ArrayLike, groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """Return slope and intercept of the logistic function from logits to the probability of being right.

    Args:
        logits: (N,) float.
        correct: (N,) bool.
        groups: Name of the corpus of each prediction; every corpus gets the same weight.

    Raises:
        ValueError: All predictions are right, or all are wrong.
    """
    values = np.asarray(logits, dtype=float).reshape(-1, 1)
    right = np.asarray(correct, dtype=bool)
    if right.all() or not right.any():
        raise ValueError("calibration needs predictions that are right and others that are wrong")
    weights: NDArray[np.float64] | None = None
    if groups is not None:
        _, at, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
        weights = 1 / counts[at]
    fitted = LogisticRegression(C=1e6).fit(values, right, sample_weight=weights)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
