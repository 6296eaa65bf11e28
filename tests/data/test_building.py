"""Tags that would become types: read as what they mean where that is sure, otherwise with a warning."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import entity_types, gold_tags


def read(tags, **options):
    words = [f"w{number}" for number in range(len(tags.split()))]
    return read_dataset([{"tokens": words, "ner_tags": tags.split()}], **options)


EXPECTED = "O B-person I-person O B-city"


@pytest.mark.parametrize(
    "tags",
    [
        "_ B-person I-person _ B-city",
        "- B-person I-person - B-city",
        "None B-person I-person None B-city",
        "OTHER B-person I-person OTHER B-city",
        "0 B-person I-person 0 B-city",
        "_ b-person i-person _ b-city",
        "O person-B person-I O city-B",
        "_ person_B person_I _ city_B",
        '"O" "B-person" "I-person" "O" "B-city"',
        "_ person person _ city",
        "none person person none city",
    ],
)
def test_read_as_what_they_mean(tags, caplog):
    assert gold_tags(read(tags)) == [EXPECTED.split()]
    assert "tags in another spelling were read as those of a scheme: " in caplog.text


@pytest.mark.parametrize(
    ("tags", "types", "doubtful"),
    [
        ("OTHER person", ["OTHER", "person"], ["OTHER"]),
        ("O _ person", ["_", "person"], ["_"]),
        ("O None person", ["None", "person"], ["None"]),
        ("O person-B", ["person-B"], ["person-B"]),
        ("O OTHER person", ["OTHER", "person"], []),
        ("O vitamin-B vitamin-E", ["vitamin-B", "vitamin-E"], ["vitamin-B", "vitamin-E"]),
        ("O vitamin-B protein", ["vitamin-B", "protein"], []),
        ("O vitamin-b", ["vitamin-b"], []),
    ],
)
def test_others_are_types_with_a_warning(tags, types, doubtful, caplog):
    assert entity_types(read(tags)) == types
    assert [f"the tag {tag!r} was taken for" in caplog.text for tag in types] == [
        tag in doubtful for tag in types
    ]
    assert len(caplog.records) == len(doubtful)
    caplog.clear()
    assert entity_types(read(tags, scheme="IO")) == types and not caplog.records


SPANS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("xy")), max_size=6)


@given(SPANS, st.sampled_from(["BMES", "BMEWO"]))
def test_middle_and_whole(spans, scheme):
    written, expected = [], []
    for gap, size, name in [(0, 3, "x"), *spans]:
        whole = "S" if scheme == "BMES" else "W"
        prefixes = [whole] if size == 1 else ["B", *"M" * (size - 2), "E"]
        written += ["O"] * gap + [f"{prefix}-{name}" for prefix in prefixes]
        expected += ["O"] * gap + [f"B-{name}", *[f"I-{name}"] * (size - 1)]
    assert gold_tags(read(" ".join(written))) == [expected]


@pytest.mark.parametrize("tags", ["(GPE* *)", "(GPE) *", "(12 12) -"])
def test_brackets_are_named(tags):
    with pytest.raises(LaclDataError, match=r"examples\[0\]: the tag '\S+' has brackets, .*CoNLL-2012"):
        read(tags)


def test_a_label_of_a_span_with_a_prefix_warns(tmp_path, caplog):
    path = tmp_path / "data.jsonl"
    spans = [{"start": 0, "end": 4, "label": "B-person"}]
    path.write_text(json.dumps({"text": "Mira ran", "entities": spans}))
    assert entity_types(read_dataset(path)) == ["B-person"]
    assert f"{path}:1: the tag 'B-person' was taken for the name of a type; write 'person' if" in caplog.text


def test_labels_that_are_tags():
    for labels in (["B-person", "B-city"], ["B-person", "I-person", "B-city", "I-city"]):
        assert entity_types(read(EXPECTED, labels=labels)) == ["person", "city"]
    with pytest.raises(LaclDataError, match=r"the tag 'B-city' is not in the label set \(person\)"):
        read(EXPECTED, labels=["B-person"])
    assert entity_types(read("B-B-cell I-B-cell", labels=["B-cell"])) == ["B-cell"]
    with pytest.raises(LaclDataError, match="the tag 'city-B' is not in the label set"):
        read("O person-B person-I city-B", labels=["person"])
