"""Trains variants of one recipe and compares them on development data.

    python training/ablate.py training/recipes/ablation.yaml [--bf16 true --use_cpu true]

Each variant is the recipe with some arguments replaced, trained once for each seed; further arguments go
before its own, for every variant. It is scored on the recipe's held-out types and on further development
files: zero-shot, with support sets drawn from the same data that are only encoded, and adapted on them.
Prints a Markdown table of means (and, with several seeds, standard deviations over them) and writes it, with
all results as JSON, to the output folder; a run whose result stands there is not made again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.arguments import parse_arguments
from modeling_lacl.data import io_to_bio, load_label_names, read_dataset
from modeling_lacl.data.labels import tag_names
from modeling_lacl.evaluation import entity_scores
from modeling_lacl.evaluation.report import describe_machine, write_whole
from modeling_lacl.prediction import predict_words
from modeling_lacl.source import read_source, train_source
from modeling_lacl.validation import FewShotValidation


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("plan", type=Path, help="YAML: recipe, dev_files, variants, adapt")
    parser.add_argument(
        "--data_root", type=Path, default=Path("../shared/data"), help="folder of the data files"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/ablation"), help="folder of the results")
    options, overrides = parser.parse_known_args()
    plan = yaml.safe_load(options.plan.read_text(encoding="utf-8"))
    options.output.mkdir(parents=True, exist_ok=True)
    results_file = options.output / "results.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.is_file() else {}
    for name, variant in plan["variants"].items():
        for seed in plan["seeds"]:
            key = f"{name}, seed {seed}"
            if key not in results:
                results[key] = run_variant(plan, {**variant, "seed": seed}, options.data_root, overrides)
                write_whole(results_file, json.dumps(results, indent=1) + "\n")
            report = to_markdown(results, plan, describe_machine("cpu"))
            write_whole(options.output / "report.md", report)
    print(report)


def run_variant(
    plan: dict[str, Any], variant: dict[str, Any], data_root: Path, overrides: Sequence[str] = ()
) -> dict[str, float]:
    """F1 in percent by development set and number of shots, a mean over the drawn support sets."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [plan["recipe"], *overrides, *(f"--{key}={value}" for key, value in variant.items())]
        arguments += [f"--train_file={data_root / plan['train_file']}", f"--output_dir={folder}/model"]
        model_args, data_args, training_args = parse_arguments(arguments)
        model = train_source(model_args, data_args, training_args)
    source = read_source(data_args)
    assert source.held_out is not None
    sets: dict[str, tuple[Dataset, dict[str, str]]] = {
        "held-out types": (source.held_out, source.label_names)
    }
    for name, file in plan["dev_files"].items():
        dataset = read_dataset(data_root / file["path"])
        sets[name] = (dataset, load_label_names(file["label_names"]))
    scores: dict[str, float] = {}
    for name, (dataset, names) in sets.items():
        for shots in plan["shots"]:
            if not shots and not model.config.use_prompts:
                continue  # without prompts there is no zero-shot
            validation = FewShotValidation(
                dataset,
                k_shot=shots,
                draws=plan["draws"] if shots else 1,
                query_size=plan["query_size"],
                label_names=names,
            )
            scores[f"{name}, {shots}-shot"] = 100 * validation.scores(model, model.tokenizer)["f1"]
            if shots:
                scores[f"{name}, {shots}-shot adapted"] = adapted_score(model, validation, plan["adapt"])
    return {key: round(value, 2) for key, value in scores.items()}


def adapted_score(
    model: LaclForTokenClassification, validation: FewShotValidation, arguments: dict[str, Any]
) -> float:
    """F1 in percent after adapting, a mean over the drawn support sets."""
    found: list[float] = []
    for support, query in validation.splits:
        chosen = validation.dataset.select(support)
        ner = adapt(model, model.tokenizer, chosen, validation.label_names, **arguments)
        found.append(query_score(ner, validation, query))
    return float(np.mean(found))


def query_score(
    ner: LaclForTokenClassification,
    validation: FewShotValidation,
    query: Sequence[int],
    labels: dict[str, str] | None = None,
) -> float:
    """F1 in percent on some sentences, by the model's own types or by `labels`, names by type."""
    rows = validation.dataset.select(query)
    names = tag_names(validation.dataset)
    gold = [[names[tag] for tag in tags] for tags in rows["ner_tags"]]
    types = list(labels or ner.config.id2label.values())[0 if labels else 1 :]
    tags = io_to_bio(predict_words(ner, ner.tokenizer, rows["tokens"], labels=labels), types)
    return 100 * float(entity_scores(gold, tags)["f1"])


def mean_and_spread(values: Sequence[float]) -> str:
    """A mean, with the sample standard deviation if there are several values; a dash if there is none."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}" if len(values) else "–"


def to_markdown(results: dict[str, dict[str, float]], plan: dict[str, Any], machine: dict[str, Any]) -> str:
    """A table with a row for each variant."""
    columns = list(dict.fromkeys(key for scores in results.values() for key in scores))
    lines = ["| variant | " + " | ".join(columns) + " | mean |", "|---|" + "---:|" * (len(columns) + 1)]
    for name in plan["variants"]:
        keys = [f"{name}, seed {seed}" for seed in plan["seeds"]]
        runs = [results[key] for key in keys if key in results]
        if not runs:  # not yet
            continue
        cells = []
        for key in columns:
            cells.append(mean_and_spread([run[key] for run in runs if key in run]))
        # Only a variant with all columns has a mean that compares.
        whole = all(len(run) == len(columns) for run in runs)
        cells.append(f"{np.mean([list(run.values()) for run in runs]):.1f}" if whole else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", f"Seeds: {', '.join(map(str, plan['seeds']))}; {plan['draws']} support sets a column."]
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
