"""Measure nested entities: F1 of all of them, and of those within others, by names and with examples.

    python training/nested.py lacl-minilm-wide --folder DATA/wide --output outputs/nested

Corpora and support sets are those of domains.py. A model is asked for nested entities, and once more for flat
ones. An entity is an inner one if another of the same sentence contains it and is longer; inner entities are
compared with inner entities.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpora_scores import Corpus
from plans import machine
from scoring import mean_and_spread, micro_f1

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.evaluation.model_evaluation import word_spans
from modeling_lacl.files import append_json_line, read_json_lines, write_atomically
from modeling_lacl.reporting import markdown_table

CORPORA = ("gum_nested", "genia_nested", "litbank", "phee")
Entity = tuple[int, int, str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="checkpoints or released names")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--corpora", nargs="*", default=CORPORA, help="names of nested corpora")
    parser.add_argument("--shots", type=int, nargs="*", default=[0, 5], help="examples of each type")
    parser.add_argument("--seeds", type=int, default=3, help="number of support sets")
    parser.add_argument("--sentences", type=int, default=300, help="test sentences of each corpus")
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    results = options.output / "results.jsonl"
    rows: list[dict[str, Any]] = list(read_json_lines(results)) if results.is_file() else []
    finished = {json.dumps(row["run"]) for row in rows}
    for place in options.models:
        model = LaclForTokenClassification.from_pretrained(place)
        for name in options.corpora:
            corpus = Corpus(options.folder / name, options.sentences)
            for shots in options.shots:
                for seed in range(options.seeds if shots else 1):
                    run = [str(place), name, shots, seed, options.sentences]
                    if json.dumps(run) not in finished:
                        row = {"run": run, **measure(model, corpus, shots, seed)}
                        append_json_line(results, row)
                        rows.append(row)
    report = f"{_table(rows)}\n\nMachine: {json.dumps(machine())}\n"
    write_atomically(options.output / "report.md", report)
    print(report)


def measure(model: LaclForTokenClassification, corpus: Corpus, shots: int, seed: int) -> dict[str, Any]:
    """Return F1 in percent of nested and of flat predictions, and the number of gold entities."""
    if shots:
        ner = adapt(model, corpus.support(shots, seed), seed=seed)
    else:
        ner = model.with_labels(corpus.names)
    gold = [set(entities) for entities in corpus.gold]
    result: dict[str, Any] = {
        "entities": sum(map(len, gold)),
        "inner entities": sum(len(inner(one)) for one in gold),
    }
    for overlap in ("flat", "nested"):
        sentences = (words for words in corpus.sentences)
        predicted: Any = ner.predict(sentences, is_split_into_words=True, overlap=overlap)
        found = [
            {(span.start, span.end, span.label) for span in word_spans(words, entities)}
            for words, entities in zip(corpus.sentences, predicted, strict=True)
        ]
        result[overlap] = f1(gold, found)
    result["inner"] = f1([inner(one) for one in gold], [inner(one) for one in found])
    return result


def inner(entities: Collection[Entity]) -> set[Entity]:
    """Return the entities that a longer one contains."""
    return {
        one
        for one in entities
        if any(
            other[0] <= one[0] and one[1] <= other[1] and other[1] - other[0] > one[1] - one[0]
            for other in entities
        )
    }


def f1(gold: Sequence[Collection[Entity]], found: Sequence[Collection[Entity]]) -> float:
    """Return micro-F1 in percent."""
    right = sum(len(set(own) & set(other)) for own, other in zip(gold, found, strict=True))
    return micro_f1(right, sum(map(len, found)), sum(map(len, gold)))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table with a row for each model, corpus and number of examples; means over support sets."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row["run"][:3]), []).append(row)
    heads = ["model", "corpus", "examples", "entities", "inner", "F1, flat", "F1, nested", "F1 of inner"]
    cells = [
        [
            *map(str, group),
            *(f"{np.mean([one[key] for one in some]):.0f}" for key in ("entities", "inner entities")),
            *(mean_and_spread([one[key] for one in some]) for key in ("flat", "nested", "inner")),
        ]
        for group, some in groups.items()
    ]
    return "\n".join(markdown_table(heads, cells, range(2, len(heads))))


if __name__ == "__main__":
    main()
