"""Sequences with entities: what stands in them against the sentences, and that they are made once."""

import json
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl import LaclDataError
from modeling_lacl.data.entity_lines import EntitySentence, read_entity_lines
from modeling_lacl.data.entity_sequences import cached_sequences, sequences_of

IDS = {"a": 1, "b": 2, "left out": 0}


@st.composite
def sentences(draw):
    words = draw(st.lists(st.sampled_from(["ana", "of", "quito", "q", "\x00", "the"]), max_size=9))
    spans = st.tuples(st.integers(0, 8), st.integers(1, 9), st.sampled_from(sorted(IDS)))
    entities = [
        one for one in draw(st.lists(spans, max_size=5, unique=True)) if one[0] < one[1] <= len(words)
    ]
    return EntitySentence(words, entities, "here")


@given(st.lists(sentences(), max_size=3), st.integers(3, 12))
def test_entities_are_those_of_the_sentences(tiny_tokenizer, given_sentences, length):
    rows = sequences_of(given_sentences, "mail", IDS, tiny_tokenizer, length)
    expected = []  # (word, types around it, id of the longest), of the words that have a subword
    for sentence in given_sentences:
        for position, word in enumerate(sentence.words):
            around = [one for one in sentence.entities if one[0] <= position < one[1] and IDS[one[2]]]
            longest = max((stop - first for first, stop, _ in around), default=0)
            if word != "\x00":  # which has no subword
                expected.append(
                    (
                        word,
                        {IDS[name] for _, _, name in around},
                        {IDS[name] for first, stop, name in around if stop - first == longest} or {0},
                    )
                )
    found = []
    for row in rows:
        assert len(row["input_ids"]) == len(row["labels"]) <= length and row["corpus"] == "mail"
        positions = np.flatnonzero(row["labels"] >= 0)
        for index, token_position in enumerate(positions.tolist()):
            labels = {label for first, last, label in row["entities"] if first <= index <= last}
            token = tiny_tokenizer.decode([int(row["input_ids"][token_position])])
            found.append((token, labels, int(row["labels"][token_position])))
        assert all(0 <= first <= last < len(positions) for first, last, _ in row["entities"])
    assert len(found) == len(expected)
    for (token, labels, label), (word, types, outermost) in zip(found, expected, strict=True):
        assert word.startswith(token) and labels == types and label in outermost


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_corpus_is_tokenised_once(tiny_tokenizer, tmp_path):
    times = []

    def read():
        times.append(1)
        return [EntitySentence(["ana", "flew"], [(0, 1, "a")], "here")] * 3

    def make(content: Any = "x", ids: Any = IDS, length: Any = 16):
        return cached_sequences("mail", read, content, ids, tiny_tokenizer, length)

    made = make()
    assert made["entities"][:] == [[[0, 0, 1]]] * 3 and made["corpus"][:] == ["mail"] * 3
    # Truncation is a state that calls of the tokenizer change.
    tiny_tokenizer(["ana"], truncation=True, max_length=3, padding=True)
    assert make().to_list() == made.to_list() and len(times) == 1
    for other in ({"content": "y"}, {"ids": {**IDS, "a": 2}}, {"length": 17}):
        before = len(times)
        make(**other)
        assert len(times) == before + 1


def test_a_bad_line_is_named(tiny_tokenizer, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"tokens": ["a"], "ner_tags": ["O"]}\n{"tokens": ["a"]}\n')
    with pytest.raises(LaclDataError, match=r"train.jsonl:2: neither"):
        cached_sequences("mail", lambda: read_entity_lines(path), "x", IDS, tiny_tokenizer, 16)
    path.write_text(json.dumps({"tokens": ["a"], "ner_tags": ["B-c"]}))
    with pytest.raises(LaclDataError, match=r"train.jsonl:1: the type 'c' is not among .* a, b"):
        cached_sequences("mail", lambda: read_entity_lines(path), "x", IDS, tiny_tokenizer, 16)
