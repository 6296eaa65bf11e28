"""Measure which everyday label names a model understands without an example.

    python training/label_words.py lacl-minilm-wide --folder data/wide --output outputs/label_words.md

`--folder` has a `corpora.json` (see docs/corpora.md). The sentences are the first `--sentences` of the
development split of each corpus that is trained on (of its test split where there is no other), and of the
test split of each corpus of role `development`. The entities of each corpus are found by the names of its
types alone. Prints and writes a Markdown table: for each name F1 and the number of mentions, in domains that
were trained on and in others.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from corpora_scores import read_split
from plans import machine
from scoring import micro_f1

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.corpora.index import read_index
from modeling_lacl.data.tags import entity_spans
from modeling_lacl.evaluation.model_evaluation import word_spans
from modeling_lacl.files import write_atomically
from modeling_lacl.reporting import markdown_table

NAMES = (
    "person", "first name", "organization", "corporation", "location", "city", "country", "state",
    "street address", "facility", "vehicle", "date", "time", "year", "age", "duration of treatment",
    "number of people", "quantity", "amount of money", "price", "temperature", "phone number",
    "email address", "web address", "event", "product", "device", "food", "ingredient",
    "restaurant name", "cuisine", "movie name", "song name", "artist", "creative work", "language",
    "nationality", "skill", "occupation", "qualification", "software application", "software version",
    "operating system", "programming language",
    "drug", "disease", "dosage", "chemical", "protein", "court", "judge", "lawyer", "statute",
)  # fmt: skip
"""Names that people look for; each is the name of a type in at least one corpus."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="checkpoint or released name")
    parser.add_argument("--folder", type=Path, required=True, help="folder with corpora.json")
    parser.add_argument("--names", nargs="+", default=NAMES, help="names of types")
    parser.add_argument("--sentences", type=int, default=150, help="sentences of each corpus")
    parser.add_argument("--mentions", type=int, default=10, help="from which F1 is told")
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    options = parser.parse_args()
    model = LaclForTokenClassification.from_pretrained(options.model)
    counts: dict[str, Counter[tuple[str, str]]] = {"training": Counter(), "development": Counter()}
    for corpus in read_index(options.folder):
        if corpus.role not in counts or not {*corpus.types} & {*options.names}:
            continue
        order = ("test", "dev") if corpus.role == "development" else ("dev", "test")
        data = read_split(corpus.folder, order, options.sentences)
        sentences: list[list[str]] = list(data["tokens"])
        ner = model.with_labels(sorted(corpus.types))
        entities = ner.predict((words for words in sentences), is_split_into_words=True, overlap="nested")
        own = counts[corpus.role]
        for words, gold, found in zip(sentences, entity_spans(data), entities, strict=True):
            predicted = {(span.start, span.end, span.label) for span in word_spans(words, found)}
            own.update((name, "gold") for *_, name in gold)
            own.update((name, "predicted") for *_, name in predicted)
            own.update((name, "correct") for *_, name in predicted & set(gold))
    table = sorted(
        (_row(name, counts, options.mentions) for name in options.names), key=lambda row: -_best(row)
    )
    header = ["name", "F1 in domains trained on", "mentions", "F1 in other domains", "mentions"]
    report = "\n".join(markdown_table(header, table, range(1, len(header))))
    report += f"\n\n{options.model}; machine: {json.dumps(machine())}\n"
    write_atomically(options.output, report)
    print(report)


def _row(name: str, counts: dict[str, Counter[tuple[str, str]]], fewest: int) -> list[str]:
    cells = [name]
    for one in counts.values():
        gold, predicted, correct = (one[name, kind] for kind in ("gold", "predicted", "correct"))
        enough = gold >= fewest
        cells += [f"{micro_f1(correct, predicted, gold):.0f}" if enough else "", str(gold) if enough else ""]
    return cells


def _best(row: list[str]) -> float:
    return max(float(row[1] or -1), float(row[3] or -1))


if __name__ == "__main__":
    main()
