"""A model on labelled sentences of one's own: scores, kinds of error, thresholds, and what is confused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from ..data.examples import LaclDataError
from ..data.reading import read_dataset
from ..data.tags import entity_spans, has_spans
from ..metrics import EntityScores, TypeScores, scores_of_counts, span_scores
from ..model.prediction_lacl import BATCH_SIZE, Entity, default_threshold, model_for_call, real_number
from ..model.words_lacl import word_offsets
from ..reporting import markdown_table, percent
from .errors import (
    CORRECT,
    KINDS,
    Match,
    Span,
    ThresholdScores,
    confusion,
    count_kinds,
    match_spans,
    sweep,
)

_CONFUSIONS_SHOWN = 20
_NUMBERS = {"precision", "recall", "F1", "entities", "number", "threshold"}


@dataclass(frozen=True)
class WrongSentence:
    """A sentence with at least one error.

    Attributes:
        number: Its number in the data, from 0.
        words: Its words.
        matches: All its gold and predicted entities, each in one match; see [`match_spans`].
    """

    number: int
    words: list[str]
    matches: list[Match]

    @property
    def text(self) -> str:
        """The words, with a space between them."""
        return " ".join(self.words)

    def entities(self, predicted: bool) -> list[dict[str, Any]]:
        """Return the predicted or the gold entities as `predict` does, with offsets in `text`.

        Each has its kind of match under `error`, but for what is correct; only predicted ones have a `score`.
        """
        offsets = word_offsets(self.words)
        found = []
        for match in self.matches:
            span = match.predicted if predicted else match.gold
            if span is None:
                continue
            start, end = int(offsets[span.start, 0]), int(offsets[span.end - 1, 1])
            entity = {
                "entity_group": span.label,
                "word": self.text[start:end],
                "start": start,
                "end": end,
            }
            if predicted:
                entity["score"] = span.score
            if match.kind != CORRECT:
                entity["error"] = match.kind
            found.append(entity)
        return found


@dataclass(kw_only=True)
class ModelEvaluation:
    """What [`evaluate_model`] found; scores are in [0, 1].

    Attributes:
        sentences: Number of sentences.
        threshold: Minimum score of the predicted entities that all but `sweep` is about.
        scores: Exact-match scores over all entities, and under `per_type` those of each type.
        errors: Number of matches of each kind: of pairs that are equal (`correct`), have the same borders
            (`wrong type`), overlap (`wrong border`, `wrong type and border`), and of entities without a
            partner, predicted (`spurious`) or gold (`missed`). Each entity is in one match.
        surface_forms: Scores of entities that occur in the model's support set (`seen`; only case may
            differ) and of all others (`unseen`); None for a model without examples.
        sweep: Scores at the thresholds 0, 0.05, …, 0.95.
        confusion: Number of matches by gold type and predicted type, `O` for none.
        unknown_types: Types of the data that the model does not find, with their number of entities.
        wrong: The sentences with an error, in order.
    """

    sentences: int
    threshold: float
    scores: EntityScores
    errors: dict[str, int]
    surface_forms: dict[str, TypeScores] | None
    sweep: list[ThresholdScores]
    confusion: dict[str, dict[str, int]]
    unknown_types: dict[str, int]
    wrong: list[WrongSentence]

    @property
    def best(self) -> ThresholdScores:
        """The threshold with the highest F1 in `sweep`, with its scores; the lowest of several."""
        return max(self.sweep, key=lambda row: (row.f1, -row.threshold))

    @property
    def confusions(self) -> list[tuple[str, str, int]]:
        """Gold type, predicted type and number of all pairs of different types, the most frequent first."""
        pairs = [
            (gold, predicted, count)
            for gold, row in self.confusion.items()
            for predicted, count in row.items()
            if gold != predicted
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in ("sweep", "wrong")},
            "best_threshold": self.best.threshold,
            "sweep": [row._asdict() for row in self.sweep],
            "wrong": [
                {
                    "sentence": one.number,
                    "tokens": one.words,
                    "matches": [
                        {
                            "kind": match.kind,
                            "gold": _plain(match.gold, scored=False),
                            "predicted": _plain(match.predicted, scored=True),
                        }
                        for match in one.matches
                    ],
                }
                for one in self.wrong
            ],
        }

    def tables(self) -> dict[str, list[list[str]]]:
        """Return tables of all numbers, scores in percent, by their heading; the first row is the header."""
        scores = ["precision", "recall", "F1", "entities"]
        tables = {
            "Scores": [
                ["type", *scores],
                *([name, *_cells(row)] for name, row in self.scores["per_type"].items()),
                ["all types", *_cells(self.scores)],
            ],
            "Errors": [["kind", "number"], *([kind, str(self.errors[kind])] for kind in KINDS)],
        }
        if self.surface_forms is not None:
            names = {"seen": "in the support set", "unseen": "not in it"}
            rows = ([names[name], *_cells(row)] for name, row in self.surface_forms.items())
            tables["Seen as examples"] = [["entity", *scores], *rows]
        if self.unknown_types:
            rows = ([name, str(number)] for name, number in self.unknown_types.items())
            tables["Types that the model does not find"] = [["type", "entities"], *rows]
        if self.confusions:
            rows = ([gold, predicted, str(number)] for gold, predicted, number in self.confusions)
            tables["Confusions"] = [["gold", "predicted", "number"], *rows]
        tables["Thresholds"] = [
            ["threshold", *scores[:3], ""],
            *(
                [f"{row.threshold:.2f}", *map(percent, row[1:]), "best" if row == self.best else ""]
                for row in self.sweep
            ),
        ]
        return tables

    def to_markdown(self) -> str:
        """Return the numbers as Markdown, with scores in percent and the most frequent confusions."""
        lines = [
            f"{self.sentences} sentences, {len(self.wrong)} of them with an error, at threshold "
            f"{self.threshold:g}. Scores are in percent; O is outside of entities."
        ]
        for heading, (header, *rows) in self.tables().items():
            shown = rows[:_CONFUSIONS_SHOWN] if heading == "Confusions" else rows
            numbers = [column for column, name in enumerate(header) if name in _NUMBERS]
            lines += ["", f"## {heading}", "", *markdown_table(header, shown, numbers)]
            if more := len(rows) - len(shown):
                lines += ["", f"And {more} less frequent pairs."]
        return "\n".join(lines) + "\n"


def evaluate_model(
    model: Any,
    data: Any,
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    threshold: float | None = None,
    overlap: str = "flat",
    batch_size: int | None = BATCH_SIZE,
) -> ModelEvaluation:
    """Evaluate a model on labelled sentences.

    Args:
        model: A [`LaclForTokenClassification`] or an exported model; it is not modified.
        data: The labelled sentences, in any format that `read_dataset` accepts. Entities that overlap are an
            error, unless the model is one of spans, or the data a dataset that was read by `nested="keep"`.
        labels: Entity types instead of the model's own, zero-shot, as for `predict`.
        threshold: Minimum score of predicted entities, in [0, 1]; by default that of `predict`.
        overlap: Which predicted entities may overlap, as for `predict`.
        batch_size: Sentences per forward pass.

    Returns:
        The scores, the errors and the sentences with errors; `to_markdown` shows them.

    Raises:
        LaclDataError: The data cannot be read, or has no sentence.
        ValueError: An argument is out of range, or the model cannot find entities.
        TypeError: An argument has the wrong type.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, evaluate_model
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> spans = [{"start": 0, "end": 8, "label": "person"}]
        >>> data = [{"text": "Ana Ruiz lives in Quito.", "entities": spans}]
        >>> evaluation = evaluate_model(model, data, labels=["person", "city"])
        >>> evaluation.errors["correct"], evaluation.errors["spurious"]
        (1, 1)
    """
    own = model_for_call(model, labels, None, batch_size)
    of_spans = bool(own.config.max_span_words)
    if threshold is None:
        threshold = default_threshold(own.config)
    threshold = real_number("threshold", threshold, 0, 1)
    nests = of_spans or (isinstance(data, Dataset) and has_spans(data))
    dataset = read_dataset(data, nested="keep" if nests else "error")
    if not len(dataset):
        raise LaclDataError("the data has no sentence; give at least one labelled sentence")
    sentences: list[list[str]] = list(dataset["tokens"])
    # All that the model finds, for the sweep. A generator, as a list of words alone is taken for a sentence.
    found = own.predict(
        (words for words in sentences),
        is_split_into_words=True,
        threshold=0.0,
        overlap=overlap,
        batch_size=batch_size,
    )
    return compare_spans(
        sentences,
        [[Span(*span) for span in spans] for spans in entity_spans(dataset)],
        [word_spans(words, entities) for words, entities in zip(sentences, found, strict=True)],
        threshold=threshold,
        known_types=own.entity_types,
        support_words=getattr(own.config, "support_words", None),  # an exported model has none
    )


def word_spans(words: Sequence[str], entities: Sequence[Entity]) -> list[Span]:
    """Return predicted entities, with character offsets in `" ".join(words)`, as spans of words."""
    offsets = word_offsets(words)
    return [
        Span(
            int(np.searchsorted(offsets[:, 0], entity["start"], side="right")) - 1,
            int(np.searchsorted(offsets[:, 1], entity["end"], side="left")) + 1,
            entity["entity_group"],
            entity["score"],
        )
        for entity in entities
    ]


def compare_spans(
    sentences: Sequence[Sequence[str]],
    gold: Sequence[Sequence[Span]],
    predicted: Sequence[Sequence[Span]],
    *,
    threshold: float = 0.0,
    known_types: Collection[str] | None = None,
    support_words: Sequence[str] | None = None,
) -> ModelEvaluation:
    """Compare predicted entities of any origin with the gold ones.

    Args:
        sentences: The words of each sentence.
        gold: The gold entities of each sentence; they may overlap.
        predicted: All predicted entities of each sentence, with their scores; they may overlap.
        threshold: Minimum score of the predicted entities to count.
        known_types: The types that could be predicted; None for all.
        support_words: The entities of the support set, as a model stores them; None without one.
    """
    everything = [match_spans(*both) for both in zip(gold, predicted, strict=True)]
    kept = [[span for span in spans if span.score >= threshold] for spans in predicted]
    matches = [match_spans(*both) for both in zip(gold, kept, strict=True)]
    flat = [match for one in matches for match in one]
    types = Counter(span.label for spans in gold for span in spans)
    return ModelEvaluation(
        sentences=len(sentences),
        threshold=threshold,
        scores=span_scores(_numbered(gold), _numbered(kept)),
        errors=count_kinds(flat),
        surface_forms=None if support_words is None else _by_surface(sentences, matches, support_words),
        sweep=sweep(match for one in everything for match in one),
        confusion=confusion(flat),
        unknown_types={
            name: number
            for name, number in types.items()
            if known_types is not None and name not in known_types
        },
        wrong=[
            WrongSentence(number, list(words), one)
            for number, (words, one) in enumerate(zip(sentences, matches, strict=True))
            if any(match.kind != CORRECT for match in one)
        ],
    )


def _numbered(sentences: Sequence[Sequence[Span]]) -> set[tuple[str, int, int, int]]:
    return {
        (span.label, number, span.start, span.end) for number, spans in enumerate(sentences) for span in spans
    }


def _by_surface(
    sentences: Sequence[Sequence[str]], matches: Sequence[Sequence[Match]], support_words: Sequence[str]
) -> dict[str, TypeScores]:
    """Return the scores of entities whose words are, but for case, an entity of the support set or not."""
    known = {word.casefold() for word in support_words if word}
    counts: Counter[tuple[bool, str]] = Counter()
    for words, one in zip(sentences, matches, strict=True):
        for match in one:
            for side, span in (("gold", match.gold), ("predicted", match.predicted)):
                if span is not None:
                    seen = " ".join(words[span.start : span.end]).casefold() in known
                    counts[seen, side] += 1
                    counts[seen, "correct"] += side == "gold" and match.kind == CORRECT
    return {
        name: scores_of_counts(*(counts[seen, side] for side in ("correct", "predicted", "gold")))
        for name, seen in (("seen", True), ("unseen", False))
    }


def _plain(span: Span | None, scored: bool) -> dict[str, Any] | None:
    return None if span is None else dict(list(span._asdict().items())[: 4 if scored else 3])


def _cells(scores: TypeScores | EntityScores) -> list[str]:
    return [*(percent(scores[key]) for key in ("precision", "recall", "f1")), str(scores["number"])]
