"""Kinds of error, confusions and thresholds, against brute force over spans that may nest and cross."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl.data.tags import bio_spans
from modeling_lacl.evaluation.errors import (
    BORDER,
    BOTH,
    CORRECT,
    MISSED,
    SPURIOUS,
    TYPE,
    Span,
    confusion,
    count_kinds,
    match_spans,
    sweep,
)
from modeling_lacl.evaluation.model_evaluation import compare_spans
from modeling_lacl.metrics import entity_scores

WORDS = 7


@st.composite
def spans(draw):
    """A few spans of a sentence, in any order, all different; with scores."""
    borders = st.tuples(st.integers(0, WORDS - 1), st.integers(1, WORDS)).filter(
        lambda pair: pair[0] < pair[1]
    )
    found = draw(st.lists(st.tuples(borders, st.sampled_from("ab")), max_size=5, unique=True))
    scores = st.sampled_from([0.0, 0.25, 0.5, 0.95, 1.0])
    return [Span(start, end, label, draw(scores)) for (start, end), label in found]


def words_of(span):
    return set(range(span.start, span.end))


def kind_of(one, other):
    """The kind of a pair by the definitions; None if it is none."""
    same_type = one.label == other.label
    if words_of(one) == words_of(other):
        return CORRECT if same_type else TYPE
    if words_of(one) & words_of(other):
        return BORDER if same_type else BOTH
    return None


def best_pairs(gold, predicted):
    """One pair after another: the best of all that are left."""
    order = [CORRECT, TYPE, BORDER, BOTH]
    pairs: list[tuple[Span, Span]] = []
    gold, predicted = dict(enumerate(gold)), dict(enumerate(predicted))
    while True:
        left = [
            (
                order.index(kind),
                -Fraction(len(words_of(a) & words_of(b)), len(words_of(a) | words_of(b))),
                i,
                j,
            )
            for i, a in gold.items()
            for j, b in predicted.items()
            if (kind := kind_of(a, b))
        ]
        if not left:
            return pairs, list(gold.values()), list(predicted.values())
        *_, i, j = min(left)
        pairs.append((gold.pop(i), predicted.pop(j)))


@settings(deadline=None)
@given(spans(), spans())
def test_each_entity_is_in_one_match_the_best_that_is_left(gold, predicted):
    matches = match_spans(gold, predicted)
    assert Counter(match.gold for match in matches if match.gold) == Counter(gold)
    assert Counter(match.predicted for match in matches if match.predicted) == Counter(predicted)
    pairs, missed, spurious = best_pairs(gold, predicted)
    expected = [(kind_of(*pair), *pair) for pair in pairs]
    expected += [(MISSED, one, None) for one in missed] + [(SPURIOUS, None, one) for one in spurious]
    assert Counter(matches) == Counter(expected)
    starts = [(match.gold or match.predicted or Span(0, 0, ""))[:2] for match in matches]
    assert starts == sorted(starts)
    # Nothing is called missed where something spurious could stand for it.
    assert not any(words_of(one) & words_of(other) for one in missed for other in spurious)


@settings(deadline=None)
@given(spans(), spans())
def test_counts_and_confusions_add_up(gold, predicted):
    matches = match_spans(gold, predicted)
    kinds, table = count_kinds(matches), confusion(matches)
    pairs = sum(kinds[kind] for kind in (CORRECT, TYPE, BORDER, BOTH))
    assert pairs + kinds[MISSED] == len(gold) and pairs + kinds[SPURIOUS] == len(predicted)
    assert kinds[CORRECT] == len({one[:3] for one in gold} & {one[:3] for one in predicted})
    for label in "ab":
        assert sum(table.get(label, {}).values()) == sum(one.label == label for one in gold)
        assert sum(row.get(label, 0) for row in table.values()) == sum(
            one.label == label for one in predicted
        )
    assert sum(table.get("O", {}).values()) == kinds[SPURIOUS]
    assert sum(row.get("O", 0) for row in table.values()) == kinds[MISSED]
    between_types = table.get("a", {}).get("b", 0) + table.get("b", {}).get("a", 0)
    assert between_types == kinds[TYPE] + kinds[BOTH]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(spans(), spans()), max_size=3))
def test_the_sweep_is_a_recount_at_each_threshold(sentences):
    rows = sweep(match for pair in sentences for match in match_spans(*pair))
    assert [row.threshold for row in rows] == [round(0.05 * step, 2) for step in range(20)]
    for row in rows:
        gold = {(number, *one[:3]) for number, (spans, _) in enumerate(sentences) for one in spans}
        found = {
            (number, *one[:3])
            for number, (_, spans) in enumerate(sentences)
            for one in spans
            if one.score >= row.threshold
        }
        precision = len(gold & found) / len(found) if found else 0
        recall = len(gold & found) / len(gold) if gold else 0
        total = precision + recall
        assert row.precision == precision and row.recall == recall
        assert row.f1 == pytest.approx(2 * precision * recall / total if total else 0)


tags = st.lists(st.sampled_from(["O", "B-a", "B-b"]), min_size=WORDS, max_size=WORDS)


@settings(deadline=None)
@given(st.lists(st.tuples(tags, tags), max_size=3))
def test_of_flat_entities_the_scores_are_those_of_seqeval(sentences):
    gold, predicted = (
        [[Span(*span) for span in bio_spans(pair[side])] for pair in sentences] for side in (0, 1)
    )
    found = compare_spans([["x"] * WORDS] * len(sentences), gold, predicted)
    expected = entity_scores([pair[0] for pair in sentences], [pair[1] for pair in sentences])
    assert found.scores == expected
    assert found.sweep[0][1:] == (expected["precision"], expected["recall"], expected["f1"])


def test_nested_entities():
    gold = [Span(0, 4, "work"), Span(2, 4, "person"), Span(5, 6, "city")]
    predicted = [Span(0, 4, "work", 0.9), Span(3, 4, "person", 0.8), Span(2, 4, "city", 0.7)]
    assert [match.kind for match in match_spans(gold, predicted)] == [CORRECT, TYPE, SPURIOUS, MISSED]
