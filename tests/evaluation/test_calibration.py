"""Tests of calibration.py."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl.evaluation.calibration import calibration_error, fit_logistic, ranking, reliability

predictions = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30)


@given(predictions)
def test_the_error_is_that_of_a_loop_over_the_parts(found):
    scores, correct = zip(*found, strict=True)
    total = 0.0
    for part in range(10):
        own = [one for one in found if min(int(one[0] * 10), 9) == part]
        if own:
            total += abs(sum(score for score, _ in own) - sum(right for _, right in own))
    assert calibration_error(scores, correct) == pytest.approx(total / len(found), abs=1e-9)
    assert sum(row.number for row in reliability(scores, correct)) == len(found)


@given(predictions)
def test_the_ranking_is_the_share_of_pairs_in_order(found):
    right = [score for score, correct in found if correct]
    wrong = [score for score, correct in found if not correct]
    value = ranking(*zip(*found, strict=True))
    if not right or not wrong:
        assert math.isnan(value)
    else:
        pairs = [(one > other) + 0.5 * (one == other) for one in right for other in wrong]
        assert value == pytest.approx(np.mean(pairs))


def test_the_logistic_function_is_found_and_every_corpus_counts_alike():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, 40_000)
    correct = rng.random(len(logits)) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    assert fit_logistic(logits, correct) == pytest.approx((0.5, -1), abs=0.05)
    # A corpus a hundred times the size of another has the same weight.
    large, small = np.zeros(1000), np.zeros(10)
    right = np.concatenate([np.arange(1000) < 900, np.arange(10) < 1])
    groups = ["large"] * 1000 + ["small"] * 10
    _, intercept = fit_logistic(np.concatenate([large, small]), right, groups)
    assert 1 / (1 + math.exp(-intercept)) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="right and others that are wrong"):
        fit_logistic([1.0, 2.0], [True, True])
