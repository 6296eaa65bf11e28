"""What a model predicts on a corpus, as scores and whether each is right: by names alone, or with examples.

A [`Corpus`] is a folder of the wide data (docs/corpora.md), a [`Benchmark`] a target of an evaluation
recipe, whose support sets are files. In [`Episodes`] the model is adapted to each episode, and what it
predicts is pooled.
"""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scoring import micro_f1

from modeling_lacl import LaclForTokenClassification, adapt, read_dataset
from modeling_lacl.data.corpora.index import read_index
from modeling_lacl.data.label_names import label_names_for, load_label_names
from modeling_lacl.data.spans import Nested
from modeling_lacl.data.tags import entity_spans, entity_types, keep_types
from modeling_lacl.evaluation.episodes import sampled_episodes
from modeling_lacl.evaluation.errors import Span
from modeling_lacl.evaluation.model_evaluation import word_spans
from modeling_lacl.evaluation.targets import EpisodeTarget, TransferTarget
from modeling_lacl.model.prediction_lacl import default_threshold

FEWEST_MENTIONS = 10
"""Mentions of a type in the training split from which it counts."""
LOWEST = 0.003
"""Lowest score of the predictions that calibration and thresholds are about."""
THRESHOLDS = np.arange(0.02, 1.0, 0.02)

Row = dict[str, Any]
"""Scores of predictions, whether they and their borders are right, and numbers of gold entities."""


class Corpus:
    """A corpus to evaluate on.

    Args:
        folder: Its folder, with `train.jsonl.gz` and so on.
        sentences: How many sentences of its test split are tagged, the first ones.
    """

    def __init__(self, folder: Path, sentences: int) -> None:
        pool = read_split(folder, ("train", "dev"))
        test = read_split(folder, ("test", "dev"), sentences)
        counts = Counter(name for spans in entity_spans(pool) for *_, name in spans)
        types = sorted(name for name, number in counts.items() if number >= FEWEST_MENTIONS)
        self.names = label_names_for(types)
        self.pool, test = keep_types(pool, types), keep_types(test, types)
        self.sentences: list[list[str]] = test["tokens"][:]
        self.gold = entity_spans(test)

    def measure(
        self, model: LaclForTokenClassification, shots: int, seed: int, options: dict[str, Any]
    ) -> Row:
        """Return what a model predicts by name (0 shots) or adapted."""
        start = time.perf_counter()
        if shots:
            support = self.support(shots, seed)
            if not model.config.max_span_words:
                support = read_dataset(support, nested="outermost")
            # A sentence would bring too many of some other type where a type has no example.
            names = {name: self.names[name] for name in entity_types(support)}
            ner = adapt(model, support, names, seed=seed, **options)
        else:
            ner = model.with_labels(self.names)
        seconds = round(time.perf_counter() - start, 1)
        return scored(ner, self.sentences, self.gold) | described(ner, shots) | {"adapting_seconds": seconds}

    def support(self, shots: int, seed: int) -> Dataset:
        """Return a sampled support set."""
        missing = dict.fromkeys(self.names, shots)
        taken: list[int] = []
        spans = entity_spans(self.pool)
        for row in np.random.default_rng(seed).permutation(len(spans)).tolist():
            counts = Counter(name for *_, name in spans[row])
            wanted = any(missing[name] > 0 for name in counts)
            if wanted and all(missing[name] - number >= -shots for name, number in counts.items()):
                taken.append(row)
                for name, number in counts.items():
                    missing[name] -= number
        return self.pool.select(taken)


class Benchmark(Corpus):
    """A target of an evaluation recipe, with support sets in files."""

    def __init__(self, target: TransferTarget, data_root: Path, sentences: int) -> None:
        self.target, self.data_root = target, data_root
        test = read_dataset(data_root / target.test)
        given = load_label_names(target.label_names) if target.label_names else None
        types = target.labels or list(given or entity_types(test))
        self.names = label_names_for(types, given)
        test = keep_types(test.select(range(min(sentences, len(test)))), types)
        self.sentences = test["tokens"][:]
        self.gold = entity_spans(test)

    def support(self, shots: int, seed: int) -> Dataset:
        """Return a published support set."""
        file = self.target.support_files(self.data_root)[f"{shots}-shot"][seed]
        return read_dataset(self.data_root / file)


