"""What the model compares tokens with: the names of its labels, and a support of examples."""

import copy
import re

import pytest
import torch
from small_models import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    LOWEST,
    TEXTS,
    build,
    padded,
    prompts_of,
    with_support,
)
from transformers.testing_utils import CaptureLogger
from transformers.utils import logging

from modeling_lacl.model.labels_lacl import build_prompt, split_prompt, tokenize_label_names
from modeling_lacl.model.losses_lacl import pairwise_divergence


def test_set_labels(tiny_model, tiny_tokenizer):
    tiny_model.set_labels(["GPE", "creative-work", "person"], {"person": "  New   person ", "O": "nothing"})
    config = tiny_model.config
    assert config.id2label == {0: "O", 1: "GPE", 2: "creative-work", 3: "person"}
    assert config.label2id == {"O": 0, "GPE": 1, "creative-work": 2, "person": 3}
    assert config.label_names["GPE"] == "country or city"
    assert config.label_names["creative-work"] == "creative work"
    assert config.label_names["O"] == "nothing"
    expected = ["nothing", "country or city", "creative work", "new person"]
    assert config.label_token_ids == tiny_tokenizer(expected, add_special_tokens=False)["input_ids"]
    assert config.separator_token_id == tiny_tokenizer.sep_token_id
    assert config.pad_token_id == tiny_tokenizer.pad_token_id


def test_names_in_a_mapping_of_labels(tiny_model):
    names = {"loc": "mountain", "per": "first name"}
    tiny_model.set_labels(names)
    assert tiny_model.config.label_names == {"O": "none", **names}
    assert tiny_model.config.label_names == tiny_model.with_labels(names).config.label_names
    made = type(tiny_model).from_encoder(tiny_model.lacl.encoder, tiny_model.tokenizer, {**names, "O": "to"})
    assert made.config.label_names == {"O": "to", **names} and made.entity_types == ["loc", "per"]
    with pytest.raises(ValueError, match="leave out label_names"):
        tiny_model.set_labels(names, {"loc": "hill"})
    with pytest.raises(TypeError, match="name of the label 'loc' is 3"):
        tiny_model.set_labels({"loc": 3})
    assert tiny_model.entity_types == ["loc", "per"]


def test_outside_may_be_listed(tiny_model):
    tiny_model.set_labels(["O", "person"])
    assert list(tiny_model.config.id2label.values()) == ["O", "person"]


REFUSED_LABELS = {
    "none": ([], None, "at least one entity type"),
    "outside alone": (["O"], None, "at least one entity type"),
    "a string": ("person", None, "must be a list"),
    "nothing": (None, None, "must be a list"),
    "a number": ([1], None, "labels has 1"),
    "names in a list": (["a"], ["b"], "label_names is .*give a mapping"),
    "a name that is none": (["a"], {"a": None}, "name of the label 'a' is None"),
    "twice": (["person", "person"], None, "'person' is repeated in labels"),
    "one name by rule": (["PER", "person"], None, "'PER' and 'person' share the name 'person'"),
    "one name by mapping": (["a", "b"], {"a": "Work", "b": "work "}, "'a' and 'b' share the name"),
    "spaces apart": (["a", "b"], {"a": "new work", "b": "new  work"}, "share the name|have the same tokens"),
    "the name of outside": (["none", "person"], None, "'O' and 'none' share the name 'none'"),
    "name of an unknown label": (["person"], {"place": "location"}, r"names for \['place'\]"),
    "a name without tokens": (["person", "b"], {"b": " "}, "has no token"),
    "same tokens": (["a", "b"], {"a": "Ω", "b": "Ψ"}, "the label names 'Ω' and 'Ψ' have the same tokens"),
    "a name too long": (["a", "b"], {"b": "z" * 90}, "label 2 has a name of 90 tokens"),
}


@pytest.mark.parametrize(("labels", "names", "message"), REFUSED_LABELS.values(), ids=REFUSED_LABELS.keys())
def test_refused_labels_leave_the_model_as_it_was(tiny_model, labels, names, message):
    tiny_model.config.max_prompt_length = 80
    tiny_model.set_support(torch.zeros(1, 16), torch.ones(1, 16), torch.tensor([1]))
    before = tiny_model.config.to_dict()
    with pytest.raises((TypeError, ValueError), match=message):
        tiny_model.set_labels(labels, names)
    assert tiny_model.config.to_dict() == before
    assert tiny_model.has_support


