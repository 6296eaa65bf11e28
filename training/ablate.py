"""Trains variants of one recipe and compares them on development data.

    python training/ablate.py training/recipes/ablation.yaml

Each variant is the recipe with some arguments replaced, trained from the same seed. It is scored without
training on the support set, on the recipe's held-out types and on further development files: zero-shot, and
with support sets drawn from the same data. The variant named in `adapt` is also adapted, with several numbers
of steps. Prints a Markdown table and writes it, with all results as JSON, to the output folder; a variant
that stands there is not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
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
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path, help="YAML: recipe, dev_files, variants, adapt")
    parser.add_argument(
        "--data_root", type=Path, default=Path("../shared/data"), help="folder of the data files"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/ablation"), help="folder of the results")
    options = parser.parse_args()
    plan = yaml.safe_load(options.plan.read_text(encoding="utf-8"))
    options.output.mkdir(parents=True, exist_ok=True)
    results_file = options.output / "results.json"
    results: dict[str, Any] = json.loads(results_file.read_text()) if results_file.is_file() else {}
    for name, overrides in plan["variants"].items():
        if name in results:
            continue
        results[name] = run_variant(
            plan, overrides, options.data_root, with_adapting=name == plan["adapt"]["variant"]
        )
        write_whole(results_file, json.dumps(results, indent=1) + "\n")
    report = to_markdown(results, describe_machine())
    write_whole(options.output / "report.md", report)
    print(report)


def run_variant(
    plan: dict[str, Any], overrides: dict[str, Any], data_root: Path, with_adapting: bool
) -> dict[str, float]:
    """F1 in percent by development set and number of shots, a mean over the drawn support sets."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [plan["recipe"], *(f"--{key}={value}" for key, value in overrides.items())]
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
            validation = FewShotValidation(
                dataset,
                k_shot=shots,
                draws=plan["draws"] if shots else 1,
                query_size=plan["query_size"],
                label_names=names,
            )
            scores[f"{name}, {shots}-shot"] = 100 * validation.scores(model, model.tokenizer)["f1"]
            if shots and with_adapting:
                scores |= adapted_scores(model, validation, plan["adapt"], f"{name}, {shots}-shot")
    return {key: round(value, 2) for key, value in scores.items()}


def adapted_scores(
    model: LaclForTokenClassification, validation: FewShotValidation, plan: dict[str, Any], place: str
) -> dict[str, float]:
    """F1 in percent after adapting, by number of steps and weight of the label names."""
    found: dict[str, list[float]] = {}
    for support, query in validation.splits:
        rows = validation.dataset.select(query)
        names = tag_names(validation.dataset)
        gold = [[names[tag] for tag in tags] for tags in rows["ner_tags"]]
        for steps in plan["steps"]:
            ner = adapt(
                model,
                model.tokenizer,
                validation.dataset.select(support),
                validation.label_names,
                steps=steps,
            )
            types = list(ner.config.id2label.values())[1:]
            for weight in plan["label_weights"]:
                ner.config.label_weight = weight
                tags = io_to_bio(predict_words(ner, model.tokenizer, rows["tokens"]), types)
                key = f"{place}, {steps} steps, label weight {weight}"
                found.setdefault(key, []).append(100 * entity_scores(gold, tags)["f1"])
    return {key: float(np.mean(values)) for key, values in found.items()}


def to_markdown(results: dict[str, dict[str, float]], machine: dict[str, Any]) -> str:
    """A table of the variants, and one of adapting."""
    columns = list(dict.fromkeys(key for scores in results.values() for key in scores if "steps" not in key))
    lines = ["| variant | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, scores in results.items():
        lines.append(f"| {name} | " + " | ".join(f"{scores[key]:.1f}" for key in columns) + " |")
    adapting = {key: value for scores in results.values() for key, value in scores.items() if "steps" in key}
    if adapting:
        lines += ["", "| adapting | F1 |", "|---|---:|"]
        lines += [f"| {key} | {value:.1f} |" for key, value in adapting.items()]
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
