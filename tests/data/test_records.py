"""Examples as other programs write them."""

import json

import pytest
from datasets import Dataset

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import gold_tags

TEXT = "Mira flew to Oslo"
PERSON = {"start": 0, "end": 4, "label": "person"}
PLACE = {"start": 13, "end": 17, "label": "place"}
TOKENS = [
    {"text": "Mira", "start": 0, "end": 4, "id": 0, "ws": True},
    {"text": "flew", "start": 5, "end": 9, "id": 1, "ws": True},
    {"text": "to", "start": 10, "end": 12, "id": 2, "ws": True},
    {"text": "Oslo", "start": 13, "end": 17, "id": 3, "ws": False},
]
WITH_IDS = [{**one, "token_start": n, "token_end": n} for n, one in ((0, PERSON), (3, PLACE))]
TAGS = ["B-person", "O", "O", "B-place"]
FORMS = {
    "Prodigy": {"text": TEXT, "tokens": TOKENS, "spans": WITH_IDS, "answer": "accept"},
    "Prodigy's tokens with tags": {"text": TEXT, "tokens": TOKENS, "ner_tags": TAGS},
    "doccano": {"id": 1, "text": TEXT, "label": [[0, 4, "person"], [13, 17, "place"]]},
    "doccano, older": {"id": 1, "text": TEXT, "labels": [[0, 4, "person"], [13, 17, "place"]]},
    "doccano with relations": {
        "text": TEXT,
        "entities": [
            {"id": 1, "label": "person", "start_offset": 0, "end_offset": 4},
            {"id": 2, "label": "place", "start_offset": 13, "end_offset": 17},
        ],
        "relations": [],
    },
    "JSON-MIN": {
        "id": 7,
        "text": TEXT,
        "label": [
            {"start": 0, "end": 4, "text": "Mira", "labels": ["person"]},
            {"start": 13, "end": 17, "text": "Oslo", "labels": ["place"]},
        ],
        "annotator": 1,
    },
    "GLiNER": {"tokenized_text": TEXT.split(), "ner": [[0, 0, "person"], [3, 3, "place"]]},
    "a pair of spaCy's": (TEXT, {"entities": [(0, 4, "person"), (13, 17, "place")]}),
    "words beside a text": {"text": TEXT, "tokens": TEXT.split(), "entities": [PERSON, PLACE]},
    "twice": {"text": TEXT, "entities": [PERSON, PLACE, PERSON]},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["list", "lines", "array", "dataset"])
def test_read(tmp_path, form, kind):
    example = FORMS[form]
    path = tmp_path / ("data.jsonl" if kind == "lines" else "data.json")
    mixed = "doccano" in form and "relations" not in form or form in ("GLiNER", "a pair of spaCy's")
    if kind == "dataset" and not mixed:  # Arrow has no lists of mixed types
        source = Dataset.from_list([example])
    elif kind in ("list", "dataset"):
        source = [example]
    else:
        path.write_text(json.dumps(example if kind == "lines" else [example]))
        source = path
    dataset = read_dataset(source)
    assert dataset["tokens"][:] == [TEXT.split()] and gold_tags(dataset) == [TAGS]


def test_spans_of_several_words():
    example = {"tokenized_text": ["Ana", "Ruiz", "flew"], "ner": [[0, 1, "person"]]}
    assert gold_tags(read_dataset([example])) == [["B-person", "I-person", "O"]]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"tokenized_text": ["a"], "ner": [[0, 1, "x"]]}, r"ner has \[0, 1, 'x'\]; .* words are 0 to 0"),
        (
            {"tokenized_text": ["a", "b"], "ner": [[0, 1, "x"], [1, 1, "y"]]},
            "'a b' .x, words 0–2. and 'b' .y, words 1–2. overlap",
        ),
        ({"tokenized_text": ["a"], "ner": [0]}, r"ner has \[0\]"),
        ({"text": TEXT, "entities": [{"start": 0, "end": 4, "labels": []}]}, "has no label"),
        ({"text": TEXT, "label": ["positive"]}, "a span must be"),
        ({"text": TEXT, "label": "positive"}, "no 'entities' or 'spans' among"),
        ({"tokenized_text": ["a"]}, "no 'ner' among .*nearest format is GLiNER .tried: .*doccano"),
        ({"data": {"text": TEXT}, "predictions": []}, "no 'annotations' among .* is Label Studio "),
        ({"text": TEXT, "prediction": None}, "no 'annotation' among .* is Argilla "),
    ],
)
def test_named(example, message):
    with pytest.raises(LaclDataError, match=rf"examples\[0\]: .*{message}"):
        read_dataset([example])


@pytest.mark.parametrize("kind", ["list", "lines", "dataset"])
def test_accepted_without_an_entity(tmp_path, kind):
    """Prodigy writes no `spans` where nothing was marked; such a record is an example of outside."""
    examples = [
        {"text": TEXT, "tokens": TOKENS, "spans": WITH_IDS, "answer": "accept"},
        {"text": "Then home", "answer": "accept"},
        {"text": "Mira flew", "tokens": TOKENS[:2], "answer": "accept"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, examples)))
    source = {"list": examples, "lines": path, "dataset": Dataset.from_list(examples)}[kind]
    assert gold_tags(read_dataset(source)) == [TAGS, ["O", "O"], ["O", "O"]]


@pytest.mark.parametrize(
    "other", [{}, {"label": "GOOD", "answer": "accept"}, {"accept": ["A"], "answer": "accept"}]
)
def test_a_text_that_nobody_looked_at_for_entities_is_no_example(other):
    with pytest.raises(LaclDataError, match="no 'entities' or 'spans' among"):
        read_dataset([{"text": TEXT, **other}])


@pytest.mark.parametrize("kind", ["list", "lines", "dataset"])
def test_rejected_examples_are_left_out(tmp_path, caplog, kind):
    examples = [
        {"text": "Oslo ran", "spans": [{"start": 0, "end": 4, "label": "person"}], "answer": "reject"},
        {"text": TEXT, "spans": [PERSON], "answer": "accept"},
        {"text": "Rom", "spans": [{"start": 0, "end": 3, "label": "x"}], "answer": "ignore"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, examples)))
    source = {"list": examples, "lines": path, "dataset": Dataset.from_list(examples)}[kind]
    dataset = read_dataset(source)
    assert dataset["tokens"][:] == [TEXT.split()]
    assert dataset.features["ner_tags"].feature.names == ["O", "B-person", "I-person"]
    assert "2 examples whose answer is 'reject' or 'ignore' were left out (the first" in caplog.text
