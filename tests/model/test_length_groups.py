"""Groups of similar length: a partition that saves padding, with the results and gradients of one batch."""

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    ENCODERS,
    NAMES,
    alone,
    assert_sequences_equal,
    build,
    every_encoder,
    padded,
    prompts_of,
)

from modeling_lacl.model import modeling_lacl
from modeling_lacl.model.encoder_lacl import SMALLEST_GROUP, WORTH_SPLITTING, length_groups


def sequences_of_unequal_lengths(number=24):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 40, (number,), generator=generator).tolist()
    return [[1, *torch.randint(10, 60, (n - 2,), generator=generator).tolist(), 2] for n in lengths]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=70))
def test_every_sequence_once_and_padding_saved(lengths):
    groups = length_groups(torch.tensor(lengths))
    assert sorted(torch.cat(groups).tolist()) == list(range(len(lengths)))
    if len(groups) > 1:
        assert min(map(len, groups)) >= min(SMALLEST_GROUP, len(lengths)) // 2
        padded_tokens = sum(len(group) * max(lengths[i] for i in group.tolist()) for group in groups)
        assert padded_tokens <= WORTH_SPLITTING * len(lengths) * max(lengths)
        longest = [[lengths[i] for i in group.tolist()] for group in groups]
        assert all(max(one) <= min(other) for one, other in zip(longest, longest[1:], strict=False))


def test_sequences_of_one_length_stay_together_in_their_order():
    (group,) = length_groups(torch.full((40,), 17))
    assert group.tolist() == list(range(40))


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
def test_sequences_are_as_if_alone(encoder, side):
    model = build(encoder)
    sequences = sequences_of_unequal_lengths()
    ids, mask = padded(sequences, side)
    orders = [range(len(NAMES))] * len(sequences)
    calls = []
    model.lacl.encoder.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        output = model(
            ids, mask, **dict(zip(("prompt_ids", "prompt_labels"), prompts_of(*orders), strict=True))
        )
    assert len(calls) == 3
    expected = [alone(model, sequence, order) for sequence, order in zip(sequences, orders, strict=True)]
    assert_sequences_equal(output, mask, expected)


@pytest.mark.parametrize("encoder", ["bert", "xlnet"])
def test_loss_and_gradients_are_those_of_one_batch(encoder):
    model = build(ENCODERS[encoder](), divergence="cosine", similarity_temperature=0.1)
    ids, mask = padded(sequences_of_unequal_lengths())
    labels = torch.where(mask.bool(), ids % 3, -100)

    def run():
        model.zero_grad()
        loss = model(ids, mask, labels=labels).loss
        loss.backward()
        return loss.detach(), {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}

    loss, gradients = run()
    with mock.patch.object(modeling_lacl, "length_groups", lambda lengths: [torch.arange(len(lengths))]):
        whole_loss, whole = run()
    torch.testing.assert_close(loss, whole_loss)
    assert gradients.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_hidden_states_asked_for_are_of_one_batch():
    model = build()
    ids, mask = padded(sequences_of_unequal_lengths())
    output = model(ids, mask, output_hidden_states=True)
    assert all(states.shape[0] == len(ids) for states in output.hidden_states)
