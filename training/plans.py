"""Shared parts of the experiments: the plan in YAML, the data folder, and the output folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState

from modeling_lacl.data.yaml_files import read_yaml
from modeling_lacl.files import sha256, write_atomically
from modeling_lacl.reporting import describe_machine


def plan_parser(description: str | None, keys: str) -> argparse.ArgumentParser:
    """Return a parser with the options of all experiments, to which each adds its own.

    Args:
        description: Description of the program for `--help`.
        keys: Keys of the plan, for `--help`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("plan", type=Path, help=f"YAML: {keys}")
    parser.add_argument(
        "--data_root", type=Path, default=Path("../shared/data"), help="folder with the data files"
    )
    parser.add_argument("--output", type=Path, help="folder for the results (default: outputs/PLAN)")
    return parser


def read_plan(options: argparse.Namespace) -> Any:
    """Read the plan, set the default of `options.output`, and create that folder."""
    plan = read_yaml(options.plan)
    if options.output is None:
        options.output = Path("outputs") / options.plan.stem
    options.output.mkdir(parents=True, exist_ok=True)
    return plan


def read_json(file: Path) -> dict[str, Any]:
    """Return the content of a JSON file; an empty dict if the file does not exist."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that existing results in a folder, which are reused, were made with the same settings.

    Args:
        folder: Folder for the results; `settings.json` in it records all settings of its results.
        settings: Everything that the new results depend on, by name; settings recorded before must be equal.
            Once there are results, only variants may be added.

    Raises:
        SystemExit: The folder holds results with other settings, or results without `settings.json`.
    """
    new: dict[str, Any] = json.loads(json.dumps(settings))  # in the form that JSON reads back
    file = folder / "settings.json"
    has_results = (folder / "results.json").is_file()
    if has_results and not file.is_file():
        raise SystemExit(f"{folder} holds results and no settings.json for them: give another --output")
    before = read_json(file)
    differing = [
        name
        for name in new
        if (before[name] != new[name] if name in before else has_results and not name.startswith("variant "))
    ]
    if differing:
        raise SystemExit(f"{folder} holds results with another {', '.join(differing)}: give another --output")
    write_atomically(file, json.dumps(before | new, indent=1) + "\n")


def digests(plan: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Return the SHA-256 of a plan's data files, by name: results depend on their content, not the folder."""
    files = [one["path"] for one in plan["dev_files"].values()]
    files += [plan["train_file"]] if "train_file" in plan else []
    return {file: sha256(root / file) for file in files}


def machine() -> dict[str, Any]:
    """Describe the machine, with the device that training and adapting use."""
    return describe_machine(PartialState().device)


def without(plan: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a plan without keys that only select which results are computed."""
    return {name: value for name, value in plan.items() if name not in names}
