"""An estimate of how well a model would do on new text, from the support set alone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.examples import LaclDataError
from ..data.support import Support, check_model, names_for, read_support
from ..data.tags import entity_spans, keep_types
from ..model.decoding_lacl import OUTSIDE
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.prediction_lacl import default_threshold, real_number, whole_number
from ..training.adaptation import adapt
from .errors import Span
from .model_evaluation import ModelEvaluation, compare_spans, word_spans

logger = logging.getLogger(__name__)


def cross_validate(
    model: LaclForTokenClassification,
    support: Support,
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    folds: int = 3,
    threshold: float | None = None,
    overlap: str = "flat",
    seed: int = 0,
    **options: Any,
) -> ModelEvaluation:
    """Estimate the scores of an adapted model by cross-validation on its support set.

    The sentences are dealt into folds with about as many entities of each type. For each fold, the model is
    adapted to the others and finds the entities of this one; the scores are those of all folds together. Each
    of these models has fewer examples than the one that `adapt` makes of all sentences, and the sentences are
    few: the estimate is rather low, and rough.

    Args:
        model: The source-trained model, with its tokenizer. It is not modified.
        support: The labelled sentences, as for `adapt`.
        label_names: Label names of the types, as for `adapt`.
        folds: Number of folds, at least 2; at most as many as there are sentences are used.
        threshold: Minimum score of predicted entities, in [0, 1]; by default that of `predict`.
        overlap: Which predicted entities may overlap, as for `predict`.
        seed: Random seed of the folds and of `adapt`.
        options: Further arguments of `adapt`.

    Returns:
        The scores and errors on all sentences. An entity whose type has no example in the other folds is not
        counted; a warning names these types.

    Raises:
        LaclDataError: As by `adapt`; or no type has entities in two sentences.
        ValueError: An argument is out of range.
        TypeError: An argument has the wrong type.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, cross_validate
        >>> source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> examples = [
        ...     {"tokens": ["Ana", "lives", "in", "Oslo"], "ner_tags": ["person", "O", "O", "city"]},
        ...     {"tokens": ["In", "Quito", "lives", "Tom"], "ner_tags": ["O", "city", "O", "person"]},
        ... ]
        >>> cross_validate(source, examples, folds=2).scores["number"]
        4
    """
    check_model(model)
    folds = whole_number("folds", folds, 2)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    spans = bool(model.config.max_span_words)
    if threshold is None:
        threshold = default_threshold(model.config)
    threshold = real_number("threshold", threshold, 0, 1)
    read = read_support(support, nested=spans)
    dataset, names = read.dataset, names_for(read.types, label_names)
    gold = entity_spans(dataset)
    types = [Counter(name for *_, name in one) for one in gold]
    fold_of = deal_into_folds(types, min(folds, len(types)), seed)

    kept: list[list[Span]] = [[] for _ in gold]
    predicted: list[list[Span]] = [[] for _ in gold]
    untested: Counter[str] = Counter()
    sentences: list[list[str]] = list(dataset["tokens"])
    for fold in range(max(fold_of) + 1):
        left_out = [row for row, own in enumerate(fold_of) if own == fold]
        others = [row for row, own in enumerate(fold_of) if own != fold]
        known = sorted({name for row in others for name in types[row]})
        for row in left_out:
            kept[row] = [Span(*span) for span in gold[row] if span[2] in known]
            untested.update(name for name in types[row].elements() if name not in known)
        if not any(kept[row] for row in left_out):
            continue
        examples = keep_types(dataset.select(others), known)
        of_known = {name: words for name, words in names.items() if name in (*known, OUTSIDE)}
        ner = adapt(model, examples, of_known or None, seed=seed, **options)
        found = ner.predict(
            (sentences[row] for row in left_out),
            is_split_into_words=True,
            threshold=threshold,
            overlap=overlap,
        )
        for row, entities in zip(left_out, found, strict=True):
            predicted[row] = word_spans(sentences[row], entities)
    if not any(kept):
        raise LaclDataError(
            "no type has entities in two sentences, so that one could be tested by the other: give more "
            "labelled sentences"
        )
    if untested:
        logger.warning(
            "Not in the estimate, as no other fold has an example: %s",
            ", ".join(f"{name} ({number})" for name, number in sorted(untested.items())),
        )
    return compare_spans(sentences, kept, predicted, threshold=threshold)


def deal_into_folds(types: Sequence[Mapping[str, int]], folds: int, seed: int) -> list[int]:
    """Deal sentences into folds with about as many entities of each type, the rarest types first.

    Args:
        types: The number of entities of each type of each sentence.
        folds: Number of folds.
        seed: Random seed of the order in which sentences are dealt.

    Returns:
        The fold of each sentence. Every fold has sentences if there are as many sentences as folds.

    Example:
        >>> from modeling_lacl.evaluation.cross_validation import deal_into_folds
        >>> sorted(deal_into_folds([{"city": 1}, {"city": 1}, {"person": 2}, {"person": 1}], 2, seed=0))
        [0, 0, 1, 1]
    """
    totals: Counter[str] = Counter()
    for one in types:
        totals.update(one)
    order = np.random.default_rng(seed).permutation(len(types)).tolist()
    of_types = [Counter[str]() for _ in range(folds)]
    sizes = [0] * folds
    result = [-1] * len(types)

    def deal(row: int, name: str | None) -> None:
        fewest = min(range(folds), key=lambda fold: (of_types[fold][name] if name else 0, sizes[fold]))
        result[row] = fewest
        sizes[fewest] += 1
        of_types[fewest].update(types[row])

    for name in sorted(totals, key=lambda name: (totals[name], name)):
        for row in order:
            if result[row] < 0 and types[row].get(name):
                deal(row, name)
    for row in order:
        if result[row] < 0:
            deal(row, None)
    return result
