"""Benchmark `lacl predict --engine ray` against one process: start, texts per second, and overhead.

    python benchmarks/ray_tagging.py --workers 1 2

Every command runs whole, in a process of its own, over the texts and over two copies of them. The second copy
takes the difference, which gives the texts per second; what the first takes longer is the start: imports, the
model, Ray. Each worker, and the process, has one thread. On a machine with other load, Ray's workers get as
much of it as the process does. The results are compared: Ray has to find what the process finds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from measuring import arguments, machine_line, sample_texts, seconds, table

LACL = "from modeling_lacl.cli import main; main()"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0", "HF_HUB_OFFLINE": "1"}


def main() -> None:
    options = arguments(
        __doc__,
        ("--checkpoint", {"default": "lacl-minilm-fewnerd", "help": "a LACL model"}),
        ("--texts", {"type": int, "default": 4000, "help": "texts of the first copy (default: 4000)"}),
        ("--workers", {"type": int, "nargs": "+", "default": [1, 2], "help": "default: 1 2"}),
    )
    if options.quick:
        options.texts, options.rounds, options.workers = 40, 1, [1]
    if options.cpu_time:
        raise SystemExit("--cpu_time: the work is in other processes; leave it out")
    with tempfile.TemporaryDirectory() as folder:
        print(engine_table(Path(folder), options), end="\n\n")
    print(machine_line(options))


def tag(folder: Path, options: Any, copies: int, workers: int) -> None:
    """Run the command over some copies of the texts; without workers, in one process."""
    output = folder / f"{workers}-{copies}.jsonl"
    command = [sys.executable, "-c", LACL, "predict", options.checkpoint, str(folder / f"{copies}.txt")]
    command += [str(output), "--labels", "person,city,organization"]
    command += ["--engine", "ray", "--workers", str(workers)] if workers else []
    done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def found(path: Path) -> list[Any]:
    """Return what was found in each text, without the scores."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(row["text"], [(one["entity_group"], one["start"]) for one in row["entities"]]) for row in rows]


def engine_table(folder: Path, options: Any) -> str:
    """Return the table of all engines: start, texts per second, and their ratio to one process."""
    texts = sample_texts(options.texts)
    for copies in (1, 2):
        (folder / f"{copies}.txt").write_text("\n".join(texts * copies) + "\n", encoding="utf-8")
    engines = [0, *options.workers]
    runs = {
        f"{workers}-{copies}": partial(tag, folder, options, copies, workers)
        for workers in engines
        for copies in (1, 2)
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):  # in turns, and none to warm up: the start counts
        for name, run in runs.items():
            times[name].append(seconds(run, options.clock))
    rows = [["engine", "start, s", "texts/s", "of one process", "overhead of a worker"]]
    rates: dict[int, float] = {}
    for workers in engines:
        once, twice = (statistics.median(times[f"{workers}-{copies}"]) for copies in (1, 2))
        rates[workers] = len(texts) / (twice - once)
        row = [f"Ray, workers: {workers}" if workers else "one process", f"{2 * once - twice:.1f}"]
        share = rates[workers] / rates[0]
        row += [
            f"{rates[workers]:.0f}",
            f"{share:.2f}",
            f"{100 * (workers / share - 1):.0f} %" if workers else "",
        ]
        rows.append(row)
    same = all(found(folder / f"{workers}-2.jsonl") == found(folder / "0-2.jsonl") for workers in engines)
    return f"{len(texts)} texts; Ray finds {'the same' if same else 'something else'}:\n\n{table(rows)}"


if __name__ == "__main__":
    main()
