"""Benchmark exported models, which run without torch: start, memory, and what 8-bit weights change.

    python benchmarks/runtime.py
    python benchmarks/runtime.py --checkpoint outputs/spans

First table: fresh processes that import the package, load a model, find the entities of one sentence and end;
`lacl predict` does the same. Their peak of memory, and that of processes that go on to find the entities of
many sentences and of a long text. Second table: the entities of the exported models against those of the
checkpoint that they were made from.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from measuring import arguments, machine_line, measured, sample_texts, table

SENTENCE = "Ana Ruiz flew a Cessna 172 from Quito to Berlin, where Siemens sponsors the 2019 Berlin Marathon."
WANTED_SECONDS, WANTED_MIB = 0.7, 250
PROGRAM = """
import sys
from pathlib import Path
from modeling_lacl import {name} as Model
model = Model.from_pretrained(sys.argv[1])
model.predict(sys.argv[2])
for file in sys.argv[3:]:
    texts = Path(file).read_text(encoding="utf-8").splitlines()
    model.predict([*texts, " ".join(texts)])
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def main() -> None:
    options = arguments(
        __doc__,
        ("--checkpoint", {"help": "a model (default: the bundled one with five types)"}),
        ("--texts", {"type": int, "default": 300, "help": "sentences (default: 300)"}),
    )
    if options.quick:
        options.texts = 4
    with tempfile.TemporaryDirectory() as folder:
        rows = exported(options, Path(folder))
        (Path(folder) / "texts.txt").write_text("\n".join(sample_texts(options.texts)), encoding="utf-8")
        print(start_table(rows, Path(folder) / "texts.txt", options), end="\n\n")
        print(agreement_table(rows, options), end="\n\n")
    print(machine_line(options))


def exported(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Write the model as a checkpoint and exported, and return the folder of each."""
    from modeling_lacl import LaclForTokenClassification
    from modeling_lacl.integrations.onnx import export_onnx

    model = LaclForTokenClassification.from_pretrained(options.checkpoint or "lacl-minilm-fewnerd")
    if not options.checkpoint:
        model.set_labels(["person", "city", "airplane", "company", "sports event"])
    rows = {name: folder / name for name in ("checkpoint, PyTorch", "exported, fp32", "exported, int8")}
    checkpoint, fp32, int8 = rows.values()
    model.save_pretrained(checkpoint)
    export_onnx(model, fp32)
    export_onnx(model, int8, quantize="int8")
    return rows


def start_table(rows: dict[str, Path], texts: Path, options: argparse.Namespace) -> str:
    """Return the table of start and memory."""
    seconds: dict[str, list[float]] = {}
    starts: dict[str, Callable[[], Any]] = {name: partial(run, folder) for name, folder in rows.items()}
    exported_int8 = list(rows)[-1]
    command = [sys.executable, "-c", "from modeling_lacl.cli import main; main()", "predict"]
    starts[f"{exported_int8}, by `lacl predict`"] = partial(
        measured, [*command, str(rows[exported_int8]), "--text", SENTENCE]
    )
    for start in starts.values():
        start()  # warm-up: files are read from the disk once
    for _ in range(options.rounds):
        for name, start in starts.items():
            wall, processor, _ = start()
            seconds.setdefault(name, []).append(processor if options.cpu_time else wall)
    body = []
    for name, times in seconds.items():
        light = name == exported_int8
        peaks = [peak(run(rows[name])), peak(run(rows[name], texts))] if name in rows else ["", ""]
        wanted = (f"at most {WANTED_SECONDS}", f"at most {WANTED_MIB}") if light else ("", "")
        body.append([name, f"{statistics.median(times):.2f}", wanted[0], *peaks, wanted[1]])
    many = f"peak MiB, {options.texts} sentences and a long text"
    return table([["", "first answer, s", "wanted", "peak MiB, one sentence", many, "wanted"], *body])


def run(folder: Path, *files: Path) -> tuple[float, float, str]:
    """Predict in a fresh process, and return its wall-clock time, processor time and output."""
    checkpoint = any(folder.glob("*.safetensors"))
    name = "LaclForTokenClassification" if checkpoint else "LaclOnnxModel"
    program = [sys.executable, "-c", PROGRAM.format(name=name)]
    return measured([*program, str(folder), SENTENCE, *map(str, files)])


def peak(result: tuple[float, float, str]) -> str:
    return f"{int(result[2]) / 2**10:.0f}"


def agreement_table(rows: dict[str, Path], options: argparse.Namespace) -> str:
    """Return the table of entities that exported models share with the checkpoint."""
    from modeling_lacl.integrations.predictors import load_predictor
    from modeling_lacl.metrics import span_scores

    texts = sample_texts(options.texts)
    found = {}
    for name, folder in rows.items():
        entities = load_predictor(folder).predict(texts)
        found[name] = {
            (number, one["start"], one["end"], one["entity_group"]): one["score"]
            for number, of_text in enumerate(entities)
            for one in of_text
        }
    (_, expected), *others = found.items()
    body = []
    for name, entities in others:
        shared = entities.keys() & expected.keys()
        apart = [abs(entities[key] - expected[key]) for key in shared]
        f1 = span_scores(expected.keys(), entities.keys())["f1"]
        mean, most = (f"{value:.4f}" for value in (statistics.fmean(apart or [0]), max(apart, default=0)))
        body.append([name, str(len(entities)), f"{100 * f1:.1f}", mean, most])
    head = ["", "entities", "F1 against the checkpoint", "difference of scores, mean", "largest"]
    return table([head, ["checkpoint, PyTorch", str(len(expected)), "", "", ""], *body])


if __name__ == "__main__":
    main()
