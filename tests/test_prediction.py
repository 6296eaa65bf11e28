"""Text in, entities out: words, tokens, windows, batches, inputs of every kind."""

import string
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast, RobertaConfig, XLNetConfig

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.decoding import expand_transitions, viterbi
from modeling_lacl.prediction import align_words, predict, predict_words, split_words, word_scores

TEXT = "Ana Ruiz flew to Quito on a Cessna 172, said the play 'New York'."
TEXTS = [
    TEXT,
    "",
    "Quito!",
    "a play of the person in York " * 6,
    " \n\t ",
    "don't",
    "東京タワーに行った",
    "the " * 40,
]
TRANSITIONS = {
    "start": {"O": 0.8, "I": 0.2},
    "O": {"O": 0.9, "I": 0.1},
    "I": {"O": 0.5, "same": 0.4, "other": 0.1},
}

# Any Unicode, rich in what is awkward: marks, joiners, control characters, half characters, wide characters.
awkward = st.sampled_from("aA9_ \t\n\u00a0\u3000.'’-\u0301\u200d\u00ad\u200b\x00\x1c\ud800İßﬁ東タース👍🏽🇩🇪ั€")
any_text = st.text(
    st.one_of(st.characters(), awkward, st.sampled_from(string.ascii_letters + " ")), max_size=60
)
word_lists = st.lists(st.text(st.one_of(awkward, st.sampled_from("abcxyz")), max_size=6), max_size=20)
many = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def context_free_model(make_tiny_model):
    """A model that scores a token by its identity alone, so that no cut of the text may change anything."""
    model = make_tiny_model(encoder={"num_hidden_layers": 0, "max_position_embeddings": 2048})
    with torch.no_grad():
        model.lacl.encoder.embeddings.position_embeddings.weight.zero_()
    model.config.max_text_length = 2000
    return model


# ---- words and tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ana Ruiz, 172.", ["Ana", "Ruiz", ",", "172", "."]),
        (
            "don't L’Oréal 'quoted' dogs' 90's",
            ["don't", "L’Oréal", *"'", "quoted", *"'", "dogs", *"'", "90", "'", "s"],
        ),
        ("東京タワーiPhoneを", ["東", "京", "タ", "ワ", "ー", "iPhone", "を"]),
        ("รัก Thai 12", ["รั", "ก", "Thai", "12"]),
        ("e\u0301te\u0301 क्षत्रिय می‌خواهم", ["e\u0301te\u0301", "क्षत्रिय", "می‌خواهم"]),
        ("👩‍👩‍👧 👍🏽🇩🇪🇫🇷", ["👩‍👩‍👧", "👍🏽", "🇩🇪", "🇫🇷"]),
        ("snake_case @user #tag a@b.de", ["snake_case", "@", "user", "#", "tag", "a", "@", "b", ".", "de"]),
        (" \n\u00a0\u3000", []),
    ],
)
def test_split_words(text, words):
    assert [text[start:end] for start, end in split_words(text)] == words


