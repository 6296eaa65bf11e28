"""Intervals against SciPy and tables, and how often they hold the true mean."""

import doctest
import statistics

import numpy as np
import pytest
from scipy.stats import bootstrap, t

from modeling_lacl.evaluation import intervals
from modeling_lacl.evaluation.intervals import SUPPORT_SETS, pooled_interval, spread


def test_spread_against_other_libraries():
    scores = [0.21, 0.34, 0.28, 0.40, 0.25, 0.31]
    found = spread(scores)
    assert found.mean == pytest.approx(statistics.mean(scores))
    assert found.deviation == pytest.approx(statistics.stdev(scores))
    error = statistics.stdev(scores) / len(scores) ** 0.5
    assert (found.low, found.high) == pytest.approx(t.interval(0.95, 5, loc=found.mean, scale=error))
    assert (found.count, found.over) == (6, SUPPORT_SETS)


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.706205), (3, 4.302653), (10, 2.262157)])
def test_spread_against_a_table(count, quantile):
    """Half of the scores 0.01 above the mean and half below, so that the deviation is known."""
    scores = [0.5 + 0.01 * (-1) ** number for number in range(count)]
    found = spread(scores)
    half = quantile * statistics.stdev(scores) / count**0.5
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=1e-6)


@pytest.mark.parametrize("count", [3, 10])
def test_the_interval_holds_the_mean_as_often_as_it_says(count):
    draws = np.random.default_rng(0).normal(0.5, 0.01, size=(1500, count))
    found = [spread(scores) for scores in draws]
    low, high = (np.array([getattr(one, bound) for one in found]) for bound in ("low", "high"))
    covered = ((low <= 0.5) & (high >= 0.5)).mean()
    assert covered == pytest.approx(0.95, abs=0.02)


def test_spread_of_equal_scores_of_one_and_of_none():
    same = spread([0.5, 0.5, 0.5])
    assert (same.deviation, same.low, same.high) == (0, 0.5, 0.5)
    wide = spread([0.0, 1.0])
    assert (wide.low, wide.high) == (0, 1)  # no mean of scores lies beyond
    one = spread([0.5])
    assert (one.mean, one.deviation, one.low, one.high, one.count) == (0.5, None, None, None, 1)
    with pytest.raises(ValueError, match="no scores"):
        spread([])


def test_pooled_interval_against_another_library():
    counts = np.array([[3, 5, 6], [0, 2, 4], [7, 9, 8], [1, 1, 5], [4, 6, 4], [9, 10, 12]])

    def pooled(correct, found, gold, axis):
        return 2 * correct.sum(axis) / (found.sum(axis) + gold.sum(axis))

    expected = bootstrap(
        counts.T, pooled, paired=True, vectorized=True, method="percentile", n_resamples=10_000, rng=0
    ).confidence_interval
    low, high = pooled_interval(counts.tolist(), seed=1)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=2e-2)
    assert low < 2 * counts[:, 0].sum() / counts[:, 1:].sum() < high
    assert pooled_interval([(0, 0, 0), (0, 0, 0)]) == (1.0, 1.0)


def test_the_example_runs():
    assert doctest.testmod(intervals) == (0, 3)
