"""Few-shot scores on held-out types: what is sampled, what is scored, and that the model is not modified."""

import copy
from typing import Any

import pytest
import torch

from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import to_io
from modeling_lacl.model.labels_lacl import with_own_labels
from modeling_lacl.training import validation as validation_module
from modeling_lacl.training.validation import FewShotValidation

CITIES = ["quito", "lima", "york"]


def make_held_out(rows=24):
    examples = []
    for i in range(rows):
        tokens, tags = ["ana", "flew", "to", CITIES[i % 3]], ["O", "O", "O", "B-city"]
        if i % 2:
            tokens, tags = [*tokens, "on", "a", "cessna", str(i)], [*tags, "O", "O", "B-plane", "I-plane"]
        examples.append({"tokens": tokens, "ner_tags": tags})
    return read_dataset(examples)


def test_the_sampled_sets(make_tiny_model):
    dataset = make_held_out()
    validation = FewShotValidation(dataset, k_shot=2, draws=4, query_size=10, seed=1)
    labels = to_io(dataset, validation.types)
    assert validation.types == ["city", "plane"] and validation.num_samples == 40
    for support, query in validation.splits:
        assert not set(support) & set(query) and len(query) == len(set(query)) == 10
        for label in (1, 2):
            # One run in a sentence at most.
            assert 2 <= sum(label in labels[row] for row in support) <= 4
    assert len({tuple(support) for support, _ in validation.splits}) > 1
    again = FewShotValidation(make_held_out(), k_shot=2, draws=4, query_size=10, seed=1)
    other = FewShotValidation(dataset, k_shot=2, draws=4, query_size=10, seed=2)
    assert validation.splits == again.splits != other.splits


def test_zero_shot_has_no_support():
    validation = FewShotValidation(make_held_out(), k_shot=0, draws=1, query_size=100)
    assert validation.splits == [([], list(range(24)))]


def test_types_without_an_entity_are_left_out():
    dataset = make_held_out().select([0, 2, 4, 6])
    assert FewShotValidation(dataset, k_shot=1).types == ["city"]


@pytest.mark.parametrize(
    ("rows", "k_shot", "message"),
    [(24, 20, "found no sample of 20 to 40"), (2, 1, "went into the support set"), (0, 1, "has no entity")],
)
def test_too_little_data(rows, k_shot, message):
    dataset = make_held_out().select(range(rows))
    if rows == 2:
        dataset = make_held_out().select([0])
    with pytest.raises(ValueError, match=message):
        FewShotValidation(dataset, k_shot=k_shot)


def test_scores_count_entities(monkeypatch, tiny_model, tiny_tokenizer):
    """Cities are all found; of the planes every one is cut short."""
    dataset = make_held_out()

    def predict(model, sentences, **options):
        labels = list(model.config.id2label.values())
        assert labels == ["O", "city", "plane"] and model.has_support
        kinds = dict.fromkeys(CITIES, "city") | {"cessna": "plane"}
        return [
            [(place, place + 1, kinds[word]) for place, word in enumerate(words) if word in kinds]
            for words in sentences
        ]

    monkeypatch.setattr(validation_module, "predict_spans", predict)
    scores = FewShotValidation(dataset, k_shot=1, draws=2, query_size=100).scores(tiny_model)
    assert scores["f1_city"] == scores["recall_city"] == scores["precision_city"] == 1
    assert scores["f1_plane"] == scores["recall_plane"] == scores["precision_plane"] == 0
    assert 0.5 < scores["f1"] < 1 and scores["f1"] == pytest.approx(scores["precision"], abs=0.01)
    assert set(scores) == {
        f"{key}{name}" for key in ("f1", "precision", "recall") for name in ("", "_city", "_plane")
    }


def test_nested_entities_are_sampled_and_scored(monkeypatch, make_tiny_model):
    """Every city lies within a team; all entities are found, and then the teams alone."""
    spans = [{"start": 0, "end": 2, "label": "team"}, {"start": 0, "end": 1, "label": "city"}]
    examples = [{"tokens": [city, "united"], "entities": spans} for city in CITIES]
    dataset = read_dataset(examples, nested="keep")
    validation = FewShotValidation(dataset, k_shot=1, draws=2)
    assert validation.types == ["city", "team"]
    model = make_tiny_model(max_span_words=3)
    assert 0 <= validation.scores(model)["f1"] <= 1
    found = [(0, 1, "city"), (0, 2, "team")]

    def predict(model, sentences, *, overlap, **options):
        assert overlap == "nested"
        return [found for _ in sentences]

    monkeypatch.setattr(validation_module, "predict_spans", predict)
    assert validation.scores(model)["f1"] == 1
    found.pop(0)
    scores = validation.scores(model)
    assert (scores["recall"], scores["precision"], scores["f1_city"]) == (0.5, 1, 0)


@pytest.mark.parametrize("k_shot", [0, 2])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(tiny_model, tiny_tokenizer, k_shot, training):
    tiny_model.set_support(torch.randn(3, 16), torch.rand(3, 16) + 1, torch.tensor([0, 1, 2]))
    tiny_model.train(training)
    before = copy.deepcopy(tiny_model.state_dict())
    config = tiny_model.config.to_dict()
    random = torch.get_rng_state()
    first = FewShotValidation(make_held_out(), k_shot=k_shot, draws=1).scores(tiny_model)
    assert first == FewShotValidation(make_held_out(), k_shot=k_shot, draws=1).scores(tiny_model)
    after = tiny_model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert config == tiny_model.config.to_dict()
    assert {module.training for module in tiny_model.modules()} == {training}
    assert torch.equal(random, torch.get_rng_state())


def test_a_support_of_the_same_words_is_found_again(tiny_model, tiny_tokenizer):
    """Whatever the weights: a sentence that stands in the support set is its own nearest neighbour."""
    tiny_model.config.label_weight = 0.0
    sentence = {"tokens": ["ana", "flew", "to", "quito"], "ner_tags": ["O", "O", "O", "B-city"]}
    validation = FewShotValidation(read_dataset([sentence] * 6), k_shot=2, draws=1)
    assert validation.scores(tiny_model)["f1"] == 1.0


def test_own_labels_share_the_weights_alone(tiny_model, tiny_tokenizer):
    own: Any = with_own_labels(tiny_model)
    own.set_labels(["ship"])
    assert own.lacl is tiny_model.lacl
    assert len(tiny_model.config.id2label) == 4 and len(own.config.id2label) == 2
    ids = torch.tensor([[2, 5, 6, 3]])
    assert own(ids).logits.shape[-1] == 2 and tiny_model(ids).logits.shape[-1] == 4


def test_own_labels_also_where_a_forward_was_put_on_the_instance(tiny_model):
    """As mixed precision does it."""
    tiny_model.forward = type(tiny_model).forward.__get__(tiny_model)
    own = with_own_labels(tiny_model)
    own.set_labels(["ship"])
    assert own(torch.tensor([[2, 5, 6, 3]])).logits.shape[-1] == 2
