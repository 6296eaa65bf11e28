"""Tokenisation: every word labelled once, at the same place as by a word-by-word reference."""

from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import to_io
from modeling_lacl.data.tokenize import tokenize_dataset

TEXT = (
    "the river Ruiz flows to Quito and the city of Ana Ruiz lies on the old 東京 naïve Zoë don't 10km".split()
)
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]


def train(model, trainer, **parts):
    backend = Tokenizer(model)
    for name, part in parts.items():
        setattr(backend, name, part)
    backend.train_from_iterator([" ".join(TEXT)] * 3, trainer)
    ids: dict[str, Any] = {token: backend.token_to_id(token) for token in ("<s>", "</s>")}
    # XLNet ends with its special tokens; RoBERTa has them on both sides and trims the space off offsets.
    template = "$A </s> <s>" if isinstance(model, models.Unigram) else "<s> $A </s>"
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=list(ids.items()))
    if isinstance(model, models.BPE):
        end, start = ("</s>", ids["</s>"]), ("<s>", ids["<s>"])
        backend.post_processor = processors.RobertaProcessing(end, start, add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def byte_level_bpe():
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=byte_level.alphabet(), show_progress=False
    )
    return train(models.BPE(), trainer, pre_tokenizer=byte_level, decoder=decoders.ByteLevel())


def sentencepiece_unigram():
    trainer = trainers.UnigramTrainer(
        vocab_size=80, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return train(models.Unigram(), trainer, pre_tokenizer=pre_tokenizers.Metaspace())


def wordpiece():
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    return train(
        models.WordPiece(unk_token="<unk>"),
        trainer,
        normalizer=normalizers.BertNormalizer(),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
    )


@pytest.fixture(
    scope="module", params=[byte_level_bpe, sentencepiece_unigram, wordpiece], ids=lambda f: f.__name__
)
def tokenizer(request):
    return request.param()


def example(words, tags):
    return {"tokens": list(words), "tags": list(tags)}


words = st.sampled_from(TEXT) | st.text(alphabet="aéz’-.東\u0301😀", min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_word_is_labelled_once(tokenizer, data):
    sentences = data.draw(
        st.lists(
            st.lists(st.tuples(words, st.sampled_from(["O", "B-x", "I-x", "B-y"])), max_size=25),
            min_size=1,
            max_size=4,
        )
    )
    max_length = data.draw(st.integers(12, 40))
    dataset = read_dataset(
        [example(*zip(*s, strict=True)) if s else example([], []) for s in sentences], labels=["x", "y"]
    )
    rows = tokenize_dataset(dataset, tokenizer, ["y", "x"], max_length=max_length)
    assert all(len(row["input_ids"]) <= max_length for row in rows)
    assert all(len(row["input_ids"]) == len(row["attention_mask"]) == len(row["labels"]) for row in rows)
    assert all(set(row["attention_mask"]) == {1} for row in rows)
    special = set(tokenizer.convert_tokens_to_ids(["<s>", "</s>"]))
    for row in rows:
        assert sum(token in special for token in row["input_ids"]) == 2
        assert all(
            label == -100
            for token, label in zip(row["input_ids"], row["labels"], strict=True)
            if token in special
        )
    # A combining mark or a joiner alone may have no subword: such words have no label.
    labels = [label for row in rows for label in row["labels"] if label >= 0]
    expected = [label for sentence in to_io(dataset, ["y", "x"]) for label in sentence]
    visible = [w for s in sentences for w, _ in s]
    if all(tokenizer(word, add_special_tokens=False)["input_ids"] for word in visible) and "\u0301" not in {
        word[0] for word in visible
    }:
        assert labels == expected
    else:
        assert len(labels) <= len(expected)


def test_first_subwords_against_brute_force(tokenizer):
    """The first subword of a word is the first token that has one of its characters."""
    tags = ["B-x" if i % 3 == 0 else "O" for i in range(len(TEXT))]
    (row,) = tokenize_dataset(read_dataset([example(TEXT, tags)]), tokenizer, ["x"], max_length=400)
    encoding = tokenizer(" ".join(TEXT), return_offsets_mapping=True)
    expected = [-100] * len(encoding["input_ids"])
    start = 0
    for word, tag in zip(TEXT, tags, strict=True):
        characters = set(range(start, start + len(word)))
        first = next(
            i for i, (s, e) in enumerate(encoding["offset_mapping"]) if characters & set(range(s, e))
        )
        expected[first] = int(tag == "B-x")
        start += len(word) + 1
    assert row["input_ids"] == encoding["input_ids"]
    assert row["labels"] == expected


def test_short_sentences_are_the_tokenizers_own(tokenizer):
    dataset = read_dataset([example(TEXT[:6], ["O"] * 6), example([], []), example(TEXT[6:9], ["O"] * 3)])
    rows = tokenize_dataset(dataset, tokenizer, [])
    assert rows["input_ids"][:] == tokenizer([" ".join(TEXT[:6]), " ".join(TEXT[6:9])])["input_ids"]
    assert rows.column_names == ["input_ids", "attention_mask", "labels"]


def test_long_sentence_is_split_at_word_boundaries(tokenizer):
    count = 3000
    tokens = [TEXT[i % len(TEXT)] for i in range(count)]
    tags = ["B-x" if i % 5 == 0 else "B-y" if i % 5 == 1 else "O" for i in range(count)]
    dataset = read_dataset([example(["Ana"], ["B-y"]), example(tokens, tags), example(["Ruiz"], ["B-x"])])
    rows = tokenize_dataset(dataset, tokenizer, ["x", "y"], max_length=32)
    labels = [[label for label in row if label >= 0] for row in rows["labels"]]
    assert labels[0] == [2] and labels[-1] == [1]
    assert sum(labels[1:-1], []) == [1 if i % 5 == 0 else 2 if i % 5 == 1 else 0 for i in range(count)]
    whole = len(tokenizer(" ".join(tokens))["input_ids"])
    assert len(rows) - 2 <= 1.5 * whole / 30  # sequences are filled, not one per word


def _runs(labels):
    """The runs of one label above 0, as (label, length)."""
    return [(label, len(list(run))) for label, run in groupby(labels) if label]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=60))
