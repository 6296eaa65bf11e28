"""Evaluate on development data how much label names matter: their order, case, wording, and meaning.

    python training/label_names.py training/recipes/label_names.yaml --data_root DATA

The model tags each development set with other label names for the same types: zero-shot, and adapted on
sampled support sets, also with label names that contain examples of the support set ("person such as Ada or
Alan"). Prints a Markdown table of entity micro-F1 and writes it to the output folder, with the results as
JSON and a figure. Needs the extra `plot`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from figures import plot_scores
from plans import machine, plan_parser, read_plan
from scoring import adapted_score, mean_and_spread, query_score

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import entity_types, to_io
from modeling_lacl.files import write_atomically
from modeling_lacl.model.decoding_lacl import label_runs
from modeling_lacl.optional import require
from modeling_lacl.training.validation import FewShotValidation


def main() -> None:
    options = plan_parser(__doc__, "checkpoint, dev_files, shots, draws, orders, wordings").parse_args()
    require("matplotlib.figure", "plot")  # fail now, not after all the work
    plan = read_plan(options)
    model = LaclForTokenClassification.from_pretrained(plan["checkpoint"])
    results: dict[str, dict[str, list[float]]] = {}
    for name, file in plan["dev_files"].items():
        dataset = read_dataset(options.data_root / file["path"])
        shipped = load_label_names(file["label_names"])
        measured = measure(model, dataset, shipped, file["wordings"], plan)
        for variant, columns in measured.items():
            row = results.setdefault(variant, {})
            row.update({f"{name}, {column}": values for column, values in columns.items()})
        write_atomically(options.output / "results.json", json.dumps(results, indent=1) + "\n")
        write_atomically(options.output / "report.md", to_markdown(results, machine()))
    plot_scores(results, options.output / "scores.svg")
    print(to_markdown(results, machine()))


def measure(
    model: LaclForTokenClassification,
    dataset: Dataset,
    shipped: dict[str, str],
    wordings: Mapping[str, dict[str, str]],
    plan: Mapping[str, Any],
) -> dict[str, dict[str, list[float]]]:
    """Return F1 in percent by variant of the label names and by number of shots."""
    shots = plan["shots"]
    sampling = {"draws": plan["draws"], "query_size": plan["query_size"], "k_shot": shots}
    types = FewShotValidation(dataset, label_names=shipped, **sampling).types
    variants = {
        "as shipped": shipped,
        "upper case": {key: words.upper() for key, words in shipped.items()},
        **wordings,
        "names of each other": dict(
            zip(types, [shipped[name] for name in types[1:] + types[:1]], strict=True)
        ),
    }
    results: dict[str, dict[str, list[float]]] = {}
    for variant, names in variants.items():
        validation = FewShotValidation(dataset, label_names=names, **sampling)
        results[variant] = {
            "0-shot": [zero_shot_score(model, validation, {name: names[name] for name in types})],
            f"{shots}-shot adapted": [adapted_score(model, validation, {})],
        }
    validation = FewShotValidation(dataset, label_names=shipped, **sampling)
    scores = [with_examples_score(model, validation, *split) for split in validation.splits]
    results["with two examples"] = {f"{shots}-shot adapted": [float(np.mean(scores))]}
    generator = np.random.default_rng(0)
    orders = [generator.permutation(types).tolist() for _ in range(plan["orders"])]
    results[f"{plan['orders']} other orders"] = {
        "0-shot": [
            zero_shot_score(model, validation, {name: shipped[name] for name in order}) for order in orders
        ]
    }
    return results


def zero_shot_score(
    model: LaclForTokenClassification, validation: FewShotValidation, labels: dict[str, str]
) -> float:
    """Return zero-shot F1 in percent, with label names in the order of `labels`, on all query sets."""
    return float(np.mean([query_score(model, validation, query, labels) for _, query in validation.splits]))


def with_examples_score(
    model: LaclForTokenClassification,
    validation: FewShotValidation,
    support: Sequence[int],
    query: Sequence[int],
) -> float:
    """Return F1 in percent after adapting with label names that contain examples of the support set."""
    chosen = validation.dataset.select(support)
    names = names_with_examples(validation.label_names, chosen)
    return query_score(adapt(model, chosen, names), validation, query)


def names_with_examples(names: Mapping[str, str], support: Dataset, number: int = 2) -> dict[str, str]:
    """Add the first entities of each type to its label name, as in "person such as Ada or Alan"."""
    types = entity_types(support)
    found: dict[str, list[str]] = {name: [] for name in types}
    for words, labels in zip(support["tokens"], to_io(support, types), strict=True):
        for start, end, label in label_runs(labels):
            found[types[label - 1]].append(" ".join(words[start:end]))
    return {
        name: f"{names[name]} such as {' or '.join(list(dict.fromkeys(entities))[:number])}"
        for name, entities in found.items()
    }


def to_markdown(results: Mapping[str, Mapping[str, list[float]]], machine: Mapping[str, Any]) -> str:
    """Return a table with one row per variant, and standard deviations where there are several values."""
    columns = list(dict.fromkeys(key for row in results.values() for key in row))
    lines = ["| names | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for variant, row in results.items():
        cells = [mean_and_spread(row.get(key, [])) for key in columns]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
