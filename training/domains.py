"""Evaluate models on whole corpora of other domains: by names alone, and with a few examples of each type.

    python training/domains.py outputs/source outputs/other --folder data/wide --output outputs/domains
    python training/domains.py outputs/source --folder data/wide --output outputs/domains --calibrate

`--folder` has a `corpora.json` (see docs/corpora.md); its corpora of role `development` are read, or those
that `--corpora` names. A corpus counts with the types that have at least ten mentions in its training split
(where it has none, in its development split) and the first `--sentences` sentences of its test split. Support
sets are sampled from the training split: sentences in random order, where each has a type that is still
below K and lets none exceed 2 K.

Prints a Markdown table of micro-F1 at the default threshold and at the best one, of the F1 of borders alone,
of the expected calibration error and of the AUROC, and writes it with the results to the output folder. A
second call goes on where the first was interrupted. `--calibrate` fits the scores of a model of spans and
prints the option `calibration` for its configuration, with the scores at thresholds of the calibrated scores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from plans import machine  # type: ignore[import-not-found]  # beside this file

from modeling_lacl import LaclForTokenClassification, adapt, read_dataset
from modeling_lacl.data.tags import entity_spans, keep_types
from modeling_lacl.evaluation.calibration import calibration_error, fit_logistic, ranking
from modeling_lacl.evaluation.errors import Span
from modeling_lacl.evaluation.model_evaluation import word_spans
from modeling_lacl.files import append_json_line, read_json_lines, write_atomically
from modeling_lacl.model.prediction_lacl import default_threshold
from modeling_lacl.reporting import markdown_table

FEWEST_MENTIONS = 10
"""Mentions of a type in the training split from which it counts."""
LOWEST = 0.003
"""Lowest score of the predictions that calibration and thresholds are about."""
DIGITS = {"at": 2, "ECE": 2, "AUROC": 2}
_THRESHOLDS = np.arange(0.02, 1.0, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="checkpoints or released names")
    parser.add_argument("--folder", type=Path, required=True, help="folder with corpora.json")
    parser.add_argument("--corpora", nargs="*", help="names of corpora instead of role development")
    parser.add_argument("--shots", type=int, nargs="*", default=[0, 5], help="examples of each type")
    parser.add_argument("--seeds", type=int, default=1, help="number of support sets")
    parser.add_argument("--sentences", type=int, default=300, help="test sentences of each corpus")
    parser.add_argument("--label_weight", type=float, help="instead of the model's own")
    parser.add_argument("--steps", type=int, help="steps of adapting, instead of the default")
    parser.add_argument("--learning_rate", type=float, help="of adapting, instead of the default")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--calibrate", action="store_true", help="fit the scores")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    results = options.output / "results.jsonl"
    rows: list[dict[str, Any]] = list(read_json_lines(results)) if results.is_file() else []
    adapting = {name: getattr(options, name) for name in ("steps", "learning_rate")}
    adapting = {name: value for name, value in adapting.items() if value is not None}
    finished = {json.dumps(row["run"]) for row in rows}
    for place in options.models:
        model = LaclForTokenClassification.from_pretrained(place)
        if options.label_weight is not None:
            model.config.label_weight = options.label_weight
        for name in options.corpora or development(options.folder):
            corpus = None
            for shots in options.shots:
                for seed in range(options.seeds if shots else 1):
                    run = [str(place), name, shots, seed, options.sentences, options.label_weight]
                    run += [adapting] if adapting else []
                    if json.dumps(run) in finished:
                        continue
                    corpus = corpus or Corpus(options.folder / name, options.sentences)
                    row = {"run": run, **corpus.measure(model, shots, seed, adapting)}
                    append_json_line(results, row)
                    rows.append(row)
    report = "\n\n".join([*_tables(rows, options), f"Machine: {json.dumps(machine())}"])
    write_atomically(options.output / "report.md", report + "\n")
    print(report)


def development(folder: Path) -> list[str]:
    """Return the names of the corpora of role development."""
    index = json.loads((folder / "corpora.json").read_text(encoding="utf-8"))
    return [one["name"] for one in index if one["role"] == "development"]


class Corpus:
    """A corpus to evaluate on."""

    def __init__(self, folder: Path, sentences: int) -> None:
        pool = read_split(folder, ("train", "dev"))
        test = read_split(folder, ("test", "dev"), sentences)
        counts = Counter(name for spans in entity_spans(pool) for *_, name in spans)
        self.types = sorted(name for name, number in counts.items() if number >= FEWEST_MENTIONS)
        self.pool, test = keep_types(pool, self.types), keep_types(test, self.types)
        self.sentences: list[list[str]] = test["tokens"][:]
        self.gold = entity_spans(test)

    def measure(
        self, model: LaclForTokenClassification, shots: int, seed: int, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the predictions of a model by name (0 shots) or adapted, as scores and correctness."""
        start = time.perf_counter()
        if shots:
            ner = adapt(model, self.support(shots, seed), seed=seed, **options)
        else:
            ner = model.with_labels(self.types)
        adapting = time.perf_counter() - start
        of_spans = bool(ner.config.max_span_words)
        found: Any = ner.predict(
            (words for words in self.sentences), is_split_into_words=True, threshold=LOWEST if of_spans else 0
        )
        spans = [word_spans(words, entities) for words, entities in zip(self.sentences, found, strict=True)]
        flat: list[tuple[Span, bool, bool]] = []
        for own, gold in zip(spans, self.gold, strict=True):
            whole, borders = set(gold), {one[:2] for one in gold}
            flat += [(one, tuple(one[:3]) in whole, tuple(one[:2]) in borders) for one in own]
        return {
            "scores": [round(one.score, 5) for one, *_ in flat],
            "correct": [int(right) for _, right, _ in flat],
            "borders": [int(right) for *_, right in flat],
            "gold": sum(map(len, self.gold)),
            "gold_borders": sum(len({one[:2] for one in gold}) for gold in self.gold),
            "spans": of_spans,
            "threshold": default_threshold(ner.config),
            "calibration": (ner.config.calibration or {}).get("support" if shots else "names", [1.0, 0.0]),
            "adapting_seconds": round(adapting, 1),
        }

    def support(self, shots: int, seed: int) -> Dataset:
        """Return a sampled support set."""
        missing = dict.fromkeys(self.types, shots)
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


