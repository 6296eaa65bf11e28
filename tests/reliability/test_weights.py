"""Weights that are missing, renamed, left over or no numbers: an error, not a model with others."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from modeling_lacl import LaclForTokenClassification, LaclModel
from modeling_lacl.hub.loading import load_model

TEXT = "ana flew to quito"
SUPPORT = ("support_mean", "support_variance", "support_labels")


def give_support(model, size=6):
    generator = torch.Generator().manual_seed(1)
    shape = (size, model.config.projection_size)
    mean, variance = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator) + 0.1
    model.set_support(mean, variance, torch.arange(size) % model.config.num_labels)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, make_tiny_model):
    folder = tmp_path_factory.mktemp("weights")
    model = make_tiny_model(encoder={"num_hidden_layers": 1})
    give_support(model)
    model.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture
def tampered(checkpoint, tmp_path):
    """Writes other weights into a copy of the checkpoint, and gives its folder."""

    def write(weights):
        folder = tmp_path / "model"
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write


def test_every_missing_or_renamed_weight_is_an_error(checkpoint, tampered):
    weights = load_file(checkpoint / "model.safetensors")
    assert set(SUPPORT) < set(weights)
    for name in weights:
        rest = {key: weight for key, weight in weights.items() if key != name}
        folder = tampered(rest)
        with pytest.raises(ValueError, match=f"missing weights.*{name}") as caught:
            LaclForTokenClassification.from_pretrained(folder)
        assert str(folder) in str(caught.value)
    renamed = {key.replace("lacl.encoder.encoder", "lacl.encoder.body"): weights[key] for key in weights}
    with pytest.raises(ValueError, match=r"model has missing weights.*encoder\.encoder\.layer"):
        load_model(tampered(renamed))


def test_a_weight_too_many_is_an_error(checkpoint, tampered):
    weights = load_file(checkpoint / "model.safetensors")
    with pytest.raises(ValueError, match=r"unexpected weights \(lacl\.adapter\.weight, 1 in all\)"):
        load_model(tampered({**weights, "lacl.adapter.weight": torch.zeros(2)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_anywhere_is_an_error(checkpoint, tampered, value):
    weights = load_file(checkpoint / "model.safetensors")
    chance = random.Random(str(value))
    for name in chance.sample(sorted(set(weights) - {"support_labels"}), 6):
        changed = weights[name].clone()
        changed.view(-1)[chance.randrange(changed.numel())] = value
        with pytest.raises(ValueError, match=f"{name} has NaN or infinite weights"):
            load_model(tampered({**weights, name: changed}))


def test_large_weights_are_numbers(checkpoint, tampered):
    """Their sum is infinite, they are not."""
    weights = load_file(checkpoint / "model.safetensors")
    name = "lacl.projection.variance.bias"
    load = LaclForTokenClassification.from_pretrained
    load(tampered({**weights, name: torch.full_like(weights[name], 3e38)}))


def test_what_may_be_missing_or_left_over(checkpoint, tampered, make_tiny_model, tmp_path):
    """A pooler, an empty support set, and the head of a whole checkpoint for a bare model."""
    weights = load_file(checkpoint / "model.safetensors")
    pooler = {"lacl.encoder.pooler.dense.weight": torch.zeros(2, 2)}
    assert load_model(tampered({**weights, **pooler})).predict(TEXT) == load_model(checkpoint).predict(TEXT)
    assert isinstance(LaclModel.from_pretrained(checkpoint), LaclModel)
    zero_shot = make_tiny_model()
    zero_shot.lacl.save_pretrained(tmp_path / "bare")
    zero_shot.tokenizer.save_pretrained(tmp_path / "bare")
    whole = LaclForTokenClassification.from_pretrained(tmp_path / "bare")
    assert whole.predict(TEXT) == zero_shot.predict(TEXT)
    bare, info = LaclModel.from_pretrained(tmp_path / "bare", output_loading_info=True)
    assert isinstance(bare, LaclModel) and not info["missing_keys"]


def test_a_bare_model_has_no_support_to_load(checkpoint, tmp_path):
    """Its configuration tells of support, which its weights lack."""
    LaclForTokenClassification.from_pretrained(checkpoint).lacl.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing weights \(support_labels"):
        LaclForTokenClassification.from_pretrained(tmp_path)


def test_scores_that_are_no_numbers(make_tiny_model):
    model = make_tiny_model()
    with torch.no_grad():
        model.lacl.encoder.encoder.layer[0].output.dense.bias[0] = float("nan")
    with pytest.raises(ValueError, match="scores that are not finite.*float32"):
        model.predict(TEXT)
    with pytest.raises(ValueError, match="not finite"):
        list(model.predict(iter([TEXT])))


@pytest.mark.parametrize(
    "shard", ["weights.bin", "../outside.safetensors", "/tmp/x.safetensors", "sub/x.safetensors"]
)
@pytest.mark.parametrize("place", ["index", "config"])
@pytest.mark.parametrize("loads", [LaclForTokenClassification.from_pretrained, load_model])
def test_weights_that_are_no_safetensors_of_its_own_are_not_opened(checkpoint, tmp_path, shard, place, loads):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "weights.bin")
    (folder / "sub").mkdir()
    for other in (folder / "sub" / "x.safetensors", tmp_path / "outside.safetensors"):
        shutil.copy(folder / "model.safetensors", other)
    if place == "index":
        index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        (folder / "model.safetensors").unlink()
    else:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": shard}))
    with pytest.raises(ValueError, match="only safetensors files in its own folder"):
        loads(folder)
