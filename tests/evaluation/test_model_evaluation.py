"""A model on labelled sentences: what is counted, by hand, and what is read from a model's predictions."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl import LaclDataError, adapt, evaluate_model
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.evaluation.errors import Span
from modeling_lacl.evaluation.model_evaluation import word_spans
from modeling_lacl.metrics import entity_scores
from modeling_lacl.model.words_lacl import word_offsets
from modeling_lacl.training.word_labels import predict_tags

DATA = [
    {"tokens": ["Ana", "Ruiz", "flew", "to", "Quito"], "ner_tags": ["B-p", "I-p", "O", "O", "B-city"]},
    {"tokens": ["the", "Vasa", "in", "Oslo"], "ner_tags": ["O", "B-ship", "O", "B-city"]},
    {"tokens": ["nothing", "here"], "ner_tags": ["O", "O"]},
]
FOUND = {
    "Ana Ruiz flew to Quito": [(0, 8, "p", 0.9), (17, 22, "city", 0.6)],
    "the Vasa in Oslo": [(0, 8, "p", 0.4), (12, 16, "p", 0.7)],
    "nothing here": [(0, 7, "p", 0.2)],
}


class Model:
    """Finds what stands in FOUND."""

    entity_types = ["p", "city"]
    config = SimpleNamespace(support_words=["", "ANA ruiz", "Oslo", ""], max_span_words=None)

    def predict(self, sentences, **arguments):
        for words in sentences:
            yield [
                {"entity_group": label, "score": score, "start": start, "end": end}
                for start, end, label, score in FOUND[" ".join(words)]
            ]


@pytest.fixture
def found():
    return evaluate_model(Model(), DATA, threshold=0.3)


def test_what_is_counted(found):
    assert found.sentences == 3
    assert (found.scores["precision"], found.scores["recall"], found.scores["number"]) == (0.5, 0.5, 4)
    assert found.scores["per_type"]["ship"] == {"precision": 0, "recall": 0, "f1": 0, "number": 1}
    assert found.errors == {
        **{"correct": 2, "wrong type": 1, "wrong border": 0, "wrong type and border": 1},
        **{"spurious": 0, "missed": 0},
    }
    assert found.unknown_types == {"ship": 1}
    # "Ana Ruiz" and "Oslo" are examples of the model, whatever their case and their type.
    assert found.surface_forms["seen"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "number": 2}
    assert found.surface_forms["unseen"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "number": 2}
    assert found.confusion == {"city": {"city": 1, "p": 1}, "p": {"p": 1}, "ship": {"p": 1}}
    assert found.confusions == [("city", "p", 1), ("ship", "p", 1)]
    assert [one.number for one in found.wrong] == [1]
    # The sweep begins at 0, whatever the threshold: one more is found, and it is wrong.
    assert found.sweep[0].precision == 2 / 5 and found.sweep[5].precision == 2 / 4
    # At 0.45, two of three are right; the lowest of the equal ones.
    assert found.best.threshold == 0.45 and found.best.precision == 2 / 3


def test_it_is_written_as_json_and_markdown(found):
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["best_threshold"] == 0.45 and plain["sweep"][9]["f1"] == plain["sweep"][10]["f1"]
    assert plain["wrong"] == [
        {
            "sentence": 1,
            "tokens": ["the", "Vasa", "in", "Oslo"],
            "matches": [
                {
                    "kind": "wrong type and border",
                    "gold": {"start": 1, "end": 2, "label": "ship"},
                    "predicted": {"start": 0, "end": 2, "label": "p", "score": 0.4},
                },
                {
                    "kind": "wrong type",
                    "gold": {"start": 3, "end": 4, "label": "city"},
                    "predicted": {"start": 3, "end": 4, "label": "p", "score": 0.7},
                },
            ],
        }
    ]
    written = found.to_markdown()
    for row in (
        "| all types | 50.0 | 50.0 | 50.0 | 4 |",
        "| wrong type and border | 1 |",
        "| in the support set | 50.0 | 50.0 | 50.0 | 2 |",
        "| ship | 1 |",
        "| city | p | 1 |",
        "| 0.45 | 66.7 | 50.0 | 57.1 | best |",
    ):
        assert f"\n{row}\n" in written


def test_a_wrong_sentence_has_its_entities_as_predict_gives_them(found):
    (wrong,) = found.wrong
    both = {"error": "wrong type and border"}
    assert wrong.entities(predicted=False)[0] == {
        **{"entity_group": "ship", "word": "Vasa", "start": 4, "end": 8, **both}
    }
    assert wrong.entities(predicted=True)[0] == {
        **{"entity_group": "p", "word": "the Vasa", "start": 0, "end": 8, "score": 0.4, **both}
    }


@settings(deadline=None)
@given(st.data(), st.lists(st.text("aé東 \u3000", min_size=1, max_size=3), min_size=1, max_size=6))
def test_characters_become_words(data, words):
    """Also of words that hold spaces."""
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    offsets = word_offsets(words).tolist()
    entity = {"entity_group": "p", "score": 0.5, "start": offsets[start][0], "end": offsets[end - 1][1]}
    assert word_spans(words, [entity]) == [Span(start, end, "p", 0.5)]


def test_a_model_is_scored_as_by_its_tags(make_tiny_model):
    data = read_dataset(
        [
            {"text": "ana ruiz flew to quito", "entities": [(0, 8, "person"), (17, 22, "location")]},
            {"text": "york, the play", "entities": [(0, 4, "location")]},
        ]
    )
    model = adapt(make_tiny_model(), data, steps=0)
    model.config.label_weight = 1.0  # by names that mean nothing to it, so that much is wrong
    found = evaluate_model(model, data)
    tags = predict_tags(model, data["tokens"])
    assert found.scores == entity_scores(gold_tags(data), tags)
    assert found.wrong and found.surface_forms and found.surface_forms["seen"]["number"] == 3
    zero_shot = evaluate_model(model, data, labels=["location", "creature"])
    assert zero_shot.surface_forms is None and zero_shot.unknown_types == {"person": 1}


def test_entities_inside_of_others_are_counted():
    spans = [{"start": 0, "end": 2, "label": "p"}, {"start": 1, "end": 2, "label": "p"}]
    nested = [{"tokens": DATA[0]["tokens"], "entities": spans}]
    with pytest.raises(LaclDataError, match="nested"):
        evaluate_model(Model(), nested)
    found = evaluate_model(Model(), read_dataset(nested, nested="keep"))
    assert (found.errors["correct"], found.errors["missed"], found.errors["spurious"]) == (1, 1, 1)


def test_what_is_given_must_be_sentences():
    with pytest.raises(LaclDataError, match="the data has no sentence; give at least one"):
        evaluate_model(Model(), read_dataset(DATA).select([]))
    with pytest.raises(ValueError, match="threshold"):
        evaluate_model(Model(), DATA, threshold=1.5)
