"""Benchmark a training step of LACL against plain token classification, and the share of the loss in it.

    python benchmarks/training_step.py

All steps use the same encoder (MiniLM) and the same batch of packaged FEW-NERD sentences, and include
AdamW's step. Prompts off: LACL's two linear layers and contrastive loss instead of a classifier. Prompts on:
the classifier gets the tokens of text and label names as one sequence, so that both encode the same number
of tokens. Peak memory is that of a separate process that takes three such steps.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from measuring import (
    SAMPLES,
    arguments,
    in_child,
    interleaved,
    machine_line,
    median_ms,
    peak_mib,
    ratio,
    table,
)
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from modeling_lacl import LaclForTokenClassification, read_dataset
from modeling_lacl.data.label_names import label_names_for
from modeling_lacl.data.tags import entity_types
from modeling_lacl.data.tokenize import tokenize_dataset
from modeling_lacl.files import write_atomically
from modeling_lacl.hub.bundled import embedded_encoder_path
from modeling_lacl.model.configuration_lacl import DIVERGENCES
from modeling_lacl.model.losses_lacl import context_context_loss, context_label_loss
from modeling_lacl.optional import require
from modeling_lacl.training.collator import LaclDataCollator


def main() -> None:
    options = arguments(
        __doc__,
        ("--encoder", {"default": "minilm", "help": "name or folder (default: minilm)"}),
        ("--batch_size", {"type": int, "default": 16, "help": "sentences per step (default: 16)"}),
        (
            "--valid_tokens",
            {"type": int, "default": 2000, "help": "labelled tokens in the batch for the share of the loss"},
        ),
        (
            "--output",
            {
                "type": Path,
                "help": "folder for report.md, results.json, figure.svg (needs the extra plot)",
            },
        ),
    )
    if options.output:
        require("matplotlib.figure", "plot")  # fail now, not after all the work
    if options.quick:
        options.batch_size, options.valid_tokens = 2, 40
    bench = Bench(options.encoder)
    if options.child:
        print(json.dumps(peak_of(bench, json.loads(options.child)["step"], options.batch_size)))
        return
    times, peaks = measure_steps(bench, options)
    shares = measure_shares(bench, options)
    report = "\n\n".join(
        [
            steps_table(bench, options.batch_size, times, peaks),
            share_table(bench, options.valid_tokens, shares),
            machine_line(options),
        ]
    )
    print(report)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        results = {"seconds": times, "peak MiB": peaks, "seconds by divergence": shares}
        write_atomically(options.output / "results.json", json.dumps(results, indent=1) + "\n")
        write_atomically(options.output / "report.md", report + "\n")
        plot(times, peaks, shares, options.output / "figure.svg")


class Bench:
    """Encoder, sentences and models."""

    def __init__(self, encoder: str) -> None:
        self.encoder = embedded_encoder_path(encoder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.encoder)
        dataset = read_dataset(SAMPLES / "few_nerd_source.txt")
        self.types = entity_types(dataset)
        self.names = label_names_for(self.types, "few_nerd")
        self.sequences = tokenize_dataset(dataset, self.tokenizer, self.types, 128)

    def lacl(self, **config: Any) -> LaclForTokenClassification:
        torch.manual_seed(0)
        return LaclForTokenClassification.from_encoder(
            self.encoder, self.tokenizer, self.types, self.names, **config
        ).train()

    def plain(self) -> Any:
        torch.manual_seed(0)
        return AutoModelForTokenClassification.from_pretrained(
            self.encoder, num_labels=len(self.types) + 1
        ).train()

    def batch(self, size: int) -> dict[str, Tensor]:
        return dict(DataCollatorForTokenClassification(self.tokenizer)(self.first_sequences(size)))

    def with_prompt(self, size: int) -> dict[str, Tensor]:
        """Return the same sequences, with ten types sampled as in source training."""
        names = ["none", *(self.names[name] for name in self.types)]
        return dict(LaclDataCollator(self.tokenizer, names)(self.first_sequences(size)))

    def first_sequences(self, size: int) -> list[Any]:
        """Return the first sequences, repeated if there are fewer than `size`."""
        return [self.sequences[index % len(self.sequences)] for index in range(size)]

    def batch_of(self, valid_tokens: int) -> dict[str, Tensor]:
        """Return a batch with prompts that has at least this number of labelled tokens."""
        size, words = 0, 0
        while words < valid_tokens:
            words += sum(label >= 0 for label in self.sequences[size % len(self.sequences)]["labels"])
            size += 1
        return self.with_prompt(size)


def train_step(model: Any, batch: dict[str, Tensor]) -> Any:
    """Return a function that takes one step."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-6)

    def step() -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def steps(bench: Bench, size: int) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return, for each of the four steps, a function that creates its model and batch."""

    def longer() -> dict[str, Tensor]:
        packed = packed_sequences(bench.lacl(), bench.with_prompt(size))
        labels = torch.full_like(packed["input_ids"], -100)
        short = plain_batch()["labels"]
        labels[:, : short.shape[1]] = (
            short  # perhaps of other sequences, but the same number of labels and amount of work
        )
        return {**packed, "labels": labels}

    def plain_batch() -> dict[str, Tensor]:
        batch = bench.batch(size)
        return {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}

    return {
        "plain": lambda: train_step(bench.plain(), plain_batch()),
        "prompts off": lambda: train_step(bench.lacl(use_prompts=False), plain_batch()),
        "plain, longer": lambda: train_step(bench.plain(), longer()),
        "prompts on": lambda: train_step(bench.lacl(), bench.with_prompt(size)),
    }


def peak_of(bench: Bench, name: str, size: int) -> float:
    """Return the peak memory of this process in MiB after three steps."""
    step = steps(bench, size)[name]()
    for _ in range(3):
        step()
    return peak_mib()


def measure_steps(bench: Bench, options: Any) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds of each step in each round, and its peak memory in MiB."""
    size = options.batch_size
    times = interleaved(
        {name: make() for name, make in steps(bench, size).items()}, options.rounds, options.clock
    )
    settings = (f"--encoder={bench.encoder}", f"--batch_size={size}", f"--threads={options.threads}")
    return times, {name: in_child({"step": name}, *settings) for name in times}


