"""What reports are made of: Markdown tables, percentages, the machine and the command line."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from .version import __version__

ZERO_SHOT = "zero-shot"
"""What stands in the place of the shots where a model finds types by their names alone."""


def describe_machine(device: torch.device | str) -> dict[str, Any]:
    """Processor, cores usable by this process, device and versions."""
    device = torch.device(device)
    return {
        "processor": _processor(),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "system": platform.system(),
        "python": platform.python_version(),
        "lacl": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def command_line() -> str:
    """The command that this process was started with, as one would type it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _processor() -> str:
    """Name of the processor; Linux keeps it where the platform module does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int]) -> list[str]:
    """Lines of a Markdown table, the columns in `numbers` set to the right."""
    right = set(numbers)
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f}"
