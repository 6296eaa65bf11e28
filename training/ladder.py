"""From one system to another, one change at a time: source models and their scores, over several seeds.

    python training/ladder.py training/recipes/ladder.yaml --data_root DATA [--bf16 true --use_cpu true]

The plan has the system to start from, variants of it, and changes that add up. For each row and seed a source
model is trained, adapted on the support sets of all targets, and scored; rows that differ in adapting and
decoding alone share their source models. Further arguments on the command line override those of source
training, for all rows. Prints a Markdown table of entity micro-F1, with means and standard deviations over
the seeds and the difference to the row before, and writes it to the output folder after every run. The same
command resumes what was interrupted, from the last checkpoint of a source model and the last scored support
set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from plans import machine, plan_parser, read_plan
from scoring import mean_and_spread

from modeling_lacl.evaluation.intervals import value_of
from modeling_lacl.evaluation.recipe import TransferRecipe, read_recipe, slug
from modeling_lacl.evaluation.transfer import evaluate_transfer
from modeling_lacl.files import sha256, write_atomically
from modeling_lacl.reporting import markdown_table
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source


@dataclass(frozen=True)
class Row:
    """A system, as what it has in the place of the plan's recipe and of the defaults.

    Attributes:
        name: Its name in the table.
        base: Name of the row that it is a change of; None for the first.
        source: Arguments of source training.
        config: Options of the configuration in adapting and decoding.
        one_shot: Further options in settings with one example of each type.
        adapt: Arguments of adapting.
        label_names: Label names, by target.
    """

    name: str
    base: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    one_shot: dict[str, Any] = field(default_factory=dict)
    adapt: dict[str, Any] = field(default_factory=dict)
    label_names: dict[str, str] = field(default_factory=dict)

    def changed(self, name: str, change: Mapping[str, Mapping[str, Any]]) -> Row:
        """Return the row with a change.

        Raises:
            ValueError: The change has a key that is none of a row.
        """
        if unknown := set(change) - {"source", "config", "one_shot", "adapt", "label_names"}:
            raise ValueError(f"{name!r} has the key {unknown.pop()!r}, which is none of a row")
        parts = {key: {**getattr(self, key), **values} for key, values in change.items()}
        return replace(self, name=name, base=self.name, **parts)


def rows_of(plan: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a plan: its start, variants of it, and changes on top of each other.

    Raises:
        ValueError: Two rows would have the same folder, or as for `Row.changed`.
    """
    start = Row(**plan["start"])
    rows = [start, *(start.changed(name, change) for name, change in plan.get("variants", {}).items())]
    last = start
    for name, change in plan["changes"].items():
        last = last.changed(name, change)
        rows.append(last)
    places = [slug(row.name) for row in rows]
    for row, place in zip(rows, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"the name of the row {row.name!r} is too much like that of another")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = plan_parser(__doc__, "recipe, train_file, seeds, targets, episodes, start, variants, changes")
    parser.add_argument("--row", action="append", help="row to run (default: all); can be repeated")
    parser.add_argument("--limit", type=int, help="maximum number of support sets of a kind and of episodes")
    options, overrides = parser.parse_known_args(arguments)
    plan = read_plan(options)
    rows = rows_of(plan)
    if unknown := set(options.row or ()) - {row.name for row in rows}:
        parser.error(f"no row {unknown.pop()!r}; there are {', '.join(row.name for row in rows)}")
    scores: dict[str, list[dict[str, float]]] = {}
    for seed in plan["seeds"]:  # all rows with one seed first
        for row in (row for row in rows if not options.row or row.name in options.row):
            source = train(plan, row, seed, overrides, options)
            scores.setdefault(row.name, []).append(evaluate(plan, row, seed, source, options))
            write_atomically(options.output / "scores.json", json.dumps(scores, indent=1) + "\n")
            write_atomically(options.output / "report.md", to_markdown(rows, scores, plan))
    print(to_markdown(rows, scores, plan))


