"""A support set that is given with a call: as adapting without steps, and the model is unchanged."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value

import modeling_lacl
from modeling_lacl import LaclDataError, adapt, add_types
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.support import read_support
from modeling_lacl.model.pipeline_lacl import LaclPipeline, LaclTokenClassificationPipeline

SAMPLES = Path(modeling_lacl.__file__).with_name("samples")
TEXTS = ["Ana Ruiz flew to Quito on a Cessna 172.", "The Vasa sank.", ""]
SPANS = [
    {"text": "The Vasa sank.", "entities": [{"start": 4, "end": 8, "label": "ship"}]},
    {
        "text": "Ana flew to Lima-Callao.",
        "entities": [
            {"start": 12, "end": 16, "label": "big-city"},
            {"start": 0, "end": 3, "label": "person"},
        ],
    },
]
TAGS = [
    {"tokens": ["The", "Vasa", "sank"], "ner_tags": ["O", "ship", "O"]},
    {"tokens": ["Ana", "Ruiz", "flew", "home"], "ner_tags": ["big-person", "big-person", "O", "O"]},
]


@pytest.fixture(scope="module")
def model(make_tiny_model):
    return make_tiny_model()


def assert_close(found, expected):
    assert [[{**one, "score": None} for one in text] for text in found] == [
        [{**one, "score": None} for one in text] for text in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        scores = [one["score"] for one in theirs]
        assert [one["score"] for one in ours] == pytest.approx(scores, abs=1e-6)


def long_sentence():
    words = ["the", "Vasa", "sank"] * 60
    return [{"tokens": words, "ner_tags": ["O", "ship", "O"] * 60}]


@pytest.mark.parametrize(
    "support",
    [SPANS, TAGS, long_sentence(), str(SAMPLES / "wnut17_support_5shot.txt")],
    ids=["spans", "tags", "long", "file"],
)
def test_as_adapting_without_steps(model, support):
    expected = adapt(model, support, steps=0).predict(TEXTS)
    assert any(expected)
    assert_close(model.predict(TEXTS, support=support), expected)


def test_a_dataset_gives_its_own_order_of_types(model):
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "b", "a"]))}
    )
    support = Dataset.from_dict({"tokens": [["ana", "quito"]], "ner_tags": [[2, 1]]}, features=features)
    assert read_support(support).types == ["b", "a"]
    expected = adapt(model, support, steps=0).predict(TEXTS)
    assert_close(model.predict(TEXTS, support=support), expected)


def test_names_of_types_come_with_labels(model):
    names = {"ship": "vessel"}
    expected = adapt(model, SPANS, names, steps=0).predict(TEXTS)
    assert expected != model.predict(TEXTS, support=SPANS)
    assert_close(model.predict(TEXTS, support=SPANS, labels=names), expected)
    with pytest.raises(TypeError, match="with support, which has the types, give a mapping"):
        model.predict(TEXTS, support=SPANS, labels=["ship"])
    with pytest.raises(ValueError, match="plane"):
        model.predict(TEXTS, support=SPANS, labels={"plane": "aircraft"})


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(model, training):
    model = copy.deepcopy(model).train(training)
    before = model.predict(TEXTS)
    config, state = copy.deepcopy(model.config.to_dict()), copy.deepcopy(model.state_dict())
    assert model.predict(TEXTS, support=SPANS) != before
    assert model.config.to_dict() == config and not model.has_support
    assert {module.training for module in model.modules()} == {training}
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert model.predict(TEXTS) == before


def test_threads_with_supports_of_their_own_share_a_model(model):
    long = " ".join([TEXTS[0]] * 12)  # goes through windows, which set the tokenizer
    supports = [SPANS, TAGS, None] * 8
    expected = [model.predict(long, support=support) for support in supports[:3]]
    assert expected[0] != expected[1] != expected[2] != expected[0]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda support: model.predict(long, support=support), supports))
    assert found == expected * 8


def test_both_pipelines_take_it(model):
    expected = model.predict(TEXTS, support=SPANS)
    assert LaclPipeline(model, device="cpu")(TEXTS, support=SPANS) == expected
    always = LaclPipeline(model, device="cpu", support=SPANS)
    assert list(always(text for text in TEXTS)) == expected
    assert_close([always(TEXTS[0], support=TAGS)], model.predict(TEXTS[:1], support=TAGS))
    standard = LaclTokenClassificationPipeline(model, device="cpu", aggregation_strategy="first")
    assert standard(TEXTS, support=SPANS) == expected


def test_what_cannot_be_read_is_named(model):
    with pytest.raises(LaclDataError, match="no entity"):
        model.predict(TEXTS, support=[{"text": "Ana", "entities": []}])


def test_classes_without_an_example_can_be_left_out_as_the_error_says():
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "a", "b", "c"]))}
    )
    support = Dataset.from_dict({"tokens": [["ana", "quito"]], "ner_tags": [[2, 0]]}, features=features)
    with pytest.raises(LaclDataError, match=r"no example of a, c; .*read_dataset\(…, labels=\['b'\]\)"):
        read_support(support)
    assert read_support(read_dataset(support, labels=["b"])).types == ["b"]


@pytest.mark.parametrize("how", ["adapt", "add_types", "support="])
def test_a_sentence_that_is_labelled_in_two_ways_is_told(model, caplog, how):
    def one(words, **labels):
        tokens = words.split()
        return {"tokens": tokens, "ner_tags": [labels.get(word, "O") for word in tokens]}

    examples = [
        one("Ana Ruiz left Lima", Ana="person", Ruiz="person", Lima="city"),
        one("Lima left", Lima="city"),  # another sentence
        one("Ana Ruiz left Lima", Ana="person", Ruiz="person", Lima="city"),  # the same twice
        one("Ana Ruiz left Lima", Ana="ship", Ruiz="ship", Lima="city"),
        one("Ana Ruiz left Lima", Ana="person", Ruiz="person"),
    ]
    if how == "support=":
        model.predict(TEXTS, support=examples)
    elif how == "adapt":
        adapt(model, examples, steps=0)
    else:
        add_types(adapt(model, TAGS, steps=0), examples)
    told = [one.getMessage() for one in caplog.records if "entities are not" in one.getMessage()]
    assert told == [
        f"the support set: sentences 1 and {second} are the same and their entities are not: {difference} in "
        "the second, in 'Ana Ruiz left Lima'; correct one, or take it out"
        for second, difference in (
            (4, "'Ana Ruiz' is person in the first and ship"),
            (5, "'Lima' is city in the first and none"),
        )
    ]


def test_nested_entities_that_differ_are_told(caplog):
    def one(*spans):
        entities = [{"start": start, "end": end, "label": label} for start, end, label in spans]
        return {"tokens": ["University", "of", "Oslo"], "entities": entities}

    whole, city, place = (0, 3, "university"), (2, 3, "city"), (2, 3, "place")
    read_support(
        [one(whole, city), one(whole, place), one(city, whole), one(whole, city, place)], nested=True
    )
    told = [one.getMessage() for one in caplog.records if "entities are not" in one.getMessage()]
    assert ["'Oslo' is city in the first and place in" in one for one in told] == [True, False]
    assert "'Oslo' is city in the first and city and place in" in told[1]


BARE = [
    {"tokens": ["ana", "ruiz"], "ner_tags": ["person", "person"]},
    {"tokens": ["york"], "ner_tags": ["town"]},
]


@pytest.mark.parametrize("method", ["neighbors", "prototypes"])
def test_bare_names_leave_outside_to_its_name(make_tiny_model, caplog, method):
    """Outside without support was ruled out, so that every word became an entity."""
    model = make_tiny_model(support_method=method)
    adapted = adapt(model, BARE, steps=0)
    warning = "the support set has no word outside of entities, so that O goes by its label name alone: add"
    assert caplog.text.count(warning) == 1
    model.predict("ana flew", support=BARE)
    assert caplog.text.count(warning) == 2
    batch = model.tokenizer("ana flew the cessna to york", return_tensors="pt")
    with torch.no_grad():
        by_name = model.with_labels(["person", "town"])(**batch).logits.softmax(-1)
        found = adapted(**batch).logits.exp()
    torch.testing.assert_close(found[..., 0], by_name[..., 0])
    caplog.clear()
    adapt(model, TAGS, steps=0)
    assert "goes by" not in caplog.text


def test_without_label_names_the_warning_says_so(make_tiny_model, caplog):
    adapt(make_tiny_model(use_prompts=False), BARE, steps=0)
    assert "so that O is never predicted: add" in caplog.text
