"""A training step of LACL beside one of plain token classification, and the share of the loss in it.

    python benchmarks/training_step.py

All take the same encoder (MiniLM) and the same batch of the packaged FEW-NERD sentences, and end with
AdamW's step. Prompts off: LACL's two linear layers and contrastive loss in the place of a classifier's.
Prompts on: the classifier gets the tokens of text and label names as one row, so that both encode the same
number of tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from measuring import SAMPLES, arguments, interleaved, machine_line, median_ms, ratio, table
from torch import Tensor
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from modeling_lacl import LaclForTokenClassification, read_dataset
from modeling_lacl.collator import LaclDataCollator
from modeling_lacl.configuration_lacl import DIVERGENCES
from modeling_lacl.data import entity_types, label_names_for, tokenize_dataset
from modeling_lacl.encoder import resolve_encoder
from modeling_lacl.losses import context_context_loss, context_label_loss


def main() -> None:
    options = arguments(
        __doc__,
        ("--encoder", {"default": "minilm", "help": "name or folder (default: minilm)"}),
        ("--batch_size", {"type": int, "default": 16, "help": "sentences a step (default: 16)"}),
        ("--valid_tokens", {"type": int, "default": 2000, "help": "of the batch for the share of the loss"}),
    )
    if options.quick:
        options.batch_size, options.valid_tokens = 2, 40
    bench = Bench(options.encoder)
    batch = bench.batch(options.batch_size)
    print(steps_table(bench, batch, options), end="\n\n")
    print(share_table(bench, options), end="\n\n")
    print(machine_line(options))


class Bench:
    """Encoder, sentences and models."""

    def __init__(self, encoder: str) -> None:
        self.encoder = resolve_encoder(encoder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.encoder)
        dataset = read_dataset(SAMPLES / "few_nerd_source.txt")
        self.types = entity_types(dataset)
        self.names = label_names_for(self.types, "few_nerd")
        self.rows = tokenize_dataset(dataset, self.tokenizer, self.types, 128)

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
        rows = [self.rows[index % len(self.rows)] for index in range(size)]
        return dict(DataCollatorForTokenClassification(self.tokenizer)(rows))

    def with_prompt(self, size: int) -> dict[str, Tensor]:
        """The same rows, with ten types drawn as in source training."""
        names = ["none", *(self.names[name] for name in self.types)]
        rows = [self.rows[index % len(self.rows)] for index in range(size)]
        return dict(LaclDataCollator(self.tokenizer, names)(rows))

    def batch_of(self, valid_tokens: int) -> dict[str, Tensor]:
        """A batch with prompts that has at least so many words."""
        size, words = 0, 0
        while words < valid_tokens:
            words += sum(label >= 0 for label in self.rows[size % len(self.rows)]["labels"])
            size += 1
        return self.with_prompt(size)


def train_step(model: Any, batch: dict[str, Tensor]) -> Any:
    """A function that takes one step."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-6)

    def step() -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def steps_table(bench: Bench, batch: dict[str, Tensor], options: Any) -> str:
    plain = {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}
    prompted = bench.with_prompt(options.batch_size)
    lacl = bench.lacl()
    packed = packed_rows(lacl, prompted)
    labels = torch.full_like(packed["input_ids"], -100)
    labels[:, : plain["labels"].shape[1]] = plain["labels"]
    times = interleaved(
        {
            "plain": train_step(bench.plain(), plain),
            "prompts off": train_step(bench.lacl(use_prompts=False), plain),
            "plain, longer": train_step(bench.plain(), {**packed, "labels": labels}),
            "prompts on": train_step(lacl, prompted),
        },
        options.rounds,
        options.clock,
    )
    tokens = {"plain": plain["attention_mask"], "plain, longer": packed["attention_mask"]}
    rows = [["step", "tokens", "plain, ms", "LACL, ms", "LACL / plain", "wanted"]]
    for name, to in (("prompts off", "plain"), ("prompts on", "plain, longer")):
        rows.append(
            [name, str(int(tokens[to].sum())), median_ms(times[to]), median_ms(times[name])]
            + [f"{ratio(times, name, to):.2f}", "at most 1.10"]
        )
    return table(rows)


def packed_rows(model: LaclForTokenClassification, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What goes through the encoder: text and prompt in one row."""
    seen: list[dict[str, Any]] = []
    hook = model.lacl.encoder.register_forward_pre_hook(
        lambda module, given, named: seen.append(named), with_kwargs=True
    )
    with torch.no_grad():
        model(**batch)
    hook.remove()
    return {key: seen[0][key].clone() for key in ("input_ids", "attention_mask")}


def share_table(bench: Bench, options: Any) -> str:
    batch = bench.batch_of(options.valid_tokens)
    valid = int((batch["labels"] >= 0).sum())
    rows = [["divergence", "step, ms", "losses and divergences, ms", "share", "wanted"]]
    for divergence in DIVERGENCES[-1:] if options.quick else DIVERGENCES:
        model = bench.lacl(divergence=divergence)
        step = train_step(model, batch)
        times = interleaved(
            {"step": step, "objective": objective(model, batch)}, min(options.rounds, 3), options.clock
        )
        share = ratio(times, "objective", "step")
        rows.append([f"`{divergence}`", median_ms(times["step"]), median_ms(times["objective"])])
        rows[-1] += [f"{100 * share:.1f} %", "under 5 %"]
    return f"{valid} valid tokens in {len(batch['labels'])} sentences, prompts on:\n\n{table(rows)}"


def objective(model: LaclForTokenClassification, batch: dict[str, Tensor]) -> Any:
    """A function that computes similarities and losses from given Gaussians, and their gradients."""
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
