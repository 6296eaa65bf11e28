"""What the experiments share: a plan in YAML, a folder of data, and a folder of results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState  # type: ignore[import-untyped]

from modeling_lacl.data.yaml_files import read_yaml
from modeling_lacl.files import sha256, write_atomically
from modeling_lacl.reporting import describe_machine


def plan_parser(description: str | None, keys: str) -> argparse.ArgumentParser:
    """The options of every experiment, to which each adds its own.

    Args:
        description: What `--help` tells of the program.
        keys: Of its plan.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("plan", type=Path, help=f"YAML: {keys}")
    parser.add_argument(
        "--data_root", type=Path, default=Path("../shared/data"), help="folder of the data files"
    )
    parser.add_argument("--output", type=Path, help="of the results (default: outputs/ and the plan's name)")
    return parser


def read_plan(options: argparse.Namespace) -> Any:
    """The plan. Makes the folder of the results."""
    plan = read_yaml(options.plan)
    if options.output is None:
        options.output = Path("outputs") / options.plan.stem
    options.output.mkdir(parents=True, exist_ok=True)
    return plan


def read_json(file: Path) -> dict[str, Any]:
    """What stands in a file, nothing where there is none."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Sees to it that a folder holds results of one kind of run alone, for results that stand there are kept.

    Args:
        folder: Of the results; gets `settings.json`, all settings that results in it were made with.
        settings: What the results to come depend on, by name; those told before must agree. Once there
            are results, only variants may join them.

    Raises:
        SystemExit: The folder holds results of other settings, or does not tell of which.
    """
    told: dict[str, Any] = json.loads(json.dumps(settings))  # as a file will tell it
    file = folder / "settings.json"
    has_results = (folder / "results.json").is_file()
    if has_results and not file.is_file():
        raise SystemExit(f"{folder} holds results and no settings.json of theirs: give another --output")
    before = read_json(file)
    differing = [
        name
        for name in told
        if (before[name] != told[name] if name in before else has_results and not name.startswith("variant "))
    ]
    if differing:
        raise SystemExit(f"{folder} holds results with another {', '.join(differing)}: give another --output")
    write_atomically(file, json.dumps(before | told, indent=1) + "\n")


def digests(plan: Mapping[str, Any], root: Path) -> dict[str, str]:
    """SHA-256 of a plan's data files, by name: results depend on what they hold, not on where they lie."""
    files = [one["path"] for one in plan["dev_files"].values()]
    files += [plan["train_file"]] if "train_file" in plan else []
    return {file: sha256(root / file) for file in files}


def machine() -> dict[str, Any]:
    """What the results were made on, with the device that training and adapting take."""
    return describe_machine(PartialState().device)


def without(plan: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A plan less what says which results there are, not what these are."""
    return {name: value for name, value in plan.items() if name not in names}