def train(
    plan: Mapping[str, Any], row: Row, seed: int, overrides: Sequence[str], options: argparse.Namespace
) -> Path:
    """Train the source model of a row, unless it is there, and return its folder.

    The folder is named by a digest of all that the model depends on; a recipe to train it stands beside it.
    """
    file = options.data_root / plan["train_file"]
    settings = {**read_recipe(plan["recipe"]), **row.source, "seed": seed}
    del settings["train_file"], settings["output_dir"]
    digest = sha256(json.dumps([settings, list(overrides), sha256(file)], sort_keys=True))[:12]
    folder: Path = options.output / "sources" / digest
    if not (folder / "config.json").is_file():
        recipe = folder.with_suffix(".yaml")
        folder.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({**settings, "train_file": str(file), "output_dir": str(folder)})
        write_atomically(recipe, text)
        train_source(*parse_arguments([str(recipe), "--resume", *overrides]))
    return folder


def evaluate(
    plan: Mapping[str, Any], row: Row, seed: int, source: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Return F1 in percent of a row with one source model, by setting."""
    found: dict[str, float] = {}
    for shots in shots_of(plan):
        report = evaluate_transfer(recipe(plan, row, seed, shots, source, options))
        for line in report.summary():
            found[f"{line['target']}, {line['shots']}"] = 100 * value_of(line["f1"])
    return found


def shots_of(plan: Mapping[str, Any]) -> list[int]:
    """Return the numbers of examples of each type that occur in the settings, in order."""
    targets = [shots for target in plan.get("targets", []) for shots in target["shots"]]
    return sorted({*targets, *(target["k_shot"] for target in plan.get("episodes", []))})


def recipe(
    plan: Mapping[str, Any], row: Row, seed: int, shots: int, source: Path, options: argparse.Namespace
) -> TransferRecipe:
    """Return the recipe to evaluate a row in the settings with a number of examples of each type."""
    targets = [
        {**target, "shots": [shots], "label_names": row.label_names.get(target["name"])}
        for target in plan.get("targets", [])
        if shots in target["shots"]
    ]
    episodes = [
        {**target, "label_names": row.label_names.get(target["name"])}
        for target in plan.get("episodes", [])
        if target["k_shot"] == shots
    ]
    given: dict[str, Any] = {"targets": targets, "episodes": episodes}
    return TransferRecipe(
        checkpoint=str(source),
        config=row.config | (row.one_shot if shots == 1 else {}),
        adapt={key: value for key, value in row.adapt.items() if value is not None},
        data_root=str(options.data_root),
        output=str(options.output / slug(row.name) / f"seed-{seed}" / f"{shots}-shot"),
        limit=options.limit,
        **given,
    )


def to_markdown(
    rows: Sequence[Row], scores: Mapping[str, Sequence[Mapping[str, float]]], plan: Mapping[str, Any]
) -> str:
    """Return a table with a line for each row, and how its average differs from that of its base."""
    columns = list(dict.fromkeys(key for runs in scores.values() for run in runs for key in run))
    averages = {name: [float(np.mean(list(run.values()))) for run in runs] for name, runs in scores.items()}
    lines = []
    for row in (row for row in rows if scores.get(row.name)):
        cells = [mean_and_spread([run[key] for run in scores[row.name]]) for key in columns]
        own, before = averages[row.name], averages.get(row.base or "", [])
        # By seed, as far as both have run.
        change = [one - other for one, other in zip(own, before, strict=False)]
        lines.append([row.name, *cells, mean_and_spread(own), mean_and_spread(change) if change else "–"])
    header = ["row", *columns, "average", "change"]
    table = markdown_table(header, lines, numbers=range(1, len(header)))
    note = (
        "Entity micro-F1 in percent: mean ± standard deviation over the source seeds that have run, of "
        f"{', '.join(map(str, plan['seeds']))}. Each is a mean over support sets, or F1 over the entities of "
        "all episodes. Change: of the average, by seed, against the row before; of a variant, against the "
        "first row."
    )
    return "\n".join([*table, "", note, "", ", ".join(f"{k}: {v}" for k, v in machine().items())]) + "\n"


if __name__ == "__main__":
    main()
