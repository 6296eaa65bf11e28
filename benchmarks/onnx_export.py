"""Benchmark F1 and speed of an adapted model in PyTorch and ONNX Runtime (fp32, int8), on one thread.

    python benchmarks/onnx_export.py wnut17/dev.conll

Speed is measured in processor time, which does not depend on other programs on the machine; on an idle core
it equals wall-clock time. The three take turns in each round, and medians are reported.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

import modeling_lacl
from modeling_lacl import LaclForTokenClassification, adapt, read_dataset
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.integrations.onnx.export import export_onnx
from modeling_lacl.integrations.onnx.runner import LaclOnnxModel
from modeling_lacl.metrics import entity_scores
from modeling_lacl.training.word_labels import predict_words

SUPPORT = Path(modeling_lacl.__file__).parent / "samples" / "wnut17_support_5shot.txt"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", help="labelled sentences, such as WNUT-17's dev set")
    parser.add_argument("--checkpoint", help="adapted model (default: adapted on the packaged sample)")
    parser.add_argument("--sentences", type=int, default=300, help="number of sentences (default: 300)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=32)
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)
    model = adapted_model(options.checkpoint)
    rows = read_dataset(options.data)
    rows = rows.select(range(min(options.sentences, len(rows))))
    with tempfile.TemporaryDirectory() as folder:
        runners: dict[str, Any] = {"PyTorch fp32": model}
        for name, quantize in (("ONNX Runtime fp32", None), ("ONNX Runtime int8", "int8")):
            export_onnx(model, Path(folder) / name, quantize=quantize)
            runners[name] = LaclOnnxModel.from_pretrained(Path(folder) / name, num_threads=1)
        print(table(runners, rows, options.rounds, options.batch_size))


def adapted_model(checkpoint: str | None) -> LaclForTokenClassification:
    """Load `checkpoint`, or adapt the released model on the packaged WNUT-17 sample, with seed 0."""
    if checkpoint is not None:
        return LaclForTokenClassification.from_pretrained(checkpoint).eval()
    source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    return adapt(source, SUPPORT, "wnut17")


def table(runners: dict[str, Any], rows: Any, rounds: int, batch_size: int) -> str:
    """Return a table of F1, sentences per second, and speed relative to the first runner."""
    sentences = rows["tokens"][:]
    references = gold_tags(rows)
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    found: dict[str, list[list[int]]] = {}
    for count in range(rounds + 1):
        for name, runner in runners.items():
            start = time.process_time()
            found[name] = predict_words(runner, sentences, batch_size=batch_size)
            if count:  # the first round warms up
                seconds[name].append(time.process_time() - start)
    lines = ["| | F1 | sentences/s | times PyTorch |", "|---|---:|---:|---:|"]
    first = median(next(iter(seconds.values())))
    for name, runner in runners.items():
        labels = runner.config.id2label
        types = [labels[index] for index in range(1, len(labels))]
        scores = entity_scores(references, io_to_bio(found[name], types))
        time_taken = median(seconds[name])
        lines.append(
            f"| {name} | {100 * scores['f1']:.2f} | {len(sentences) / time_taken:.0f} | "
            f"{first / time_taken:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
