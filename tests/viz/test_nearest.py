"""The example behind a prediction, against a loop over all support tokens."""

import pytest
import torch

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.support import encode_support
from modeling_lacl.model.losses_lacl import pairwise_divergence
from modeling_lacl.viz.nearest import nearest_examples

SUPPORT = [
    {
        "tokens": ["ana", "ruiz", "flew", "to", "quito"],
        "ner_tags": ["B-person", "I-person", "O", "O", "B-location"],
    },
    # Two entities side by side, and a word that the tokenizer gives no piece.
    {
        "tokens": ["a", "york", "cessna", "\x01", "play"],
        "ner_tags": ["O", "B-location", "B-location", "O", "B-work"],
    },
]
TEXTS = ["ruiz and york flew to cessna in a play", "", "quito ana " * 60]


@pytest.fixture(scope="module")
def adapted(make_tiny_model):
    model = make_tiny_model(encoder={"max_position_embeddings": 512})
    return adapt(model, SUPPORT, steps=0)


def test_words_stand_beside_their_tokens(adapted):
    assert adapted.config.support_words == [
        *["ana ruiz", "ana ruiz", "", "", "quito"],
        *["", "york", "cessna", "play"],
    ]
    assert adapted.support_labels.tolist() == [
        adapted.config.label2id[label]
        for label in "person person O O location O location location work".split()
    ]


def test_words_of_a_sentence_longer_than_the_encoder_takes(adapted):
    words = ["ana", "ruiz", "flew"] * 80
    dataset = read_dataset([{"tokens": words, "ner_tags": ["B-person", "I-person", "O"] * 80}])
    _, _, labels, found = encode_support(adapted, dataset)
    assert len(found) == len(labels) == len(words)
    assert [bool(word) for word in found] == [bool(label) for label in labels]


def brute_force(model, text, entity):
    """Compares every token inside the entity with every support token of its type, two at a time."""
    batch = model.tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    with torch.inference_mode():
        output = model(batch["input_ids"], batch["attention_mask"])
    best, example = float("inf"), None
    begins = {0} | {index + 1 for index, character in enumerate(text) if character == " "}
    for position, (start, end) in enumerate(batch["offset_mapping"][0].tolist()):
        if end == 0 or start not in begins or not entity["start"] <= start < entity["end"]:
            continue  # special tokens, and pieces inside of words
        for number, label in enumerate(model.support_labels.tolist()):
            if model.config.id2label[label] == entity["entity_group"]:
                token = (output.mean[0, position : position + 1], output.variance[0, position : position + 1])
                support = (
                    model.support_mean[number : number + 1],
                    model.support_variance[number : number + 1],
                )
                distance = float(pairwise_divergence(model.config.divergence, token, support))
                if distance < best - 1e-6:
                    best, example = distance, model.config.support_words[number]
    return example


def test_equals_a_loop_over_support_tokens(adapted):
    found = adapted.predict(TEXTS)
    examples = nearest_examples(adapted, TEXTS, found, batch_size=2)
    assert [len(one) for one in examples] == [len(one) for one in found]
    words = [
        text.split() for text in TEXTS
    ]  # as the texts are split anyway, apart from white space at the end
    assert nearest_examples(adapted, words, found, is_split_into_words=True) == examples
    assert found[0]
    for entity, example in zip(found[0], examples[0], strict=True):
        assert example == brute_force(adapted, TEXTS[0], entity)
    # A word of the support set, in its own sentence, is nearest to itself.
    text = "ana ruiz flew to quito"
    for entity in adapted.predict(text):
        if entity["word"] in ("ana ruiz", "quito"):
            assert nearest_examples(adapted, [text], [[entity]]) == [[entity["word"]]]


def test_of_a_model_of_spans(make_tiny_model):
    model = adapt(make_tiny_model(max_span_words=3), SUPPORT, steps=0)
    words = SUPPORT[0]["tokens"]
    entities = [
        {"entity_group": "person", "start": 0, "end": 8},
        {"entity_group": "location", "start": 17, "end": 22},
    ]
    # Words of the support set, in their own sentence, are nearest to themselves.
    assert nearest_examples(model, [words], [entities], is_split_into_words=True) == [["ana ruiz", "quito"]]


def test_a_checkpoint_keeps_its_words_and_another_label_set_forgets_them(adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    assert loaded.config.support_words == adapted.config.support_words
    loaded.set_labels(["ship"])
    assert loaded.config.support_words is None
    with pytest.raises(ValueError, match="holds no examples"):
        nearest_examples(loaded, ["ana"], [[]])


def test_as_many_words_as_tokens(adapted):
    support = (adapted.support_mean, adapted.support_variance, adapted.support_labels)
    with pytest.raises(ValueError, match="words must be 9, one for each support token, got 1"):
        adapted.set_support(*support, ["ana"])
