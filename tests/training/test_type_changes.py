"""Types come to an adapted model and go from it, without training."""

import pytest
import torch

from modeling_lacl import LaclForTokenClassification, adapt, add_types, remove_types

OLD = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "a play of Ana".split(), "ner_tags": "O O O B-pilot".split()},
]
NEW = [{"tokens": "Ana flew the cessna".split(), "ner_tags": "O O O B-plane".split()}]


@pytest.fixture
def adapted(tiny_model, tiny_tokenizer):
    return adapt(tiny_model, OLD, steps=0)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_new_type_joins_the_old_ones(adapted, tiny_model, tiny_tokenizer):
    before = state(adapted)
    more = add_types(adapted, NEW, {"plane": "airplane"})
    assert more.config.id2label == {0: "O", 1: "pilot", 2: "town", 3: "plane"}
    assert more.config.label_names["plane"] == "airplane" and more.config.label_names["town"] == "town"
    # The old support is as it was; of the new sentence the one word of the new type has joined it.
    old = adapted.config.support_size
    assert more.config.support_size == old + 1
    assert torch.equal(more.support_mean[:old], adapted.support_mean)
    assert more.support_labels.tolist() == [*adapted.support_labels.tolist(), 3]
    assert more.config.support_words == [*adapted.config.support_words, "cessna"]
    # The same word as when all types are adapted to at once, under the same prompt.
    whole = adapt(tiny_model, [*OLD, *NEW], {"plane": "airplane"}, steps=0)
    torch.testing.assert_close(more.support_mean[-1:], whole.support_mean[whole.support_labels == 3])
    assert state(adapted).keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(adapted).items())
    assert "plane" not in adapted.config.label2id


def test_more_examples_of_a_type_that_is_there(adapted, tiny_tokenizer):
    more = add_types(adapted, [{"tokens": ["York"], "ner_tags": ["B-town"]}])
    assert more.config.id2label == adapted.config.id2label
    assert (more.support_labels == 2).sum() == (adapted.support_labels == 2).sum() + 1


def test_an_added_type_is_found_and_saved(make_tiny_model, tiny_tokenizer, tmp_path):
    model = make_tiny_model(label_weight=0.0)
    adapted = adapt(model, OLD, steps=0)
    more = add_types(adapted, NEW)
    found = more.predict("Ana flew the cessna")
    assert ("plane", "cessna") in [(one["entity_group"], one["word"]) for one in found]
    more.save_pretrained(tmp_path)
    assert LaclForTokenClassification.from_pretrained(tmp_path).predict("Ana flew the cessna") == found


def test_a_removed_type_becomes_outside(adapted):
    fewer = remove_types(adapted, ["pilot"])
    assert fewer.config.id2label == {0: "O", 1: "town"} and set(fewer.config.label_names) == {"O", "town"}
    assert torch.equal(fewer.support_mean, adapted.support_mean)
    wanted = {0: 0, 1: 0, 2: 1}
    assert fewer.support_labels.tolist() == [wanted[label] for label in adapted.support_labels.tolist()]
    assert set(fewer.config.support_words) == {"", "Quito"}
    assert {one["entity_group"] for one in fewer.predict("Ana Ruiz flew to Quito .")} <= {"town"}
    assert adapted.config.id2label == {0: "O", 1: "pilot", 2: "town"}


def test_removing_what_was_added_leaves_the_types_as_they_were(adapted, tiny_tokenizer):
    again = remove_types(add_types(adapted, NEW), ["plane"])
    assert again.config.id2label == adapted.config.id2label
    assert again.config.label_token_ids == adapted.config.label_token_ids


@pytest.mark.parametrize("types", ["pilot", ["plane"], ["O"], ["pilot", "town"]])
def test_what_cannot_be_removed(adapted, types):
    with pytest.raises(ValueError, match="types is .*(own types|must be left)"):
        remove_types(adapted, types)


def test_what_cannot_be_added(adapted, tiny_model, tiny_tokenizer):
    with pytest.raises(ValueError, match="has no support set yet: adapt it to all of its types at once"):
        add_types(tiny_model, NEW)
    with pytest.raises(ValueError, match="share the name 'Town'"):
        add_types(adapted, NEW, {"plane": "Town"})