def read_split(folder: Path, splits: Sequence[str], limit: int | None = None) -> Dataset:
    """Return the first sentences, with nested entities, of the first of these splits that a corpus has."""
    files = [folder / f"{split}.jsonl.gz" for split in splits]
    file = next((one for one in files if one.is_file()), files[-1])
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return read_dataset([json.loads(line) for line in islice(lines, limit)], nested="keep")


def _scores(row: dict[str, Any], threshold: float | None = None) -> dict[str, float]:
    scores, correct = np.array(row["scores"]), np.array(row["correct"], dtype=bool)
    borders = np.array(row["borders"], dtype=bool)

    def f1(threshold: float, right: Any, gold: int) -> float:
        kept = scores >= threshold
        return 200 * int(right[kept].sum()) / max(int(kept.sum()) + gold, 1)

    default = row["threshold"] if threshold is None else threshold
    best = max(_THRESHOLDS, key=lambda threshold: f1(threshold, correct, row["gold"]))
    kept = scores >= default
    return {
        "F1": f1(default, correct, row["gold"]),
        "P": 100 * correct[kept].mean() if kept.any() else 0.0,
        "R": 100 * correct[kept].sum() / max(row["gold"], 1),
        "best F1": max(f1(best, correct, row["gold"]), f1(default, correct, row["gold"])),
        "at": float(best),
        "border F1": f1(default, borders, row["gold_borders"]),
        "ECE": calibration_error(scores[kept], correct[kept]) if kept.any() else float("nan"),
        "AUROC": ranking(scores, correct) if len(scores) else float("nan"),
    }


def _tables(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> Iterator[str]:
    for place in options.models:
        for shots in options.shots:
            own = [row for row in rows if row["run"][0] == str(place) and row["run"][2] == shots]
            if not own:
                continue
            means = _by_corpus([(row, _scores(row)) for row in own])
            yield f"**{place}, {shots} examples a type**"
            yield _table("corpus", means)
            if options.calibrate and own[0]["spans"]:
                yield from _calibration(own, shots)


def _by_corpus(scored: Sequence[tuple[dict[str, Any], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean of each score over the support sets of each corpus, and under `mean` over corpora."""
    by_corpus: dict[str, list[dict[str, float]]] = {}
    for row, scores in scored:
        by_corpus.setdefault(row["run"][1], []).append(scores)
    names = list(scored[0][1])
    means = {
        corpus: {name: _mean([one[name] for one in found]) for name in names}
        for corpus, found in by_corpus.items()
    }
    return {**means, "mean": {name: _mean([one[name] for one in means.values()]) for name in names}}


def _table(heading: str, rows: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(rows.values())))
    cells = [
        [head, *(f"{row[name]:.{DIGITS.get(name, 1)}f}" for name in names)] for head, row in rows.items()
    ]
    return "\n".join(markdown_table([heading, *names], cells, range(1, len(names) + 1)))


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are numbers; NaN without any."""
    numbers = [value for value in values if not np.isnan(value)]
    return float(np.mean(numbers)) if numbers else float("nan")


def _calibration(rows: Sequence[dict[str, Any]], shots: int) -> Iterator[str]:
    """Yield the option that calibrates the scores of these rows, and the scores at thresholds with it."""
    logits, correct, groups = [], [], []
    for row in rows:
        slope, intercept = row["calibration"]
        odds = np.clip(row["scores"], 1e-6, 1 - 1e-6)
        logits.append((np.log(odds / (1 - odds)) - intercept) / slope)
        correct.append(np.array(row["correct"], dtype=bool))
        groups += [row["run"][1]] * len(odds)
    kind = "support" if shots else "names"
    try:
        slope, intercept = fit_logistic(np.concatenate(logits), np.concatenate(correct), groups)
    except ValueError as error:
        yield f"no calibration of {kind}: {error}"
        return
    yield f"calibration: {kind}: [{slope:.4f}, {intercept:.4f}]"
    fitted = [
        {**row, "scores": 1 / (1 + np.exp(-(slope * own + intercept)))}
        for row, own in zip(rows, logits, strict=True)
    ]
    yield _table(
        "threshold",
        {
            f"{threshold:.1f}": _by_corpus([(row, _scores(row, threshold)) for row in fitted])["mean"]
            for threshold in np.arange(0.1, 1.0, 0.1).tolist()
        },
    )


if __name__ == "__main__":
    main()
