"""What the experiments share: a plan in YAML, a folder of data, and a folder of results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml


def plan_parser(description: str | None, keys: str, output: str) -> argparse.ArgumentParser:
    """The options of every experiment, to which each adds its own.

    Args:
        description: What `--help` tells of the program.
        keys: Of its plan.
        output: The folder of its results.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("plan", type=Path, help=f"YAML: {keys}")
    parser.add_argument(
        "--data_root", type=Path, default=Path("../shared/data"), help="folder of the data files"
    )
    parser.add_argument(
        "--output", type=Path, default=Path(output), help=f"of the results (default: {output})"
    )
    return parser


def read_plan(options: argparse.Namespace) -> Any:
    """The plan. Makes the folder of the results."""
    plan = yaml.safe_load(options.plan.read_text(encoding="utf-8"))
    options.output.mkdir(parents=True, exist_ok=True)
    return plan
