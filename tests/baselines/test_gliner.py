"""The span scorer against a direct transcription, and from training to entities."""

import numpy as np
import pytest
import torch
from transformers import DataCollatorForTokenClassification

from modeling_lacl import adapt
from modeling_lacl.baselines.gliner import MOST_WORDS, GlinerModel, without_outside, word_scores
from modeling_lacl.model.decoding_lacl import label_runs
from modeling_lacl.model.labels_lacl import build_prompt, tokenize_label_names

CONFIG = {"projection": "hidden", "label_vector": "cls"}
LEARNER = {"initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SUPPORT = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-person I-person O O B-location O".split()},
    {"tokens": "the play in York".split(), "ner_tags": "O B-work O B-location".split()},
]


def perceptron(first, last, x):
    return last.weight @ (first.weight @ x + first.bias).clamp(min=0) + last.bias


def published_loss(model, texts, names, words, entities):
    """Names before each text; every span of a text against every name; divided by the entities of all."""
    head = model.spans
    joined = torch.cat([head.first.weight, head.last.weight], 1)
    total, positives = torch.tensor(0.0), 0
    for text, places, found in zip(texts, words, entities, strict=True):
        tokens = [token for name in names for token in name] + text
        hidden = model.lacl.encoder(input_ids=torch.tensor([tokens])).last_hidden_state[0]
        markers = [sum(map(len, names[:number])) for number in range(len(names))]
        labels = [perceptron(head.label[0], head.label[3], hidden[at]) for at in markers]
        states = hidden[len(tokens) - len(text) :][places]
        for i in range(len(places)):
            for j in range(i, min(i + MOST_WORDS, len(places))):
                span = torch.cat([states[i], states[j]])
                span = head.span[2].weight @ (joined @ span + head.first.bias).clamp(min=0)
                span = span + head.span[2].bias
                for number, label in enumerate(labels):
                    probability = torch.sigmoid(span @ label)
                    is_one = (i, j, number) in found
                    total = total - (probability if is_one else 1 - probability).log()
                    positives += is_one
    return total / positives


def test_the_loss_is_that_of_all_spans_and_names(make_tiny_model, tiny_tokenizer):
    model = make_tiny_model(("person", "location"), model_class=GlinerModel, encoder=LEARNER, **CONFIG)
    long = "to a play in the york of ana to a play in the"  # one word more than a span may have
    texts = [tiny_tokenizer(text)["input_ids"] for text in ("ana ruiz flew to york", long)]
    labels = [[-100, 1, 1, 0, 0, 2, -100], [-100, 0, 0, 0, 0, 0, 2, 0, 1, *[0] * 5, -100]]
    batch = DataCollatorForTokenClassification(tiny_tokenizer)(
        [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": own}
            for ids, own in zip(texts, labels, strict=True)
        ]
    )
    names = tokenize_label_names(tiny_tokenizer, ["none", "person", "location"], "cls")
    prompt = [part.expand(2, -1) for part in build_prompt(names, 3, [2, 0, 1], "cls")]
    places = [list(range(1, len(text) - 1)) for text in texts]
    # Entities as first word, last word and position of the name: location comes first, none is left out.
    found = [{(0, 1, 1), (4, 4, 0)}, {(5, 5, 0), (7, 7, 1)}]
    expected = published_loss(model, texts, [[*names[2], 3], [*names[1], 3]], places, found)
    loss = model(**batch, prompt_ids=prompt[0], prompt_labels=prompt[1]).loss
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.spans.parameters())


def test_outside_is_no_name_wherever_it_stands():
    labels = torch.tensor(
        [[0, -1, -1, 1, -1, 2, -1, -2], [2, -1, 0, -1, -1, 1, -1, -1], [1, -1, 2, -1, -1, -1, -2, -2]]
    )
    assert without_outside(labels).tolist() == [
        [-2, -2, -2, 1, -1, 2, -1, -2],
        [2, -1, -2, -2, -2, 1, -1, -1],
        [1, -1, 2, -1, -1, -1, -2, -2],
    ]


def test_the_best_spans_are_taken_without_overlap():
    logits = np.full((6, 3, 3), -2.0, dtype=np.float32)
    logits[:, :, 0] = 9  # that of outside does not count
    logits[0, 1, 1] = 1.0  # words 0 and 1 …
    logits[1, 2, 2] = 3.0  # … overlap with 1 to 3, which are more probable
    logits[4, 2, 1] = 5.0  # goes on behind the end of the text
    logits[5, 0, 1] = 0.5
    scores = word_scores(logits, np.array([4, 3, 2, 1, 2, 1]))
    assert label_runs(scores.argmax(1)) == [(1, 4, 2), (5, 6, 1)]
    assert np.exp(scores[2, 2]) == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert np.exp(scores[2, 0]) == pytest.approx(1 / (1 + np.exp(3.0)))
    assert word_scores(logits[:0], np.array([], dtype=np.int64)).shape == (0, 3)


def test_from_adapting_to_entities_and_other_labels(make_tiny_model, tmp_path):
    source = make_tiny_model(model_class=GlinerModel, encoder=LEARNER, **CONFIG)
    # In one order of the names: by a few random ones the tiny model would learn the places, not the names.
    ner = adapt(source, SUPPORT, steps=20, learning_rate=2e-3, fixed_labels=True)
    text = "Ana Ruiz flew to Quito ."
    found = ner.predict(text)
    pairs = [(one["entity_group"], one["word"]) for one in found]
    assert pairs == [("person", "Ana Ruiz"), ("location", "Quito")]
    assert all(0.5 < one["score"] < 1 for one in found)
    ner.save_pretrained(tmp_path)
    again = GlinerModel.from_pretrained(tmp_path)
    assert again.predict(text) == found
    beside = ner.predict(["", "york", text], batch_size=2)[2]  # whatever stands in the batch
    assert [{**one, "score": pytest.approx(one["score"])} for one in beside] == found
    ner.config.max_prompt_length = 8  # in several prompts
    ner.config.threshold = 1.0
    assert ner.predict(text) == []
    ner.config.threshold = 0.5
    assert isinstance(ner, GlinerModel) and len(ner.own_prompts(1)) > 1
    assert {one["entity_group"] for one in ner.predict(text)} <= {"person", "location", "work"}
    assert all(one["entity_group"] == "town" for one in source.predict(text, labels=["town"]))


def test_what_does_not_fit_is_refused(make_tiny_model):
    with pytest.raises(ValueError, match="projection='hidden' and label_vector='cls'"):
        make_tiny_model(model_class=GlinerModel)
