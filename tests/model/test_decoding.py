"""Decoding against plain loops and enumeration."""

from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl.model import decoding_lacl as decoding
from modeling_lacl.model.decoding_lacl import (
    combine_scores,
    expand_transitions,
    fill_gaps,
    has_token,
    label_runs,
    nearest_in_blocks,
    nearest_neighbor_scores,
    outside_scores,
    prototypes,
    run_scores,
    viterbi,
)
from modeling_lacl.training.transitions import estimate_transitions

LOWEST = torch.finfo(torch.float32).min
TRANSITIONS = {
    "start": {"O": 0.8, "I": 0.2},
    "O": {"O": 0.9, "I": 0.1},
    "I": {"O": 0.5, "same": 0.4, "other": 0.1},
}


def random_problem(seed, batch, width, num_labels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, width, num_labels, generator=generator)
    start = torch.randn(num_labels, generator=generator)
    matrix = torch.randn(num_labels, num_labels, generator=generator)
    lengths = torch.randint(0, width + 1, (batch,), generator=generator)
    return scores, lengths, start, matrix


def path_score(path, scores, start, matrix):
    total = float(start[path[0]]) + sum(float(scores[word, label]) for word, label in enumerate(path))
    return total + sum(float(matrix[a, b]) for a, b in zip(path[:-1], path[1:], strict=True))


# ---- scores ------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**31), tokens=st.integers(1, 6), support=st.integers(1, 9), labels=st.integers(1, 5)
)
def test_nearest_neighbor_scores_match_a_loop(seed, tokens, support, labels):
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.randn(tokens, support, generator=generator)
    support_labels = torch.randint(0, labels, (support,), generator=generator)
    scores = nearest_neighbor_scores(similarity, support_labels, labels)
    assert scores.shape == (tokens, labels)
    for token, label in product(range(tokens), range(labels)):
        own = [float(similarity[token, s]) for s in range(support) if support_labels[s] == label]
        assert float(scores[token, label]) == max(own, default=LOWEST)


@given(
    seed=st.integers(0, 2**31),
    tokens=st.integers(0, 7),
    support=st.integers(1, 9),
    labels=st.integers(1, 5),
    pairs=st.integers(1, 20),
    rows=st.integers(1, 4),
)
def test_neighbors_in_blocks_are_those_of_all_pairs(seed, tokens, support, labels, pairs, rows):
    generator = torch.Generator().manual_seed(seed)
    p, q = (
        (torch.randn(number, 3, generator=generator), torch.rand(number, 3, generator=generator))
        for number in (tokens, support)
    )
    support_labels = torch.randint(0, labels, (support,), generator=generator)
    sizes = []

    def similarity(p, q):
        # Of a mean and a variance, so that a block that pairs the wrong ones is seen.
        sizes.append(len(p[0]) * len(q[0]))
        return -(p[0].unsqueeze(1) - q[0]).square().sum(-1) - (p[1].unsqueeze(1) * q[1]).sum(-1)

    expected = nearest_neighbor_scores(similarity(p, q), support_labels, labels)
    sizes.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_PAIRS", pairs)
        patch.setattr(decoding, "_ROWS", rows)
        found = nearest_in_blocks(similarity, p, q, support_labels, labels)
    torch.testing.assert_close(found, expected)
    assert max(sizes) <= max(pairs, rows)


@given(seed=st.integers(0, 2**31), support=st.integers(1, 9), labels=st.integers(1, 5))
def test_prototypes_match_a_loop(seed, support, labels):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(support, 3, generator=generator)
    variance = torch.rand(support, 3, generator=generator) + 0.1
    support_labels = torch.randint(0, labels, (support,), generator=generator)
    centre, spread, present = prototypes(mean, variance, support_labels, labels)
    for label in range(labels):
        own = [s for s in range(support) if support_labels[s] == label]
        assert bool(present[label]) == bool(own)
        expected_mean = torch.stack([mean[s] for s in own]).mean(0) if own else torch.zeros(3)
        expected_variance = torch.stack([variance[s] for s in own]).mean(0) if own else torch.ones(3)
        torch.testing.assert_close(centre[label], expected_mean)
        torch.testing.assert_close(spread[label], expected_variance)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_combined_scores_are_a_weighted_sum_of_log_probabilities(weight):
    torch.manual_seed(0)
    names, support = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    expected = weight * torch.log(torch.softmax(names, -1)) + (1 - weight) * torch.log(
        torch.softmax(support, -1)
    )
    torch.testing.assert_close(combine_scores(names, support, weight), expected)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_label_that_one_part_lacks_leaves_scores_finite(weight):
    names = torch.tensor([[0.0, 1.0, LOWEST]])
    support = torch.tensor([[0.0, LOWEST, 2.0]])
    combined = combine_scores(names, support, weight)
    assert torch.isfinite(combined).all()
    assert torch.isfinite(combined.softmax(-1)).all()


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.7, 1.0])
def test_a_label_without_support_goes_by_its_name_alone(weight):
    """Whichever labels lack support; those that have it share the rest of the probability."""
    torch.manual_seed(1)
    for missing in ([0], [3], [0, 2], [1, 2, 3]):
        names, support = torch.randn(5, 4), torch.randn(5, 4)
        support[:, missing] = LOWEST
        found = combine_scores(names, support, weight)
        torch.testing.assert_close(found[:, missing], names.log_softmax(-1)[:, missing])
        others = [label for label in range(4) if label not in missing]
        rest = 1 - names.softmax(-1)[:, missing].sum(-1, keepdim=True)
        of_support = support[:, others].softmax(-1) * rest
        expected = names.softmax(-1)[:, others] ** weight * of_support ** (1 - weight)
        torch.testing.assert_close(found[:, others].exp(), expected)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_with_support_for_all_labels_no_digit_changes(scale):
    torch.manual_seed(2)
    names, support = torch.randn(50, 6) * scale, torch.randn(50, 6) * scale
    assert torch.equal(combine_scores(names, support, 0.0), support.log_softmax(-1))
    expected = torch.lerp(support.log_softmax(-1), names.log_softmax(-1), 0.7)
    assert torch.equal(combine_scores(names, support, 0.7), expected)


