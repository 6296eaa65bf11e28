"""Evaluate models on whole corpora of other domains: by names alone, and with a few examples of each type.

    python training/domains.py outputs/source outputs/other --folder data/wide --output outputs/domains
    python training/domains.py outputs/source --folder data/wide --output outputs/domains --calibrate

`--folder` has a `corpora.json` (see docs/corpora.md); its corpora of role `development` are read, or those
that `--corpora` names. A corpus counts with the types that have at least ten mentions in its training split
(where it has none, in its development split) and the first `--sentences` sentences of its test split. Support
sets are sampled from the training split: sentences in random order, where each has a type that is still
below K and lets none exceed 2 K. `--recipe` adds the targets and episodes of an evaluation recipe, with its
own support sets.

Prints a Markdown table of micro-F1 at the default threshold and at the best one, of the F1 of borders alone,
of the expected calibration error and of the AUROC, and writes it with the results to the output folder. A
second call goes on where the first was interrupted. `--calibrate` fits the scores of a model of spans and
prints the option `calibration` for its configuration, with the scores at thresholds of the calibrated scores.
`--reliability` prints how often predictions are right by their score, and draws it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpora_scores import THRESHOLDS, Benchmark, Corpus, Episodes, development, f1_at
from figures import plot_reliability
from plans import machine

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.evaluation.calibration import Bin, calibration_error, fit_logistic, ranking, reliability
from modeling_lacl.evaluation.recipe import TransferRecipe
from modeling_lacl.files import append_json_line, read_json_lines, write_atomically
from modeling_lacl.reporting import markdown_table

DIGITS = {"at": 2, "ECE": 2, "AUROC": 2}


def main() -> None:
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    results = options.output / "results.jsonl"
    rows: list[dict[str, Any]] = list(read_json_lines(results)) if results.is_file() else []
    adapting = {name: getattr(options, name) for name in ("steps", "learning_rate", "batch_size")}
    adapting = {name: value for name, value in adapting.items() if value is not None}
    finished = {json.dumps(row["run"]) for row in rows}
    for place in options.models:
        model = LaclForTokenClassification.from_pretrained(place)
        if options.label_weight is not None:
            model.config.label_weight = options.label_weight
        for name in [*_corpora(options), *_targets(options)]:
            corpus = None
            for shots in options.shots:
                for seed in range(options.seeds if shots else 1):
                    run = [str(place), name, shots, seed, options.sentences, options.label_weight]
                    run += [adapting] if adapting else []
                    if json.dumps(run) in finished:
                        continue
                    corpus = corpus or _corpus(name, options)
                    row = {"run": run, **corpus.measure(model, shots, seed, adapting)}
                    append_json_line(results, row)
                    rows.append(row)
    report = "\n\n".join([*_tables(rows, options), f"Machine: {json.dumps(machine())}"])
    write_atomically(options.output / "report.md", report + "\n")
    print(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="checkpoints or released names")
    parser.add_argument("--folder", type=Path, required=True, help="folder with corpora.json")
    parser.add_argument("--corpora", nargs="*", help="names of corpora instead of role development")
    parser.add_argument("--recipe", type=Path, help="evaluation recipe, whose targets are added")
    parser.add_argument(
        "--data_root", type=Path, default=Path("../shared/data"), help="of the recipe's files"
    )
    parser.add_argument("--shots", type=int, nargs="*", default=[0, 5], help="examples of each type")
    parser.add_argument("--seeds", type=int, default=1, help="number of support sets")
    parser.add_argument("--sentences", type=int, default=300, help="test sentences of each corpus")
    parser.add_argument("--label_weight", type=float, help="instead of the model's own")
    parser.add_argument("--steps", type=int, help="steps of adapting, instead of the default")
    parser.add_argument("--learning_rate", type=float, help="of adapting, instead of the default")
    parser.add_argument("--batch_size", type=int, help="of adapting, instead of the default")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--calibrate", action="store_true", help="fit the scores")
    parser.add_argument("--reliability", action="store_true", help="tables and a plot of the scores")
    options = parser.parse_args()
    options.recipe = options.recipe and TransferRecipe.from_yaml(options.recipe, data_root=options.data_root)
    return options


def _corpora(options: argparse.Namespace) -> list[str]:
    return development(options.folder) if options.corpora is None else options.corpora


def _targets(options: argparse.Namespace) -> list[str]:
    recipe = options.recipe
    return [one.name for one in [*recipe.targets, *recipe.episodes]] if recipe else []


def _corpus(name: str, options: argparse.Namespace) -> Corpus | Episodes:
    if name in _corpora(options):
        return Corpus(options.folder / name, options.sentences)
    for target in options.recipe.targets:
        if target.name == name:
            return Benchmark(target, options.data_root, options.sentences)
    return Episodes(next(one for one in options.recipe.episodes if one.name == name), options.data_root)


def _scores(row: dict[str, Any], threshold: float | None = None) -> dict[str, float]:
    scores, correct = np.array(row["scores"]), np.array(row["correct"], dtype=bool)

    default = row["threshold"] if threshold is None else threshold
    best = max(THRESHOLDS, key=lambda threshold: f1_at(row, threshold))
    kept = scores >= default
    return {
        "F1": f1_at(row, default),
        "P": 100 * correct[kept].mean() if kept.any() else 0.0,
        "R": 100 * correct[kept].sum() / max(row["gold"], 1),
        "best F1": max(f1_at(row, best), f1_at(row, default)),
        "at": float(best),
        "border F1": f1_at(row, default, borders=True),
        "ECE": calibration_error(scores[kept], correct[kept]) if kept.any() else float("nan"),
        "AUROC": ranking(scores, correct) if len(scores) else float("nan"),
    }


def _tables(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> Iterator[str]:
    for place in options.models:
        curves = {}
        for shots in options.shots:
            for group, names in (("corpus", _corpora(options)), ("target", _targets(options))):
                run = [str(place), shots]
                own = [row for row in rows if row["run"][0:3:2] == run and row["run"][1] in names]
                if not own:
                    continue
                yield f"**{place}, {shots} examples a type**"
                yield _table(group, _by_corpus([(row, _scores(row)) for row in own]))
                if options.calibrate and own[0]["spans"]:
                    yield from _calibration(own, shots)
                if options.reliability:
                    curves[f"{group}, {shots} examples"] = own
                    yield _table("threshold", _at_thresholds(own))
                    yield _bins(own)
        if curves:
            plot_reliability(
                {name: (_pooled(own), _at_thresholds(own)) for name, own in curves.items()},
                options.output / f"reliability-{Path(place).name}.svg",
            )


def _pooled(rows: Sequence[dict[str, Any]]) -> list[Bin]:
    """Return the bins of the predictions of all rows at the threshold and above."""
    pairs = [
        (score, right)
        for row in rows
        for score, right in zip(row["scores"], row["correct"], strict=True)
        if score >= row["threshold"]
    ]
    return reliability([score for score, _ in pairs], [right for _, right in pairs])


def _bins(rows: Sequence[dict[str, Any]]) -> str:
    cells = [[f"{one.score:.2f}", f"{100 * one.correct:.0f} %", str(one.number)] for one in _pooled(rows)]
    return "\n".join(markdown_table(["mean score", "right", "predictions"], cells, range(3)))


def _at_thresholds(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the means over the corpora at thresholds from 0.1 to 0.9."""
    return {
        f"{threshold:.1f}": _by_corpus([(row, _scores(row, threshold)) for row in rows])["mean"]
        for threshold in np.arange(0.1, 1.0, 0.1).tolist()
    }


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
    yield _table("threshold", _at_thresholds(fitted))


if __name__ == "__main__":
    main()
