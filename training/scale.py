"""Train on more and more corpora at equal steps, and compare what models find by names on other corpora.

    python training/scale.py training/recipes/scale.yaml --data_root DATA

The first model is trained on the files of the recipe alone. Each further one has more corpora of its folder,
in a random order, until they have the number of types that the plan names; the last has all of them. Then
come variants of the last. Prints a Markdown table of F1 by corpus (`corpora_scores.py`) at the threshold with
the best mean, and of that mean, and writes it to the output folder with the results and a figure. Runs whose
results are already there are not repeated. Needs the extra `plot`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from corpora_scores import THRESHOLDS, Corpus, Row, development, f1_at
from plans import check_settings, machine, plan_parser, read_json, read_plan, without

from modeling_lacl.data.corpora.index import IndexedCorpus, read_index
from modeling_lacl.evaluation.recipe import read_recipe
from modeling_lacl.files import write_atomically
from modeling_lacl.optional import require
from modeling_lacl.reporting import markdown_table
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source
from modeling_lacl.viz.plots import save_figure

Results = dict[str, dict[str, Any]]
"""By model: number of types and corpora, steps, and the predictions on each corpus."""


def main() -> None:
    parser = plan_parser(__doc__, "recipe, folder, types, arguments, variants, sentences")
    options = parser.parse_args()
    require("matplotlib.figure", "plot")  # fail now, not after hours of training
    plan = read_plan(options)
    folder = options.data_root / plan["folder"]
    recipe = {**read_recipe(plan["recipe"]), **plan["arguments"]}
    check_settings(options.output, without(plan, "variants", "types") | {"recipe": recipe})
    file = options.output / "results.json"
    results: Results = read_json(file)
    sources = nested_sources(recipe, folder, plan["types"], plan["types_of_files"])
    everything = sources[-1]
    runs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    runs |= {f"{source['types']} types": (source, {}) for source in sources}
    runs |= {name: (everything, changes) for name, changes in plan["variants"].items()}
    for name, (source, changes) in runs.items():
        if name not in results:
            results[name] = source | {"steps": {**recipe, **changes}["max_steps"], "changes": changes}
            results[name]["rows"] = trained_and_tagged(
                {**recipe, **changes}, source, folder, plan["sentences"]
            )
            write_atomically(file, json.dumps(results) + "\n")
        write_atomically(options.output / "report.md", to_markdown(results, machine()))
    plot(results, options.output / "scale.svg")
    print(to_markdown(results, machine()))


def nested_sources(
    recipe: Mapping[str, Any], folder: Path, wanted: Sequence[int], of_files: int
) -> list[dict[str, Any]]:
    """Return, for each number of types, what is left out of the recipe's folder, and how much is left."""
    (entry,) = (one for one in recipe["corpora"] if "folder" in one)
    release = entry.get("release")
    index = [
        one
        for one in read_index(folder)
        if one.role == entry.get("role", "training") and (release is None or one.release in release)
    ]
    order = np.random.default_rng(recipe["seed"]).permutation(len(index)).tolist()
    fewest = entry.get("min_mentions", 1)
    sources: list[dict[str, Any]] = []
    kept: list[IndexedCorpus] = []
    names: set[str] = set()
    for number in [*wanted, None]:
        while len(kept) < len(index) and (number is None or of_files + len(names) < number):
            kept.append(index[order[len(kept)]])
            names |= {name for name, mentions in kept[-1].types.items() if mentions >= fewest}
        left = {one.name for one in kept}
        exclude = [one.name for one in index if one.name not in left]
        sources.append({"types": of_files + len(names), "corpora": len(kept), "exclude": exclude})
    return sources


def trained_and_tagged(
    arguments: Mapping[str, Any], source: Mapping[str, Any], folder: Path, sentences: int
) -> dict[str, Row]:
    """Train a model, and return what it predicts by names on each development corpus."""
    corpora = [
        {**one, "folder": str(folder), "exclude": source["exclude"]} if "folder" in one else one
        for one in arguments["corpora"]
        if source["corpora"] or "folder" not in one
    ]
    with tempfile.TemporaryDirectory() as place:
        recipe = Path(place) / "recipe.yaml"
        values = {**arguments, "corpora": corpora, "output_dir": f"{place}/model"}
        recipe.write_text(yaml.safe_dump(values), encoding="utf-8")
        model = train_source(*parse_arguments([str(recipe)]))
    return {name: Corpus(folder / name, sentences).measure(model, 0, 0, {}) for name in development(folder)}


def best_scores(rows: Mapping[str, Row]) -> dict[str, float]:
    """Return F1 by corpus and in the mean, at the threshold that is best for the mean."""
    by_threshold = [{name: f1_at(row, at) for name, row in rows.items()} for at in THRESHOLDS]
    best = max(by_threshold, key=lambda scores: sum(scores.values()))
    return {**best, "mean": float(np.mean(list(best.values())))}


def to_markdown(results: Results, machine: Mapping[str, Any]) -> str:
    """Return a table with a row for each model."""
    rows = {name: best_scores(one["rows"]) for name, one in results.items()}
    heads = ["source", "corpora", "steps", *next(iter(rows.values()))]
    cells = [
        [
            name,
            str(results[name]["corpora"]),
            str(results[name]["steps"]),
            *(f"{f1:.1f}" for f1 in row.values()),
        ]
        for name, row in rows.items()
    ]
    table = "\n".join(markdown_table(heads, cells, range(1, len(heads))))
    return f"{table}\n\nCorpora without the files of the recipe. {json.dumps(machine)}\n"


def plot(results: Results, file: Path) -> None:
    """Plot the mean F1 by the number of types, and of the variants beside it."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    grown = [one for one in results.values() if not one["changes"]]
    points = [(one["types"], best_scores(one["rows"])["mean"]) for one in grown]
    axis.plot(*zip(*points, strict=True), "o-", label=f"{grown[0]['steps']:,} steps")
    for place, (name, one) in enumerate(results.items()):
        if one["changes"]:
            axis.plot(one["types"], best_scores(one["rows"])["mean"], "s", color=f"C{place}", label=name)
    axis.set(xlabel="types in the source", ylabel="mean F1 by names alone, in percent", xscale="log")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    save_figure(figure, file)


if __name__ == "__main__":
    main()
