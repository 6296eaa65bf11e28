"""Compares ways to read labels from an adapted model, on development data.

    python training/decoding.py training/recipes/decoding.yaml --data_root DATA

The model is adapted on drawn support sets by the rule, and the other sentences are tagged once; from the same
scores each way of the plan decodes. A way is what differs from the model's own: `neighbors`, of each label so
many support tokens of which the mean counts, `all`, the logarithm of the mean of all e^similarity, or
`prototypes`; `label_weight`; `names` and `support`, factors that sharpen the scores of each before they
are combined; `outside`, what is added to the score of no entity; `transition_power`; `whole_spans`, first
where entities are, by the sum of all types' probabilities, then one type for each. Prints a Markdown table of
entity micro-F1, and writes it, with the results as JSON and a figure, to the output folder. Needs the extra
`plot`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from adapting import best_paths  # type: ignore[import-not-found]  # beside this file
from figures import plot_scores  # type: ignore[import-not-found]  # beside this file
from plans import machine, plan_parser, read_plan  # type: ignore[import-not-found]  # beside this file
from scoring import mean_and_spread  # type: ignore[import-not-found]  # beside this file
from torch import Tensor

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.files import write_atomically
from modeling_lacl.metrics import entity_scores
from modeling_lacl.model.decoding_lacl import IMPOSSIBLE, combine_scores, label_runs
from modeling_lacl.optional import require
from modeling_lacl.training.validation import FewShotValidation
from modeling_lacl.training.word_labels import word_scores
from modeling_lacl.viz.nearest import support_similarities


def main() -> None:
    options = plan_parser(__doc__, "checkpoint, dev_files, shots, draws, query_size, ways").parse_args()
    require("matplotlib.figure", "plot")  # now, not after all the work
    plan = read_plan(options)
    model = LaclForTokenClassification.from_pretrained(plan["checkpoint"])
    results: dict[str, dict[str, list[float]]] = {name: {} for name in plan["ways"]}
    for column, reading in readings(model, plan, options.data_root):
        for name, way in plan["ways"].items():
            results[name].setdefault(column, []).append(round(score(reading, **way), 2))
        write_atomically(options.output / "results.json", json.dumps(results, indent=1) + "\n")
    report = to_markdown(results, plan, machine())
    write_atomically(options.output / "report.md", report)
    plot_scores(results, options.output / "scores.svg")
    print(report)


@dataclass(frozen=True)
class Reading:
    """What an adapted model says of some sentences, before anything is decoded.

    Attributes:
        model: The adapted model.
        gold: The tags of each sentence.
        by_names: (W, K) log-scores of each sentence by the label names.
        to_support: (W, S) similarities of each sentence to the support tokens.
        to_prototypes: (W, K) log-scores of each sentence by one prototype a label.
    """

    model: LaclForTokenClassification
    gold: list[list[str]]
    by_names: list[Tensor]
    to_support: list[Tensor]
    to_prototypes: list[Tensor]


def readings(
    model: LaclForTokenClassification, plan: Mapping[str, Any], data_root: Path
) -> Iterator[tuple[str, Reading]]:
    """Column of the table and reading, for every development set, number of shots and draw."""
    for name, file in plan["dev_files"].items():
        dataset = read_dataset(data_root / file["path"])
        for shots in plan["shots"]:
            validation = FewShotValidation(
                dataset,
                k_shot=shots,
                draws=plan["draws"],
                query_size=plan["query_size"],
                label_names=load_label_names(file["label_names"]),
            )
            for draw, (support, query) in enumerate(validation.splits):
                adapted = adapt(model, dataset.select(support), validation.label_names, seed=draw)
                rows = dataset.select(query)
                to_support = support_similarities(adapted, rows["tokens"])
                by_names = scores_by(adapted, rows["tokens"], label_weight=1.0)
                to_prototypes = scores_by(
                    adapted, rows["tokens"], label_weight=0.0, support_method="prototypes"
                )
                reading = Reading(adapted, gold_tags(rows), by_names, to_support, to_prototypes)
                yield f"{name}, {shots}-shot", reading


def scores_by(model: LaclForTokenClassification, sentences: list[list[str]], **options: Any) -> list[Tensor]:
    """(W, K) log-scores of each sentence with other options in the configuration, which stays as it was."""
    before = {name: getattr(model.config, name) for name in options}
    model.config.update(options)
    scores = word_scores(model, sentences)
    model.config.update(before)
    return scores


def score(
    reading: Reading,
    neighbors: int | str = 1,
    label_weight: float | None = None,
    names: float = 1.0,
    support: float = 1.0,
    outside: float = 0.0,
    transition_power: float | None = None,
    whole_spans: bool = False,
) -> float:
    """F1 in percent by one way of decoding; None stands for the model's own."""
    config: Any = reading.model.config
    weight = config.label_weight if label_weight is None else label_weight
    scores = []
    supports = (
        reading.to_prototypes
        if neighbors == "prototypes"
        else [support_scores(one, reading.model, neighbors) for one in reading.to_support]
    )
    for by_names, by_support in zip(reading.by_names, supports, strict=True):
        combined = combine_scores(names * by_names, support * by_support, weight)
        combined[:, 0] += outside
        scores.append(combined)
    power = config.transition_power if transition_power is None else transition_power
    types = list(config.id2label.values())[1:]
    paths = (span_paths if whole_spans else best_paths)(reading.model, scores, power)
    return 100 * entity_scores(reading.gold, io_to_bio(paths, types))["f1"]


def span_paths(model: LaclForTokenClassification, scores: list[Tensor], power: float) -> list[list[int]]:
    """Label ids of each sentence: runs of words that are of any type, each with its best type on average."""
    one_type = [torch.stack([row[:, 0], row[:, 1:].logsumexp(1)], 1) for row in scores]
    paths = best_paths(model, one_type, power)
    for path, row in zip(paths, scores, strict=True):
        for start, end, _ in label_runs(path):
            path[start:end] = [1 + int(row[start:end, 1:].mean(0).argmax())] * (end - start)
    return paths


def support_scores(to_support: Tensor, model: LaclForTokenClassification, neighbors: int | str) -> Tensor:
    """(W, K) from similarities (W, S): of the nearest, or of all, support tokens of each label."""
    labels = model.support_labels.cpu()
    scores = to_support.new_full((len(to_support), model.config.num_labels), IMPOSSIBLE)
    for label in labels.unique().tolist():
        own = to_support[:, labels == label]
        number = own.shape[1]
        if neighbors == "all":
            scores[:, label] = own.logsumexp(1) - math.log(number)
        else:
            scores[:, label] = own.topk(min(int(neighbors), number), 1).values.mean(1)
    return scores


def to_markdown(
    results: Mapping[str, Mapping[str, list[float]]], plan: Mapping[str, Any], machine: Mapping[str, Any]
) -> str:
    """A row for each way: mean and standard deviation over the draws, and the mean of the means."""
    columns = list(dict.fromkeys(key for row in results.values() for key in row))
    lines = ["| way | " + " | ".join(columns) + " | mean |", "|---|" + "---:|" * (len(columns) + 1)]
    for name, row in results.items():
        cells = [mean_and_spread(row[key]) for key in columns]
        mean = sum(sum(row[key]) / len(row[key]) for key in columns) / len(columns)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {mean:.1f} |")
    lines += ["", f"{plan['draws']} support sets a column, at most {plan['query_size']} sentences each."]
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
