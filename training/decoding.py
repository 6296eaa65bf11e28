"""Compare decoding methods for adapted models on development data.

    python training/decoding.py training/recipes/decoding.yaml --data_root DATA

The model is adapted on sampled support sets, and the remaining sentences are scored once; each method of the
plan (`ways`) decodes the same scores. A method lists the options that differ from those of the model:

- `neighbors`: the mean over this number of nearest support tokens per label; `all`, the logarithm of the mean
  of e^similarity over all of them; or `prototypes`
- `label_weight`, `transition_power`: as in the configuration
- `names`, `support`: factors that sharpen the scores by label names and by support before they are combined
- `outside`: added to the score of outside
- `whole_spans`: find entities first, by the summed probability of all types, then one type for each entity

Prints a Markdown table of entity micro-F1, and writes it to the output folder, with the results as JSON and a
figure. Needs the extra `plot`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from adapting import best_paths
from figures import plot_scores
from plans import machine, plan_parser, read_plan
from scoring import mean_and_spread
from torch import Tensor

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.files import write_atomically
from modeling_lacl.metrics import entity_scores
from modeling_lacl.model.decoding_lacl import IMPOSSIBLE, label_runs
from modeling_lacl.model.similarity_lacl import combine_scores
from modeling_lacl.optional import require
from modeling_lacl.training.validation import FewShotValidation
from modeling_lacl.training.word_labels import word_scores
from modeling_lacl.viz.nearest import support_similarities


def main() -> None:
    options = plan_parser(__doc__, "checkpoint, dev_files, shots, draws, query_size, ways").parse_args()
    require("matplotlib.figure", "plot")  # fail now, not after all the work
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
    """The scores of an adapted model for some sentences, before decoding.

    Attributes:
        model: The adapted model.
        gold: Gold tags of each sentence.
        by_names: Log-scores of each sentence by label names, `(W, K)`.
        to_support: Similarities of each sentence to the support tokens, `(W, S)`.
        to_prototypes: Log-scores of each sentence by one prototype per label, `(W, K)`.
    """

    model: LaclForTokenClassification
    gold: list[list[str]]
    by_names: list[Tensor]
    to_support: list[Tensor]
    to_prototypes: list[Tensor]


def readings(
    model: LaclForTokenClassification, plan: Mapping[str, Any], data_root: Path
) -> Iterator[tuple[str, Reading]]:
    """Yield table column and scores for each development set, number of shots, and support set."""
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
    """Return log-scores of each sentence, `(W, K)`, with some configuration options temporarily replaced."""
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
    """Return F1 in percent with one decoding method; None means the model's own value."""
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
    """Return label ids of each sentence: runs of entity words, each with the type that is best on average."""
    one_type = [torch.stack([row[:, 0], row[:, 1:].logsumexp(1)], 1) for row in scores]
    paths = best_paths(model, one_type, power)
    for path, row in zip(paths, scores, strict=True):
        for start, end, _ in label_runs(path):
            path[start:end] = [1 + int(row[start:end, 1:].mean(0).argmax())] * (end - start)
    return paths


def support_scores(to_support: Tensor, model: LaclForTokenClassification, neighbors: int | str) -> Tensor:
    """Return label scores `(W, K)` from similarities `(W, S)`, over the nearest or all support tokens."""
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
    """Return a table with one row per method: mean and standard deviation over support sets."""
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
