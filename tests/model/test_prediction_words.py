"""Text in, entities out: words, their tokens of every kind of tokenizer, and entities made of words."""

import re
import string
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import regex
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_cases import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    TEXT,
    TEXTS,
    many,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from modeling_lacl.model.words_lacl import align_words, split_words
from modeling_lacl.training.word_labels import predict_words, word_scores

# Any Unicode, rich in what is awkward: marks, joiners, control characters, half characters, wide characters.
awkward = st.sampled_from("aA9_ \t\n\u00a0\u3000.'’-\u0301\u200d\u00ad\u200b\x00\x1c\ud800İßﬁ東タース👍🏽🇩🇪ั€")
any_text = st.text(
    st.one_of(st.characters(), awkward, st.sampled_from(string.ascii_letters + " ")), max_size=60
)
# Not seen, though some are letters or marks to Unicode.
IGNORABLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u2800\ufffd]")
# What stands between words without being one: control, format and private characters, halves, unknown ones.
unseen = st.one_of(
    # Without those that Unicode got later than the tokenizers.
    st.characters(
        max_codepoint=0xFFFF,
        categories=["Cc", "Cf", "Co", "Cs"],
        exclude_characters="\t\n\r\x0b\x0c\x85\u0890\u0891\u08e2",
    ),
    st.sampled_from("\u200b\u2060\ufeff\u200e\u202e\u2069\ufffd\x00\x1b\x7f\x9f\U000f0000\U000e0061"),
)
word_lists = st.lists(st.text(st.one_of(awkward, st.sampled_from("abcxyz")), max_size=6), max_size=20)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ana Ruiz, 172.", ["Ana", "Ruiz", ",", "172", "."]),
        (
            "don't L’Oréal 'quoted' dogs' 90's",
            ["don't", "L’Oréal", *"'", "quoted", *"'", "dogs", *"'", "90", "'s"],
        ),
        (
            "Ana Ruiz's, Quito’s; IT'S Rubens'",
            ["Ana", "Ruiz", "'s", ",", "Quito", "’s", ";", "IT", "'S", "Rubens", "'"],
        ),
        (
            "O'Neill's Qur'an 's-Gravenhage U.S.'s",
            ["O'Neill", "'s", "Qur'an", "'", "s-Gravenhage", "U.S", ".", "'s"],
        ),
        (
            "we'll they've you're rock 'n' roll",
            ["we", "'ll", "they", "'ve", "you", "'re", "rock", *"'n'", "roll"],
        ),
        ("the 1990's '90s Zoeʼs Комп'ютер", ["the", "1990", "'s", "'", "90s", "Zoe", "ʼs", "Комп'ютер"]),
        ("\x00Ana\u200bRuiz \ufffd \ue000 \u2066b\u2069 \x1b\x7f\x9f", ["Ana", "Ruiz", "b"]),
        ("東京タワーiPhoneを", ["東", "京", "タ", "ワ", "ー", "iPhone", "を"]),
        ("รัก Thai 12", ["รั", "ก", "Thai", "12"]),
        ("e\u0301te\u0301 क्षत्रिय می‌خواهم", ["e\u0301te\u0301", "क्षत्रिय", "می‌خواهم"]),
        ("👩‍👩‍👧 👍🏽🇩🇪🇫🇷", ["👩‍👩‍👧", "👍🏽", "🇩🇪", "🇫🇷"]),
        ("snake_case @user #tag a@b.de", ["snake_case", "@", "user", "#", "tag", "a@b.de"]),
        ("H&M's WH-1000XM5, v24.0.5 A/B c/o", ["H&M", "'s", "WH-1000XM5", ",", "v24.0.5", "A/B", "c/o"]),
        ("40,000 at 10:30 in Lima,Peru:", ["40,000", "at", "10:30", "in", "Lima", ",", "Peru", ":"]),
        ("http://a.org/b_c?d 5'10 C++ x.y.", ["http://a.org/b_c", "?", "d", "5'10", "C", *"++", "x.y", "."]),
        ("UK-based Berlin-Hamburg al-Qaeda -5", ["UK", "-", "based", "Berlin-Hamburg", "al-Qaeda", *"-5"]),
        ("東-京 A-東 नई-दिल्ली", [*"東-京", "A", "-", "東", "नई-दिल्ली"]),
        (" \n\u00a0\u3000", []),
    ],
)
def test_split_words(text, words):
    assert [text[start:end] for start, end in split_words(text)] == words


@settings(deadline=None)
@given(any_text)
def test_words_cover_every_visible_character_once(text):
    words = split_words(text)
    assert all(start < end for start, end in words)
    assert all(a[1] <= b[0] for a, b in pairwise(words))
    covered = {position for start, end in words for position in range(start, end)}
    for position, character in enumerate(text):
        if character.isspace():
            assert position not in covered
        elif unicodedata.category(character)[0] != "C" and not IGNORABLE.match(character):
            assert position in covered
    # Characters that are not assigned yet may be assigned in the next version of Unicode.
    unseen = ("Cc", "Cf", "Co", "Cs")
    assert all({unicodedata.category(one) for one in text[start:end]} - {*unseen} for start, end in words)


