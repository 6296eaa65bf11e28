"""Tag-set extension: train on two groups of entity types of a corpus, and adapt to the third group.

    python training/extend_tag_set.py training/recipes/tag_set_extension.yaml --data_root DIR

The protocol of StructShot (Yang and Katiyar, EMNLP 2020) and CONTaiNER (Das et al., ACL 2022) on OntoNotes.
For each group, the source models are trained on the training split, where entities of the group are labelled
as outside; each method is then adapted on support sets sampled from the validation split and scored on the
whole test split, with only the types of the group. Prints F1 of all methods and groups in one table, and
writes it to the output folder. Models and results that are already there are reused.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plans import machine, plan_parser, read_plan

from modeling_lacl.evaluation.comparison import ComparisonReport
from modeling_lacl.evaluation.recipe import TransferRecipe, slug
from modeling_lacl.evaluation.report import TransferReport
from modeling_lacl.evaluation.targets import TransferTarget
from modeling_lacl.evaluation.transfer import evaluate_transfer
from modeling_lacl.reporting import command_line
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source


def main(arguments: Sequence[str] | None = None) -> None:
    parser = plan_parser(__doc__, "corpus, folder, groups, shots, sets, source, methods")
    parser.add_argument("--group", action="append", help="group to evaluate (default: all); can be repeated")
    parser.add_argument(
        "--method", action="append", help="method to evaluate (default: all); can be repeated"
    )
    parser.add_argument("--limit", type=int, help="maximum number of support sets per number of shots")
    options = parser.parse_args(arguments)
    plan = read_plan(options)
    reports: dict[str, TransferReport] = {}
    for name in options.method or plan["methods"]:
        for group in options.group or plan["groups"]:
            source = train(plan, name, group, options)
            report = evaluate_transfer(recipe(plan, name, group, source, options))
            if name in reports:
                report.results = [*reports[name].results, *report.results]
                report.seconds += reports[name].seconds
            reports[name] = report
    table = ComparisonReport(reports=reports, command=command_line(), machine=machine())
    table.save(options.output)
    print(table.to_markdown())


def train(plan: Mapping[str, Any], method: str, group: str, options: argparse.Namespace) -> Path:
    """Train the source model unless it exists, and return its folder; methods may share a model."""
    source = options.plan.parent / plan["methods"][method]["source"]
    folder: Path = options.output / slug(group) / f"source-{source.stem}"
    if not (folder / "config.json").is_file():
        others = [name for other, types in plan["groups"].items() if other != group for name in types]
        given = {
            "corpus": plan["corpus"],
            "train_file": options.data_root / plan["folder"],
            "output_dir": folder,
            "overwrite_output_dir": True,
            **plan.get("source", {}),
        }
        settings = [f"--{key}={'' if value is None else value}" for key, value in given.items()]
        train_source(*parse_arguments([str(source), *settings, "--train_types", *others]))
    return folder


def recipe(
    plan: Mapping[str, Any], method: str, group: str, source: Path, options: argparse.Namespace
) -> TransferRecipe:
    """Return the recipe to evaluate one method on one group."""
    return TransferRecipe(
        checkpoint=str(source),
        targets=[
            TransferTarget(
                name=f"group {group}",
                corpus=plan["corpus"],
                test=plan["folder"],
                types=plan["groups"][group],
                sample_from="validation",
                shots=plan["shots"],
                sets=plan["sets"],
                label_names=plan["label_names"],
            )
        ],
        data_root=str(options.data_root),
        output=str(options.output / slug(group) / slug(method)),
        limit=options.limit,
        **{key: value for key, value in plan["methods"][method].items() if key != "source"},
    )


if __name__ == "__main__":
    main()