def test_no_entity_that_fits_is_split(tokenizer, runs):
    labels = [label for label, length in runs for _ in range(length)]
    tokens = [TEXT[i % 6] for i in range(len(labels))]
    tags = ["O" if not label else f"I-{'xy'[label - 1]}" for label in labels]
    sentence = read_dataset([example(tokens, tags)], scheme="IO")
    rows = tokenize_dataset(sentence, tokenizer, ["x", "y"], max_length=48)
    of_rows = [[label for label in row if label >= 0] for row in rows["labels"]]
    assert sum(of_rows, []) == labels
    if max((length for _, length in _runs(labels)), default=0) <= 8:  # at most 46 tokens
        assert sum(map(_runs, of_rows), []) == _runs(labels)


def test_of_an_entity_longer_than_a_sequence_each_has_its_words(tokenizer):
    words = ["Ana", *TEXT[:6] * 10, "Ruiz"]
    whole = {"tokens": words, "entities": [{"start": 1, "end": 61, "label": "x"}]}
    rows = tokenize_dataset(read_dataset([whole], nested="keep"), tokenizer, ["x"], 32, entities=True)
    for labels, entities in zip(rows["labels"], rows["entities"], strict=True):
        own = [label for label in labels if label >= 0]
        assert entities == ([[own.index(1), len(own) - 1 - own[::-1].index(1), 1]] if 1 in own else [])
    assert sum(map(len, rows["entities"])) > 1


def test_word_longer_than_a_sequence_keeps_its_label(tokenizer):
    dataset = read_dataset([example(["Ana", "zzqx" * 50, "Ruiz"], ["O", "B-x", "I-x"])])
    rows = tokenize_dataset(dataset, tokenizer, ["x"], max_length=16)
    assert [label for row in rows["labels"] for label in row if label >= 0] == [0, 1, 1]
    assert max(map(len, rows["input_ids"])) <= 16


def test_special_tokens_in_the_text_are_words(tokenizer):
    dataset = read_dataset([example(["Ana", "</s>" * 40], ["B-x", "O"])])
    rows = tokenize_dataset(dataset, tokenizer, ["x"], max_length=16)
    assert [label for row in rows["labels"] for label in row if label >= 0] == [1, 0]
    assert max(map(len, rows["input_ids"])) <= 16


def test_what_is_refused(tokenizer):
    slow: Any = SimpleNamespace(is_fast=False)
    dataset = read_dataset([example(["Ana"], ["B-x"])])
    with pytest.raises(ValueError, match="no character offsets: load the fast one"):
        tokenize_dataset(dataset, slow, ["x"])
    with pytest.raises(ValueError, match="not among the given ones: x"):
        tokenize_dataset(dataset, tokenizer, ["y"])
    with pytest.raises(ValueError, match="no room"):
        tokenize_dataset(dataset, tokenizer, ["x"], max_length=2)
    with pytest.raises(ValueError, match="no column 'text'"):
        tokenize_dataset(dataset, tokenizer, ["x"], text_column="text")
    rows = tokenize_dataset(dataset, tokenizer, ["y"], unknown_types="outside")
    assert [label for label in rows[0]["labels"] if label >= 0] == [0]