def align_by_loop(offsets, words):
    tokens = []
    for start, end in words:
        first = next((t for t, (_, token_end) in enumerate(offsets) if token_end > start), None)
        tokens.append(first if first is not None and offsets[first][0] < end else -1)
    return tokens


@settings(deadline=None)
@given(st.data())
def test_align_words_matches_a_loop(data):
    cuts = sorted(data.draw(st.lists(st.integers(0, 30), max_size=12)))
    offsets = [(0, 0), *zip(cuts[::2], cuts[1::2], strict=False), (0, 0)]
    cuts = sorted(data.draw(st.lists(st.integers(0, 30), max_size=12)))
    words = list(zip(cuts[::2], cuts[1::2], strict=False))
    found = align_words(np.array(offsets).reshape(-1, 2), np.array(words, dtype=np.int64).reshape(-1, 2))
    assert found.tolist() == align_by_loop(offsets, words)


def byte_level_tokenizer():
    """Of the RoBERTa and GPT-2 kind."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    backend = Tokenizer(models.BPE(vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1), add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def sentencepiece_tokenizer():
    """Of the XLNet kind: the space is part of the next subword."""
    subwords = ["▁the", "▁to", "▁", *string.ascii_letters, *string.digits, *string.punctuation]
    vocabulary = [
        ("<unk>", 0.0),
        ("<pad>", 0.0),
        ("<sep>", 0.0),
        ("<cls>", 0.0),
        *((subword, -1.0) for subword in subwords),
    ]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A <sep> <cls>", special_tokens=[("<sep>", 2), ("<cls>", 3)]
    )
    return backend


@pytest.mark.parametrize("kind", ["wordpiece", "byte_level", "sentencepiece"])
def test_words_align_with_every_kind_of_tokenizer(kind, tiny_tokenizer):
    backend = {
        "wordpiece": lambda: tiny_tokenizer.backend_tokenizer,
        "byte_level": byte_level_tokenizer,
        "sentencepiece": sentencepiece_tokenizer,
    }[kind]()
    text = "Ana flew to  the\tplay, 172 of Zoé's"
    offsets = np.array(backend.encode(text).offsets)
    words = np.array(split_words(text))
    tokens = align_words(offsets, words)
    assert (np.diff(tokens) > 0).all()
    for (start, end), token in zip(words.tolist(), tokens.tolist(), strict=True):
        assert token >= 0
        assert offsets[token, 0] <= start < offsets[token, 1] <= end


def test_a_byte_level_tokenizer_end_to_end(make_tiny_model):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(),
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        eos_token="</s>",
    )
    model = make_tiny_model(encoder={"vocab_size": 300})
    model.tokenizer = tokenizer
    model.set_labels(["person", "location"])
    for text in TEXTS:
        for entity in model.predict(text):
            assert text[entity["start"] : entity["end"]] == entity["word"]


def test_a_slow_tokenizer_is_refused(tiny_model, tiny_tokenizer):
    class Slow:
        is_fast = False

    slow: Any = Slow()
    with pytest.raises(ValueError, match="Slow gives no character offsets"):
        tiny_model.tokenizer = slow


@many
@given(text=any_text)
def test_entities_lie_in_the_text_in_order_apart(tiny_model, text):
    entities = tiny_model.predict(text)
    for entity in entities:
        assert list(entity) == ["entity_group", "score", "word", "start", "end"]
        assert 0 <= entity["start"] < entity["end"] <= len(text)
        assert text[entity["start"] : entity["end"]] == entity["word"]
        assert entity["word"] == entity["word"].strip(" \n\t\u00a0")
        assert entity["entity_group"] in {"person", "location", "creative-work"}
        assert type(entity["score"]) is float and 0.0 <= entity["score"] <= 1.0
    assert all(a["end"] <= b["start"] for a, b in pairwise(entities))


@many
@given(words=word_lists)
def test_every_word_gets_one_label_and_entities_agree(tiny_model, tiny_tokenizer, words):
    [labels] = predict_words(tiny_model, [words])
    assert len(labels) == len(words)
    entities = tiny_model.predict(words, is_split_into_words=True)
    text, labelled = " ".join(words), {entity["start"]: entity["entity_group"] for entity in entities}
    start, previous = 0, 0
    for word, label in zip(words, labels, strict=True):
        if label not in (0, previous):
            assert labelled.pop(start) == tiny_model.config.id2label[label]
        start, previous = start + len(word) + 1, label
    assert not labelled
    assert all(text[entity["start"] : entity["end"]] == entity["word"] for entity in entities)


@pytest.mark.parametrize(
    ("words", "ids", "expected"),
    [
        ("😀 Oslo 😀 🇩🇪", [1, 1, 1, 1], [0, 1, 0, 0]),
        ("Oslo 😀 Fjord", [1, 1, 1], [1, 1, 1]),
        ("😀 👍🏽", [1, 1], [1, 1]),
        ("Oslo 😀 Ana", [1, 1, 2], [1, 0, 2]),
        ("Oslo 😀 Ana", [1, 2, 2], [1, 0, 2]),
        ("C + + 7 # Yahoo !", [1, 1, 1, 0, 2, 2, 2], [1, 1, 1, 0, 2, 2, 2]),
    ],
)
def test_emoji_at_the_edges_of_an_entity_are_no_part_of_it(
    tiny_model, tiny_tokenizer, monkeypatch, words, ids, expected
):
    decode = "modeling_lacl.model.prediction_lacl.decode_scores"
    monkeypatch.setattr(decode, lambda config, scores: [np.array(ids) for _ in scores])
    assert predict_words(tiny_model, [words.split()]) == [expected]


@pytest.mark.parametrize(("ana", "ruiz", "between"), [(1, 1, 1), (1, 2, 0), (1, 0, 0), (0, 0, 0)])
def test_words_without_a_token_go_with_their_neighbours(tiny_model, monkeypatch, ana, ruiz, between):
    words = ["\x00", "Ana", "\x00", "", "\u200b", "Ruiz", " "]
    [scores] = word_scores(tiny_model, [words])
    assert scores.shape == (7, 4)
    assert scores[2].softmax(0).tolist() == [1.0, 0.0, 0.0, 0.0]
    decode = "modeling_lacl.model.prediction_lacl.decode_scores"
    monkeypatch.setattr(decode, lambda config, scores: [np.array([ana, ruiz])])
    assert predict_words(tiny_model, [words]) == [[0, ana, between, between, between, ruiz, 0]]


@pytest.fixture(params=[0, 4], ids=["of words", "of spans"])
def either_model(request, make_tiny_model):
    return make_tiny_model(max_span_words=request.param)


@many
@given(gaps=st.lists(st.lists(unseen, max_size=2), min_size=9, max_size=9), between=st.booleans())
def test_what_is_not_seen_between_words_cuts_no_entity(either_model, gaps, between):
    """A tokenizer of the BERT kind drops it: the entities are those of the words without it."""
    words = "ana ruiz flew to quito york on the cessna".split()

    def found(inputs, **options):
        return [
            (one["entity_group"], "".join(re.findall("[a-z]", one["word"])), round(one["score"], 4))
            for one in either_model.predict(inputs, threshold=0.0, overlap="any", **options)
        ]

    expected = found(" ".join(words))
    assert len(expected) > 1 and {word for _, word, _ in expected} - {*words}  # one has several words
    pairs = list(zip(words, map("".join, gaps), strict=True))
    text = " ".join(f"{word} {gap}" if between else f"{word}{gap}" for word, gap in pairs)
    assert found(text) == expected
    as_list = [one for word, gap in pairs for one in (word, gap)]
    assert found(as_list, is_split_into_words=True) == expected
    for one in either_model.predict(as_list, is_split_into_words=True):
        assert " ".join(as_list)[one["start"] : one["end"]] == one["word"] == one["word"].strip()


def test_scores_are_read_at_the_first_subword_of_each_word(tiny_model, tiny_tokenizer):
    words = TEXT.split()
    encoded = tiny_tokenizer(" ".join(words), return_tensors="pt", return_offsets_mapping=True)
    logits = tiny_model(encoded["input_ids"], encoded["attention_mask"]).logits[0]
    starts = encoded["offset_mapping"][0, :, 0].tolist()
    start, expected = 0, []
    for word in words:
        expected.append(logits[starts.index(start, 1)])
        start += len(word) + 1
    [scores] = word_scores(tiny_model, [words])
    torch.testing.assert_close(scores, torch.stack(expected), rtol=0, atol=1e-5)


def test_threshold_drops_lower_scores(tiny_model):
    everything = tiny_model.predict(TEXT)
    scores = sorted(entity["score"] for entity in everything)
    middle = scores[len(scores) // 2]
    kept = tiny_model.predict(TEXT, threshold=middle)
    assert 0 < len(kept) < len(everything)
    assert kept == [entity for entity in everything if entity["score"] >= middle]


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0"])
def test_empty_text_has_no_entities(tiny_model, text):
    assert tiny_model.predict(text) == []
    assert tiny_model.predict([text, text]) == [[], []]


def test_special_tokens_written_in_a_text_keep_offsets_right(tiny_model):
    text = "Ana [SEP] Ruiz [PAD] flew [CLS]"
    for entity in tiny_model.predict(text):
        assert text[entity["start"] : entity["end"]] == entity["word"]
