"""What predict takes: texts and words, alone, in batches and in streams; wrong arguments are named."""

import pytest
import torch
from prediction_cases import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    TEXT,
    TEXTS,
    assert_same,
)

from modeling_lacl.training.word_labels import word_scores


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_batch_gives_what_single_texts_give_in_order(tiny_model, batch_size):
    together = tiny_model.predict(TEXTS, batch_size=batch_size)
    assert len(together) == len(TEXTS)
    for text, entities in zip(TEXTS, together, strict=True):
        assert_same(entities, tiny_model.predict(text))


def test_scores_do_not_depend_on_the_batch(tiny_model, tiny_tokenizer):
    sentences = [text.split() for text in TEXTS]
    together = word_scores(tiny_model, sentences, batch_size=4)
    for sentence, scores in zip(sentences, together, strict=True):
        [alone] = word_scores(tiny_model, [sentence])
        torch.testing.assert_close(scores, alone, rtol=1e-5, atol=1e-5)  # both rounded to fp32


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
