"""Decoding against plain loops and enumeration."""

from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl.model.decoding_lacl import (
    expand_transitions,
    fill_gaps,
    has_token,
    label_runs,
    log_softmax,
    outside_scores,
    run_scores,
    softmax,
    viterbi,
)
from modeling_lacl.training.transitions import estimate_transitions

TRANSITIONS = {
    "start": {"O": 0.8, "I": 0.2},
    "O": {"O": 0.9, "I": 0.1},
    "I": {"O": 0.5, "same": 0.4, "other": 0.1},
}


def random_problem(seed, batch, width, num_labels):
    rng = np.random.default_rng(seed)
    scores, start, matrix = (
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((batch, width, num_labels), num_labels, (num_labels, num_labels))
    )
    return scores, rng.integers(0, width + 1, batch), start, matrix


def path_score(path, scores, start, matrix):
    total = float(start[path[0]]) + sum(float(scores[word, label]) for word, label in enumerate(path))
    return total + sum(float(matrix[a, b]) for a, b in zip(path[:-1], path[1:], strict=True))


# ---- probabilities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_probabilities_are_those_of_torch(scale):
    scores = np.random.default_rng(0).standard_normal((7, 3, 5), dtype=np.float32) * np.float32(scale)
    of_torch = torch.from_numpy(scores)
    assert log_softmax(scores).dtype == np.float32
    np.testing.assert_allclose(log_softmax(scores), of_torch.log_softmax(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(softmax(scores), of_torch.double().softmax(-1), rtol=1e-12, atol=1e-15)


# ---- transitions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_labels", [1, 2, 3, 8])
def test_expanded_rows_are_distributions(num_labels):
    start, matrix = expand_transitions(TRANSITIONS, num_labels)
    assert start.shape == (num_labels,) and matrix.shape == (num_labels, num_labels)
    assert np.exp(start).sum() == pytest.approx(1)
    assert np.exp(matrix).sum(1) == pytest.approx(1)


def test_expanded_probabilities_are_spread_over_the_types():
    start, matrix = map(np.exp, expand_transitions(TRANSITIONS, 4))
    assert start == pytest.approx(np.array([0.8, 0.2 / 3, 0.2 / 3, 0.2 / 3]))
    assert matrix[0] == pytest.approx(np.array([0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3]))
    assert matrix[2] == pytest.approx(np.array([0.5, 0.05, 0.4, 0.05]))


def test_the_only_type_takes_the_mass_of_the_others():
    _, matrix = expand_transitions(TRANSITIONS, 2)
    assert np.exp(matrix[1]) == pytest.approx(np.array([0.5 / 0.9, 0.4 / 0.9]))


def test_a_power_tempers_every_row():
    start, matrix = (np.exp(part, dtype=np.float64) for part in expand_transitions(TRANSITIONS, 4))
    for power in (0.0, 0.01, 0.1, 2.0):
        tempered_start, tempered = map(np.exp, expand_transitions(TRANSITIONS, 4, power))
        np.testing.assert_allclose(tempered_start, start**power / (start**power).sum(), rtol=1e-5)
        expected = matrix**power / (matrix**power).sum(1, keepdims=True)
        np.testing.assert_allclose(tempered, expected, rtol=1e-5)


def test_no_power_makes_the_impossible_possible():
    _, matrix = expand_transitions({**TRANSITIONS, "I": {"O": 0.6, "same": 0.4, "other": 0.0}}, 3, power=0.0)
    assert np.exp(matrix[1]) == pytest.approx(np.array([0.5, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"start": None}, "start"),
        ({"O": {"O": 1.0}}, "O"),
        ({"I": {"O": 0.5, "same": 0.4, "other": 0.4}}, "I"),
        ({"O": {"O": 1.5, "I": -0.5}}, "O"),
    ],
)
def test_bad_transitions_name_the_row(change, place):
    with pytest.raises(ValueError, match=rf"transitions\['{place}'\]"):
        expand_transitions({**TRANSITIONS, **change}, 3)


def test_estimated_transitions_match_counting_by_hand():
    # Three sentences; -100 (an unlabelled word) is as if it were not there.
    estimated = estimate_transitions([[0, 1, 1, 2, 0], [3, -100, 3], [], [-100]])
    assert estimated["start"] == {"O": 2 / 4, "I": 2 / 4}
    assert estimated["O"] == {"O": 1 / 3, "I": 2 / 3}
    assert estimated["I"] == {"O": 2 / 7, "same": 3 / 7, "other": 2 / 7}
    expand_transitions(estimated, 4)


# ---- Viterbi -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31), batch=st.integers(1, 3), width=st.integers(1, 5), num_labels=st.integers(1, 4)
)
def test_viterbi_finds_the_best_of_all_paths(seed, batch, width, num_labels):
    scores, lengths, start, matrix = random_problem(seed, batch, width, num_labels)
    found = viterbi(scores, lengths, start, matrix)
    for row, length in enumerate(lengths.tolist()):
        assert found[row, length:].tolist() == [-1] * (width - length)
        if length:
            paths = product(range(num_labels), repeat=length)
            best = max(paths, key=lambda path: path_score(path, scores[row], start, matrix))
            assert found[row, :length].tolist() == list(best)