PLAIN = {"prompts off": "plain", "prompts on": "plain, longer"}
"""The step that each step of LACL is compared with."""


def steps_table(bench: Bench, size: int, times: Mapping[str, list[float]], peaks: Mapping[str, float]) -> str:
    tokens = {
        "plain": int(bench.batch(size)["attention_mask"].sum()),
        "plain, longer": int(packed_sequences(bench.lacl(), bench.with_prompt(size))["attention_mask"].sum()),
    }
    rows = [["step", "tokens", "plain, ms", "LACL, ms", "LACL / plain", "wanted"]]
    rows[0] += ["plain, MiB", "LACL, MiB", "LACL / plain"]
    for name, to in PLAIN.items():
        rows.append([name, str(tokens[to]), median_ms(times[to]), median_ms(times[name])])
        rows[-1] += [f"{ratio(times, name, to):.2f}", "at most 1.10"]
        rows[-1] += [f"{peaks[to]:.0f}", f"{peaks[name]:.0f}", f"{peaks[name] / peaks[to]:.2f}"]
    return table(rows)


def packed_sequences(model: LaclForTokenClassification, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs of the encoder, with text and prompt in one sequence, from all groups by length."""
    seen: list[dict[str, Any]] = []
    hook = model.lacl.encoder.register_forward_pre_hook(
        lambda module, given, named: seen.append(named), with_kwargs=True
    )
    with torch.no_grad():
        model(**batch)
    hook.remove()
    return {
        key: pad_sequence([sequence for group in seen for sequence in group[key]], batch_first=True)
        for key in ("input_ids", "attention_mask")
    }


def measure_shares(bench: Bench, options: Any) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of a step, and of its losses and divergences, in each round, by divergence."""
    batch = bench.batch_of(options.valid_tokens)
    found = {}
    for divergence in DIVERGENCES[-1:] if options.quick else DIVERGENCES:
        model = bench.lacl(divergence=divergence)
        both = {"step": train_step(model, batch), "objective": objective(model, batch)}
        found[divergence] = interleaved(both, min(options.rounds, 3), options.clock)
    return found


def share_table(bench: Bench, valid_tokens: int, shares: Mapping[str, Mapping[str, list[float]]]) -> str:
    batch = bench.batch_of(valid_tokens)
    rows = [["divergence", "step, ms", "losses and divergences, ms", "share", "wanted"]]
    for divergence, times in shares.items():
        share = ratio(times, "objective", "step")
        rows.append([f"`{divergence}`", median_ms(times["step"]), median_ms(times["objective"])])
        rows[-1] += [f"{100 * share:.1f} %", "under 5 %"]
    valid = int((batch["labels"] >= 0).sum())
    return f"{valid} valid tokens in {len(batch['labels'])} sentences, prompts on:\n\n{table(rows)}"


def plot(
    times: Mapping[str, list[float]],
    peaks: Mapping[str, float],
    shares: Mapping[str, Mapping[str, list[float]]],
    path: Path,
) -> None:
    """Plot time and memory of the steps, and the share of the loss by divergence."""
    figure = require("matplotlib.figure", "plot").Figure(figsize=(11, 3), layout="constrained")
    of_time, of_memory, of_share = figure.subplots(1, 3)
    medians = {name: 1000 * statistics.median(rounds) for name, rounds in times.items()}
    for axis, values, title in ((of_time, medians, "a step, ms"), (of_memory, peaks, "peak memory, MiB")):
        for place, (name, to) in enumerate(PLAIN.items()):
            for shift, key, color in ((-0.2, to, "#bdbdbd"), (0.2, name, "#1565c0")):
                axis.bar(place + shift, values[key], 0.38, color=color)
        axis.set_xticks(range(len(PLAIN)), list(PLAIN))
        axis.set_title(title)
    of_time.margins(y=0.3)  # room for the legend
    of_time.legend(of_time.patches[:2], ["plain fine-tuning", "LACL"], loc="upper left")
    percent = [100 * ratio(of_one, "objective", "step") for of_one in shares.values()]
    of_share.barh(list(shares), percent, color="#1565c0")
    of_share.axvline(5, color="#bdbdbd", linestyle="--")
    of_share.set_title("losses and divergences, % of a step")
    figure.savefig(path)


def objective(model: LaclForTokenClassification, batch: dict[str, Tensor]) -> Any:
    """Return a function that computes similarities and losses from given Gaussians, and their gradients."""
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    with torch.no_grad():
        output = model.lacl(**inputs)
    labels, config = batch["labels"], model.config
    valid = labels >= 0
    present = output.label_present.unsqueeze(1).expand(*labels.shape, -1)[valid]
    parts = [output.mean, output.variance, output.label_mean, output.label_variance]
    leaves = [part.detach().requires_grad_() for part in parts]

    def forward_backward() -> None:
        tokens, names = (leaves[0], leaves[1]), (leaves[2], leaves[3])
        chosen = (tokens[0][valid], tokens[1][valid])
        power = config.class_weight_power
        context = context_context_loss(
            model.similarity(chosen, chosen), labels[valid], config.loss_type, power
        )
        to_names = model.similarity(tokens, names)[valid]
        label = context_label_loss(to_names, labels[valid], present, config.loss_type, power)
        (config.alpha * context + (1 - config.alpha) * label).backward()

    return forward_backward


if __name__ == "__main__":
    main()
