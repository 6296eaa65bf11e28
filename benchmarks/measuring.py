"""Shared parts of the benchmarks: interleaved timing, peak memory in child processes, tables, real texts."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).resolve().parent.parent / "modeling_lacl" / "samples"

Clock = Callable[[], float]


def arguments(description: str | None, *further: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """Parse the options of all benchmarks and those in `further`, and set the number of threads."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that it runs")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to take medians over (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default: 1)")
    parser.add_argument(
        "--cpu_time",
        action="store_true",
        help="measure processor time instead of wall-clock time, on a machine with other load",
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)  # the task of a child process, as JSON
    for name, settings in further:
        parser.add_argument(name, **settings)
    options = parser.parse_args()
    if options.quick:
        options.rounds = min(options.rounds, 2)
    options.clock = time.process_time if options.cpu_time else time.perf_counter
    set_threads(options.threads)
    return options


def set_threads(number: int) -> None:
    """Set the number of threads of PyTorch, whether or not it has been imported."""
    os.environ["OMP_NUM_THREADS"] = str(number)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)


def seconds(function: Callable[[], Any], clock: Clock) -> float:
    """Return the time of one call."""
    start = clock()
    function()
    return clock() - start


def interleaved(
    functions: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Time each function in each round, in seconds; taking turns exposes all to the same load."""
    for function in functions.values():
        function()  # warm-up: loading and allocation are not measured
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function, clock))
    return times


def ratio(times: Mapping[str, Sequence[float]], name: str, to: str) -> float:
    """Return the median over the rounds of the time of `name` divided by the time of `to`."""
    return statistics.median(a / b for a, b in zip(times[name], times[to], strict=True))


def median_ms(times: Sequence[float]) -> str:
    return f"{1000 * statistics.median(times):.1f}"


def peak_mib() -> float:
    """Return the peak memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, getrusage includes the memory of the parent at the start
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def in_child(task: Mapping[str, Any], *options: str, python: str = sys.executable) -> Any:
    """Run one task of this benchmark in a child process, and return what it prints as JSON.

    Raises:
        RuntimeError: The process failed; the message is the last line of its standard error.
    """
    command = [python, os.path.abspath(sys.argv[0]), *options, "--child", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(command: list[str]) -> tuple[float, float, str]:
    """Run a command to its end, and return its wall-clock time, processor time and output."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    done.check_returncode()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, processor, done.stdout.decode()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is the header."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *body])


def machine_line(options: argparse.Namespace) -> str:
    """Return a line with machine, date, and kind of measurement."""
    from modeling_lacl.reporting import describe_machine

    device = getattr(options, "device", "cpu")
    machine = ", ".join(f"{key}: {value}" for key, value in describe_machine(device).items())
    kind = "processor time" if options.cpu_time else "wall-clock time"
    return f"{machine}; {date.today().isoformat()}; {kind}, medians of {options.rounds} rounds"


def sample_words(number: int | None = None) -> list[list[str]]:
    """Return sentences of the packaged samples as lists of words, repeated if more are requested."""
    from modeling_lacl import read_dataset

    sentences = [
        words
        for name in ("few_nerd_source.txt", "wnut17_test.txt")
        for words in read_dataset(SAMPLES / name)["tokens"]
    ]
    number = len(sentences) if number is None else number
    return [sentences[index % len(sentences)] for index in range(number)]


def sample_texts(number: int | None = None) -> list[str]:
    """Return sentences of the packaged samples as texts."""
    return [" ".join(words) for words in sample_words(number)]


def type_names(number: int) -> list[str]:
    """Return label names: those of FEW-NERD's fine-grained types, then the same with numbers appended."""
    from modeling_lacl.data.label_names import load_label_names

    names = list(dict.fromkeys(load_label_names("few_nerd").values()))
    return [
        names[index] if index < len(names) else f"{names[index % len(names)]} {index // len(names) + 1}"
        for index in range(number)
    ]
