"""Benchmark how long everyday use takes to start: processor time of fresh processes, from start to end.

    python benchmarks/startup.py

Imports and `lacl --help`; then a model that is loaded and finds the entities of one sentence, by name or from
a folder, beside what torch and transformers take for themselves: the bare encoder, loaded and applied to the
same sentence. Programs take turns; the first process of each only fills the disk cache and is not measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from measuring import arguments, machine_line, measured, table

SENTENCE = "Ana Ruiz flew to Quito."
COMMAND = "import sys; from modeling_lacl.cli import main; sys.argv = ['lacl', *sys.argv[1:]]; main()"
ENCODER = """
import sys, torch
from transformers import AutoModel, AutoTokenizer
tokenizer, model = (one.from_pretrained(sys.argv[1]) for one in (AutoTokenizer, AutoModel))
with torch.inference_mode():
    model(**tokenizer(sys.argv[2], return_tensors="pt"))
"""
LOADED = "import sys; from modeling_lacl import LaclForTokenClassification as Model\n"
LOADED += "Model.from_pretrained(sys.argv[1])"

# Program, arguments, and what is wanted; RELEASED and FOLDER stand for the model.
Row = tuple[str, tuple[str, ...], str]
LIGHT: dict[str, Row] = {
    "`lacl --help`": (COMMAND, ("--help",), "under 1"),
    "`import modeling_lacl`": ("import modeling_lacl", (), "under 0.3"),
}
PREDICT = ("--text", SENTENCE, "--labels", "person,city")
HEAVY: dict[str, Row] = {
    "`import torch`": ("import torch", (), ""),
    "transformers: import of `PreTrainedModel`": ("from transformers import PreTrainedModel", (), ""),
    "transformers: encoder loaded, one sentence": (ENCODER, ("ENCODER", SENTENCE), ""),
    "`from_pretrained`, bundled model": (LOADED, ("RELEASED",), ""),
    "`from_pretrained`, folder": (LOADED, ("FOLDER",), ""),
    "`lacl predict`, bundled model": (COMMAND, ("predict", "RELEASED", *PREDICT), "at most 2.5"),
    "`lacl predict`, folder": (COMMAND, ("predict", "FOLDER", *PREDICT), "at most 2.5"),
}


def main() -> None:
    options = arguments(__doc__, ("--checkpoint", {"default": "lacl-minilm-wide", "help": "a bundled model"}))
    options.cpu_time = True
    with tempfile.TemporaryDirectory() as folder:
        print(start_table(options, Path(folder)), end="\n\n")
    print(machine_line(options))


def start_table(options: argparse.Namespace, folder: Path) -> str:
    """Return the table of processor times; with `--quick` only of programs that load no torch."""
    rows = dict(LIGHT)
    places: dict[str, str] = {}
    if not options.quick:
        from modeling_lacl import LaclForTokenClassification
        from modeling_lacl.hub.bundled import embedded_encoder

        LaclForTokenClassification.from_pretrained(options.checkpoint).save_pretrained(folder)
        places = {"RELEASED": options.checkpoint, "FOLDER": str(folder), "ENCODER": str(embedded_encoder())}
        rows |= HEAVY
    starts = {
        name: partial(measured, [sys.executable, "-c", program, *(places.get(one, one) for one in given)])
        for name, (program, given, _) in rows.items()
    }
    for start in starts.values():
        start()  # warm-up: files are read from the disk once
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(options.rounds):
        for name, start in starts.items():
            seconds[name].append(start()[1])
    body = [
        [name, f"{statistics.median(times):.2f}", f"{min(times):.2f}", rows[name][2]]
        for name, times in seconds.items()
    ]
    return table([["in a fresh process", "seconds", "least", "wanted"], *body])


if __name__ == "__main__":
    main()
