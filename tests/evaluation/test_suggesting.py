"""What to label next: the survey by its formulas, the choice by loops, and what comes out as examples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl import adapt, read_dataset, suggest_sentences
from modeling_lacl.evaluation.suggesting import Survey, choose, survey
from modeling_lacl.model.words_lacl import split_words
from modeling_lacl.training.word_labels import predict_words, word_scores

TEXTS = [
    "ana ruiz flew to quito",
    "the play",
    " ",
    "york, the play of ana",
    "the play",
    "cessna \x01",
    "in the a of " * 60,
]
LABELLED = [{"text": "york, the play of ana", "entities": [{"start": 2, "end": 4, "label": "person"}]}]


class First:
    """A generator that takes the likeliest, the first of several, and keeps the probabilities."""

    def __init__(self):
        self.given = []

    def choice(self, rows, p=None):
        p = np.full(len(rows), 1 / len(rows)) if p is None else p
        self.given.append((rows.tolist(), p))
        return rows[p.argmax()]


def by_loops(surveys, number):
    """Indices in the order of choice, and the probabilities, one step after another."""
    counts = {label: sum(label in one.labels for one in surveys) for one in surveys for label in one.labels}
    turns = [*sorted(counts, key=lambda label: (counts[label], label)), None]
    chosen: list[int] = []
    given: list[tuple[list[int], list[float]]] = []
    turn = 0
    while len(chosen) < min(number, len(surveys)):
        wanted = turns[turn % len(turns)]
        turn += 1
        rows = [
            i
            for i, one in enumerate(surveys)
            if i not in chosen and (wanted in one.labels if wanted is not None else not one.labels)
        ]
        if not rows:
            continue
        weights = []
        for i in rows:
            far = [float(np.linalg.norm(surveys[i].vector - surveys[j].vector)) for j in chosen]
            weights.append((surveys[i].unsure * min(far, default=1.0)) ** 2)
        total = sum(weights)
        given.append((rows, [one / total if total else 1 / len(rows) for one in weights]))
        chosen.append(rows[int(np.argmax(given[-1][1]))])
    return chosen, given


surveys = st.lists(
    st.builds(
        lambda unsure, place, labels: Survey(unsure, np.array(place, dtype=np.float32), frozenset(labels)),
        st.sampled_from([0.0, 0.3, 0.9]),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
        st.lists(st.integers(1, 3), max_size=2),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(surveys, st.integers(1, 9))
def test_types_take_turns_and_the_unsure_and_far_are_likely(surveys, number):
    generator = First()
    found = choose(surveys, number, generator)  # type: ignore[arg-type]
    expected, given = by_loops(surveys, number)
    assert [rows for rows, _ in generator.given] == [rows for rows, _ in given]
    for (_, left), (_, right) in zip(generator.given, given, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    assert found == expected and len(set(found)) == len(found) == min(number, len(surveys))


@pytest.fixture(scope="module")
def model(make_tiny_model):
    model = make_tiny_model()
    return adapt(model, [{"tokens": ["ana", "flew"], "ner_tags": ["B-person", "O"]}], steps=0)


@pytest.mark.parametrize("max_span_words", [0, 3])
def test_a_survey_is_what_the_formulas_say(make_tiny_model, max_span_words):
    support = [{"tokens": ["ana", "flew"], "ner_tags": ["B-person", "O"]}]
    model = adapt(make_tiny_model(max_span_words=max_span_words), support, steps=0)
    words = [[text[start:end] for start, end in split_words(text)] for text in TEXTS if text.strip()]
    texts = [" ".join(one) for one in words]
    found = list(survey(model, texts, batch_size=2))
    expected = zip(found, word_scores(model, words), predict_words(model, words), strict=True)
    for one, scores, ids in expected:
        best = scores.softmax(-1).sort(descending=True).values
        unsure = 1 - best[:, 0] + best[:, 1]
        labels = torch.tensor(ids)
        inside = labels > 0
        assert one.labels == set(labels[inside].tolist())
        assert one.unsure == pytest.approx(
            float((unsure[inside] if inside.any() else unsure).mean()), abs=1e-5
        )
    batch = model.tokenizer("the play", return_tensors="pt")
    with torch.inference_mode():  # each word is one token
        mean = model(batch["input_ids"], batch["attention_mask"]).mean[0, 1:-1].mean(0)
    np.testing.assert_allclose(found[texts.index("the play")].vector, mean.numpy(), atol=1e-5)


def test_suggestions_are_examples(model):
    suggested = suggest_sentences(model, TEXTS, 3, exclude=read_dataset(LABELLED)["tokens"])
    texts = [example["text"] for example in suggested]
    left = {TEXTS[0], TEXTS[1], TEXTS[5], TEXTS[6]}
    assert len(texts) == len(set(texts)) == 3 and set(texts) < left
    assert [
        [(one["label"], one["start"], one["end"], one["score"]) for one in example["entities"]]
        for example in suggested
    ] == [
        [(one["entity_group"], one["start"], one["end"], one["score"]) for one in entities]
        for entities in model.predict(texts)
    ]
    assert any(example["entities"] for example in suggested)
    assert len(read_dataset(suggested)) == 3
    again = suggest_sentences(model, iter(TEXTS), 3, exclude=read_dataset(LABELLED)["tokens"], batch_size=1)
    assert [example["text"] for example in again] == texts
    # All that are left, in another order for another seed.
    orders = {
        tuple(example["text"] for example in suggest_sentences(model, TEXTS, 9, seed=seed))
        for seed in range(5)
    }
    assert {frozenset(order) for order in orders} == {frozenset({*left, TEXTS[3]})} and len(orders) > 1


def test_without_examples_and_without_texts(model):
    (one,) = suggest_sentences(model, ["quito"], labels=["city", "play"])
    assert {entity["label"] for entity in one["entities"]} <= {"city", "play"}
    assert suggest_sentences(model, []) == []
    with pytest.raises(ValueError, match="number"):
        suggest_sentences(model, ["quito"], 0)