class Episodes:
    """Episodes, to each of which a model is adapted."""

    def __init__(self, target: EpisodeTarget, data_root: Path) -> None:
        self.target = target
        self.dataset = read_dataset(data_root / target.file)
        given = load_label_names(target.label_names) if target.label_names else None
        self.names = label_names_for(entity_types(self.dataset), given)

    def measure(
        self, model: LaclForTokenClassification, shots: int, seed: int, options: dict[str, Any]
    ) -> Row:
        """Return what is predicted for the queries of all episodes, by name (0 shots) or adapted."""
        pooled: Row = {"scores": [], "correct": [], "borders": [], "gold": 0, "gold_borders": 0}
        about: Row = {}
        for one in sampled_episodes(self.dataset, self.target, range(self.target.number)):
            names = {name: self.names[name] for name in one.types}
            ner = (
                adapt(model, one.support, names, seed=seed, **options) if shots else model.with_labels(names)
            )
            pairs = zip(one.query, one.gold, strict=True)
            rows = [{"tokens": words, "ner_tags": tags} for words, tags in pairs]
            found = scored(ner, one.query, entity_spans(read_dataset(rows, labels=one.types)))
            pooled = {key: value + found[key] for key, value in pooled.items()}
            about = described(ner, shots)
        return pooled | about


def scored(
    ner: LaclForTokenClassification,
    sentences: Sequence[list[str]],
    gold: Sequence[Iterable[tuple[int, int, str]]],
) -> Row:
    """Return what a model with labels predicts, down to low scores."""
    lowest = LOWEST if ner.config.max_span_words else 0
    found: Any = ner.predict((words for words in sentences), is_split_into_words=True, threshold=lowest)
    flat: list[tuple[Span, bool, bool]] = []
    for words, entities, right in zip(sentences, found, gold, strict=True):
        whole, borders = set(right), {one[:2] for one in right}
        for span in word_spans(words, entities):
            flat.append((span, tuple(span[:3]) in whole, tuple(span[:2]) in borders))
    return {
        "scores": [round(span.score, 5) for span, *_ in flat],
        "correct": [int(correct) for _, correct, _ in flat],
        "borders": [int(correct) for *_, correct in flat],
        "gold": sum(len(set(right)) for right in gold),
        "gold_borders": sum(len({one[:2] for one in right}) for right in gold),
    }


def described(ner: LaclForTokenClassification, shots: int) -> Row:
    """Return what the scores of a model depend on."""
    calibration = (ner.config.calibration or {}).get("support" if shots else "names", [1.0, 0.0])
    return {
        "spans": bool(ner.config.max_span_words),
        "threshold": default_threshold(ner.config),
        "calibration": calibration,
    }


def f1_at(row: Row, threshold: float, *, borders: bool = False) -> float:
    """Return micro-F1 in percent of the predictions with at least this score, or that of their borders."""
    kept = np.asarray(row["scores"]) >= threshold
    right = np.asarray(row["borders" if borders else "correct"], dtype=bool)[kept]
    return micro_f1(int(right.sum()), int(kept.sum()), row["gold_borders" if borders else "gold"])


def development(folder: Path) -> list[str]:
    """Return the names of the corpora of role development."""
    return [corpus.name for corpus in read_index(folder) if corpus.role == "development"]


def read_split(folder: Path, splits: Sequence[str], limit: int | None = None) -> Dataset:
    """Return the first sentences, with nested entities, of the first of these splits that a corpus has."""
    files = [folder / f"{split}.jsonl.gz" for split in splits]
    return read_packed(next((one for one in files if one.is_file()), files[-1]), limit)


def read_packed(file: Path, limit: int | None = None, nested: Nested = "keep") -> Dataset:
    """Return the first sentences of packed JSON Lines of words with their tags, or with spans of words."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return read_dataset([json.loads(line) for line in islice(lines, limit)], nested=nested)