def test_names_of_unknown_tokens_alone_are_told_once(tiny_model):
    """An emoji, or letters that are not in the vocabulary; "ana" beside one is a word."""
    with CaptureLogger(logging.get_logger("modeling_lacl.model.labels_lacl")) as told:
        for labels in (["person", "🛸"], {"b": "ana 🛸", "x": "☿ ♃"}, ["person"]):
            of_call = tiny_model.with_labels(labels)
            of_call.predict(["ana", "flew"])
            of_call.predict("ana")
            tiny_model.set_labels(list(labels), labels if isinstance(labels, dict) else None)
    found = re.findall("no word of the label name '(.*?)'", told.out)
    assert found == ["🛸", "☿ ♃"]
    assert "give it other words" in told.out


def test_a_tokenizer_with_more_tokens_than_embeddings(tiny_model, tiny_tokenizer, tmp_path):
    larger = copy.deepcopy(tiny_tokenizer)
    larger.add_tokens(["quux", "corge"])
    tokens = len(tiny_tokenizer)
    message = rf"tokenizer has {tokens + 2} tokens and .* embeddings of {tokens}: .*resize_token_embeddings"
    with pytest.raises(ValueError, match=message):
        tiny_model.tokenizer = larger
    with pytest.raises(ValueError, match=message):
        type(tiny_model).from_encoder(tiny_model.lacl.encoder, larger, ["person"])
    assert tiny_model.tokenizer is tiny_tokenizer
    tiny_model.save_pretrained(tmp_path)
    larger.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        type(tiny_model).from_pretrained(tmp_path).predict("ana quux")
    tiny_model.resize_token_embeddings(tokens + 2)
    tiny_model.tokenizer = larger
    assert isinstance(tiny_model.predict("ana quux corge"), list)


def test_tokenizer_without_a_separator(tiny_model, tiny_tokenizer):
    tiny_model.tokenizer = copy.deepcopy(tiny_tokenizer)
    tiny_model.tokenizer.sep_token = None
    with pytest.raises(ValueError, match="neither sep_token nor eos_token"):
        tiny_model.set_labels(["person"])


