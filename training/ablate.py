"""Train variants of a recipe and compare them on development data.

    python training/ablate.py training/recipes/ablation.yaml [--bf16 true --use_cpu true]

Each variant is the recipe with some arguments replaced, trained once per seed; further arguments on the
command line override those of the recipe, for all variants. A variant is evaluated on the held-out types of
the recipe and on further development files: zero-shot, with sampled support sets encoded without
fine-tuning, and adapted on them. Prints a Markdown table of means (with several seeds, also standard
deviations), and one of training: losses and gradient norms. Writes both to the output folder, with all
results and learning curves as JSON, and figures of them. Runs whose results are already there are not
repeated. Needs the extra `plot`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from figures import plot_curves, plot_scores
from plans import check_settings, digests, machine, plan_parser, read_json, read_plan, without
from scoring import adapted_score, mean_and_spread

from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.evaluation.recipe import read_recipe
from modeling_lacl.files import write_atomically
from modeling_lacl.optional import require
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import read_source, train_source
from modeling_lacl.training.validation import FewShotValidation
from modeling_lacl.viz.plots import Curves, learning_curves


def main() -> None:
    parser = plan_parser(__doc__, "recipe, dev_files, variants, adapt")
    options, overrides = parser.parse_known_args()
    require("matplotlib.figure", "plot")  # fail now, not after hours of training
    plan = read_plan(options)
    settings = without(plan, "seeds", "variants") | {"arguments": overrides}
    settings |= {"recipe": read_recipe(plan["recipe"]), "files": digests(plan, options.data_root)}
    check_settings(options.output, settings | {f"variant {name}": v for name, v in plan["variants"].items()})
    results_file, curves_file = options.output / "results.json", options.output / "curves.json"
    results: dict[str, dict[str, float]] = read_json(results_file)
    curves: dict[str, Curves] = read_json(curves_file)
    for name, variant in plan["variants"].items():
        for seed in plan["seeds"]:
            key = run_key(name, seed)
            if key not in results:
                results[key], curves[key] = run_variant(
                    plan, {**variant, "seed": seed}, options.data_root, overrides
                )
                write_atomically(curves_file, json.dumps(curves) + "\n")
                write_atomically(results_file, json.dumps(results, indent=1) + "\n")
            report = to_markdown(results, curves, plan, machine())
            write_atomically(options.output / "report.md", report)
    by_variant = {name: columns_of(runs_of(results, name, plan)) for name in plan["variants"]}
    plot_scores(by_variant, options.output / "scores.svg")
    followed = {name: runs for name in plan["variants"] if (runs := runs_of(curves, name, plan))}
    if followed:
        plot_curves(followed, options.output / "curves.svg")
    print(report)


def run_key(variant: str, seed: int) -> str:
    return f"{variant}, seed {seed}"


def runs_of(results: Mapping[str, Any], variant: str, plan: Mapping[str, Any]) -> list[Any]:
    """Return the available results of a variant, in the order of the seeds."""
    keys = [run_key(variant, seed) for seed in plan["seeds"]]
    return [results[key] for key in keys if key in results]


def columns_of(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """Return the scores of each column, over the runs that have it."""
    columns = list(dict.fromkeys(key for run in runs for key in run))
    return {key: [run[key] for run in runs if key in run] for key in columns}


def run_variant(
    plan: dict[str, Any], variant: dict[str, Any], data_root: Path, overrides: Sequence[str] = ()
) -> tuple[dict[str, float], Curves]:
    """Train and evaluate one variant.

    Returns:
        F1 in percent by development set and number of shots (means over support sets), and the learning
        curves.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = [plan["recipe"], *overrides]
        for key, value in variant.items():
            arguments += [f"--{key}", *map(str, value)] if isinstance(value, list) else [f"--{key}={value}"]
        arguments += [f"--train_file={data_root / plan['train_file']}", f"--output_dir={folder}/model"]
        model_args, data_args, training_args = parse_arguments(arguments)
        model = train_source(model_args, data_args, training_args)
        curves = learning_curves(Path(folder) / "model")
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
                continue  # no zero-shot without label prompts
            validation = FewShotValidation(
                dataset,
                k_shot=shots,
                draws=plan["draws"] if shots else 1,
                query_size=plan["query_size"],
                label_names=names,
            )
            scores[f"{name}, {shots}-shot"] = 100 * validation.scores(model)["f1"]
            if shots:
                scores[f"{name}, {shots}-shot adapted"] = adapted_score(model, validation, plan["adapt"])
    return {key: round(value, 2) for key, value in scores.items()}, curves


def to_markdown(
    results: Mapping[str, dict[str, float]],
    curves: Mapping[str, Curves],
    plan: Mapping[str, Any],
    machine: Mapping[str, Any],
) -> str:
    """Return a table of scores and one of training, with one row per variant."""
    chosen = [run for name in plan["variants"] for run in runs_of(results, name, plan)]
    columns = list(dict.fromkeys(key for scores in chosen for key in scores))
    lines = ["| variant | " + " | ".join(columns) + " | mean |", "|---|" + "---:|" * (len(columns) + 1)]
    for name in plan["variants"]:
        runs = runs_of(results, name, plan)
        if not runs:  # not yet
            continue
        scores = columns_of(runs)
        cells = [mean_and_spread(scores.get(key, [])) for key in columns]
        # Means are comparable only between variants with all columns.
        whole = all(len(run) == len(columns) for run in runs)
        cells.append(mean_and_spread([float(np.mean(list(run.values()))) for run in runs]) if whole else "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *training_table(curves, plan)]
    lines += ["", f"Seeds: {', '.join(map(str, plan['seeds']))}; {plan['draws']} support sets a column."]
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


def training_table(curves: Mapping[str, Curves], plan: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table: last losses, and median and maximum gradient norm before clipping."""
    measures: dict[str, tuple[str, Callable[[Sequence[float]], Any]]] = {
        "last context–context loss": ("context_context_loss", lambda values: values[-1]),
        "last context–label loss": ("context_label_loss", lambda values: values[-1]),
        "median gradient norm": ("grad_norm", np.median),
        "greatest gradient norm": ("grad_norm", np.max),
    }
    lines = ["| variant | " + " | ".join(measures) + " |", "|---|" + "---:|" * len(measures)]
    for name in plan["variants"]:
        runs = runs_of(curves, name, plan)
        if runs:
            cells = [
                mean_and_spread([float(measure(run[key][1])) for run in runs if key in run], digits=2)
                for key, measure in measures.values()
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
