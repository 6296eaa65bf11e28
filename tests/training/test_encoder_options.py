"""Dropout, attention and frozen embeddings hold while the encoder trains, and at no other time."""

import pytest
import torch
from torch import nn

from modeling_lacl.training.arguments import ModelArguments
from modeling_lacl.training.encoder_options import encoder_options


def rates(model):
    return {module.p for module in model.lacl.encoder.modules() if isinstance(module, nn.Dropout)}


def test_options_hold_in_the_context_alone(make_tiny_model):
    model = make_tiny_model(encoder={"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.2})
    encoder, weights = model.lacl.encoder, model.get_input_embeddings().weight
    ids = torch.arange(5, 15)[None]
    before = model(ids).logits
    saved = model.config.to_json_string()
    with pytest.raises(RuntimeError, match="left"):
        with encoder_options(model, ModelArguments(dropout=0.0, attention="eager", freeze_embeddings=True)):
            assert rates(model) == {0.0} and encoder.config._attn_implementation == "eager"
            trained = model.train()(ids, labels=torch.ones_like(ids))
            trained.loss.backward()
            assert weights.grad is None and encoder.embeddings.position_embeddings.weight.grad is not None
            # Without dropout, training sees what prediction does; attention is computed in another way.
            torch.testing.assert_close(model(ids).logits, before, atol=1e-4, rtol=1e-4)
            assert model.config.to_json_string() == saved
            raise RuntimeError("left")
    assert rates(model) == {0.1, 0.2} and encoder.config._attn_implementation == "sdpa"
    assert weights.requires_grad and not torch.equal(model(ids).logits, before)


def test_nothing_is_changed_by_default(tiny_model):
    before = rates(tiny_model)
    with encoder_options(tiny_model, ModelArguments()):
        assert rates(tiny_model) == before and tiny_model.get_input_embeddings().weight.requires_grad


def test_numbers_of_dropout_that_are_no_layers(tiny_model):
    tiny_model.lacl.encoder.attention_dropout = 0.3
    with encoder_options(tiny_model, ModelArguments(dropout=0.5)):
        assert tiny_model.lacl.encoder.attention_dropout == 0.5
    assert tiny_model.lacl.encoder.attention_dropout == 0.3


def test_options_that_the_encoder_does_not_have(tiny_model, make_tiny_model):
    with pytest.raises(ValueError, match="shared_prompt has an attention of its own"):
        with encoder_options(make_tiny_model(shared_prompt=True), ModelArguments(attention="eager")):
            pass
    tiny_model.lacl.encoder = nn.Sequential(tiny_model.get_input_embeddings())
    with pytest.raises(ValueError, match="dropout is set, and Sequential has none"):
        with encoder_options(tiny_model, ModelArguments(dropout=0.5)):
            pass