@pytest.mark.parametrize("encoder", ["bert", "xlnet"])
def test_a_label_set_over_several_prompts(encoder):
    """Each type scores against outside, which is in every prompt, as in a separate pass."""
    names = [[5], *([6 + i, 20 + i] for i in range(8))]
    model = build(encoder, names=names, max_prompt_length=2 + 3 * 3)
    ids, mask = padded(TEXTS)
    inside = mask.bool()
    groups = split_prompt(names, model.config.max_prompt_length)
    assert len(groups) == 3
    with torch.no_grad():
        output = model(ids, mask)
        passes = [
            model(ids, mask, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
            for prompt_ids, prompt_labels in (
                prompts_of(group, group, group, names=names) for group in groups
            )
        ]
    assert output.logits.shape[-1] == 9
    assert output.logits[inside].isfinite().all() and (output.logits[inside] > LOWEST).all()
    torch.testing.assert_close(output.logits.exp().sum(-1), torch.ones(ids.shape))
    torch.testing.assert_close(output.mean, torch.stack([one.mean for one in passes]).mean(0))
    torch.testing.assert_close(output.variance, torch.stack([one.variance for one in passes]).mean(0))
    for group, one in zip(groups, passes, strict=True):
        together = output.logits[..., group] - output.logits[..., :1]
        apart = one.logits[..., group] - one.logits[..., :1]
        torch.testing.assert_close(together[inside], apart[inside], rtol=1e-4, atol=1e-4)


def test_a_label_set_over_several_prompts_has_a_loss():
    names = [[5], *([6 + i] for i in range(6))]
    model = build(names=names, max_prompt_length=8).train()
    ids, mask = padded(TEXTS)
    output = model(ids, mask, labels=torch.where(mask.bool(), ids % 7, -100))
    output.loss.backward()
    assert output.loss.isfinite()
    assert model.lacl.projection.mean.weight.grad.isfinite().all()


def test_a_set_that_fits_is_one_pass():
    ids, mask = padded(TEXTS)
    calls = []
    model = build(max_prompt_length=9)
    model.lacl.register_forward_hook(lambda *_: calls.append(1))
    exact = model(ids, mask).logits
    assert len(calls) == 1
    model.config.max_prompt_length = 100
    assert torch.equal(model(ids, mask).logits, exact)


def test_label_names_of_the_call(tiny_model, tiny_tokenizer):
    """A call's own labels give what the model gives when those are its labels."""
    batch = tiny_tokenizer(["ana ruiz flew to quito", "new york"], return_tensors="pt", padding=True)
    names = ["none", "work", "new cessna"]
    prompt = build_prompt(tokenize_label_names(tiny_tokenizer, names), tiny_tokenizer.sep_token_id)
    prompt_ids, prompt_labels = (part.expand(2, -1) for part in prompt)
    called = tiny_model(**batch, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
    tiny_model.set_labels(["work", "plane"], {"plane": "new cessna"})
    torch.testing.assert_close(tiny_model(**batch).logits, called.logits)


@pytest.mark.parametrize("method", ["neighbors", "prototypes"])
@pytest.mark.parametrize("label_weight", [0.0, 0.3, 1.0])
def test_logits_with_support(method, label_weight):
    model = build(support_method=method, label_weight=label_weight)
    ids, mask = padded(TEXTS)
    with torch.no_grad():
        by_names = model(ids, mask)
        mean, variance, labels = with_support(model)
        logits = model(ids, mask).logits
    scores = torch.full((*ids.shape, 3), LOWEST)
    for i in range(len(ids)):
        tokens = (by_names.mean[i], by_names.variance[i])
        for label in (0, 1):
            own = labels == label
            if method == "neighbors":
                support = (mean[own], variance[own])
            else:
                support = (mean[own].mean(0, keepdim=True), variance[own].mean(0, keepdim=True))
            scores[i, :, label] = -pairwise_divergence("moment_js", tokens, support).amin(1)
    of_names, of_support = by_names.logits.softmax(-1), scores.softmax(-1)
    # The last label, without an example, goes by its name alone.
    of_support *= 1 - of_names[..., 2:]
    of_support[..., 2] = of_names[..., 2]
    probabilities = of_names**label_weight * of_support ** (1 - label_weight)
    torch.testing.assert_close(logits.exp(), probabilities, rtol=1e-4, atol=1e-6)
    assert logits.isfinite().all()


def test_support_without_prompts():
    model = build(use_prompts=False)
    with_support(model)
    ids, mask = padded(TEXTS)
    logits = model(ids, mask).logits
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(ids.shape))
    assert (logits[..., 2] == LOWEST).all(), "a type without an example"


def test_support_takes_no_part_in_training_nor_with_labels_of_the_call():
    model = build()
    ids, mask = padded(TEXTS)
    prompt_ids, prompt_labels = prompts_of([0, 1, 2], [0, 1, 2], [0, 1, 2])
    expected = model(ids, mask).logits
    with_support(model)
    assert not torch.equal(model(ids, mask).logits, expected)
    assert torch.equal(model(ids, mask, labels=torch.zeros_like(ids)).logits, expected)
    assert torch.equal(model(ids, mask, prompt_ids=prompt_ids, prompt_labels=prompt_labels).logits, expected)
    model.clear_support()
    assert not model.has_support
    assert torch.equal(model(ids, mask).logits, expected)


def test_new_labels_forget_the_support(tiny_model):
    with_support(tiny_model)
    tiny_model.set_labels(["work"])
    assert not tiny_model.has_support
    assert tiny_model.support_mean.shape == (0, 16)


def test_support_made_in_inference_mode_is_an_ordinary_copy():
    model = build()
    with torch.inference_mode():
        mean, *rest = with_support(model)
        mean.zero_()
    assert model.support_mean.abs().sum() > 0
    assert not model.support_mean.is_inference()
    copy.deepcopy(model).support_mean.add_(1.0)


@pytest.mark.parametrize(
    ("mean", "variance", "labels", "message"),
    [
        ((2, 16), (2, 16), [0, 3], "from 0 to 2, got"),
        ((2, 16), (2, 16), [0, -1], "from 0 to 2, got"),
        ((2, 16), (2, 16), [0], r"must be \(1, 16\)"),
        ((2, 8), (2, 8), [0, 1], r"must be \(2, 16\)"),
        ((2, 16), (1, 16), [0, 1], r"must be \(2, 16\)"),
    ],
)
def test_refused_support(mean, variance, labels, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        model.set_support(torch.zeros(mean), torch.ones(variance), torch.tensor(labels))
    assert not model.has_support


def test_a_copy_shares_nothing(tiny_model):
    with_support(tiny_model)
    before = tiny_model.config.to_dict()
    weights = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    other = copy.deepcopy(tiny_model)
    other.set_labels(["work", "plane"])
    other.set_support(torch.zeros(1, 16), torch.ones(1, 16), torch.tensor([2]))
    other.config.encoder_config.hidden_dropout_prob = 0.9
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert tiny_model.config.to_dict() == before
    assert all(torch.equal(value, weights[name]) for name, value in tiny_model.state_dict().items())
