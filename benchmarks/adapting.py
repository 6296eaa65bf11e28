"""Benchmark the time of adapting to a support set.

    python benchmarks/adapting.py --threads 2

The support set has five sentences for each of ten FEW-NERD types, from the packaged samples.
"""

from __future__ import annotations

import statistics
from typing import Any

from measuring import SAMPLES, arguments, machine_line, seconds, table


def main() -> None:
    options = arguments(
        __doc__,
        ("--checkpoint", {"default": "lacl-minilm-wide", "help": "a LACL source model"}),
        ("--types", {"type": int, "default": 10, "help": "number of types (default: 10)"}),
        ("--shots", {"type": int, "default": 5, "help": "sentences per type (default: 5)"}),
    )
    if options.quick:
        options.types, options.shots, options.rounds = 2, 1, 1
    print(adapting_table(options), end="\n\n")
    print(machine_line(options))


def support_set(types: int, shots: int) -> list[dict[str, Any]]:
    """Return sentences of the samples, `shots` for each of the first types, with the tags of only these."""
    from modeling_lacl import read_dataset
    from modeling_lacl.data.tags import entity_types, gold_tags

    dataset = read_dataset(SAMPLES / "few_nerd_source.txt")
    wanted = entity_types(dataset)[:types]
    missing = {name: shots for name in wanted}
    support = []
    for tokens, gold in zip(dataset["tokens"], gold_tags(dataset), strict=True):
        tags = [tag if tag[2:] in wanted else "O" for tag in gold]
        found = {tag[2:] for tag in tags if tag != "O"}
        if any(missing[name] > 0 for name in found):
            support.append({"tokens": tokens, "ner_tags": tags})
            for name in found:
                missing[name] -= 1
    return support


def adapting_table(options: Any) -> str:
    from modeling_lacl import LaclForTokenClassification, adapt

    model = LaclForTokenClassification.from_pretrained(options.checkpoint)
    support = support_set(options.types, options.shots)

    def once(steps: int | None) -> float:
        return seconds(lambda: adapt(model, support, steps=steps), options.clock)

    once(0)
    encoding = [once(0) for _ in range(options.rounds)]
    tuning = [once(1 if options.quick else None) for _ in range(min(3, options.rounds))]
    rows = [["adapt", "seconds", "wanted"]]
    rows.append(["by default", f"{statistics.median(tuning):.1f}", "at most 20, on 2 cores"])
    rows.append(["`steps=0`", f"{statistics.median(encoding):.2f}", "under 1"])
    return f"{options.types} types, {options.shots} shots, {len(support)} sentences:\n\n{table(rows)}"


if __name__ == "__main__":
    main()
