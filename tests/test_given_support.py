"""A support set that is given with a call: as adapting without steps, and nothing is kept."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

import modeling_lacl
from modeling_lacl import LaclDataError, adapt, read_dataset
from modeling_lacl.adaptation import labelled_words
from modeling_lacl.data.labels import tag_names
from modeling_lacl.given_support import read_examples
from modeling_lacl.pipeline_lacl import LaclPipeline, LaclTokenClassificationPipeline

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


tags = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from("BIESLUbi"), st.sampled_from("-_"), st.sampled_from("xy")),
    st.sampled_from(["O"] * 6 + ["o", "x", "y-z", "E-mail", "B", "B-", "B-O", "", "a\ud800"]),
    st.sampled_from([None, 1]),
)
strict_tags = st.sampled_from(["O", "O", "B-x", "I-x", "B-y-z", "I-y-z", "S-x"])
words = st.one_of(st.sampled_from(["Ana", "東京", "a-b", "é", "\ud800", " "]), st.sampled_from(["", None]))
label = st.sampled_from(["x", "y z", "B-x", "\ud800", "O", "", None])
offsets = st.one_of(st.integers(0, 9), st.integers(-1, 12), st.sampled_from(["0", 1.0, None, True]))
good_spans = st.builds(
    lambda start, size, label, key: {"start": start, "end": start + size, key: label},
    st.integers(0, 6), st.integers(1, 4), st.sampled_from(["x", "y z", "B-x"]),
    st.sampled_from(["label", "entity_group"]),
)  # fmt: skip
spans = st.one_of(
    good_spans,
    st.fixed_dictionaries({"start": offsets, "end": offsets}, optional={"label": label, "type": label}),
)
texts = st.one_of(
    st.sampled_from(["Ana flew to Lima.", "東京タワー 12", "a-b \ud800 c"]), st.text(max_size=12)
)


def tagged(tags, words):
    """Examples of as many words as tags."""
    pairs = st.lists(st.tuples(words, tags), min_size=1, max_size=5)
    keys = st.tuples(st.sampled_from(["tokens", "words"]), st.sampled_from(["ner_tags", "tags", "labels"]))
    return st.builds(
        lambda pairs, keys: dict(zip(keys, map(list, zip(*pairs, strict=True)), strict=True)), pairs, keys
    )


def marked(spans, most):
    keys = st.sampled_from(["entities", "spans"])
    return st.builds(
        lambda text, key, spans: {"text": text, key: spans}, texts, keys, st.lists(spans, max_size=most)
    )


odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, "Ana", {}, {"text": None, "entities": []}, {"tokens": "Ana", "ner_tags": ["O"]}]
)
supports = st.one_of(
    st.lists(tagged(strict_tags, st.sampled_from(["Ana", "東京", "\ud800"])), max_size=4),
    st.lists(tagged(tags, st.sampled_from(["Ana", "a b"])), max_size=4),
    st.lists(marked(good_spans, 2), max_size=3),
    st.lists(st.one_of(tagged(tags, words), marked(spans, 3), odd), max_size=3),
)


def outcome(read, support):
    """What a reader makes of a support, or why it refuses."""
    try:
        return read(support)
    except ValueError as error:
        return str(error)


@pytest.fixture(scope="module")
def model(make_tiny_model):
    return make_tiny_model()


def rows(dataset):
    names = tag_names(dataset)
    return [
        {"tokens": words, "ner_tags": [names[tag] for tag in tags]}
        for words, tags in zip(dataset["tokens"], dataset["ner_tags"], strict=True)
    ]


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
    expected = adapt(model, model.tokenizer, support, steps=0).predict(TEXTS)
    assert any(expected)
    assert_close(model.predict(TEXTS, support=support), expected)


def test_a_dataset_gives_its_own_order_of_types(model):
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "b", "a"]))}
    )
    support = Dataset.from_dict({"tokens": [["ana", "quito"]], "ner_tags": [[2, 1]]}, features=features)
    assert labelled_words(support)[0] == ["b", "a"]
    expected = adapt(model, model.tokenizer, support, steps=0).predict(TEXTS)
    assert_close(model.predict(TEXTS, support=support), expected)


def test_names_of_types_come_with_labels(model):
    names = {"ship": "vessel"}
    expected = adapt(model, model.tokenizer, SPANS, names, steps=0).predict(TEXTS)
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


class TestWithoutThePackage:
    """What a checkpoint's own code reads, against the package's readers."""

    def test_real_sentences_in_every_scheme(self):
        bio = rows(read_dataset(SAMPLES / "wnut17_test.txt"))
        fine = rows(read_dataset(SAMPLES / "few_nerd_source.txt"))[:300]
        bare = [
            {**row, "ner_tags": [tag[2:] if "-" in tag else tag for tag in row["ner_tags"]]} for row in bio
        ]
        bioes = [{**row, "ner_tags": [tag.replace("B-", "S-") for tag in row["ner_tags"]]} for row in bio]
        for support in (bio, fine, bare, bioes):
            types, sentences = read_examples(support)
            assert (types, sentences) == labelled_words(support)
            assert len(types) > 3

    def test_real_sentences_with_spans_anywhere(self):
        random = np.random.default_rng(0)
        support = []
        for row in rows(read_dataset(SAMPLES / "wnut17_test.txt")):
            text = " ".join(row["tokens"])
            borders = np.unique(random.integers(0, len(text) + 1, 4)).tolist()
            spans = [
                {"start": start, "end": end, "label": str(random.choice(["a", "b-c", "B-d"]))}
                for start, end in zip(borders[::2], borders[1::2], strict=False)
                if any(not letter.isspace() for letter in text[start:end])
            ]
            support.append({"text": text, "entities": spans})
        assert read_examples(support) == labelled_words(support)

    def test_names_that_look_like_tags(self):
        support = [{"tokens": ["a", "b"], "ner_tags": ["E-mail", "person"]}]
        assert read_examples(support) == labelled_words(support)
        support = [{"tokens": ["a", "b"], "ner_tags": ["U-mail", "O"]}]
        assert read_examples(support) == labelled_words(support)

    def test_any_support(self):
        """Equal types and words, or both refuse, for the same reason."""
        kinds = []

        @settings(max_examples=200, deadline=None)
        @given(support=supports)
        def hold_against_each_other(support):
            ours = outcome(read_examples, support)
            assert ours == outcome(labelled_words, support)
            kinds.append(type(ours))

        hold_against_each_other()
        assert kinds.count(tuple) > 20 and kinds.count(str) > 20

    def test_what_is_read_otherwise_than_it_is_written_is_told(self, caplog):
        support = [{"words": ["Ana", "Ruiz", "flew"], "tags": ["b-person", "i-person", "o"]}]
        expected = [[("Ana", "person"), ("Ruiz", "person"), ("flew", "O")]]
        assert read_examples(support) == (["person"], expected)
        assert "examples[0]: the tags have a scheme's prefix in another spelling" in caplog.text
        span = {"start": 0, "end": 3, "entity_group": "person", "score": 0.5}
        assert read_examples([{"text": "Ana.", "entities": [span]}])[0] == ["person"]

    @pytest.mark.parametrize(
        ("support", "message"),
        [
            ("support.txt", "support is of type str: give a list of .*install the package lacl"),
            (None, "support is of type NoneType"),
            ([["Ana"]], r"examples\[0\]: expected an example like .*, got list"),
            ([{"text": "Ana"}], r"examples\[0\]: no 'entities' or 'spans' among the keys \['text'\]"),
            ([{"text": "Ana", "entities": [{"start": 0, "end": 9, "label": "x"}]}], "not inside the text"),
            ([{"text": "Ana", "entities": [{"start": "0", "end": 3, "label": "x"}]}], "as whole numbers"),
            ([{"text": "Ana ", "entities": [{"start": 3, "end": 4, "label": "x"}]}], "covers no word"),
            ([{"text": "Ana", "entities": []}], "no entity"),
            ([{"tokens": None, "ner_tags": ["B-x"]}], "tokens must be a list, got NoneType"),
            ([{"tokens": ["Ana"], "ner_tags": []}], "1 tokens but 0 tags"),
            ([{"tokens": ["Ana"], "ner_tags": [1]}], "write tags as names"),
            ([{"tokens": ["Ana"], "ner_tags": ["B-"]}], "names no entity type"),
            ([{"tokens": ["Ana", "x"], "ner_tags": ["B-x", "y"]}], "the tag 'y' has no scheme prefix"),
            ([{"tokens": ["a", "b", "c"], "ner_tags": ["B-x", "L-x", "E-x"]}], "does not belong to"),
            ([], "no sentence"),
        ],
    )
    def test_what_it_cannot_read_is_named(self, support, message):
        with pytest.raises(ValueError, match=message):
            read_examples(support)


def test_what_the_package_cannot_read_is_named_as_ever(model):
    with pytest.raises(LaclDataError, match="no entity"):
        model.predict(TEXTS, support=[{"text": "Ana", "entities": []}])
