"""Compare adapters of several ranks with the source model that they are extracted from, on development data.

    python training/ranks.py training/recipes/ranks.yaml --checkpoint DIR --data_root DATA

The checkpoint must be trained by `lacl train` on the encoder of the extra `demo`. Prints a Markdown table of
adapter sizes and of entity micro-F1, zero-shot and adapted on sampled support sets, and writes it to the
output folder, with the results as JSON and a figure. Models whose results are already there are not evaluated
again. Needs the extra `plot`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from figures import plot_scores
from plans import check_settings, digests, machine, plan_parser, read_json, read_plan, without
from safetensors.torch import load_file
from scoring import adapted_score, mean_and_spread, query_score

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.evaluation.results import model_digest
from modeling_lacl.files import write_atomically
from modeling_lacl.hub.bundled import embedded_encoder, extract_adapter, merge_adapter
from modeling_lacl.optional import require
from modeling_lacl.training.validation import FewShotValidation


def main() -> None:
    parser = plan_parser(__doc__, "ranks, dev_files, shots, draws, query_size")
    parser.add_argument("--checkpoint", required=True, help="folder of the source model")
    options = parser.parse_args()
    require("matplotlib.figure", "plot")  # fail now, not after all the work
    plan = read_plan(options)
    source = LaclForTokenClassification.from_pretrained(options.checkpoint)
    check_settings(
        options.output,
        without(plan, "ranks") | {"model": model_digest(source), "files": digests(plan, options.data_root)},
    )
    results: dict[str, dict[str, list[float]]] = read_json(options.output / "results.json")
    for rank in (None, *plan["ranks"]):
        name = f"rank {rank}" if rank else "whole"
        if name not in results:
            model = LaclForTokenClassification.from_pretrained(options.checkpoint)
            size = keep_rank(model, rank) if rank else sum(p.nbytes for p in model.parameters())
            results[name] = {"MiB": [size / 2**20], **scores(model, plan, options.data_root)}
            write_atomically(options.output / "results.json", json.dumps(results, indent=1) + "\n")
    report = to_markdown(results, machine())
    write_atomically(options.output / "report.md", report)
    scored = {name: {key: row[key] for key in row if key != "MiB"} for name, row in results.items()}
    plot_scores(scored, options.output / "scores.svg")
    print(report)


def keep_rank(model: LaclForTokenClassification, rank: int) -> int:
    """Reduce the model to what an adapter of this rank keeps, and return the size of the adapter in bytes."""
    base = load_file(embedded_encoder() / "model.safetensors")
    adapter = extract_adapter(model.state_dict(), base, rank)
    kept = merge_adapter(base, adapter)  # may contain buffers of the encoder file that models no longer have
    model.load_state_dict({name: kept.get(name, weight) for name, weight in model.state_dict().items()})
    return sum(part.nbytes for part in adapter.values())


def scores(
    model: LaclForTokenClassification, plan: Mapping[str, Any], data_root: Path
) -> dict[str, list[float]]:
    """Return F1 in percent by development set, one value per sampled support set."""
    found: dict[str, list[float]] = {}
    shots = plan["shots"]
    for name, file in plan["dev_files"].items():
        validation = FewShotValidation(
            read_dataset(data_root / file["path"]),
            k_shot=shots,
            draws=plan["draws"],
            query_size=plan["query_size"],
            label_names=load_label_names(file["label_names"]),
        )
        labels = {label: validation.label_names[label] for label in validation.types}
        splits = validation.splits
        found[f"{name}, 0-shot"] = [query_score(model, validation, query, labels) for _, query in splits]
        adapted = []
        for split in splits:
            validation.splits = [split]
            adapted.append(adapted_score(model, validation, {}))
        found[f"{name}, {shots}-shot adapted"] = adapted
    return found


def to_markdown(results: Mapping[str, Mapping[str, list[float]]], machine: Mapping[str, Any]) -> str:
    """Return a table with one row per model: size, mean and standard deviation of F1, overall mean."""
    columns = list(dict.fromkeys(key for row in results.values() for key in row))
    lines = ["| model | " + " | ".join(columns) + " | mean |", "|---|" + "---:|" * (len(columns) + 1)]
    for name, row in results.items():
        cells = [mean_and_spread(row[key]) for key in columns]
        cells.append(f"{np.mean([np.mean(row[key]) for key in columns if key != 'MiB']):.1f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
