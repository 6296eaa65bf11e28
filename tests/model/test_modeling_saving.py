"""Made from an encoder, saved and loaded: weights, precision, support and tokenizer of a checkpoint."""

import copy
import json

import pytest
import torch
from small_models import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    COMMON,
    ENCODERS,
    SIZES,
    TEXTS,
    VOCABULARY,
    build,
    every_encoder,
    padded,
    with_support,
)
from transformers import AutoModel, AutoModelForTokenClassification, BertConfig, BertForMaskedLM, BertModel

from modeling_lacl import LaclForTokenClassification, LaclModel
from modeling_lacl.model.configuration_lacl import FORMAT_VERSION


def test_from_encoder_takes_weights_but_shares_nothing(tiny_tokenizer):
    bert = BertModel(BertConfig(**{**COMMON, "vocab_size": len(tiny_tokenizer)}, **SIZES))
    settings = bert.config.to_dict()
    model = LaclForTokenClassification.from_encoder(bert, tiny_tokenizer, ["person"], alpha=0.75)
    assert model.config.alpha == 0.75
    assert not model.training
    loaded = model.lacl.encoder.state_dict()
    assert all(
        torch.equal(loaded[name], value) for name, value in bert.state_dict().items() if name in loaded
    )
    assert not any("pooler" in name for name in loaded)
    model.resize_token_embeddings(len(tiny_tokenizer) + 3)
    with torch.no_grad():
        model.lacl.encoder.embeddings.word_embeddings.weight.zero_()
    assert bert.config.to_dict() == settings
    assert bert.embeddings.word_embeddings.weight.abs().sum() > 0


def test_from_encoder_in_half_precision_is_trained_in_full(tiny_tokenizer):
    """Many published encoders are stored in half precision, in which fine-tuning does not work."""
    config = BertConfig(**{**COMMON, "vocab_size": len(tiny_tokenizer)}, **SIZES, dtype="bfloat16")
    bert = BertModel(config).bfloat16()
    model = LaclForTokenClassification.from_encoder(bert, tiny_tokenizer, ["person"])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_from_encoder_with_a_head_of_its_own(tiny_tokenizer):
    with pytest.raises(
        ValueError, match="BertForMaskedLM does not fit BertModel: missing weights.*bare encoder"
    ):
        LaclForTokenClassification.from_encoder(
            BertForMaskedLM(BertConfig(**COMMON, **SIZES)), tiny_tokenizer, ["person"]
        )


@every_encoder
def test_attention_implementation_reaches_the_encoder(encoder, tmp_path):
    model = build(encoder)
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert loaded.lacl.encoder.config._attn_implementation == "eager"
    ids, mask = padded(TEXTS)
    inside = mask.bool()
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(ids, mask).logits[inside], model(ids, mask).logits[inside], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("encoder", sorted(set(ENCODERS) - {"xlnet"}))
def test_half_precision(encoder, tmp_path):
    """Loaded in bf16, head and support stay in fp32; cast as a whole, the model works all the same.

    (XLNet of transformers mixes dtypes when it is loaded in half precision, and fails on its own.)
    """
    model = build(encoder)
    with_support(model)
    ids, mask = padded(TEXTS)
    inside = mask.bool()
    with torch.no_grad():
        expected = model(ids, mask).logits[inside].softmax(-1)
        model.save_pretrained(tmp_path)
        loaded = LaclForTokenClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert loaded.get_input_embeddings().weight.dtype == torch.bfloat16
        assert loaded.state_dict()["lacl.projection.mean.weight"].dtype == torch.float32
        assert torch.equal(loaded.support_mean, model.support_mean)
        for half in (loaded, copy.deepcopy(model).bfloat16()):
            logits = half(ids, mask).logits
            assert logits.dtype == torch.float32
            assert (logits[inside].softmax(-1) - expected).abs().mean() < 0.1


@every_encoder
def test_round_trip(encoder, tmp_path):
    model = build(encoder, label_weight=0.3, divergence="jeffreys")
    mean, variance, labels = with_support(model)
    ids, mask = padded(TEXTS)
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    assert torch.equal(loaded.support_mean, mean)
    assert torch.equal(loaded.support_variance, variance)
    assert torch.equal(loaded.support_labels, labels)
    with torch.no_grad():
        assert torch.equal(loaded(ids, mask).logits, model(ids, mask).logits)


def test_auto_classes(tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path)
    body = AutoModel.from_pretrained(tmp_path)
    assert type(tagger) is LaclForTokenClassification
    assert type(body) is LaclModel
    assert all(torch.equal(value, model.lacl.state_dict()[name]) for name, value in body.state_dict().items())


def test_checkpoint_of_a_newer_format(tmp_path):
    build().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": FORMAT_VERSION + 1}))
    with pytest.raises(ValueError, match="format version 2, and the code reads up to 1.*update it"):
        LaclForTokenClassification.from_pretrained(tmp_path)


def test_resized_vocabulary_round_trip(tmp_path):
    model = build("roberta")
    model.resize_token_embeddings(VOCABULARY + 8)
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    assert loaded.get_input_embeddings().weight.shape == (VOCABULARY + 8, 32)
    assert loaded(torch.tensor([[1, VOCABULARY + 7, 2]])).logits.isfinite().all()


def test_the_tokenizer_travels_with_the_model(tiny_model, tiny_tokenizer, tmp_path):
    tiny_model.save_pretrained(tmp_path / "first")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "second")
    again = LaclForTokenClassification.from_pretrained(tmp_path / "second")
    again.set_labels(["work"])
    assert again.tokenizer("ana flew")["input_ids"] == tiny_tokenizer("ana flew")["input_ids"]


def test_no_tokenizer(tmp_path, tiny_tokenizer):
    model = build()
    model.resize_token_embeddings(len(tiny_tokenizer))
    with pytest.raises(ValueError, match=r"no tokenizer: set model\.tokenizer"):
        _ = model.tokenizer
    model.save_pretrained(tmp_path / "first")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    with pytest.raises(ValueError, match=r"no usable tokenizer in .*set model\.tokenizer"):
        _ = loaded.tokenizer
    loaded.save_pretrained(tmp_path / "second")
    assert (tmp_path / "second" / "model.safetensors").is_file()
    loaded.tokenizer = tiny_tokenizer
    assert loaded.tokenizer is tiny_tokenizer


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="Slow gives no character offsets"):
        build().tokenizer = Slow()
