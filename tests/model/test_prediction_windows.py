"""Text longer than the encoder takes is read in windows, and a label set too long in several prompts."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prediction_cases import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    TEXT,
    TRANSITIONS,
    many,
)
from transformers import AutoModel, RobertaConfig, XLNetConfig

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.training.word_labels import predict_words, word_scores


@pytest.fixture
def context_free_model(make_tiny_model):
    """A model that scores a token by its identity alone, so that no cut of the text may change anything."""
    model = make_tiny_model(encoder={"num_hidden_layers": 0, "max_position_embeddings": 2048})
    with torch.no_grad():
        model.lacl.encoder.embeddings.position_embeddings.weight.zero_()
    model.config.max_text_length = 2000
    return model


@many
@given(
    words=st.lists(
        st.sampled_from(["person", "location", "flew", "abcdefghijk", "\x00", "東", "x" * 40, ""]),
        max_size=60,
    ),
    room=st.integers(1, 30),
    stride=st.integers(0, 40),
    side=st.sampled_from(["left", "right"]),
)
def test_no_cut_changes_a_model_that_sees_no_context(
    context_free_model, tiny_tokenizer, words, room, stride, side
):
    """An entity across a seam is neither lost nor doubled, and every word is read at its first subword."""
    model = context_free_model
    model.config.max_text_length = 2000
    [whole] = word_scores(model, [words])
    entities = model.predict(words, is_split_into_words=True)
    model.config.max_text_length = room + 2
    tiny_tokenizer.truncation_side = side
    try:
        [cut] = word_scores(model, [words], stride=stride)
        found = model.predict(words, is_split_into_words=True, stride=stride)
    finally:
        tiny_tokenizer.truncation_side = "right"
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-4)
    assert [entity["start"] for entity in found] == [entity["start"] for entity in entities]
    assert [entity["end"] for entity in found] == [entity["end"] for entity in entities]


def test_each_word_is_read_where_most_text_surrounds_it(tiny_model, tiny_tokenizer):
    """Against a loop over explicit windows of one-token words."""
    words = [("the", "quito", "play", "a", "york")[number * number % 5] for number in range(75)]
    room, stride = 20, 8
    tiny_model.config.max_text_length = room + 2
    ids = tiny_tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]
    assert len(ids) == len(words)
    starts = [0]
    while starts[-1] + room < len(words):
        starts.append(starts[-1] + room - stride)
    logits = []
    for start in starts:
        window = [tiny_tokenizer.cls_token_id, *ids[start : start + room], tiny_tokenizer.sep_token_id]
        logits.append(tiny_model(torch.tensor([window])).logits[0, 1:-1])
    expected = []
    for word in range(len(words)):
        choices = []
        for number, start in enumerate(starts):
            end = min(start + room, len(words))
            if start <= word < end:
                before = word - start if number else 10**9
                after = end - 1 - word if end < len(words) else 10**9
                choices.append((min(before, after), -number))
        number = -max(choices)[1]
        expected.append(logits[number][word - starts[number]])
    [scores] = word_scores(tiny_model, [words], stride=stride)
    torch.testing.assert_close(scores, torch.stack(expected), rtol=0, atol=1e-5)


def test_a_very_long_text_beside_a_short_one(context_free_model):
    """20,000 words, of which the interior repeats what a short text has in the middle."""
    model = context_free_model
    model.config.max_text_length = 128
    model.config.viterbi, model.config.transitions = True, TRANSITIONS
    period, periods = "The person flew to location York. ", 3000
    long, short = model.predict([period * periods, period * 9])

    def middle(entities, number):
        start = number * len(period)
        inside = [entity for entity in entities if start <= entity["start"] < start + len(period)]
        return [(entity["start"] - start, entity["end"] - start, entity["entity_group"]) for entity in inside]

    assert middle(short, 4)
    for number in (4, 17, 1999, 2995):
        assert middle(long, number) == middle(short, 4)
    assert all(a["end"] <= b["start"] for a, b in pairwise(long))


@pytest.mark.parametrize(
    "encoder_config",
    [
        # Positions are counted from behind the padding index.
        RobertaConfig(
            vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=50, pad_token_id=0,
        ),
        # Relative positions: no limit.
        XLNetConfig(vocab_size=300, d_model=16, n_layer=1, n_head=2, d_inner=16, pad_token_id=0),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_windows_fit_other_encoders(encoder_config, tiny_tokenizer):
    torch.manual_seed(0)
    model = LaclForTokenClassification.from_encoder(
        AutoModel.from_config(encoder_config), tiny_tokenizer, ["person", "location"], projection_size=8
    )
    words = ["Quito", "abcdefgh"] * 60
    assert [len(labels) for labels in predict_words(model, [words])] == [120]


def test_a_label_set_too_long_for_one_prompt_is_split(context_free_model, tiny_tokenizer):
    labels = [f"type {first}{second}" for first in "abcde" for second in "vwxyz"]
    sentence = TEXT.split()
    [whole] = word_scores(context_free_model, [sentence], labels=labels)
    context_free_model.config.max_prompt_length = 40
    [split] = word_scores(context_free_model, [sentence], labels=labels)
    assert split.shape == (len(sentence), 26)
    torch.testing.assert_close(split, whole, rtol=0, atol=1e-4)


def test_label_names_that_leave_no_room_for_text(make_tiny_model):
    model = make_tiny_model(encoder={"max_position_embeddings": 40})
    with pytest.raises(ValueError, match="leave no positions of the encoder for text"):
        model.predict(TEXT, labels=[f"{letter}" * 9 for letter in "abcd"])
