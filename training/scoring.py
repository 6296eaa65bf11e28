"""Scores of the experiments: F1 on development sentences, with and without adapting, and means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.metrics import entity_scores
from modeling_lacl.training.validation import FewShotValidation
from modeling_lacl.training.word_labels import predict_tags


def adapted_score(
    model: LaclForTokenClassification, validation: FewShotValidation, arguments: dict[str, Any]
) -> float:
    """Return F1 in percent after adapting, as a mean over the sampled support sets."""
    found: list[float] = []
    for support, query in validation.splits:
        chosen = validation.dataset.select(support)
        ner = adapt(model, chosen, validation.label_names, **arguments)
        found.append(query_score(ner, validation, query))
    return float(np.mean(found))


def query_score(
    ner: LaclForTokenClassification,
    validation: FewShotValidation,
    query: Sequence[int],
    labels: dict[str, str] | None = None,
) -> float:
    """Return F1 in percent on query sentences, with the model's own labels or with `labels`."""
    rows = validation.dataset.select(query)
    tags = predict_tags(ner, rows["tokens"], labels=labels)
    return 100 * float(entity_scores(gold_tags(rows), tags)["f1"])


def micro_f1(correct: int, found: int, gold: int) -> float:
    """Return F1 in percent from numbers of entities: found and right, found, and in the references."""
    return 200 * correct / max(found + gold, 1)


def mean_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """Format the mean, with the sample standard deviation of several values; a dash for no value."""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}" if len(values) else "–"
