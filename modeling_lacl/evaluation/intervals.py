"""Mean, standard deviation and 95 % interval of scores: over support sets, source seeds or episodes.

The interval of a mean is Student's t-interval. With so few scores (three seeds, ten support sets) a
percentile bootstrap is too narrow, since resamples of a handful of scores vary less than new ones would. The
pooled micro-F1 of hundreds of episodes is no mean of theirs, and has a bootstrap interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy.stats import t

SUPPORT_SETS = "support sets"
SOURCE_SEEDS = "source seeds"
EPISODES = "episodes"

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Spread:
    """Mean and spread of scores in [0, 1].

    Attributes:
        mean: Mean of the scores.
        deviation: Sample standard deviation (n − 1); None for a single score.
        low, high: Bounds of the 95 % interval; None for a single score.
        count: Number of scores.
        over: What the scores are of: `support sets`, `source seeds` or `episodes`.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int
    over: str


def spread(scores: Sequence[float], over: str = SUPPORT_SETS) -> Spread:
    """Return mean, sample standard deviation, and 95 % t-interval of the mean.

    Args:
        scores: At least one score in [0, 1]. The interval is cut at 0 and 1, which no mean can exceed.
        over: What they are of.

    Raises:
        ValueError: There is no score.

    Example:
        >>> from modeling_lacl.evaluation.intervals import spread
        >>> found = spread([0.2, 0.3, 0.4])  # ± 4.303 · 0.1 / √3
        >>> round(found.low, 3), round(found.high, 3)
        (0.052, 0.548)
    """
    values = np.asarray(scores, dtype=np.float64)
    count = len(values)
    if count == 0:
        raise ValueError("no scores to summarise")
    mean = float(values.mean())
    if count == 1:
        return Spread(mean, None, None, None, 1, over)
    deviation = float(values.std(ddof=1))
    half = float(t.ppf(0.975, count - 1)) * deviation / sqrt(count)
    return Spread(mean, deviation, max(0.0, mean - half), min(1.0, mean + half), count, over)


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


def value_of(f1: Mapping[str, Any]) -> float:
    """Return the score that a table shows: pooled over episodes, or the mean of the scores."""
    value: float = f1.get("pooled", f1["mean"])
    return value
