"""ProML against a direct transcription: both views of a sentence, the loss, and the second stage."""

from typing import Any

import pytest
import torch

from modeling_lacl import LaclDataCollator
from modeling_lacl.baselines.proml import OPTION_WEIGHT, PromlModel, annotate, proml_loss
from modeling_lacl.evaluation.stages import second_stage

CONFIG = {
    "projection": "relu_gaussian",
    "variance_epsilon": 1e-6,
    "divergence": "jeffreys",
    "similarity_temperature": 0.5,
}
LEARNER = {"initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SUPPORT = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "the cessna in York".split(), "ner_tags": "O B-plane O B-town".split()},
]
TEXTS = ["ana flew to york", "the cessna", "york play", "ruiz in the york"]
LABELS = [[1, 0, 0, 2], [0, 3], [2, 0], [1, 0, 0, 2]]
ANNOTATED = {0: "[ ana | person ] flew to [ york | location ]", 2: "[ york | location ] play"}
NAMES = ["none", "person", "location", "creative work"]


def words_of(tokenizer, texts):
    return [
        {
            "input_ids": (ids := tokenizer(text)["input_ids"]),
            "attention_mask": [1] * len(ids),
            "labels": [-100, *own, -100],
        }
        for text, own in zip(texts, LABELS, strict=True)
    ]


def published_loss(model, query, support):
    """−log Σ_same e^−D / Σ e^−D, where D is the sum of both KL divergences; a mean over query words."""
    losses = []
    for state, label in query:
        mean, variance = model.lacl.projection(state)
        scores = {True: torch.tensor(0.0), False: torch.tensor(0.0)}
        for other, other_label in support:
            other_mean, other_variance = model.lacl.projection(other)
            p, q = (
                torch.distributions.Normal(*one)
                for one in ((mean, variance.sqrt()), (other_mean, other_variance.sqrt()))
            )
            kl = torch.distributions.kl_divergence
            scores[other_label == label] = scores[other_label == label] + (-(kl(p, q) + kl(q, p)).sum()).exp()
        if scores[True]:
            losses.append(-(scores[True] / (scores[True] + scores[False])).log())
    return torch.stack(losses).mean()


def test_the_loss_of_an_episode_is_that_published(make_tiny_model, tiny_tokenizer):
    model = make_tiny_model(model_class=PromlModel, encoder=LEARNER, **CONFIG)
    batch = LaclDataCollator(tiny_tokenizer, NAMES, fixed_labels=True)(words_of(tiny_tokenizer, TEXTS))
    prompt = tiny_tokenizer(
        "none [SEP] person [SEP] location [SEP] creative work [SEP]", add_special_tokens=False
    )
    query: list[Any] = []
    support: list[Any] = []
    for number, text in enumerate(TEXTS):
        ids = tiny_tokenizer(text)["input_ids"]
        with torch.no_grad():
            both = model.lacl.encoder(torch.tensor([ids + prompt["input_ids"]])).last_hidden_state[0]
        plain = both[1 : 1 + len(LABELS[number])]
        if number % 2:
            query += zip(plain, LABELS[number], strict=True)
            continue
        written = tiny_tokenizer(ANNOTATED[number])["input_ids"]
        places = [written.index(token) for token in ids[1:-1]]
        with torch.no_grad():
            own = model.lacl.encoder(torch.tensor([written])).last_hidden_state[0, places]
        mixed = OPTION_WEIGHT * plain + (1 - OPTION_WEIGHT) * own
        support += zip(mixed, LABELS[number], strict=True)
    # The support has no creative work.
    torch.testing.assert_close(
        model(**batch).loss, published_loss(model, query, support), rtol=1e-4, atol=1e-4
    )


def test_labels_are_written_around_whole_words():
    names = {1: [10, 11], 2: [20]}
    brackets = ([7], [8], [9])
    made = annotate([2, 50, 51, 52, 53, 54, 3], [-100, 1, -100, 1, 2, 0, -100], names, brackets, 3)
    assert made.input_ids == [2, 7, 50, 51, 52, 8, 10, 11, 9, 7, 53, 8, 20, 9, 54, 3]
    assert [made.input_ids[place] for place in made.places] == [2, 50, 51, 52, 53, 54, 3]
    at_end = annotate([2, 50, 51, 3], [-100, 0, 2, -100], names, brackets, 3)
    assert at_end.input_ids == [2, 50, 7, 51, 8, 20, 9, 3] and at_end.places == [0, 1, 3, 7]
    assert annotate([50, 51], [0, 2], names, brackets, 3).input_ids == [50, 7, 51, 8, 20, 9]


def test_no_word_is_its_own_example():
    similarity = torch.tensor([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]])
    similarity = similarity.masked_fill(torch.eye(3, dtype=torch.bool), torch.finfo(torch.float32).min)
    labels = torch.tensor([0, 0, 1])  # the last has no other of its label
    expected = -torch.stack([torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])]).log_softmax(1)[:, 0].mean()
    torch.testing.assert_close(proml_loss(similarity, labels, labels, leave_one_out=True), expected)
    nothing = proml_loss(similarity.requires_grad_(), labels, torch.tensor([2, 2, 2]))
    nothing.backward()
    assert nothing == 0 and similarity.grad is not None and not similarity.grad.any()


def test_the_second_stage_decodes_by_both_views_of_the_support(make_tiny_model, tiny_tokenizer):
    source = make_tiny_model(model_class=PromlModel, encoder=LEARNER, **CONFIG)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    ner = second_stage("proml")(source, SUPPORT, steps=20, learning_rate=3e-3)
    assert not source.leave_one_out
    assert all(torch.equal(before[name], tensor) for name, tensor in source.state_dict().items())
    found = ner.predict("Ana Ruiz flew to Quito .")
    assert [(one["entity_group"], one["word"]) for one in found] == [("pilot", "Ana Ruiz"), ("town", "Quito")]
    ids = tiny_tokenizer("the cessna in York")["input_ids"]
    written = tiny_tokenizer("the [ cessna | plane ] in [ york | town ]")["input_ids"]
    with torch.no_grad():
        plain = ner(torch.tensor([ids])).mean[0, 1:-1]
        own = ner.lacl.encoder(torch.tensor([written])).last_hidden_state[0]
    own = own[[written.index(token) for token in ids[1:-1]]]
    expected = OPTION_WEIGHT * plain + (1 - OPTION_WEIGHT) * own
    torch.testing.assert_close(ner.support_mean[-4:], expected, rtol=1e-4, atol=1e-4)
    assert ner.config.support_words[-4:] == ["", "cessna", "", "York"]
    query = tiny_tokenizer("ana in york", return_tensors="pt")
    with torch.no_grad():
        output = ner(query["input_ids"], query["attention_mask"])
    distances = torch.cdist(output.mean[0], ner.support_mean)
    assert output.logits[0].argmax(-1).tolist() == ner.support_labels[distances.argmin(1)].tolist()


def test_what_does_not_fit_is_refused(make_tiny_model, tiny_model):
    with pytest.raises(ValueError, match="ProML needs use_prompts=True, label_vector='mean'"):
        make_tiny_model(model_class=PromlModel, **{**CONFIG, "label_vector": "cls"})
    with pytest.raises(TypeError, match="adapts a PromlModel, not a LaclForTokenClassification: give method"):
        second_stage("proml")(tiny_model, SUPPORT)
