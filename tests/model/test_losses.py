"""Losses against loops over anchors, positives and candidates."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl.model.configuration_lacl import LOSS_TYPES
from modeling_lacl.model.losses_lacl import class_weights, context_context_loss, context_label_loss


def anchor_loss(similarities, positives, candidates, loss_type):
    """Loss of one anchor, from the sums of the papers; None where it is not defined."""
    if loss_type == "decoupled":
        candidates = [c for c in candidates if c not in positives]
    if not positives or not candidates:
        return None
    below = sum(math.exp(similarities[c]) for c in candidates)
    if loss_type == "container":
        return -math.log(sum(math.exp(similarities[p]) for p in positives) / len(positives) / below)
    return -sum(math.log(math.exp(similarities[p]) / below) for p in positives) / len(positives)


def weighted_mean(losses, labels, power):
    counted = [(loss, labels.count(label) ** -power) for loss, label in zip(losses, labels, strict=True)]
    counted = [(loss, weight) for loss, weight in counted if loss is not None]
    return sum(loss * weight for loss, weight in counted) / sum(w for _, w in counted) if counted else 0.0


def loop_context_context(similarity, labels, loss_type, power, outside_attracts=True):
    losses = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        positives = [j for j in others if labels[j] == label]
        anchor = label != 0 or outside_attracts
        losses.append(anchor_loss(similarity[i].tolist(), positives, others, loss_type) if anchor else None)
    return weighted_mean(losses, labels, power)


def loop_context_label(similarity, labels, present, loss_type, power):
    losses = []
    for i, label in enumerate(labels):
        candidates = [k for k in range(similarity.shape[1]) if present[i, k]]
        positives = [label] if present[i, label] else []
        losses.append(anchor_loss(similarity[i].tolist(), positives, candidates, loss_type))
    return weighted_mean(losses, labels, power)


@st.composite
def batches(draw):
    """Tokens of a few labels, with similarities to each other and to labels of which some are absent."""
    num_labels = draw(st.integers(1, 5))
    labels = draw(st.lists(st.integers(0, num_labels - 1), max_size=12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    scale = draw(st.sampled_from([0.0, 1.0, 10.0]))
    to_tokens = -scale * torch.rand(len(labels), len(labels), generator=generator, dtype=torch.float64)
    to_labels = -scale * torch.rand(len(labels), num_labels, generator=generator, dtype=torch.float64)
    present = torch.rand(len(labels), num_labels, generator=generator) < draw(st.sampled_from([0.5, 1.0]))
    return labels, to_tokens, to_labels, present


powers = st.sampled_from([0.0, 0.5, 1.0])
# The weights of tokens are fp32, and terms of either sign may all but cancel: hence `abs` below.


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@settings(max_examples=60, deadline=None)
@given(batch=batches(), power=powers, outside=st.booleans())
def test_context_context_against_a_loop(loss_type, batch, power, outside):
    labels, similarity, _, _ = batch
    given_labels = torch.tensor(labels, dtype=torch.long)
    result = context_context_loss(similarity, given_labels, loss_type, power, outside_attracts=outside)
    assert result.item() == pytest.approx(
        loop_context_context(similarity, labels, loss_type, power, outside), rel=1e-6, abs=1e-6
    )


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@settings(max_examples=60, deadline=None)
@given(batch=batches(), power=powers)
def test_context_label_against_a_loop(loss_type, batch, power):
    labels, _, similarity, present = batch
    # The similarity to an absent label must not matter.
    masked = similarity.masked_fill(~present, torch.finfo(similarity.dtype).min)
    for given_similarity in (similarity, masked):
        result = context_label_loss(
            given_similarity, torch.tensor(labels, dtype=torch.long), present, loss_type, power
        )
        assert result.item() == pytest.approx(
            loop_context_label(similarity, labels, present, loss_type, power), rel=1e-6, abs=1e-6
        )


def test_context_label_is_cross_entropy():
    """With every label present, by PyTorch's own; `container` and `supcon_out` agree on one positive."""
    similarity = -torch.rand(20, 5, dtype=torch.float64)
    labels = torch.arange(20) % 5
    present = torch.ones(20, 5, dtype=torch.bool)
    expected = torch.nn.functional.cross_entropy(similarity, labels)
    for loss_type in ("container", "supcon_out"):
        torch.testing.assert_close(context_label_loss(similarity, labels, present, loss_type), expected)