@settings(deadline=None)
@given(any_text)
def test_words_cover_every_character_but_white_space_once(text):
    words = split_words(text)
    assert all(start < end for start, end in words)
    assert all(a[1] <= b[0] for a, b in pairwise(words))
    covered = {position for start, end in words for position in range(start, end)}
    for position, character in enumerate(text):
        if not character.isspace():
            assert position in covered
        elif character not in "\x1c\x1d\x1e\x1f":  # white space to Python, not to Unicode
            assert position not in covered


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
    """Of the XLNet kind: the space is part of the next piece."""
    pieces = ["▁the", "▁to", "▁", *string.ascii_letters, *string.digits, *string.punctuation]
    vocabulary = [
        ("<unk>", 0.0),
        ("<pad>", 0.0),
        ("<sep>", 0.0),
        ("<cls>", 0.0),
        *((piece, -1.0) for piece in pieces),
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


# ---- entities ----------------------------------------------------------------------------------------------


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
    [labels] = predict_words(tiny_model, tiny_tokenizer, [words])
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
    decode = "modeling_lacl.prediction.decode_scores"
    monkeypatch.setattr(decode, lambda config, scores: [np.array(ids) for _ in scores])
    assert predict_words(tiny_model, tiny_tokenizer, [words.split()]) == [expected]


def test_words_without_a_token_are_outside(tiny_model, tiny_tokenizer):
    words = ["Ana", "\x00", "", "\u200b", "Ruiz"]
    [labels] = predict_words(tiny_model, tiny_tokenizer, [words])
    assert labels[1:4] == [0, 0, 0]
    [scores] = word_scores(tiny_model, tiny_tokenizer, [words])
    assert scores.shape == (5, 4)
    assert scores[1].softmax(0).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_scores_are_read_at_the_first_piece_of_each_word(tiny_model, tiny_tokenizer):
    words = TEXT.split()
    encoded = tiny_tokenizer(" ".join(words), return_tensors="pt", return_offsets_mapping=True)
    logits = tiny_model(encoded["input_ids"], encoded["attention_mask"]).logits[0]
    starts = encoded["offset_mapping"][0, :, 0].tolist()
    start, expected = 0, []
    for word in words:
        expected.append(logits[starts.index(start, 1)])
        start += len(word) + 1
    [scores] = word_scores(tiny_model, tiny_tokenizer, [words])
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


# ---- inputs ------------------------------------------------------------------------------------------------


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert {**a, "score": 0} == {**b, "score": 0}
        assert a["score"] == pytest.approx(b["score"], abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_batch_gives_what_single_texts_give_in_order(tiny_model, batch_size):
    together = tiny_model.predict(TEXTS, batch_size=batch_size)
    assert len(together) == len(TEXTS)
    for text, entities in zip(TEXTS, together, strict=True):
        assert_same(entities, tiny_model.predict(text))


def test_scores_do_not_depend_on_the_batch(tiny_model, tiny_tokenizer):
    sentences = [text.split() for text in TEXTS]
    together = word_scores(tiny_model, tiny_tokenizer, sentences, batch_size=4)
    for sentence, scores in zip(sentences, together, strict=True):
        [alone] = word_scores(tiny_model, tiny_tokenizer, [sentence])
        torch.testing.assert_close(scores, alone, rtol=0, atol=1e-5)


def test_a_stream_reads_ahead_no_further_than_its_buffer(tiny_model):
    taken = 0

    def stream():
        nonlocal taken
        for index in range(200):
            taken += 1
            yield TEXTS[index % len(TEXTS)]

    found = tiny_model.predict(stream(), batch_size=2)
    assert taken == 0
    first = next(found)
    assert taken == 64
    rest = list(found)
    assert len(rest) == 199 and taken == 200
    assert_same(first, tiny_model.predict(TEXTS[0]))
    assert_same(rest[-1], tiny_model.predict(TEXTS[199 % len(TEXTS)]))


def test_tuples_files_and_other_iterables(tiny_model, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("Ana flew\nto Quito\n")
    expected = tiny_model.predict(["Ana flew\n", "to Quito\n"])
    assert tiny_model.predict(("Ana flew\n", "to Quito\n")) == expected
    with path.open() as lines:
        assert list(tiny_model.predict(lines)) == expected


def test_words_and_texts_are_told_apart_by_the_argument_alone(tiny_model):
    words = ["Ana", "Ruiz", "flew"]
    one = tiny_model.predict(words, is_split_into_words=True)
    assert_same(one, tiny_model.predict("Ana Ruiz flew"))
    assert len(tiny_model.predict(words)) == 3
    [first, second] = tiny_model.predict([words, []], is_split_into_words=True)
    assert_same(first, one)
    assert second == []
    [streamed] = tiny_model.predict(iter([words]), is_split_into_words=True)
    assert_same(streamed, one)
    assert tiny_model.predict([], is_split_into_words=True) == [] == tiny_model.predict([])


@pytest.mark.parametrize(
    ("inputs", "split", "message"),
    [
        (None, False, "inputs is of type NoneType"),
        (3, False, "inputs is of type int"),
        (b"Ana", False, "inputs is of type bytes"),
        ({"text": "Ana"}, False, "inputs is of type dict"),
        (["Ana", None], False, r"inputs\[1\] is of type NoneType"),
        ([["Ana", "Ruiz"]], False, r"inputs\[0\] is of type list"),
        ("Ana Ruiz", True, "inputs is a string, but is_split_into_words=True"),
        (["Ana", 3], True, r"inputs\[1\] is of type int"),
        ([["Ana"], "Ruiz"], True, r"inputs\[1\] is of type str"),
        ([["Ana"], ["Ruiz", None]], True, r"inputs\[1\]\[1\] is of type NoneType"),
    ],
)
def test_wrong_inputs_are_named(tiny_model, inputs, split, message):
    with pytest.raises(TypeError, match=message):
        tiny_model.predict(inputs, is_split_into_words=split)


def test_a_stream_of_strings_is_no_stream_of_sentences(tiny_model):
    with pytest.raises(TypeError, match=r"inputs\[0\] is of type str: give a list of words"):
        list(tiny_model.predict(iter(["Ana"]), is_split_into_words=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.01}, "threshold is 1.01"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"stride": -1}, "stride is -1"),
        ({"labels": []}, "labels"),
        ({"labels": ["O"]}, "labels"),
        ({"labels": ["place", "place"]}, "place"),
        ({"labels": {"a": "place", "b": "Place"}}, "lace"),
    ],
)
def test_arguments_out_of_range_are_named_before_anything_is_read(tiny_model, arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny_model.predict(iter([TEXT]), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": "0.5"}, "threshold is '0.5': give a number, from 0 to 1"),
        ({"threshold": None}, "threshold is None"),
        ({"batch_size": 2.0}, "batch_size is 2.0: give a whole number, 1 or more"),
        ({"batch_size": "2"}, "batch_size is '2'"),
        ({"batch_size": True}, "batch_size is True"),
        ({"stride": "a"}, "stride is 'a': give a whole number, 0 or more"),
        ({"stride": None}, "stride is None"),
        ({"labels": {"x": None}}, "the name of the label 'x' is None: give it in words"),
        ({"labels": {"x": 3}}, "the name of the label 'x' is 3"),
    ],
)
def test_arguments_of_another_kind_are_named_before_anything_is_read(tiny_model, arguments, message):
    with pytest.raises(TypeError, match=message):
        tiny_model.predict(iter([TEXT]), **arguments)


