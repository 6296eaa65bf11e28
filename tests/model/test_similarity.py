"""Scores against names and support, against plain loops."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl.model import similarity_lacl
from modeling_lacl.model.similarity_lacl import (
    combine_scores,
    nearest_in_blocks,
    nearest_neighbor_scores,
    prototypes,
)

LOWEST = torch.finfo(torch.float32).min


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
        patch.setattr(similarity_lacl, "_PAIRS", pairs)
        patch.setattr(similarity_lacl, "_ROWS", rows)
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
