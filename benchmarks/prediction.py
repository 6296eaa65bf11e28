"""Benchmark `predict` against the bare encoder, the cost of label names, and the gain of sorting by length.

    python benchmarks/prediction.py

First table: `predict` on sentences of the packaged samples, for several numbers of labels, with some support
examples for each. The bare encoder gets exactly the batches that `predict` passes to it, including label
names: the rest of the time is tokenisation, head, scores, decoding and entities. Second table: the same for
a model with `shared_prompt`, whose label names do not attend to the text; it has the same weights, so only
time is compared. Third table: texts of mixed lengths, mostly short messages and some paragraphs, in one call,
which sorts them into batches; in the given order, one batch per call, where sequences of similar length go
through the encoder together; and in the given order, padded to the longest sequence of the batch. Fourth
table: a model of spans beside the model of tokens, on the same texts and labels.
"""

from __future__ import annotations

import copy
import random
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from measuring import (
    arguments,
    interleaved,
    machine_line,
    ratio,
    sample_texts,
    sample_words,
    table,
    type_names,
)

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.support import encode_support
from modeling_lacl.model import modeling_lacl

WORDS_OF_A_MESSAGE, WORDS_OF_A_PARAGRAPH, MESSAGES_FOR_A_PARAGRAPH = 8, 90, 12


def main() -> None:
    options = arguments(
        __doc__,
        ("--checkpoint", {"default": "lacl-minilm-fewnerd", "help": "a LACL model"}),
        ("--spans", {"default": "lacl-minilm-wide", "help": "a LACL model of spans"}),
        ("--texts", {"type": int, "default": 96, "help": "sentences of the first table (default: 96)"}),
        ("--mixed", {"type": int, "default": 512, "help": "texts of the third table (default: 512)"}),
        ("--labels", {"type": int, "nargs": "+", "default": [4, 16, 64], "help": "default: 4 16 64"}),
        ("--examples", {"type": int, "default": 5, "help": "support sentences per label (default: 5)"}),
    )
    if options.quick:
        options.texts, options.mixed, options.labels, options.examples = 4, 40, [4], 1
    model = LaclForTokenClassification.from_pretrained(options.checkpoint)
    print(encoder_table(model, options), end="\n\n")
    print(shared_table(model, options), end="\n\n")
    print(sorting_table(model, options), end="\n\n")
    print(spans_table(model, options), end="\n\n")
    print(machine_line(options))


def with_support(model: LaclForTokenClassification, number: int, examples: int) -> None:
    """Set labels and support of the model, with `examples` sentences for each of `number` labels."""
    names = type_names(number)
    model.set_labels(names)
    support = read_dataset(
        [
            {"tokens": words, "ner_tags": [f"B-{names[index % number]}", *["O"] * (len(words) - 1)]}
            for index, words in enumerate(sample_words(number * examples))
        ]
    )
    model.set_support(*encode_support(model, support))


def encoder_batches(model: LaclForTokenClassification, texts: list[str]) -> list[dict[str, Any]]:
    """Return the batches that `predict` passes to the encoder."""
    batches: list[dict[str, Any]] = []
    hook = model.lacl.encoder.register_forward_pre_hook(
        lambda module, given, named: batches.append(named), with_kwargs=True
    )
    model.predict(texts)
    hook.remove()
    return batches


def encoder_table(model: LaclForTokenClassification, options: Any) -> str:
    texts = sample_texts(options.texts)
    rows = [
        ["labels", "support words", "tokens", "encoder, texts/s", "predict, texts/s", "predict / encoder"]
    ]
    rows[0] += ["wanted"]
    for number in options.labels:
        with_support(model, number, options.examples)
        batches = encoder_batches(model, texts)

        def encode(batches: list[dict[str, Any]] = batches) -> None:
            with torch.inference_mode():
                for batch in batches:
                    model.lacl.encoder(**batch)

        times = interleaved(
            {"encoder": encode, "predict": lambda: model.predict(texts)}, options.rounds, options.clock
        )
        tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        rates = [f"{len(texts) / statistics.median(times[name]):.0f}" for name in ("encoder", "predict")]
        share = ratio(times, "encoder", "predict")
        rows.append([str(number), str(model.config.support_size), str(tokens), *rates])
        rows[-1] += [f"{share:.2f}", "at least 0.90"]
    return table(rows)


