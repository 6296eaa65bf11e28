"""Measure how scores of a model of spans change with the other labels in the list.

    python training/label_lists.py outputs/source --folder ../shared/data/wide

`--folder` has a `corpora.json` (see docs/corpora.md). Of each of its corpora of role `development`, the five
most frequent types are found by name, once in a list of their own, and once each in longer lists, which are
filled up with names of types of the other corpora. Prints, for each length of the list, how much the score of
the same span with the same label changes against the list of five (of spans that have a score of at least
`--lowest` in one of the lists), F1 for the five types, and the time of prediction against the list of five.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from corpora_scores import development, read_split
from plans import machine

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.corpora.index import read_index
from modeling_lacl.data.tags import entity_spans
from modeling_lacl.evaluation.model_evaluation import word_spans
from modeling_lacl.metrics import span_scores
from modeling_lacl.reporting import markdown_table

OWN = 5
"""Number of types that are looked for."""
CLOSE = 0.05
"""Change of a score that counts as none."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="checkpoint or released name")
    parser.add_argument("--folder", type=Path, required=True, help="folder with corpora.json")
    parser.add_argument("--lengths", type=int, nargs="+", default=[5, 40, 300], help="lengths of the lists")
    parser.add_argument("--sentences", type=int, default=100, help="test sentences of each corpus")
    parser.add_argument("--lowest", type=float, default=0.05, help="score from which a span counts")
    options = parser.parse_args()
    if options.lengths[0] != OWN:
        parser.error(f"--lengths begins with {OWN}, the number of types that are looked for")
    model = LaclForTokenClassification.from_pretrained(options.model)
    names = development(options.folder)
    corpora = []
    for name in names:
        data = read_split(options.folder / name, ("test", "dev"), options.sentences)
        corpora.append((list(data["tokens"]), entity_spans(data)))
    everything = sorted(
        {name.casefold(): name for name in type_names(options.folder)}.values(), key=str.casefold
    )
    changes: dict[int, list[float]] = {length: [] for length in options.lengths}
    f1: dict[int, list[float]] = {length: [] for length in options.lengths}
    seconds = dict.fromkeys(options.lengths, 0.0)
    for sentences, gold in corpora:
        counts = Counter(name for spans in gold for *_, name in spans)
        own = sorted(name for name, _ in counts.most_common(OWN))
        taken = {name.casefold() for name in counts}
        others = [name for name in everything if name.casefold() not in taken]
        np.random.default_rng(0).shuffle(others)
        first: dict[tuple[int, int, int, str], float] = {}
        for length in options.lengths:
            ner = model.with_labels([*own, *others[: length - len(own)]])
            start = time.perf_counter()
            scores = found(ner, sentences, own, options.lowest, "any")
            seconds[length] += time.perf_counter() - start
            first = first or scores
            changes[length] += [
                abs(first.get(key, 0) - scores.get(key, 0))
                for key in {*first, *scores}
                if max(first.get(key, 0), scores.get(key, 0)) >= options.lowest
            ]
            flat = found(ner, sentences, own, None, "flat")
            correct = {
                (name, row, begin, stop)
                for row, spans in enumerate(gold)
                for begin, stop, name in spans
                if name in own
            }
            predicted = {(name, row, begin, stop) for row, begin, stop, name in flat}
            f1[length].append(100 * span_scores(correct, predicted)["f1"])
    rows = [
        [
            str(length),
            str(len(changes[length])),
            f"{np.mean(changes[length]):.3f}",
            f"{100 * np.mean(np.array(changes[length]) <= CLOSE):.0f}",
            f"{np.mean(f1[length]):.1f}",
            f"{seconds[length] / seconds[OWN]:.1f}",
        ]
        for length in options.lengths
    ]
    header = ["labels", "spans", "mean change of the score", f"within {CLOSE} (%)", "F1 of the five", "time"]
    print("\n".join(markdown_table(header, rows, range(len(header)))))
    print(f"\n{options.model}, {len(names)} corpora; machine: {json.dumps(machine())}")


def type_names(folder: Path) -> list[str]:
    """Return the names of the types of all corpora."""
    return [name for corpus in read_index(folder) for name in corpus.types]


def found(
    ner: Any, sentences: list[list[str]], types: list[str], lowest: float | None, overlap: str
) -> dict[tuple[int, int, int, str], float]:
    """Return the scores of the spans of these types, by sentence, first word, end and type."""
    entities = ner.predict(
        (words for words in sentences), is_split_into_words=True, threshold=lowest, overlap=overlap
    )
    return {
        (row, span.start, span.end, span.label): span.score
        for row, (words, own) in enumerate(zip(sentences, entities, strict=True))
        for span in word_spans(words, own)
        if span.label in types
    }


if __name__ == "__main__":
    main()
