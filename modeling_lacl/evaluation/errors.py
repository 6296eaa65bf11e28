"""How predicted entities differ from the gold ones: pure functions on spans of words, which may nest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..metrics import scores_of_counts
from ..model.decoding_lacl import OUTSIDE

CORRECT, TYPE, BORDER, BOTH, SPURIOUS, MISSED = KINDS = (
    "correct",
    "wrong type",
    "wrong border",
    "wrong type and border",
    "spurious",
    "missed",
)
"""What can become of an entity. The first four are of a pair, gold and predicted."""

THRESHOLDS = tuple(step / 20 for step in range(20))
"""Thresholds of the sweep: 0, 0.05, …, 0.95."""


class Span(NamedTuple):
    """An entity in a sentence: `words[start:end]`, its type, and the score if it was predicted."""

    start: int
    end: int
    label: str
    score: float = 1.0


class Match(NamedTuple):
    """A gold entity and the predicted one that stands for it; one of them is None if it has no partner.

    Attributes:
        kind: One of [`KINDS`].
        gold, predicted: The entities.
    """

    kind: str
    gold: Span | None
    predicted: Span | None


def match_spans(gold: Sequence[Span], predicted: Sequence[Span]) -> list[Match]:
    """Assign each gold and each predicted entity of a sentence to exactly one match.

    Entities are paired one to one, the best pairs first: those that are equal, those with the same borders,
    overlapping ones of the same type, other overlapping ones; among these, those that share more of their
    words. What is left without a partner is missed or spurious; it may overlap with an entity that has one.

    Args:
        gold: The entities of the references; they may overlap.
        predicted: The predicted entities; they may overlap.

    Returns:
        The matches, in the order of the words.

    Example:
        >>> found = match_spans([Span(0, 2, "person")], [Span(1, 2, "person"), Span(3, 4, "city")])
        >>> [match.kind for match in found]
        ['wrong border', 'spurious']
    """
    pairs = sorted(
        (KINDS.index(kind), -_shared(one, other), i, j)
        for i, one in enumerate(gold)
        for j, other in enumerate(predicted)
        if (kind := _kind(one, other)) is not None
    )
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, i, j in pairs:
        if i not in partners and j not in taken:
            partners[i] = j
            taken.add(j)
    matches = [Match(SPURIOUS, None, other) for j, other in enumerate(predicted) if j not in taken]
    for i, one in enumerate(gold):
        other = predicted[partners[i]] if i in partners else None
        matches.append(Match((other and _kind(one, other)) or MISSED, one, other))
    return sorted(matches, key=lambda match: _place(match.gold or match.predicted))


def _kind(one: Span, other: Span) -> str | None:
    """Return the kind of a gold and a predicted entity as a pair; None if they share no word."""
    if one[:2] == other[:2]:
        return CORRECT if one.label == other.label else TYPE
    if min(one.end, other.end) <= max(one.start, other.start):
        return None
    return BORDER if one.label == other.label else BOTH


def _shared(one: Span, other: Span) -> float:
    """Return the share of words that two overlapping entities have in common."""
    common = min(one.end, other.end) - max(one.start, other.start)
    return common / (one.end - one.start + other.end - other.start - common)


def _place(span: Span | None) -> tuple[int, int]:
    assert span is not None
    return span.start, span.end


def count_kinds(matches: Iterable[Match]) -> dict[str, int]:
    """Return the number of matches of each kind, in the order of [`KINDS`]."""
    counts = Counter(match.kind for match in matches)
    return {kind: counts[kind] for kind in KINDS}


def confusion(matches: Iterable[Match]) -> dict[str, dict[str, int]]:
    """Count pairs of gold type and predicted type; the type of what has no partner is `O`, outside.

    The sum of a row is the number of gold entities of a type, that of a column the number of predicted ones.

    Returns:
        The counts above 0, by gold type and predicted type, sorted by name.
    """
    pairs = Counter(
        (one.label if one else OUTSIDE, other.label if other else OUTSIDE) for _, one, other in matches
    )
    table: dict[str, dict[str, int]] = {}
    for (gold, predicted), count in sorted(pairs.items()):
        table.setdefault(gold, {})[predicted] = count
    return table


class ThresholdScores(NamedTuple):
    """Micro scores in [0, 1] of the entities whose score is at least a threshold."""

    threshold: float
    precision: float
    recall: float
    f1: float


def sweep(matches: Iterable[Match], thresholds: Sequence[float] = THRESHOLDS) -> list[ThresholdScores]:
    """Return the scores at each threshold, from the matches of all predicted entities."""
    matches = list(matches)
    gold = sum(match.gold is not None for match in matches)
    # Equal entities are paired first, so that a threshold does not change which pairs are equal.
    found = [(match.predicted.score, match.kind == CORRECT) for match in matches if match.predicted]
    rows = []
    for threshold in thresholds:
        kept = [correct for score, correct in found if score >= threshold]
        scores = scores_of_counts(sum(kept), len(kept), gold)
        rows.append(ThresholdScores(threshold, scores["precision"], scores["recall"], scores["f1"]))
    return rows