def test_container_is_at_most_supcon_out():
    """The logarithm of a mean is at least the mean of logarithms."""
    similarity = -5 * torch.rand(30, 30, dtype=torch.float64)
    labels = torch.arange(30) % 4
    losses = {kind: context_context_loss(similarity, labels, kind) for kind in LOSS_TYPES}
    assert losses["container"] < losses["supcon_out"]
    assert losses["decoupled"] < losses["supcon_out"]


def test_class_weights():
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 5])
    expected = torch.tensor([4, 4, 4, 4, 2, 2, 1]) ** -0.5
    torch.testing.assert_close(class_weights(labels, 0.5), expected)
    assert class_weights(labels, 0).eq(1).all()
    assert class_weights(labels[:0], 0.5).shape == (0,)


def test_weights_of_one_give_classes_equal_shares():
    """With power 1 a class counts once, however many tokens it has."""
    labels = torch.tensor([0] * 8 + [1] * 2)
    similarity = torch.where(labels.unsqueeze(0) == labels.unsqueeze(1), -1.0, -3.0)
    large = anchor_loss(similarity[0].tolist(), range(1, 8), range(1, 10), "supcon_out")
    small = anchor_loss(similarity[9].tolist(), [8], range(9), "supcon_out")
    result = context_context_loss(similarity, labels, "supcon_out", 1.0)
    assert result.item() == pytest.approx((large + small) / 2, rel=1e-6)


EDGE_LABELS = {
    "no token": [],
    "one token": [1],
    "one class": [2, 2, 2],
    "outside alone": [0, 0, 0, 0],
    "all different": [0, 1, 2],
}


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("labels", EDGE_LABELS.values(), ids=EDGE_LABELS.keys())
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_edge_batches_have_finite_losses_and_gradients(loss_type, labels, scale):
    labels = torch.tensor(labels, dtype=torch.long)
    to_tokens = (-scale * torch.rand(len(labels), len(labels))).requires_grad_()
    to_labels = (-scale * torch.rand(len(labels), 3)).requires_grad_()
    present = torch.tensor([True, True, False]).expand(len(labels), 3)
    loss = context_context_loss(to_tokens, labels, loss_type, 0.5)
    loss = loss + context_label_loss(to_labels, labels, present, loss_type, 0.5)
    loss.backward()
    assert loss.isfinite()
    assert to_tokens.grad.isfinite().all() and to_labels.grad.isfinite().all()


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_a_token_alone_in_its_class_gets_no_gradient_as_an_anchor(loss_type):
    similarity = torch.rand(4, 4).requires_grad_()
    loss = context_context_loss(similarity, torch.tensor([0, 0, 1, 0]), loss_type)
    (gradient,) = torch.autograd.grad(loss, similarity)
    assert gradient[2].eq(0).all()
    assert gradient[0, 2] > 0, "it still repels the others"
    assert gradient.diagonal().eq(0).all()


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_gradients_against_finite_differences(loss_type):
    labels = torch.tensor([0, 1, 0, 1, 2])
    present = torch.tensor([[True, True, True], [True, True, False]])[[0, 1, 1, 0, 0]]
    to_tokens = torch.rand(5, 5, dtype=torch.float64, requires_grad=True)
    to_labels = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda tokens, names: (
            context_context_loss(tokens, labels, loss_type, 0.5),
            context_label_loss(names, labels, present, loss_type, 0.5),
        ),
        (to_tokens, to_labels),
    )
