"""Label names that do not attend to the text, against the plain encoder with a pairwise attention mask."""

import copy

import pytest
import torch
from transformers import (
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.model.labels_lacl import PADDING_LABEL

TEXT_LENGTH = 40


@pytest.fixture
def model(make_tiny_model):
    return make_tiny_model(shared_prompt=True, max_text_length=TEXT_LENGTH)


def small(tokenizer, config_class, **further):
    names = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    if config_class is not DistilBertConfig:
        names = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return config_class(vocab_size=len(tokenizer), **names, **further)


def batch(tokenizer, texts=("Ana Ruiz flew to Quito.", "a play", "New York, New York and the person in it")):
    return tokenizer(list(texts), return_tensors="pt", padding=True)


def prompt_of(model):
    prompt, *rest = model._prompts(torch.zeros(1, 1, dtype=torch.long))
    ids, labels = prompt["prompt_ids"], prompt["prompt_labels"]
    assert not rest
    return ids[0], labels[0]


def plain_encoder(model):
    """The same encoder as transformers has it."""
    plain = BertModel(copy.deepcopy(model.config.encoder_config), add_pooling_layer=False).eval()
    plain.load_state_dict(model.lacl.encoder.state_dict())
    plain.set_attn_implementation("sdpa")
    return plain


def masked_reference(plain, ids, prompt, first_position):
    """Hidden states of one text, and of the prompt, from one pass over both with a mask of pairs."""
    length, number = len(ids), len(prompt)
    seen = torch.zeros(length + number, length + number, dtype=torch.bool)
    seen[:length] = True
    seen[length:, length:] = True
    positions = torch.cat([torch.arange(length), torch.arange(first_position, first_position + number)])
    hidden = plain(
        input_ids=torch.cat([ids, prompt]).unsqueeze(0),
        attention_mask=seen[None, None],
        position_ids=positions.unsqueeze(0),
    ).last_hidden_state[0]
    return hidden[:length], hidden[length:]


@torch.no_grad()
def test_against_a_mask_over_one_sequence(model, tiny_tokenizer):
    plain = plain_encoder(model)
    prompt, prompt_labels = prompt_of(model)
    encoded = batch(tiny_tokenizer)
    output = model.lacl(
        encoded["input_ids"],
        encoded["attention_mask"],
        None,
        *(part.expand(3, -1) for part in (prompt, prompt_labels)),
    )
    for row, (ids, mask) in enumerate(zip(encoded["input_ids"], encoded["attention_mask"], strict=True)):
        ids = ids[mask.bool()]
        text, names = masked_reference(plain, ids, prompt, TEXT_LENGTH)
        torch.testing.assert_close(output.last_hidden_state[row, : len(ids)], text, rtol=1e-4, atol=1e-5)
        means = torch.stack([names[prompt_labels == label].mean(0) for label in range(4)])
        mean, variance = model.lacl.projection(means)
        torch.testing.assert_close(output.label_mean[row], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output.label_variance[row], variance, rtol=1e-4, atol=1e-5)


def test_gradients_against_a_mask_over_one_sequence(model, tiny_tokenizer):
    plain = plain_encoder(model)
    prompt, prompt_labels = prompt_of(model)
    encoded = batch(tiny_tokenizer, ["Ana Ruiz flew to Quito."])
    output = model.lacl(**encoded, prompt_ids=prompt[None], prompt_labels=prompt_labels[None])
    (output.last_hidden_state.pow(2).sum() + output.label_mean.pow(2).sum()).backward()
    text, names = masked_reference(plain, encoded["input_ids"][0], prompt, TEXT_LENGTH)
    means = torch.stack([names[prompt_labels == label].mean(0) for label in range(4)])
    (text.pow(2).sum() + model.lacl.projection(means)[0].pow(2).sum()).backward()
    ours = dict(model.lacl.encoder.named_parameters())
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(ours[name].grad, weight.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("config_class", "model_class"), [(RobertaConfig, RobertaModel), (DistilBertConfig, DistilBertModel)]
)
@torch.no_grad()
def test_other_encoders(config_class, model_class, tiny_tokenizer):
    """A padded text in a batch has the same output as alone, and the output depends on the prompt."""
    torch.manual_seed(0)
    config = small(tiny_tokenizer, config_class, initializer_range=0.5, pad_token_id=0)
    model = LaclForTokenClassification.from_encoder(
        model_class(config), tiny_tokenizer, ["person", "location"], shared_prompt=True
    )
    encoded = batch(tiny_tokenizer)
    together = model(**encoded).logits
    alone = model(**batch(tiny_tokenizer, ["a play"])).logits
    torch.testing.assert_close(together[1, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)
    model.set_labels(["person", "creative work"])
    assert (model(**encoded).mean - model(**encoded).mean).abs().max() < 1e-6
    assert not torch.allclose(model(**encoded).logits, together, atol=1e-2)


@torch.no_grad()
def test_separate_prompts_for_every_sequence(model, tiny_tokenizer):
    """Rows of a batch may have different prompts, padded to one length."""
    encoded = batch(tiny_tokenizer)
    prompt, labels = prompt_of(model)
    rows = [slice(None), slice(4), slice(2)]
    prompts = torch.zeros(3, len(prompt), dtype=torch.long)
    prompt_labels = torch.full((3, len(prompt)), PADDING_LABEL)
    for row, part in enumerate(rows):
        prompts[row, : len(prompt[part])] = prompt[part]
        prompt_labels[row, : len(prompt[part])] = labels[part]
    together = model.lacl(**encoded, prompt_ids=prompts, prompt_labels=prompt_labels, num_labels=4)
    for row, part in enumerate(rows):
        alone = model.lacl(
            encoded["input_ids"][row : row + 1],
            encoded["attention_mask"][row : row + 1],
            prompt_ids=prompt[part][None],
            prompt_labels=labels[part][None],
            num_labels=4,
        )
        length = int(encoded["attention_mask"][row].sum())
        expected = alone.last_hidden_state[0, :length]
        torch.testing.assert_close(together.last_hidden_state[row, :length], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.label_mean[row], alone.label_mean[0], rtol=1e-4, atol=1e-5)
        assert torch.equal(together.label_present[row], alone.label_present[0])


def test_it_predicts_and_is_saved(model, tmp_path):
    text = "Ana Ruiz flew to Quito. " * 10  # several windows
    found = model.predict(text, labels=["person", "location"])
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    assert loaded.config.shared_prompt
    assert loaded.predict(text, labels=["person", "location"]) == found
    assert all(text[entity["start"] : entity["end"]] == entity["word"] for entity in found)


def test_encoders_without_a_choice_of_attention_are_refused(tiny_tokenizer):
    encoder = DebertaV2Model(small(tiny_tokenizer, DebertaV2Config))
    with pytest.raises(ValueError, match="shared_prompt does not support DebertaV2Model"):
        LaclForTokenClassification.from_encoder(encoder, tiny_tokenizer, ["person"], shared_prompt=True)


def test_names_longer_than_the_encoder(make_tiny_model):
    model = make_tiny_model(shared_prompt=True, max_prompt_length=512)
    prompt = torch.ones(1, 128, dtype=torch.long)
    with pytest.raises(ValueError, match="label names take 128 tokens, the encoder has 128 positions"):
        model(torch.ones(1, 3, dtype=torch.long), prompt_ids=prompt, prompt_labels=torch.zeros_like(prompt))


def test_another_attention_function_is_refused(model):
    model.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="attention function was changed"):
        model.predict("Ana Ruiz flew to Quito.")
