"""Entity precision, recall and F1, counted as by conlleval and seqeval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypedDict

from seqeval.metrics.sequence_labeling import get_entities

_PREFIXES = ("B-", "I-", "E-", "S-")


class TypeScores(TypedDict):
    """Scores in [0, 1] of one entity type; `number` is the number of entities in the references."""

    precision: float
    recall: float
    f1: float
    number: int


class EntityScores(TypedDict):
    """Micro scores in [0, 1] over all entities; `number` is the number of entities in the references."""

    precision: float
    recall: float
    f1: float
    number: int
    per_type: dict[str, TypeScores]


def entity_scores(references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> EntityScores:
    """Compute exact-match entity scores of BIO tag sequences, with one tag per word.

    A predicted entity is correct if its type, first word and last word match the reference. Entities are
    read from the tags by seqeval in its default mode, that of conlleval: an `I-` tag that does not continue
    an entity starts one. A score with a denominator of 0 is 0.

    Args:
        references: Gold tags, one sequence per sentence.
        predictions: Predicted tags, of the same shape.

    Returns:
        Micro scores, and under `per_type` those of each type in references or predictions, sorted by name.

    Raises:
        ValueError: If the two differ in their number of sentences or words, or if a tag is not BIO.
    """
    return span_scores(*_reference_and_predicted(references, predictions))


def span_scores(gold: AbstractSet[tuple[Any, ...]], found: AbstractSet[tuple[Any, ...]]) -> EntityScores:
    """Compute exact-match entity scores of spans, which may overlap.

    Args:
        gold: The entities of the references as tuples that begin with the type and name the place, such as
            `(type, sentence, first word, last word)`.
        found: The predicted entities, in the same form.

    Returns:
        As `entity_scores`.
    """
    gold_counts = Counter(entity[0] for entity in gold)
    found_counts = Counter(entity[0] for entity in found)
    correct_counts = Counter(entity[0] for entity in gold & found)
    per_type = {
        name: scores_of_counts(correct_counts[name], found_counts[name], gold_counts[name])
        for name in sorted(gold_counts.keys() | found_counts.keys())
    }
    return EntityScores(**scores_of_counts(len(gold & found), len(found), len(gold)), per_type=per_type)


def length_scores(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], longest: int = 5
) -> dict[str, TypeScores]:
    """Compute exact-match entity scores by the number of words of an entity, over all types.

    Precision is over the predicted entities of a length, recall over the reference entities of that length.

    Args:
        references, predictions: As in `entity_scores`.
        longest: Entities of this many words or more are counted together.

    Returns:
        Scores by length, `"1"`, `"2"`, … and `"5+"`, of the lengths in references or predictions, in order.

    Raises:
        ValueError: As in `entity_scores`, or if `longest` is below 1.
    """
    if longest < 1:
        raise ValueError(f"longest is {longest}: give at least 1 word")
    gold, found = _reference_and_predicted(references, predictions)

    def counts(entities: set[tuple[str, int, int]]) -> Counter[int]:
        return Counter(min(last - first + 1, longest) for _, first, last in entities)

    gold_counts, found_counts, correct_counts = counts(gold), counts(found), counts(gold & found)
    return {
        f"{length}+" if length == longest else str(length): scores_of_counts(
            correct_counts[length], found_counts[length], gold_counts[length]
        )
        for length in sorted(gold_counts.keys() | found_counts.keys())
    }


def entity_counts(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> tuple[int, int, int]:
    """Count correct, predicted and reference entities; arguments as in `entity_scores`."""
    gold, found = _entities(references, "references"), _entities(predictions, "predictions")
    return len(gold & found), len(found), len(gold)


def _reference_and_predicted(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> tuple[set[tuple[str, int, int]], set[tuple[str, int, int]]]:
    """Return the entities of references and predictions, whose shapes must match."""
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} reference sentences but {len(predictions)} predicted ones")
    for index, (reference, prediction) in enumerate(zip(references, predictions, strict=True)):
        if len(reference) != len(prediction):
            raise ValueError(
                f"sentence {index} has {len(reference)} reference tags but {len(prediction)} predicted ones; "
                "give one tag per word"
            )
    return _entities(references, "references"), _entities(predictions, "predictions")


def _entities(sentences: Sequence[Sequence[str]], side: str) -> set[tuple[str, int, int]]:
    """Return `(type, first word, last word)` of every entity, with words counted across all sentences."""
    tags = [list(sentence) for sentence in sentences]
    for tag in sorted(set().union(*tags)):
        if tag != "O" and (not tag.startswith(_PREFIXES) or len(tag) == 2):
            raise ValueError(f"tag {tag!r} in {side} is not a BIO tag; expected 'O', 'B-…' or 'I-…'")
    return set(get_entities(tags))


def scores_of_counts(correct: int, found: int, gold: int) -> TypeScores:
    """Scores from the numbers of entities found right, found, and in the references."""
    return TypeScores(
        precision=correct / found if found else 0.0,
        recall=correct / gold if gold else 0.0,
        f1=2 * correct / (found + gold) if found + gold else 0.0,
        number=gold,
    )