def test_no_batch_size_is_the_usual_one(tiny_model):
    assert tiny_model.predict([TEXT, TEXT[:9]], batch_size=None) == tiny_model.predict([TEXT, TEXT[:9]])


@pytest.mark.parametrize("labels", ["person", 3, [1, 2], {"person"}])
def test_labels_of_a_wrong_type_are_named(tiny_model, labels):
    with pytest.raises(TypeError, match="labels"):
        tiny_model.predict(TEXT, labels=labels)


# ---- the model ---------------------------------------------------------------------------------------------


def test_own_labels_given_again_change_nothing(tiny_model):
    assert_same(
        tiny_model.predict(TEXT, labels=["person", "location", "creative-work"]), tiny_model.predict(TEXT)
    )


def test_call_labels_take_names_from_a_mapping(tiny_model):
    by_name = tiny_model.predict(TEXT, labels=["place", "work"])
    by_mapping = tiny_model.predict(TEXT, labels={"x": "place", "y": "work"})
    assert by_name
    renamed = {"x": "place", "y": "work"}
    assert_same([{**e, "entity_group": renamed[e["entity_group"]]} for e in by_mapping], by_name)


def test_call_labels_leave_the_support_out(make_tiny_model):
    labels = ["person", "location"]
    model = make_tiny_model(labels)
    zero_shot = model.predict(TEXT)
    torch.manual_seed(1)
    model.set_support(torch.randn(6, 16) * 3, torch.rand(6, 16) + 0.1, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert model.predict(TEXT) != zero_shot
    assert_same(model.predict(TEXT, labels=labels), zero_shot)


def test_a_label_set_too_long_for_one_prompt_is_split(context_free_model, tiny_tokenizer):
    labels = [f"type {first}{second}" for first in "abcde" for second in "vwxyz"]
    sentence = TEXT.split()
    [whole] = word_scores(context_free_model, tiny_tokenizer, [sentence], labels=labels)
    context_free_model.config.max_prompt_length = 40
    [split] = word_scores(context_free_model, tiny_tokenizer, [sentence], labels=labels)
    assert split.shape == (len(sentence), 26)
    torch.testing.assert_close(split, whole, rtol=0, atol=1e-4)


def test_label_names_that_leave_no_room_for_text(make_tiny_model):
    model = make_tiny_model(encoder={"max_position_embeddings": 40})
    with pytest.raises(ValueError, match="leave none for text"):
        model.predict(TEXT, labels=[f"{letter}" * 9 for letter in "abcd"])


def test_a_model_with_nothing_to_compare_with(make_tiny_model):
    model = make_tiny_model(use_prompts=False)
    with pytest.raises(ValueError, match="neither a support nor label prompts"):
        model.predict(TEXT)
    with pytest.raises(ValueError, match="labels needs a model with label prompts"):
        model.predict(TEXT, labels=["person"])
    model.set_support(torch.randn(4, 16), torch.ones(4, 16), torch.tensor([0, 1, 2, 3]))
    assert isinstance(model.predict(TEXT), list)


def test_viterbi_runs_over_the_words_of_each_text(make_tiny_model, tiny_tokenizer):
    model = make_tiny_model(viterbi=True, transitions=TRANSITIONS, transition_power=0.5)
    sentences = [text.split() for text in TEXTS]
    start, matrix = expand_transitions(TRANSITIONS, 4, 0.5)
    expected = [
        viterbi(scores.unsqueeze(0), torch.tensor([len(scores)]), start, matrix)[0].tolist()
        for scores in word_scores(model, tiny_tokenizer, sentences)
    ]
    found = predict_words(model, tiny_tokenizer, sentences)
    assert found == expected
    model.config.viterbi = False
    assert predict_words(model, tiny_tokenizer, sentences) != expected


def test_viterbi_needs_transitions(make_tiny_model):
    with pytest.raises(ValueError, match="config.transitions"):
        make_tiny_model(viterbi=True).predict(TEXT)


def test_training_mode_is_as_before(tiny_model):
    expected = tiny_model.predict(TEXT)
    tiny_model.train()
    assert tiny_model.predict(TEXT) == expected
    assert tiny_model.training and tiny_model.lacl.encoder.training
    tiny_model.eval()
    tiny_model.predict(TEXT)
    assert not tiny_model.training
    tiny_model.train()
    tiny_model.lacl.encoder.eval()  # as where it is frozen
    tiny_model.predict(TEXT)
    assert tiny_model.training and not any(part.training for part in tiny_model.lacl.encoder.modules())


def test_threads_can_share_a_model_in_training_mode(tiny_model):
    """The first that is done puts dropout back on only when none of the others is still reading."""
    long = [TEXT] * 12
    support = [{"tokens": ["The", "Vasa", "sank"], "ner_tags": ["O", "ship", "O"]}]
    calls: list[dict[str, Any]] = [{}, {"support": support}, {"labels": ["place"]}] * 4
    expected = [tiny_model.predict(long, batch_size=2, **call) for call in calls[:3]] * 4
    tiny_model.train()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda call: tiny_model.predict(long, batch_size=2, **call), calls))
    for ours, theirs in zip(found, expected, strict=True):
        scores = [[entity["score"] for text in texts for entity in text] for texts in (ours, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
        places = [
            [[{**entity, "score": None} for entity in text] for text in texts] for texts in (ours, theirs)
        ]
        assert places[0] == places[1]
    assert all(part.training for part in tiny_model.modules())


def test_threads_can_share_a_model(tiny_model):
    """Calls with windows of different sizes, which set the tokenizer differently."""
    label_sets = [None, ["place"], ["place", "work", "person", "thing"], {"a": "to", "b": "of"}]
    texts = [TEXT * 4, TEXT]
    expected = [tiny_model.predict(texts, labels=labels) for labels in label_sets]
    found: list[Any] = [None] * 16
    errors: list[Exception] = []

    def work(number):
        try:
            for _ in range(3):
                found[number] = tiny_model.predict(texts, labels=label_sets[number % 4])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for number, result in enumerate(found):
        for entities, reference in zip(result, expected[number % 4], strict=True):
            assert_same(entities, reference)


def test_a_slow_tokenizer_is_refused(tiny_model, tiny_tokenizer):
    class Slow:
        is_fast = False

    tokenizer: Any = Slow()
    with pytest.raises(ValueError, match="Slow gives no character offsets"):
        predict(tiny_model, tokenizer, TEXT)


# ---- windows ----------------------------------------------------------------------------------------------


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
    """An entity across a seam is neither lost nor doubled, and every word is read at its first piece."""
    model = context_free_model
    model.config.max_text_length = 2000
    [whole] = word_scores(model, tiny_tokenizer, [words])
    entities = model.predict(words, is_split_into_words=True)
    model.config.max_text_length = room + 2
    tiny_tokenizer.truncation_side = side
    try:
        [cut] = word_scores(model, tiny_tokenizer, [words], stride=stride)
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
    [scores] = word_scores(tiny_model, tiny_tokenizer, [words], stride=stride)
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
    assert [len(labels) for labels in predict_words(model, tiny_tokenizer, [words])] == [120]


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
