"""The forward pass: text and prompt packed into sequences, against the bare encoder on one at a time."""

import pytest
import torch
from small_models import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    ENCODERS,
    LOWEST,
    NAMES,
    SEPARATOR,
    TEXTS,
    alone,
    assert_sequences_equal,
    build,
    every_encoder,
    padded,
    project,
    prompts_of,
)

from modeling_lacl.model.labels_lacl import build_prompt

ABSOLUTE = ("bert", "roberta", "distilbert")


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("extra", [0, 5])
def test_sequences_are_as_if_alone(encoder, side, extra):
    """Neither padding nor other sequences change the output: it is the bare encoder's on text and prompt."""
    model = build(encoder)
    ids, mask = padded(TEXTS, side, extra=extra)
    with torch.no_grad():
        output = model(ids, mask)
    assert output.logits.shape == (*ids.shape, 3)
    assert_sequences_equal(output, mask, [alone(model, text, [0, 1, 2]) for text in TEXTS])


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
def test_sequences_with_prompts_of_different_lengths(encoder, side):
    model = build(encoder)
    orders = [[2, 0], [0, 1, 2], [1, 2, 0]]
    ids, mask = padded(TEXTS, side)
    prompt_ids, prompt_labels = prompts_of(*orders)
    with torch.no_grad():
        output = model(ids, mask, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
    assert_sequences_equal(
        output, mask, [alone(model, text, o) for text, o in zip(TEXTS, orders, strict=True)]
    )
    assert (output.logits[0, :, 1] == LOWEST).all(), "a label that is not in the prompt of the sequence"


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
def test_sequences_without_prompts(encoder, side):
    model = build(encoder, use_prompts=False)
    ids, mask = padded(TEXTS, side, extra=3)
    with torch.no_grad():
        output = model(ids, mask)
    assert output.logits is None
    assert_sequences_equal(output, mask, [alone(model, text, []) for text in TEXTS])


@pytest.mark.parametrize("encoder", ["bert", "xlnet"])
def test_token_types(encoder):
    """They move with the text; the prompt has type 0."""
    model = build(encoder)
    ids, mask = padded(TEXTS, "left")
    types = (ids % 2) * mask
    with torch.no_grad():
        output = model(ids, mask, token_type_ids=types)
        for i, text in enumerate(TEXTS):
            prompt, _ = build_prompt(NAMES, SEPARATOR)
            tokens = torch.tensor([text + prompt.tolist()])
            own = torch.tensor([[t % 2 for t in text] + [0] * len(prompt)])
            hidden = model.lacl.encoder(input_ids=tokens, token_type_ids=own).last_hidden_state[
                0, : len(text)
            ]
            mean, _ = project(model, hidden)
            torch.testing.assert_close(output.mean[i, mask[i].bool()], mean, rtol=1e-4, atol=1e-4)


def test_token_types_of_an_encoder_without_them():
    model = build("distilbert")
    ids, mask = padded(TEXTS)
    torch.testing.assert_close(
        model(ids, mask, token_type_ids=torch.zeros_like(ids)).logits, model(ids, mask).logits
    )


def test_without_a_mask_all_tokens_are_attended():
    model = build()
    ids = torch.tensor(TEXTS[:1])
    torch.testing.assert_close(model(ids).logits, model(ids, torch.ones_like(ids)).logits)


@pytest.mark.parametrize("encoder", ABSOLUTE)
def test_padding_takes_no_positions(encoder):
    """A batch padded to the encoder's limit still has room for the prompt; a longer text raises an error."""
    model = build(encoder)
    ids, mask = padded(TEXTS, extra=64 - len(TEXTS[0]))
    with torch.no_grad():
        assert_sequences_equal(model(ids, mask), mask, [alone(model, text, [0, 1, 2]) for text in TEXTS])
        prompt_length = len(build_prompt(NAMES, SEPARATOR)[0])
        longest = [1, *[20] * (62 - prompt_length), 2]
        assert model(torch.tensor([longest])).logits.isfinite().all()
        with pytest.raises(ValueError, match="65 tokens, the encoder has 64 positions.*max_prompt_length"):
            model(torch.tensor([[*longest, 2]]))


@pytest.mark.parametrize("encoder", sorted(set(ENCODERS) - set(ABSOLUTE)))
def test_relative_encoders_take_any_length(encoder):
    model = build(encoder)
    text = [1, *[20] * 80, 2]
    with torch.no_grad():
        assert_sequences_equal(
            model(torch.tensor([text])), torch.ones(1, 82), [alone(model, text, [0, 1, 2])]
        )


def test_hidden_states_and_attentions_are_those_of_text_and_prompt():
    model = build()
    model.set_attn_implementation("eager")
    ids, mask = padded(TEXTS)
    output = model(ids, mask, output_hidden_states=True, output_attentions=True)
    width = ids.shape[1] + len(build_prompt(NAMES, SEPARATOR)[0])
    assert [tuple(states.shape) for states in output.hidden_states] == [(3, width, 32)] * 3
    assert [tuple(weights.shape) for weights in output.attentions] == [(3, 4, width, width)] * 2
    assert model(ids, mask).hidden_states is None


def test_output_as_a_mapping_and_a_tuple():
    """Trainer, accelerate and pipelines read outputs by key, or by place."""
    model = build()
    ids, mask = padded(TEXTS)
    output = model(ids, mask, labels=torch.zeros_like(ids))
    parts = ["loss", "logits", "context_context_loss", "context_label_loss", "mean", "variance"]
    assert list(output) == parts
    assert all(output[name] is getattr(output, name) for name in parts)
    assert torch.equal(model(ids, mask, labels=torch.zeros_like(ids), return_dict=False)[0], output.loss)
    output = model(ids, mask)
    assert list(output) == ["logits", "mean", "variance"]
    model.config.return_dict = False
    assert torch.equal(model(ids, mask)[0], output.logits)
    assert torch.equal(model(ids, mask, return_dict=True).logits, output.logits)


def test_prompt_ids_go_with_their_labels():
    model = build()
    prompt_ids, prompt_labels = prompts_of([0, 1])
    for half in ({"prompt_ids": prompt_ids}, {"prompt_labels": prompt_labels}):
        with pytest.raises(ValueError, match="prompt_ids and prompt_labels go together"):
            model(torch.tensor(TEXTS[:1]), **half)


def test_a_model_without_labels():
    model = build()
    model.config.label_token_ids = None
    with pytest.raises(ValueError, match="no labels: call set_labels"):
        model(torch.tensor(TEXTS[:1]))


@pytest.mark.filterwarnings("ignore")
def test_compiled():
    """Prediction is one graph: no value of a tensor decides what runs."""
    model = build()
    ids, mask = padded(TEXTS, "left")
    with torch.no_grad():
        expected = model(ids, mask).logits
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(ids, mask).logits, expected)
