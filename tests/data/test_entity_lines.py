"""Sentences with entities as a stream: flat and nested, compressed or not, and what is wrong with a line."""

import gzip
import json

import pytest

from modeling_lacl import LaclDataError
from modeling_lacl.data.entity_lines import read_entity_lines

FLAT = {
    "tokens": ["Ana", "Ruiz", "Quito", "Lima"],
    "ner_tags": ["B-full  name", "I-full name", "B-city", "B-city"],
}
NESTED = {
    "tokens": ["University", "of", "Oslo"],
    "entities": [
        {"start": 0, "end": 3, "label": "school"},
        {"start": 2, "end": 3, "label": "city"},
        {"start": 0, "end": 3, "label": "school"},
    ],
}


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz"])
def test_both_forms_are_read(tmp_path, name):
    path = tmp_path / name
    content = f"{json.dumps(FLAT)}\n\n{json.dumps(NESTED)}".encode()
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    first, second = read_entity_lines(path)
    assert first.words == FLAT["tokens"]
    assert first.entities == [(0, 2, "full name"), (2, 3, "city"), (3, 4, "city")]
    assert second.entities == [(0, 3, "school"), (2, 3, "city")] and second.place == f"{path}:3"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object with tokens"),
        ('{"tokens": ["a", ""], "ner_tags": ["O", "O"]}', "none of them empty"),
        ('{"tokens": ["a"]}', "neither ner_tags nor entities"),
        ('{"tokens": ["a"], "ner_tags": ["O"], "entities": []}', "both ner_tags and entities"),
        ('{"tokens": ["a"], "ner_tags": ["O", "O"]}', "1 tokens but 2 tags"),
        ('{"tokens": ["a"], "ner_tags": [0]}', "list of BIO tags"),
        ('{"tokens": ["a", "b"], "ner_tags": ["B-x", "I-y"]}', "'I-y' of word 1 is not BIO"),
        ('{"tokens": ["a"], "ner_tags": ["person"]}', "'person' of word 0 is not BIO"),
        (
            '{"tokens": ["a"], "entities": [{"start": 0, "end": 2, "label": "x"}]}',
            "not inside of the 1 words",
        ),
        ('{"tokens": ["a"], "entities": [{"start": 0, "end": 1}]}', "needs start and end"),
        ('{"tokens": ["a"], "entities": [{"start": true, "end": 1, "label": "x"}]}', "needs start and end"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "train.jsonl"
    path.write_text(f"{json.dumps(FLAT)}\n{line}\n")
    sentences = read_entity_lines(path)
    next(sentences)
    with pytest.raises(LaclDataError, match=message) as error:
        next(sentences)
    assert str(error.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-12], lambda data: b"plain text"], ids=["cut", "no gzip"]
)
def test_a_damaged_gzip_file_is_named(tmp_path, damage):
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(damage(gzip.compress(json.dumps(FLAT).encode() * 50)))
    with pytest.raises(LaclDataError, match=r"train.jsonl.gz:1: damaged gzip file"):
        list(read_entity_lines(path))
    with pytest.raises(FileNotFoundError, match="none.jsonl"):
        list(read_entity_lines(tmp_path / "none.jsonl"))
