"""Parts of reports: Markdown tables, percentages, the machine, and the command line."""

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
"""Value of `shots` in results without a support set, from label names alone."""


def describe_machine(device: torch.device | str) -> dict[str, Any]:
    """Return processor, cores usable by this process, device, and versions of the main packages."""
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
    """Return the command that started this process, quoted for a shell."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _processor() -> str:
    """Return the name of the processor; on Linux from a file that the platform module does not read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int]) -> list[str]:
    """Return the lines of a Markdown table, with the columns in `numbers` right-aligned."""
    right = set(numbers)
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f}"
