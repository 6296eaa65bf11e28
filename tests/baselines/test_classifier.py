"""The plain classifier against transformers' own, and as the start of NNShot."""

import pytest
import torch
from datasets import Dataset
from transformers import BertForTokenClassification, TrainerCallback

from modeling_lacl import LaclForTokenClassification, LaclTrainer, LaclTrainingArguments, adapt
from modeling_lacl.baselines import TokenClassifier, model_class
from modeling_lacl.training.adaptation import LOSS_THRESHOLD

PLAIN = {
    "use_prompts": False,
    "projection": "hidden",
    "divergence": "euclidean",
    "similarity_temperature": 1.0,
}
SUPPORT = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "the cessna in York".split(), "ner_tags": "O B-plane O B-town".split()},
]


@pytest.fixture
def classifier(make_tiny_model):
    return make_tiny_model(model_class=TokenClassifier, **PLAIN)


def test_loss_and_gradients_are_those_of_transformers(classifier, tiny_tokenizer):
    config = classifier.config.encoder_config
    config.num_labels = 4
    reference = BertForTokenClassification(config).eval()
    reference.bert.load_state_dict(classifier.lacl.encoder.state_dict())
    reference.classifier.load_state_dict(classifier.classifier.state_dict())
    batch = tiny_tokenizer(["ana flew", "the cessna in york"], padding=True, return_tensors="pt")
    labels = torch.randint(0, 4, batch["input_ids"].shape).masked_fill(batch["attention_mask"] == 0, -100)
    ours = classifier(**batch, labels=labels)
    theirs = reference(**batch, labels=labels)
    torch.testing.assert_close(ours.loss, theirs.loss)
    inside = batch["attention_mask"].bool()  # values at padding have no meaning
    torch.testing.assert_close(ours.logits[inside], theirs.logits.log_softmax(-1)[inside])
    ours.loss.backward()
    theirs.loss.backward()
    gradients = dict(reference.bert.named_parameters())
    for name, parameter in classifier.lacl.encoder.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, atol=1e-6, rtol=1e-4)


def test_fine_tuning_learns_the_support_set_with_a_new_last_layer(make_tiny_model, tiny_tokenizer):
    learner = {"initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    source = make_tiny_model(model_class=TokenClassifier, encoder=learner, **PLAIN)
    ner = adapt(source, SUPPORT, steps=60, learning_rate=3e-3)
    assert ner.state_dict()["classifier.weight"].shape == (4, 32) and source.config.id2label[1] == "person"
    found = ner.predict("Ana Ruiz flew to Quito .")
    assert [(one["entity_group"], one["word"]) for one in found] == [("pilot", "Ana Ruiz"), ("town", "Quito")]


def test_the_rule_of_adapting_goes_by_its_loss(make_tiny_model, tiny_tokenizer):
    losses = []

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    learner = {"initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    source = make_tiny_model(model_class=TokenClassifier, encoder=learner, **PLAIN)
    adapt(source, SUPPORT, learning_rate=3e-3, callbacks=[Watch()])
    assert losses[-1] < LOSS_THRESHOLD <= min(losses[:-1])


def test_the_head_that_has_a_rate_of_its_own_is_all_but_the_encoder(classifier, make_tiny_model, tmp_path):
    arguments = LaclTrainingArguments(
        str(tmp_path), learning_rate=1e-3, head_learning_rate=1e-2, report_to="none", use_cpu=True
    )
    for model, head in ((classifier, "classifier."), (make_tiny_model(), "lacl.projection.")):
        optimizer = LaclTrainer(model, arguments, Dataset.from_dict({"input_ids": [[1]]})).create_optimizer()
        rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
        trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        assert {rates[id(one)] for name, one in trained.items() if name.startswith(head)} == {1e-2}
        assert {rates[id(one)] for name, one in trained.items() if not name.startswith(head)} == {1e-3}


def test_saved_it_loads_as_itself_and_as_nnshot(classifier, tiny_tokenizer, tmp_path):
    classifier.save_pretrained(tmp_path)
    again = TokenClassifier.from_pretrained(tmp_path)
    texts = ["ana flew to york", "the play"]
    assert again.predict(texts) == classifier.predict(texts)

    nnshot = adapt(LaclForTokenClassification.from_pretrained(tmp_path), SUPPORT, steps=0)
    batch = tiny_tokenizer("Ana in York", return_tensors="pt")
    with torch.no_grad():
        states = classifier.lacl.encoder(**batch).last_hidden_state[0]
        found = nnshot(batch["input_ids"], batch["attention_mask"]).logits[0].argmax(-1)
    for state, label in zip(states, found.tolist(), strict=True):
        distances = ((state - nnshot.support_mean) ** 2).sum(1)
        assert nnshot.support_labels[distances.argmin()].item() == label


def test_what_does_not_fit_is_refused(make_tiny_model):
    with pytest.raises(ValueError, match="use_prompts=False and projection='hidden'"):
        make_tiny_model(model_class=TokenClassifier)
    with pytest.raises(
        ValueError, match="method is 'protobert'; choose one of lacl, classifier, prototypical"
    ):
        model_class("protobert")
