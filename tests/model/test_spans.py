"""Spans: their logits and the choice among them, targets and loss, against loops over all spans."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from modeling_lacl.model.decoding_lacl import (
    LEAST_WEIGHT,
    PRIOR,
    Spans,
    find_spans,
    select_spans,
    span_logits,
)
from modeling_lacl.model.spans_lacl import (
    Entities,
    batch_entities,
    pad_entities,
    role_labels,
    room_in_text,
    span_label_loss,
)


def _logit(roles, first, last, label):
    """The logit of one span, by its definition."""
    inside = roles[first : last + 1, 2, label]
    return float(
        roles[first, 0, label] + roles[last, 1, label] + inside.mean() + LEAST_WEIGHT * inside.min() + PRIOR
    )


def _words(counts, labels, seed=0):
    return torch.randn(sum(counts), 3, labels, generator=torch.Generator().manual_seed(seed)) * 4


@pytest.mark.parametrize("width", [1, 3, 12])
@pytest.mark.parametrize("counts", [[5], [3, 0, 1, 4]])
def test_the_logit_of_every_span(counts, width):
    """The same of tensors, as in training, and of arrays, as in prediction."""
    roles, room = _words(counts, 3), room_in_text(torch.tensor(counts))
    logits = span_logits(roles, room, width, torch)
    assert (span_logits(roles.numpy(), room.numpy(), width) == logits.numpy()).all()
    ends = np.repeat(np.cumsum(counts), counts)
    for first, more, label in product(range(sum(counts)), range(width), range(3)):
        found = logits[first, more, label].item()
        if first + more < ends[first]:
            assert found == pytest.approx(_logit(roles, first, first + more, label), abs=1e-4)
        else:
            assert found == torch.finfo(torch.float32).min


@pytest.mark.parametrize("several", [False, True])
def test_spans_are_found_in_blocks(monkeypatch, several):
    counts = [7, 2, 9]
    roles, room = _words(counts, 4).numpy(), room_in_text(torch.tensor(counts)).numpy()
    whole = find_spans(roles, room, 3, 0.0, several)
    monkeypatch.setattr("modeling_lacl.model.decoding_lacl._CELLS", 1)
    parts = find_spans(roles, room, 3, 0.0, several)
    assert [one.tolist() for one in whole] == [one.tolist() for one in parts]
    ends = np.repeat(np.cumsum(counts), counts)
    expected = [
        (first, last, label)
        for first in range(sum(counts))
        for last in range(first, min(first + 3, ends[first]))
        for label in range(1, 4)
        if _logit(roles, first, last, label) >= 0
    ]
    found = list(zip(whole.first, whole.last, whole.label, strict=True))
    if several:
        assert found == expected
    else:
        assert sorted({one[:2] for one in found}) == sorted({one[:2] for one in expected})
        assert len(found) == len({one[:2] for one in found})
        best: dict[tuple[int, int], tuple[int, int, int]] = {}
        for one in expected:
            best[one[:2]] = max(best.get(one[:2], one), one, key=lambda span: _logit(roles, *span))
        assert sorted(best.values()) == sorted(found)


spans = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(1, 3), st.floats(-5, 5, width=32)),
    max_size=14,
)


def _greedy(candidates, overlap):
    """Take the best span that may stand beside those taken, one after the other."""
    taken: list[tuple[int, int, int, float]] = []
    for first, last, label, logit in sorted(candidates, key=lambda one: (-one[3], one[0], -one[1])):
        beside = True
        for left, right, *_ in taken:
            apart = last < left or right < first
            inner = (left <= first and last <= right) or (first <= left and right <= last)
            nested = inner and (first, last) != (left, right)
            beside &= apart or (overlap == "nested" and nested)
        if beside:
            taken.append((first, last, label, logit))
    return sorted(taken)


@settings(max_examples=300, deadline=None)
@given(spans, st.sampled_from(["flat", "nested"]))
def test_the_choice_is_that_of_taking_the_best_first(drawn, overlap):
    candidates = [(first, first + more, label, logit) for first, more, label, logit in drawn]
    first, last, label = np.array([one[:3] for one in candidates], dtype=np.int64).reshape(-1, 3).T
    logits = np.array([one[3] for one in candidates], dtype=np.float32)
    # Ties are broken by position; equal spans with equal logits by chance of their order.
    if len(np.unique(logits)) < len(logits):
        return
    chosen = select_spans(Spans(first, last, label, logits), overlap)
    assert sorted(zip(*(part.tolist() for part in chosen), strict=True)) == _greedy(candidates, overlap)
    order = list(zip(chosen.first.tolist(), (-chosen.last).tolist(), strict=True))
    assert order == sorted(order)
    assert len(select_spans(Spans(first, last, label, logits), "any").logit) == len(candidates)


@pytest.mark.parametrize("overlap", ["flat", "nested"])
def test_the_rounds_of_the_choice_are_few_and_parts_are_independent(monkeypatch, overlap):
    number = 20_000
    rng = np.random.default_rng(0)
    first = np.sort(rng.integers(0, number, number))
    candidates = Spans(
        first,
        first + rng.integers(0, 5, number),
        np.ones(number, np.int64),
        rng.normal(size=number).astype(np.float32),
    )
    chosen = select_spans(candidates, overlap)  # in a fraction of a second; one by one it would take minutes
    assert overlap == "nested" or (chosen.first[1:] > chosen.last[:-1]).all()
    monkeypatch.setattr("modeling_lacl.model.decoding_lacl._AT_ONCE", 100)
    again = select_spans(candidates, overlap)
    assert [part.tolist() for part in again] == [part.tolist() for part in chosen]


def test_entities_of_a_batch_are_given_or_the_runs_of_one_label():
    labels, counts = torch.tensor([1, 1, 0, 2, 2, 2, 1, 1]), torch.tensor([4, 0, 4])
    runs = batch_entities(labels, counts, None)
    assert torch.stack(list(runs)).T.tolist() == [[0, 1, 1], [3, 3, 2], [4, 5, 2], [6, 7, 1]]
    rows = pad_entities([[[0, 1, 1], [3, 3, 2]], [], [[0, 0, 2], [0, 1, 2], [2, 3, 1]]])
    assert rows.shape == (3, 3, 3)
    given_ = batch_entities(labels, counts, rows)
    assert torch.stack(list(given_)).T.tolist() == [[0, 1, 1], [3, 3, 2], [4, 4, 2], [4, 5, 2], [6, 7, 1]]


def test_a_word_has_the_label_of_the_entity_in_each_role():
    entities = Entities(*torch.tensor([[0, 2], [1, 2], [1, 2]]).unbind())
    entities = Entities(torch.tensor([0, 2, 4]), torch.tensor([1, 2, 6]), torch.tensor([1, 2, 3]))
    assert role_labels(entities, 8).tolist() == [
        [1, 0, 2, 0, 3, 0, 0, 0],
        [0, 1, 2, 0, 0, 0, 3, 0],
        [1, 1, 2, 0, 3, 3, 3, 0],
    ]


def test_the_loss_is_that_of_all_spans_and_labels_in_the_prompt():
    counts, width = [4, 3], 2
    roles, room = _words(counts, 4), room_in_text(torch.tensor(counts))
    present = torch.tensor([[True, True, True, False]] * 4 + [[True, True, False, True]] * 3)
    # Two types for one span, one entity within another, and one that is longer than a span may be.
    rows = [(0, 0, 1), (0, 0, 2), (1, 2, 1), (2, 2, 1), (4, 6, 3), (5, 6, 3)]
    inside_of_it = {(4, 4, 3), (5, 5, 3), (6, 6, 3), (4, 5, 3)}
    entities = Entities(*torch.tensor(rows).T)
    total = 0.0
    ends = np.repeat(np.cumsum(counts), counts)
    for first, more, label in product(range(7), range(width), range(1, 4)):
        if (first, first + more, label) in inside_of_it:
            continue
        if first + more < ends[first] and present[first, label]:
            target = torch.tensor(float((first, first + more, label) in rows))
            logit = torch.tensor(_logit(roles, first, first + more, label))
            total += binary_cross_entropy_with_logits(logit, target).item()
    logits = span_logits(roles.requires_grad_(), room, width, torch)
    loss = span_label_loss(logits, entities, room, present)
    assert loss.item() == pytest.approx(total / 5, rel=1e-5)  # one of the six is too long to be counted
    loss.backward()
    assert roles.grad.isfinite().all() and not roles.grad[..., 0].any()


def test_a_batch_without_entities_has_a_finite_loss():
    roles, room = _words([3], 2), room_in_text(torch.tensor([3]))
    none = Entities(*(torch.zeros(0, dtype=torch.long) for _ in range(3)))
    loss = span_label_loss(span_logits(roles, room, 2, torch), none, room, torch.ones(3, 2, dtype=torch.bool))
    assert math.isfinite(loss.item()) and loss > 0
