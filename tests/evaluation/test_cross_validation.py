"""The estimate by cross-validation: its folds, and whom it adapts to what."""

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl import LaclDataError, cross_validate
from modeling_lacl.evaluation import cross_validation
from modeling_lacl.evaluation.cross_validation import deal_into_folds

SENTENCES = [
    {"tokens": ["Ana", "flew", "to", "Quito"], "ner_tags": ["B-pilot", "O", "O", "B-town"]},
    {"tokens": ["Tom", "left", "Oslo"], "ner_tags": ["B-pilot", "O", "B-town"]},
    {"tokens": ["a", "cessna", "in", "York"], "ner_tags": ["O", "B-plane", "O", "B-town"]},
    {"tokens": ["nothing", "here"], "ner_tags": ["O", "O"]},
]


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(1, 3)), min_size=1, max_size=30),
    st.integers(2, 5),
    st.integers(0, 3),
)
def test_folds_are_even(types, folds, seed):
    folds = min(folds, len(types))
    dealt = deal_into_folds(types, folds, seed)
    assert dealt == deal_into_folds(types, folds, seed)
    assert set(dealt) <= set(range(folds)) and len(dealt) == len(types)
    # One type alone is dealt as evenly as can be, if each sentence has one entity.
    single = deal_into_folds([{"a": 1}] * len(types), folds, seed)
    assert max(Counter(single).values()) - min(Counter(single).values()) <= 1


def test_two_sentences_of_a_type_are_in_two_folds():
    dealt = deal_into_folds([{"a": 1}, {"b": 5}, {"a": 1, "b": 1}, {}], 2, 0)
    assert dealt[0] != dealt[2] and dealt[1] != dealt[2]


def test_every_sentence_is_predicted_by_a_model_of_the_others(tiny_model, monkeypatch, caplog):
    seen = []
    adapted_to = cross_validation.adapt

    def adapt(model, support, names, **options):
        seen.append((sorted(map(tuple, support["tokens"])), dict(names or {}), options))
        return adapted_to(model, support, names, steps=0, **options)

    monkeypatch.setattr(cross_validation, "adapt", adapt)
    with caplog.at_level(logging.WARNING):
        found = cross_validate(
            tiny_model, SENTENCES, {"pilot": "someone who flies", "plane": "aircraft"}, folds=4, seed=3
        )
    assert [len(sentences) for sentences, *_ in seen] == [3, 3, 3], "the fold without entities needs no model"
    left_out = [{tuple(one["tokens"]) for one in SENTENCES} - set(sentences) for sentences, *_ in seen]
    assert sorted(len(one) for one in left_out) == [1, 1, 1] and len(set.union(*left_out)) == 3
    for sentences, names, options in seen:
        assert names.get("pilot") == "someone who flies" and options == {"seed": 3}
        assert ("plane" in names) == (("a", "cessna", "in", "York") in sentences)
    assert found.sentences == 4 and found.scores["number"] == 5
    assert "no other fold has an example: plane (1)" in caplog.text


def test_nested_entities_and_a_model_of_spans(make_tiny_model):
    spans = [{"start": 0, "end": 2, "label": "team"}, {"start": 0, "end": 1, "label": "town"}]
    data = [{"tokens": ["Quito", "United", "won"], "entities": spans} for _ in range(2)]
    found = cross_validate(make_tiny_model(max_span_words=3), data, folds=2, steps=0, overlap="nested")
    assert found.scores["number"] == 4


def test_what_cannot_be_estimated_is_an_error(tiny_model):
    with pytest.raises(LaclDataError, match="no type has entities in two sentences"):
        cross_validate(tiny_model, SENTENCES[2:3] + SENTENCES[3:], steps=0)
    with pytest.raises(ValueError, match="folds is 1"):
        cross_validate(tiny_model, SENTENCES, folds=1)
