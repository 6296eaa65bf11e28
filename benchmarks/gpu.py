"""Benchmark LACL on a GPU: training steps, `predict`, and divergences; under ten minutes in all.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --against_cpu

First table: a training step of LACL beside one of CONTaiNER (its head, divergence and loss, no label names)
and one of plain token classification, on the same sentences and encoder, in fp32 and in mixed precision.
Second table: `predict` beside the bare encoder on the same batches. Third table: each divergence, forward and
backward, beside CONTaiNER's formula over N×N×d tensors, which runs on some of the rows, and is scaled up.
With `--against_cpu` each table says how many times faster the GPU is than the processor of the same machine,
which tags a part of the texts.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from divergences import DIVERGENCES, EXPANSION, forward_backward
from measuring import arguments, interleaved, machine_line, median_ms, ratio, sample_texts, table
from prediction import encoder_batches, with_support
from torch import Tensor
from training_step import Bench

from modeling_lacl import LaclForTokenClassification

CONTAINER: dict[str, Any] = {
    "use_prompts": False,
    "projection": "relu_gaussian",
    "divergence": "jeffreys",
    "similarity_temperature": 1.0,
    "loss_type": "container",
    "class_weight_power": 0.0,
}
PLAIN = "plain token classification"
CPU = torch.device("cpu")
CPU_SHARE = 16
"""Of the texts, one in this many is tagged on the processor, and the time is scaled up."""

Make = Callable[[], tuple[Any, dict[str, Tensor]]]


def main() -> None:
    options = arguments(
        __doc__,
        ("--device", {"type": torch.device, "default": "cuda", "help": "default: cuda"}),
        ("--against_cpu", {"action": "store_true", "help": "measure everything on the processor as well"}),
        ("--encoder", {"default": "minilm", "help": "name or folder (default: minilm)"}),
        ("--batch_size", {"type": int, "default": 32, "help": "sentences per step (default: 32)"}),
        ("--texts", {"type": int, "default": 2048, "help": "texts to tag (default: 2048)"}),
        ("--labels", {"type": int, "nargs": "+", "default": [4, 16, 64], "help": "default: 4 16 64"}),
        ("--number", {"type": int, "default": 4096, "help": "N of the divergences (default: 4096)"}),
        ("--rows", {"type": int, "default": 32, "help": "rows of the formula (default: 32)"}),
    )
    if options.device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU on this machine; give --device cpu to measure its processor")
    if options.quick:
        options.batch_size, options.texts, options.labels = 2, 4, [4]
        options.number, options.rows = 64, 16
    print(steps_table(options), end="\n\n")
    print(predict_table(options), end="\n\n")
    print(divergences_table(options), end="\n\n")
    print(machine_line(options))


def waiting(function: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """Return a function that returns only when the device has done its work."""

    def run() -> None:
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def train_step(make: Make, device: torch.device, mixed: bool = False) -> Callable[[], None]:
    """Return a function that takes one step, in fp32 or in mixed precision with bf16."""
    model, batch = make()
    model, batch = model.to(device), {key: value.to(device) for key, value in batch.items()}
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-6)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return waiting(step, device)


def peak_mib(step: Callable[[], None], device: torch.device) -> str:
    """Return the peak memory of a step on the GPU, in MiB."""
    if device.type != "cuda":
        return "–"
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f}"


def steps_table(options: Any) -> str:
    bench, size = Bench(options.encoder), options.batch_size
    made: dict[str, Make] = {
        PLAIN: lambda: (bench.plain(), bench.batch(size)),
        "CONTaiNER": lambda: (bench.lacl(**CONTAINER), bench.batch(size)),
        "LACL": lambda: (bench.lacl(), bench.with_prompt(size)),
        "LACL, `moment_js`": lambda: (
            bench.lacl(divergence="moment_js", similarity_temperature=1.0),
            bench.with_prompt(size),
        ),
    }
    rows = [["step", "fp32, ms", "of plain", "bf16, ms", "of plain", "sentences/s in bf16", "fp32, MiB"]]
    # One after the other, as all models at once would count in the memory of each.
    times: dict[tuple[str, str], list[float]] = {}
    for name, make in made.items():
        single = train_step(make, options.device)
        memory = peak_mib(single, options.device)
        ways = {"fp32": single, "bf16": train_step(make, options.device, mixed=True)}
        if options.against_cpu:
            ways["CPU"] = train_step(make, CPU)
        times |= {(name, way): taken for way, taken in timed(ways, options).items()}
        row = [name]
        for way in ("fp32", "bf16"):
            row += [median_ms(times[name, way]), f"{of(times, (name, way), (PLAIN, way)):.2f}"]
        row += [f"{size / statistics.median(times[name, 'bf16']):.0f}", memory]
        rows.append(row + (faster(times, (name, "CPU"), (name, "fp32")) if options.against_cpu else []))
    return f"A step of {size} sentences:\n\n{table(with_cpu(rows, 'fp32', options))}"


def predict_table(options: Any) -> str:
    texts = sample_texts(options.texts)
    model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd").to(options.device)
    rows = [["labels", "encoder, texts/s", "`predict`, texts/s", "`predict` / encoder"]]
    for number in options.labels:
        with_support(model, number, 1 if options.quick else 5)
        batches = encoder_batches(model, texts)

        def encode(batches: list[dict[str, Any]] = batches) -> None:
            with torch.inference_mode():
                for batch in batches:
                    model.lacl.encoder(**batch)

        ways = {"encoder": waiting(encode, options.device), "predict": lambda: model.predict(texts)}
        times: dict[Any, list[float]] = dict(timed(ways, options))
        if options.against_cpu:
            some = texts[:: CPU_SHARE if len(texts) >= CPU_SHARE else 1]
            model.to(CPU)
            on_cpu = timed({"CPU": lambda some=some: model.predict(some)}, options)["CPU"]
            times["CPU"] = [one * len(texts) / len(some) for one in on_cpu]
            model.to(options.device)
        rates = [f"{len(texts) / statistics.median(times[way]):.0f}" for way in ("encoder", "predict")]
        row = [str(number), *rates, f"{ratio(times, 'encoder', 'predict'):.2f}"]
        rows.append(row + (faster(times, "CPU", "predict") if options.against_cpu else []))
    return f"{len(texts)} texts, 32 a batch:\n\n{table(with_cpu(rows, '`predict`', options))}"


def divergences_table(options: Any) -> str:
    number, part, size = options.number, options.rows, 128
    names = ("cosine", "jeffreys") if options.quick else DIVERGENCES

    def functions(device: torch.device) -> dict[str, Callable[[], None]]:
        rows_of = {EXPANSION: part, **dict.fromkeys(names, number)}
        return {
            name: waiting(forward_backward(name, rows, number, size, device), device)
            for name, rows in rows_of.items()
        }

    times: dict[Any, list[float]] = dict(timed(functions(options.device), options))
    if options.against_cpu:
        times |= {(name, "CPU"): taken for name, taken in timed(functions(CPU), options).items()}
    for name in [one for one in times if EXPANSION in one]:
        times[name] = [one * number / part for one in times[name]]
    rows = [["divergence", "ms", "formula / it"]]
    for name in (EXPANSION, *names):
        label = f"formula ({part} rows, scaled)" if name == EXPANSION else f"`{name}`"
        row = [label, median_ms(times[name]), f"{of(times, EXPANSION, name):.0f} ×"]
        rows.append(row + (faster(times, (name, "CPU"), name) if options.against_cpu else []))
    return f"N = {number}, d = {size}, forward and backward:\n\n{table(with_cpu(rows, 'it', options))}"


def timed(ways: dict[str, Callable[[], Any]], options: Any) -> dict[str, list[float]]:
    return interleaved(ways, options.rounds, options.clock)


def of(times: dict[Any, list[float]], one: Any, other: Any) -> float:
    """Return the median time of one in those of the other."""
    return statistics.median(times[one]) / statistics.median(times[other])


def faster(times: dict[Any, list[float]], cpu: Any, device: Any) -> list[str]:
    """Return the time on the processor, and how many times faster the device is."""
    return [median_ms(times[cpu]), f"{of(times, cpu, device):.1f} ×"]


def with_cpu(rows: list[list[str]], what: str, options: Any) -> list[list[str]]:
    """Return the rows of a table, with the two further columns of `faster` in its head."""
    if options.against_cpu:
        rows[0] += [f"{what} on the CPU, ms", "CPU / GPU"]
    return rows


if __name__ == "__main__":
    main()