def test_viterbi_does_not_read_padding():
    scores, _, start, matrix = random_problem(1, 2, 6, 3)
    lengths = np.array([6, 3])
    spoiled = scores.copy()
    spoiled[1, 3:] = np.nan
    assert (viterbi(scores, lengths, start, matrix) == viterbi(spoiled, lengths, start, matrix)).all()


def test_viterbi_over_a_long_text_is_exact():
    """Scores that add up to millions must not drown the differences between paths."""
    width, num_labels = 5000, 3
    scores = np.random.default_rng(0).standard_normal((width, num_labels), dtype=np.float32) - 1000
    uniform = np.full((num_labels, num_labels), -1.0986, dtype=np.float32)
    found = viterbi(scores[None], np.array([width]), uniform[0], uniform)
    assert (found[0] == scores.argmax(1)).all()


def test_viterbi_never_takes_an_impossible_step():
    start, matrix = expand_transitions({**TRANSITIONS, "I": {"O": 0.6, "same": 0.4, "other": 0.0}}, 3)
    scores = np.array([[[0, 5, 0], [0, 0, 4], [0, 0, 5]]], dtype=np.float32)
    path = viterbi(scores, np.array([3]), start, matrix)[0].tolist()
    assert (1, 2) not in zip(path, path[1:], strict=False)


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2)])
def test_viterbi_of_nothing(shape):
    start, matrix = expand_transitions(TRANSITIONS, 2)
    found = viterbi(np.zeros(shape, np.float32), np.zeros(shape[0], np.int64), start, matrix)
    assert found.shape == shape[:2]


# ---- entities ----------------------------------------------------------------------------------------------


def runs_by_groupby(labels):
    runs, word = [], 0
    for label, group in groupby(labels):
        length = len(list(group))
        if label > 0:
            runs.append((word, word + length, label))
        word += length
    return runs


@given(st.lists(st.integers(-1, 3), max_size=30))
def test_label_runs_match_groupby(labels):
    assert label_runs(labels) == runs_by_groupby(labels)
    assert label_runs(np.array(labels, dtype=np.int64)) == runs_by_groupby(labels)


@given(st.lists(st.integers(-1, 3), max_size=20))
def test_fill_gaps_matches_a_loop(labels):
    """Where −1 stands for a word without a token."""
    known = np.array([label >= 0 for label in labels], dtype=bool)
    expected = []
    for word, label in enumerate(labels):
        before = [one for one in labels[:word] if one >= 0]
        after = [one for one in labels[word:] if one >= 0]
        agree = before and after and before[-1] == after[0]
        expected.append(label if label >= 0 else after[0] if agree else 0)
    assert fill_gaps(np.array(labels, dtype=np.int64)[known], known).tolist() == expected


@given(
    seed=st.integers(0, 2**31),
    labels=st.lists(st.integers(0, 2), max_size=20),
    blank=st.sets(st.integers(0, 19)),
)
def test_run_scores_match_a_loop(seed, labels, blank):
    scores = np.random.default_rng(seed).standard_normal((len(labels), 3), dtype=np.float32)
    blank = {w for w in blank if 0 < w < len(labels) - 1 and labels[w - 1] == labels[w] == labels[w + 1]}
    blank -= {w + 1 for w in blank}
    scores[list(blank)] = outside_scores(3)
    assert has_token(scores).tolist() == [w not in blank for w in range(len(labels))]
    probabilities = torch.from_numpy(scores).double().softmax(1)
    runs = label_runs(np.array(labels), with_outside=True)
    found = run_scores(scores, runs)
    expected = [
        np.mean([float(probabilities[w, label]) for w in range(s, e) if w not in blank or not label])
        for s, e, label in runs
    ]
    assert found == pytest.approx(expected)
    assert all(type(score) is float and 0.0 <= score <= 1.0 for score in found)