def shared_table(model: LaclForTokenClassification, options: Any) -> str:
    texts = sample_texts(options.texts)
    rows = [["labels", "label names attend to the text, texts/s", "they do not, texts/s", "speed-up"]]
    for number in options.labels:
        with_support(model, number, options.examples)
        config = copy.deepcopy(model.config)
        config.shared_prompt = True
        shared = LaclForTokenClassification(config).eval()
        shared.load_state_dict(model.state_dict())
        shared.tokenizer = model.tokenizer
        ways = {"full": lambda: model.predict(texts), "shared": lambda shared=shared: shared.predict(texts)}
        times = interleaved(ways, options.rounds, options.clock)
        rates = [f"{len(texts) / statistics.median(times[way]):.0f}" for way in ways]
        rows.append([str(number), *rates, f"{ratio(times, 'full', 'shared'):.2f}"])
    return f"`predict`, label names encoded with every text, and once a batch:\n\n{table(rows)}"


def spans_table(model: LaclForTokenClassification, options: Any) -> str:
    texts = sample_texts(options.texts)
    spans = LaclForTokenClassification.from_pretrained(options.spans)
    rows = [["labels", "tokens, texts/s", "spans, texts/s", "time of spans / tokens", "wanted"]]
    for number in [4] if options.quick else [8, 300]:
        for examples in (0, options.examples):
            for one in (model, spans):
                with_support(one, number, max(examples, 1))
            ways = {"tokens": model, "spans": spans}
            if not examples:
                ways = {name: one.with_labels(type_names(number)) for name, one in ways.items()}
            calls = {name: partial(one.predict, texts) for name, one in ways.items()}
            times = interleaved(calls, options.rounds, options.clock)
            rates = [f"{len(texts) / statistics.median(times[way]):.0f}" for way in ways]
            about = f"{number}, {examples} examples" if examples else f"{number}, names alone"
            rows.append([about, *rates, f"{ratio(times, 'spans', 'tokens'):.2f}", "at most 1.15"])
    return table(rows)


def mixed_texts(number: int) -> list[str]:
    """Return short messages with occasional paragraphs, in random order."""
    words = [word for sentence in sample_words() for word in sentence]
    generator = random.Random(0)
    texts = []
    for index in range(number):
        length = WORDS_OF_A_PARAGRAPH if index % (MESSAGES_FOR_A_PARAGRAPH + 1) == 0 else WORDS_OF_A_MESSAGE
        length = max(1, round(length * generator.uniform(0.5, 1.1)))
        start = generator.randrange(len(words) - length)
        texts.append(" ".join(words[start : start + length]))
    generator.shuffle(texts)
    return texts


def one_group(lengths: torch.Tensor) -> list[torch.Tensor]:
    """Replace `length_groups`: all sequences in one group."""
    return [torch.arange(len(lengths))]


def sorting_table(model: LaclForTokenClassification, options: Any) -> str:
    with_support(model, 4, options.examples)
    texts = mixed_texts(options.mixed)
    batches = [texts[first : first + 32] for first in range(0, len(texts), 32)]

    def in_order() -> None:
        for batch in batches:
            model.predict(batch)

    def padded() -> None:
        with patch.object(modeling_lacl, "length_groups", one_group):
            in_order()

    ways: dict[str, Callable[[], Any]] = {
        "sorted by length": lambda: model.predict(texts),
        "in the given order, sequences of similar length together": in_order,
        "in the given order, padded to the longest": padded,
    }
    padding = {}
    for name, way in ways.items():
        seen: list[torch.Tensor] = []
        hook = model.lacl.encoder.register_forward_pre_hook(
            lambda module, given, named, seen=seen: seen.append(named["attention_mask"]), with_kwargs=True
        )
        way()
        hook.remove()
        padding[name] = 1 - sum(int(mask.sum()) for mask in seen) / sum(mask.numel() for mask in seen)
    times = interleaved(ways, options.rounds, options.clock)
    rows = [["batches", "padding", "texts/s", "speed-up", "wanted"]]
    for name in ways:
        rows.append([name, f"{100 * padding[name]:.0f} %"])
        rows[-1] += [f"{len(texts) / statistics.median(times[name]):.0f}"]
        rows[-1] += [
            f"{ratio(times, 'in the given order, padded to the longest', name):.2f}",
            "at least 2" if name == "sorted by length" else "",
        ]
    return f"{len(texts)} texts of mixed lengths, 4 labels, 32 texts a batch:\n\n{table(rows)}"


if __name__ == "__main__":
    main()
