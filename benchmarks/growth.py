"""Benchmark time and memory by length of a text, number of labels, size of support set, and size of corpus.

    python benchmarks/growth.py
    python benchmarks/growth.py --corpus 10000 100000 1000000 --only corpus

Every row is measured in a separate process; memory is its peak minus the memory in use before the work.
`growth` is the exponent e of size^e between a row and the previous one: 1 is linear. For text and labels, the
encoder is MiniLM. For support set and corpus, where the time of the encoder would hide the rest, it is a
random encoder with two narrow layers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import (
    arguments,
    in_child,
    machine_line,
    peak_mib,
    sample_texts,
    sample_words,
    table,
    type_names,
)

AXES = {
    "text": ("tokens of one text", [1000, 10_000, 100_000]),
    "labels": ("labels, 16 sentences", [5, 50, 500]),
    "support": ("support sentences: `adapt` with steps=0", [100, 1000, 10_000]),
    "tagging": ("support sentences: `predict` on 64 sentences", [100, 1000, 10_000]),
    "corpus": ("sentences in a stream", [1000, 10_000, 50_000]),
}
QUICK = {"corpus": [20]}


def main() -> None:
    options = arguments(
        __doc__,
        *(
            (f"--{axis}", {"type": int, "nargs": "+", "default": sizes, "help": f"default: {sizes}"})
            for axis, (_, sizes) in AXES.items()
        ),
        ("--only", {"nargs": "+", "choices": list(AXES), "default": list(AXES), "help": "tables to make"}),
        (
            "--plot",
            {"type": Path, "help": "also plot to this file, .svg or .png (needs the extra plot)"},
        ),
    )
    if options.child:
        print(json.dumps(measure(**json.loads(options.child), clock=options.clock)))
        return
    extra = [f"--threads={options.threads}", *(["--cpu_time"] if options.cpu_time else [])]
    results: dict[str, list[dict[str, float]]] = {}
    for axis in QUICK if options.quick else options.only:
        sizes = QUICK[axis] if options.quick else getattr(options, axis)
        results[axis] = [{"size": size} | in_child({"axis": axis, "size": size}, *extra) for size in sizes]
        print(growth_table(axis, results[axis]), end="\n\n", flush=True)
    print(machine_line(options).rsplit(",", 1)[0] + ", each row once")
    if options.plot:
        plot(results, options.plot)


def growth_table(axis: str, rows: list[dict[str, float]]) -> str:
    cells = [[AXES[axis][0], "seconds", "growth", "peak MiB", "growth"]]
    for before, row in zip([None, *rows], rows, strict=False):
        cells.append([f"{row['size']:,}", f"{row['seconds']:.2f}", exponent(before, row, "seconds")])
        cells[-1] += [f"{row['mib']:.0f}", exponent(before, row, "mib")]
    return table(cells)


def exponent(before: dict[str, float] | None, row: dict[str, float], key: str) -> str:
    if before is None or min(before[key], row[key]) <= 0:
        return ""
    return f"{math.log(row[key] / before[key]) / math.log(row['size'] / before['size']):.2f}"


def measure(axis: str, size: int, clock: Callable[[], float]) -> dict[str, float]:
    """Prepare the work, warm up with the smallest size, and measure time and memory."""
    model = minilm() if axis in ("text", "labels") else narrow()
    work, warm_up = WORK[axis](model, size)
    warm_up()
    before = peak_mib()
    start = clock()
    work()
    return {"seconds": clock() - start, "mib": peak_mib() - before}


def minilm() -> Any:
    from modeling_lacl import LaclForTokenClassification

    return LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")


def narrow() -> Any:
    """Return a model with MiniLM's tokenizer and two random layers of width 64."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from modeling_lacl import LaclForTokenClassification
    from modeling_lacl.hub.bundled import embedded_encoder_path

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(embedded_encoder_path("minilm"))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
    )
    encoder = BertModel(config, add_pooling_layer=False)
    return LaclForTokenClassification.from_encoder(encoder, tokenizer, type_names(5))


def text_work(model: Any, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    words: list[str] = []
    for sentence in sample_words(size // 10 + 1):
        words += sentence
    counts = [len(ids) for ids in model.tokenizer(words, add_special_tokens=False)["input_ids"]]
    total, number = 0, 0
    while total < size:
        total += counts[number]
        number += 1
    text = " ".join(words[:number])
    model.set_labels(type_names(5))
    return lambda: model.predict(text), lambda: model.predict("A text.")


def labels_work(model: Any, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    texts, names = sample_texts(16), type_names(size)
    return lambda: model.predict(texts, labels=names), lambda: model.predict("A text.", labels=names[:2])


def support_of(size: int) -> Any:
    from modeling_lacl import read_dataset

    names = type_names(5)
    return read_dataset(
        [
            {"tokens": words, "ner_tags": [f"B-{names[index % 5]}", *["O"] * (len(words) - 1)]}
            for index, words in enumerate(sample_words(size))
        ]
    )


def support_work(model: Any, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    from modeling_lacl import adapt

    support, small = support_of(size), support_of(5)
    return (
        lambda: adapt(model, support, steps=0),
        lambda: adapt(model, small, steps=0),
    )


def tagging_work(model: Any, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    from modeling_lacl import adapt

    adapted = adapt(model, support_of(size), steps=0)
    texts = sample_texts(64)
    return lambda: adapted.predict(texts), lambda: adapted.predict(texts[:1])


def corpus_work(model: Any, size: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    texts = sample_texts(1000)

    def stream(number: int) -> Iterator[str]:
        return (texts[index % len(texts)] for index in range(number))

    def read(number: int) -> int:
        return sum(len(entities) for entities in model.predict(stream(number)))

    return lambda: read(size), lambda: read(min(size, 1024))  # as much as `predict` reads ahead


WORK = {
    "text": text_work,
    "labels": labels_work,
    "support": support_work,
    "tagging": tagging_work,
    "corpus": corpus_work,
}


def plot(results: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Plot time against size, both logarithmic, with a line of linear growth."""
    from modeling_lacl.optional import require

    figure = require("matplotlib.figure", "plot").Figure(figsize=(3 * len(results), 3), layout="constrained")
    for axes, (axis, rows) in zip(
        figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True
    ):
        sizes, times = [row["size"] for row in rows], [row["seconds"] for row in rows]
        axes.loglog(sizes, times, "o-", label="measured")
        axes.loglog(sizes, [times[0] * size / sizes[0] for size in sizes], ":", color="grey", label="linear")
        axes.set_xlabel(AXES[axis][0].replace("`", ""))
        axes.set_ylabel("seconds")
        axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