def test_label_weight_is_checked():
    with pytest.raises(ValueError, match="label_weight is 1.5"):
        combine_scores(torch.zeros(1, 2), torch.zeros(1, 2), 1.5)


# ---- transitions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_labels", [1, 2, 3, 8])
def test_expanded_rows_are_distributions(num_labels):
    start, matrix = expand_transitions(TRANSITIONS, num_labels)
    assert start.shape == (num_labels,) and matrix.shape == (num_labels, num_labels)
    torch.testing.assert_close(start.exp().sum(), torch.tensor(1.0))
    torch.testing.assert_close(matrix.exp().sum(1), torch.ones(num_labels))


def test_expanded_probabilities_are_spread_over_the_types():
    start, matrix = (part.exp() for part in expand_transitions(TRANSITIONS, 4))
    torch.testing.assert_close(start, torch.tensor([0.8, 0.2 / 3, 0.2 / 3, 0.2 / 3]))
    torch.testing.assert_close(matrix[0], torch.tensor([0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3]))
    torch.testing.assert_close(matrix[2], torch.tensor([0.5, 0.05, 0.4, 0.05]))


def test_the_only_type_takes_the_mass_of_the_others():
    _, matrix = expand_transitions(TRANSITIONS, 2)
    torch.testing.assert_close(matrix[1].exp(), torch.tensor([0.5 / 0.9, 0.4 / 0.9]))


def test_a_power_tempers_every_row():
    start, matrix = (part.exp().double() for part in expand_transitions(TRANSITIONS, 4))
    for power in (0.0, 0.01, 0.1, 2.0):
        tempered_start, tempered = (part.exp().double() for part in expand_transitions(TRANSITIONS, 4, power))
        torch.testing.assert_close(tempered_start, start**power / (start**power).sum(), rtol=1e-5, atol=0)
        expected = matrix**power / (matrix**power).sum(1, keepdim=True)
        torch.testing.assert_close(tempered, expected, rtol=1e-5, atol=0)


def test_no_power_makes_the_impossible_possible():
    _, matrix = expand_transitions({**TRANSITIONS, "I": {"O": 0.6, "same": 0.4, "other": 0.0}}, 3, power=0.0)
    torch.testing.assert_close(matrix[1].exp(), torch.tensor([0.5, 0.5, 0.0]))


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
    lengths = torch.tensor([6, 3])
    spoiled = scores.clone()
    spoiled[1, 3:] = float("nan")
    assert torch.equal(viterbi(scores, lengths, start, matrix), viterbi(spoiled, lengths, start, matrix))


def test_viterbi_over_a_long_text_is_exact():
    """Scores that add up to millions must not drown the differences between paths."""
    width, num_labels = 5000, 3
    torch.manual_seed(0)
    differences = torch.randn(width, num_labels)
    uniform = torch.full((num_labels, num_labels), -1.0986)
    found = viterbi((differences - 1000.0).unsqueeze(0), torch.tensor([width]), uniform[0], uniform)
    assert torch.equal(found[0], (differences - 1000.0).argmax(1))


def test_viterbi_never_takes_an_impossible_step():
    start, matrix = expand_transitions({**TRANSITIONS, "I": {"O": 0.6, "same": 0.4, "other": 0.0}}, 3)
    scores = torch.tensor([[[0.0, 5.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 5.0]]])
    path = viterbi(scores, torch.tensor([3]), start, matrix)[0].tolist()
    assert (1, 2) not in zip(path, path[1:], strict=False)


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 2)])
def test_viterbi_of_nothing(shape):
    start, matrix = expand_transitions(TRANSITIONS, 2)
    found = viterbi(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.long), start, matrix)
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
    assert label_runs(torch.tensor(labels, dtype=torch.long)) == runs_by_groupby(labels)


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
    scores = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(seed))
    blank = {w for w in blank if 0 < w < len(labels) - 1 and labels[w - 1] == labels[w] == labels[w + 1]}
    blank -= {w + 1 for w in blank}
    scores[list(blank)] = outside_scores(3)
    assert has_token(scores).tolist() == [w not in blank for w in range(len(labels))]
    probabilities = scores.double().softmax(1)
    runs = label_runs(np.array(labels), with_outside=True)
    found = run_scores(scores, runs)
    expected = [
        np.mean([float(probabilities[w, label]) for w in range(s, e) if w not in blank or not label])
        for s, e, label in runs
    ]
    assert found == pytest.approx(expected)
    assert all(type(score) is float and 0.0 <= score <= 1.0 for score in found)
