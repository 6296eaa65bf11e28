"""Few-shot F1 on held-out types during training, over sampled support sets and query sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from datasets import Dataset

from ..data.sampling import entity_counts, sample_support_from_counts
from ..data.spans import WordSpan
from ..data.support import encode_support
from ..data.tags import entity_spans, entity_types, has_spans
from ..metrics import span_scores
from ..model.labels_lacl import with_own_labels
from ..model.modeling_lacl import LaclForTokenClassification
from .word_labels import predict_spans


class FewShotValidation:
    """Few-shot evaluation of a model on entity types that it is not trained on.

    The support sets and query sets are sampled once, with `seed`, so that the scores within a run are
    comparable.

    Args:
        dataset: Sentences from `read_dataset`, labelled with the types to evaluate on. If their entities can
            nest (`nested="keep"`), nested ones are predicted, too.
        k_shot: Each support set has K to 2K entities of each type; 0 for zero-shot, from label names alone.
        draws: Number of support sets.
        query_size: Maximum number of sentences tagged with each support set.
        seed: Random seed of the sampling.
        label_names: Label names of the types. A type without one gets a name derived from its label.

    Raises:
        ValueError: The dataset has no entity or too few of a type, or a support set leaves no sentence over.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        k_shot: int = 5,
        draws: int = 3,
        query_size: int = 300,
        seed: int = 0,
        label_names: Mapping[str, str] | None = None,
    ) -> None:
        everything = entity_types(dataset)
        counts = entity_counts(dataset, everything)
        # After a selection, a dataset may have classes that occur in none of its sentences.
        found = np.flatnonzero(counts.sum(axis=0)).tolist()
        if not found:
            raise ValueError("the evaluation data has no entity; name types that occur in held_out_types")
        self.types = [everything[label - 1] for label in found]
        self.label_names = {name: words for name, words in (label_names or {}).items() if name in self.types}
        self.dataset = dataset
        self.splits: list[tuple[list[int], list[int]]] = []
        for number in range(draws):
            generator = np.random.default_rng((seed, number))
            support = []
            if k_shot:
                support = sample_support_from_counts(counts, found, k_shot, generator, names=self.types)
            rest = np.setdiff1d(np.arange(len(dataset)), support)
            if not len(rest):
                raise ValueError(
                    f"all {len(dataset)} sentences of the evaluation data went into the support set; lower "
                    "eval_k_shot or hold out types with more sentences"
                )
            query = generator.choice(rest, min(query_size, len(rest)), replace=False)
            self.splits.append((support, np.sort(query).tolist()))

    @property
    def num_samples(self) -> int:
        """Number of sentences tagged in one evaluation."""
        return sum(len(query) for _, query in self.splits)

    def scores(self, model: LaclForTokenClassification, batch_size: int = 32) -> dict[str, float]:
        """Tag the held-out sentences and score the result; the model is not modified.

        Returns:
            `f1`, `precision`, `recall` (micro, entity level, in [0, 1]) and the same for each type, as in
            `f1_<type>`; all of them are means over the support sets.
        """
        learner = with_own_labels(model)
        learner.set_labels(self.types, self.label_names)
        results = [self._split_scores(learner, split, batch_size) for split in self.splits]
        return {key: float(np.mean([result[key] for result in results])) for key in results[0]}

    def _split_scores(
        self,
        learner: LaclForTokenClassification,
        split: tuple[list[int], list[int]],
        batch_size: int,
    ) -> dict[str, float]:
        support, query = split
        if support:
            learner.set_support(*encode_support(learner, self.dataset.select(support), batch_size))
        rows = self.dataset.select(query)
        overlap = "nested" if has_spans(rows) else "flat"
        predicted = predict_spans(learner, rows["tokens"], overlap=overlap, batch_size=batch_size)
        scores = span_scores(_numbered(entity_spans(rows)), _numbered(predicted))
        found = {key: scores[key] for key in ("f1", "precision", "recall")}
        for name in self.types:
            of_type = scores["per_type"].get(name)
            for key in ("f1", "precision", "recall"):
                found[f"{key}_{name}"] = of_type[key] if of_type else 0.0
        return found


def _numbered(sentences: Iterable[Iterable[WordSpan]]) -> set[tuple[str, int, int, int]]:
    """Return (type, sentence, first word, one past the last) of every entity."""
    return {
        (name, number, first, stop) for number, spans in enumerate(sentences) for first, stop, name in spans
    }
