"""TODO docstring."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

if TYPE_CHECKING:
    pass


def describe_machine(device: torch.device | str) -> dict[str, Any]:
    """Processor, cores usable by this process, device and versions."""
    from .version import __version__

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


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, finds the old content or the new and nothing between."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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


ZERO_SHOT = "zero-shot"
