"""The configuration: what it refuses, and that it survives saving."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_models import ENCODERS, VOCABULARY, every_encoder  # type: ignore[import-not-found]  # pytest finds it beside this file
from transformers import AutoConfig, BertConfig, DistilBertConfig, RobertaConfig

from modeling_lacl import LaclConfig
from modeling_lacl.model.configuration_lacl import FORMAT_VERSION


@every_encoder
def test_round_trip(encoder, tmp_path):
    # More than ten labels, in no alphabetical order: JSON keys are strings and get sorted.
    labels = ["O", *(f"type-{(7 * i) % 23}" for i in range(23))]
    made = ENCODERS[encoder]()
    config = LaclConfig(
        encoder_config=made,
        id2label=dict(enumerate(labels)),
        label_names={label: f"name of {label}" for label in labels},
        label_token_ids=[[i, i + 1] for i in range(24)],
        separator_token_id=5,
        divergence="jeffreys",
        alpha=0.125,
        transitions={"start": {"O": 0.5, "I": 0.5}},
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is LaclConfig
    assert type(loaded.encoder_config) is type(made)
    assert loaded.encoder_config.vocab_size == VOCABULARY
    assert list(dict(loaded.id2label or {}).items()) == list(enumerate(labels))
    assert loaded.label2id == config.label2id
    assert loaded.to_diff_dict() == config.to_diff_dict()
    assert loaded.encoder_config.to_dict() == config.encoder_config.to_dict()


def test_every_setting_is_written(tmp_path):
    """The defaults too: another release may have others, and reads the format version."""
    LaclConfig().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["format_version"] == FORMAT_VERSION
    assert written["divergence"] == LaclConfig().divergence
    assert written["encoder_config"]["model_type"] == "bert"


def test_encoder_as_a_dict():
    config = LaclConfig(encoder_config={"model_type": "roberta", "hidden_size": 48})
    assert type(config.encoder_config) is RobertaConfig
    assert config.hidden_size == 48


def test_sizes_are_the_encoders():
    config = LaclConfig(encoder_config=DistilBertConfig(dim=40, vocab_size=50))
    assert (config.hidden_size, config.vocab_size) == (40, 50)
    config.vocab_size = 60
    assert config.encoder_config.vocab_size == 60


def test_padding_is_the_encoders_unless_given():
    assert LaclConfig(encoder_config=RobertaConfig()).pad_token_id == RobertaConfig().pad_token_id == 1
    assert LaclConfig(encoder_config=RobertaConfig(), pad_token_id=3).pad_token_id == 3


def test_newer_format():
    with pytest.raises(
        ValueError, match=rf"format version {FORMAT_VERSION + 1}.*update it, by `pip install '\.\[torch\]'`"
    ):
        LaclConfig(format_version=FORMAT_VERSION + 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"divergence": "manhattan"}, "divergence must be one of jeffreys, .*'manhattan'"),
        ({"loss_type": "triplet"}, "loss_type must be one of container"),
        ({"support_method": "mean"}, "support_method must be one of neighbors"),
        ({"alpha": 1.5}, "alpha must be between 0 and 1.0, got 1.5"),
        ({"alpha": -0.1}, "alpha must be between 0"),
        ({"alpha": float("nan")}, "alpha must be between 0"),
        ({"label_weight": 2}, "label_weight must be between 0"),
        ({"class_weight_power": -1}, "class_weight_power must be between 0 and inf"),
        ({"viterbi": "no"}, "viterbi must be true or false, got 'no'"),
        ({"outside_attracts": 1}, "outside_attracts must be true or false, got 1"),
        ({"similarity_temperature": 0}, "similarity_temperature must be above 0"),
        ({"variance_epsilon": 0.0}, "variance_epsilon must be above 0"),
    ],
)
def test_refused_settings(setting, message):
    with pytest.raises(ValueError, match=message):
        LaclConfig(**setting)


def test_encoder_without_a_model_type():
    with pytest.raises(ValueError, match="model_type"):
        LaclConfig(encoder_config={"hidden_size": 48})


def test_defaults_are_not_shared():
    one, other = LaclConfig(), LaclConfig()
    one.encoder_config.hidden_size = 8
    assert other.hidden_size == BertConfig().hidden_size


def test_bert_is_the_default_encoder():
    assert type(LaclConfig().encoder_config) is BertConfig


HUGE = st.sampled_from([0, -1, 10**9, 10**30, -(10**30)])


@settings(max_examples=40, deadline=2000)
@given(size=HUGE, name=st.sampled_from(["num_labels", "num_hidden_layers", "hidden_size", "vocab_size"]))
def test_sizes_of_no_model_are_refused_at_once(size, name):
    assume(size or name != "num_hidden_layers")  # an encoder of embeddings alone
    values = LaclConfig().to_dict()
    values = json.loads(json.dumps(values))
    (values if name == "num_labels" else values["encoder_config"])[name] = size
    if name == "num_labels":
        values.pop("id2label", None)
        values.pop("label2id", None)
    with pytest.raises(ValueError, match=f"{name} is .*a whole number from [01] to"):
        LaclConfig.from_dict(values)


def test_the_configuration_of_another_type_of_model_is_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="configuration of a 'bert' model"):
        LaclConfig.from_pretrained(tmp_path)
