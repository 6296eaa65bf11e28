"""Nested and overlapping entities, and several types of one span: in every source, for each choice."""

import json
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_table import split_joined
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.sampling import sample_support
from modeling_lacl.data.spans import Nested
from modeling_lacl.data.tags import entity_spans, entity_types, gold_tags, keep_types, tag_names, to_io

WORDS = ["University", "of", "Oslo", "staff", "left"]
OUTER, INNER, LAST = (0, 3, "school"), (2, 3, "city"), (4, 5, "school")
ALL = [OUTER, INNER, LAST]


CHOICES: list[tuple[Nested, list]] = [("outermost", [OUTER, LAST]), ("innermost", [INNER, LAST])]


def spans(entities, text=False):
    begins = np.cumsum([0, *(len(word) + 1 for word in WORDS)]).tolist()
    return [
        {"start": begins[a] if text else a, "end": begins[b] - 1 if text else b, "label": name}
        for a, b, name in entities
    ]


def joined(sign):
    return [f"{a}{sign}{b}" if b != "O" else a for a, b in zip(*ROWS, strict=True)]


ROWS = ["B-school I-school I-school O B-school".split(), "O O B-city O O".split()]
SOURCES = {
    "words": [{"tokens": WORDS, "entities": spans(reversed(ALL))}],
    "triples": [{"tokens": WORDS, "spans": [list(one) for one in ALL]}],
    "text": [{"text": " ".join(WORDS), "entities": spans(ALL, text=True)}],
    "GLiNER": [{"tokenized_text": WORDS, "ner": [[a, b - 1, name] for a, b, name in ALL]}],
    "bars": [{"tokens": WORDS, "ner_tags": joined("|")}],
    "hashes": [{"tokens": WORDS, "tags": joined("#")}],
    "BILOU": [
        {
            "tokens": WORDS,
            "tags": ["B-school", "I-school", "L-school|U-city", "O", "U-school"],
        }
    ],
    "in turn": [{"tokens": WORDS, "tags": ["B-school", "I-school", "B-city|I-school", "O", "B-school"]}],
    "a column": Dataset.from_dict({"tokens": [WORDS], "marks": [spans(ALL)]}),
    "GermEval": "#\tnews, 2014\n"
    + "\n".join("\t".join(map(str, row)) for row in zip(range(1, 6), WORDS, *ROWS, strict=True)),
    "CoNLL": "\n".join(" ".join(row) for row in zip(WORDS, joined("|"), strict=True)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source(name, tmp_path, caplog):
    source: Any = SOURCES[name]
    place, more = r"examples\[0\]", dict[str, Any]()
    if isinstance(source, str):
        source, place = tmp_path / "data.txt", r"data\.txt(:\d)?"
        source.write_text(SOURCES[name] + "\n\n" + "\n".join(SOURCES[name].splitlines()[-2:]))
    if name == "a column":
        place, more = r"dataset\[0\]", {"tag_column": "marks"}
    with pytest.raises(LaclDataError, match=rf"{place}: .* --nested outermost.*nested='keep'") as error:
        read_dataset(source, **more)
    if name != "GermEval":
        shown = "'University of Oslo' (school, words 0–3) and 'Oslo' (city, words 2–3) overlap"
        assert shown in str(error.value)

    kept = read_dataset(source, nested="keep", **more)
    assert kept.column_names == ["id", "document_id", "tokens", "entities"]
    assert kept[0]["tokens"] == WORDS and kept[0]["entities"] == spans(ALL)
    assert entity_spans(kept)[0] == ALL and entity_types(kept) == ["school", "city"]
    assert not caplog.records
    for nested, left in CHOICES:
        for one in (source, kept):
            flat = read_dataset(one, nested=nested, **(more if one is source else {}))
            assert flat.column_names == ["id", "document_id", "tokens", "ner_tags"]
            assert entity_spans(flat)[0] == left
    assert caplog.text.count("1 entities that overlap a longer one were left out (the first in the") == 2
    with pytest.raises(ValueError, match="'entities', which can nest, .*nested='outermost'"):
        gold_tags(kept)


def test_columns_with_and_without_inner_entities(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text("1\tUni\tB-ORG\tO\n2\tOslo\tI-ORG\tO\n3\tin\tO\tO\n")
    assert entity_spans(read_dataset(path)) == [[(0, 2, "ORG")]]  # the inner column is empty
    path.write_text("Uni NNP B-ORG B-PER\nOslo NNP I-ORG O\nin IN B-PER I-ORG\n")
    read = entity_spans(read_dataset(path, nested="keep"))
    assert read == [[(0, 1, "PER"), (0, 2, "ORG"), (2, 3, "ORG"), (2, 3, "PER")]]
    assert entity_spans(read_dataset(path, nested="keep", tag_column=2)) == [[(0, 2, "ORG"), (2, 3, "PER")]]


def test_types_that_look_joined_are_types():
    for tags in (["B-C#"], ["B-a|b"], ["a|b"], ["B-a|"]):
        name = tags[0].removeprefix("B-")
        assert entity_spans(read_dataset([{"tokens": ["x"], "tags": tags}], nested="keep")) == [
            [(0, 1, name)]
        ]
    assert entity_types(read_dataset([{"tokens": ["x"], "tags": ["B-a|B-b"]}], scheme="IO")) == ["B-a|B-b"]


def test_entities_of_one_type():
    rows = split_joined(["B-x", "I-x|B-x", "I-x|I-x", "I-x", "B-x|B-x", "O"])
    assert rows == [["B-x", "I-x", "I-x", "I-x", "B-x", "O"], ["O", "B-x", "I-x", "O", "B-x", "O"]]
    # Adjacent ones stay two, and two equal ones are one.
    tags = {"tokens": list("abcde"), "tags": ["B-x", "B-x", "I-x", "B-y|B-y", "O"]}
    assert entity_spans(read_dataset([tags], nested="keep")) == [[(0, 1, "x"), (1, 3, "x"), (3, 4, "y")]]


@st.composite
def annotated(draw):
    words = draw(st.integers(0, 7))
    starts = st.integers(0, max(words - 1, 0))
    found = draw(st.lists(st.tuples(starts, st.integers(1, 4), st.sampled_from("zyx")), max_size=6))
    return words, {(start, min(start + size, words), name) for start, size, name in found if words}


@settings(max_examples=30, deadline=None)
@given(st.lists(annotated(), min_size=1, max_size=4))
def test_any_entities(sentences):
    examples = [
        {"tokens": [f"w{n}" for n in range(words)], "entities": list(found)} for words, found in sentences
    ]
    kept = read_dataset(examples, nested="keep")
    assert entity_spans(kept) == [sorted(found) for _, found in sentences]
    assert read_dataset(kept, nested="keep")[:] == kept[:]
    assert read_dataset(kept.to_list(), nested="keep")[:] == kept[:]

    def overlap(one, other):
        return one[0] < other[1] and other[0] < one[1]

    for nested, _ in CHOICES:
        sign = -1 if nested == "outermost" else 1
        flat = read_dataset(kept, nested=nested)
        for left, (_, found) in zip(entity_spans(flat), sentences, strict=True):
            # By hand: from the longest (shortest) on, whatever overlaps nothing taken so far.
            taken: list = []
            for one in sorted(found, key=lambda one: (sign * (one[1] - one[0]), one)):
                taken += [one] * (not any(overlap(one, other) for other in taken))
            assert left == sorted(taken)
        assert set(entity_types(flat)) == {name for left in entity_spans(flat) for *_, name in left}
        assert read_dataset(flat, nested="keep")["entities"][:] == [
            [{"start": a, "end": b, "label": name} for a, b, name in left] for left in entity_spans(flat)
        ]


def test_types_that_are_kept():
    kept = keep_types(read_dataset(SOURCES["words"], nested="keep"), ["city", "boat"])
    assert entity_spans(kept) == [[INNER]] and entity_types(kept) == ["city"]
    assert entity_types(kept.select([])) == []


def test_labels_are_checked_after_the_choice():
    examples = SOURCES["words"]
    assert entity_types(read_dataset(examples, nested="outermost", labels=["boat", "school"])) == [
        "boat",
        "school",
    ]
    with pytest.raises(LaclDataError, match=r"examples\[0\]: the tag 'city' is not in the label set"):
        read_dataset(examples, nested="keep", labels=["school"])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"tokens": ["a"], "entities": [[0, 2, "x"]]}, "the span 0–2 .'x'. is not inside the 1 words; "),
        ({"tokens": ["a"], "entities": [[1, 1, "x"]]}, "not inside the 1 words"),
        ({"tokens": ["a"], "entities": [{"start": 0, "label": "x"}]}, "whole numbers of words"),
        ({"tokens": ["a"], "entities": [{"start": 0, "end": 1}]}, "no 'label'"),
        ({"tokens": ["a"], "entities": ["x"]}, "a span must be"),
        ({"tokens": ["a"], "entities": "x"}, "entities must be a list"),
        ({"tokens": "a b", "entities": []}, None),
    ],
)
def test_bad_spans_of_words_are_named(example, message):
    if message is None:
        assert len(read_dataset([example])) == 1
        return
    with pytest.raises(LaclDataError, match=rf"examples\[0\]: .*{message}"):
        read_dataset([example])


def test_other_values_of_the_argument():
    with pytest.raises(
        ValueError, match="nested must be one of error, outermost, innermost, keep, got 'all'"
    ):
        read_dataset([], nested="all")  # type: ignore[arg-type]


def test_support_sets_of_nested_entities(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(SOURCES["words"][0]) for _ in range(3)))
    kept = read_dataset(path, nested="keep")
    rows = sample_support(kept, ["school", "city"], 2, np.random.default_rng(0))
    assert len(rows) == 2  # 2 cities and 4 schools
    rows = sample_support(kept, ["city"], 3, np.random.default_rng(0), allow_other_types=True)
    assert sorted(rows) == [0, 1, 2]
    with pytest.raises(ValueError, match="found no sample"):
        sample_support(kept, ["city"], 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="'entities', which can nest"):
        tag_names(kept)
    # Each word has the label of the longest entity that covers it.
    longest = read_dataset(path, nested="outermost")
    assert to_io(kept, ["city", "school"]) == to_io(longest, ["city", "school"])
