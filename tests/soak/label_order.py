"""What the order of the labels changes: the names stand in one prompt, and its order is a part of the text.

    python tests/soak/label_order.py --orders 10

Tags the packaged sample of WNUT-17 by label names alone in the given order and in others.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

import modeling_lacl
from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.label_names import label_names_for
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import entity_types, gold_tags
from modeling_lacl.metrics import entity_scores
from modeling_lacl.training.word_labels import predict_words

PLAIN = argparse.RawDescriptionHelpFormatter


def measure(orders: int, limit: int, seed: int) -> None:
    model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    dataset = read_dataset(Path(modeling_lacl.__file__).parent / "samples" / "wnut17_test.txt")
    dataset = dataset.select(range(min(limit, len(dataset))))
    types = entity_types(dataset)
    names = label_names_for(types, "wnut17")
    references = gold_tags(dataset)
    draw = random.Random(seed)
    found: list[list[str]] = []
    scores: list[float] = []
    for number in range(orders + 1):
        order = types if number == 0 else draw.sample(types, len(types))
        ids = predict_words(model, dataset["tokens"], labels={name: names[name] for name in order})
        found.append([["O", *order][label] for sentence in ids for label in sentence])
        f1 = entity_scores(references, io_to_bio(ids, order))["f1"]
        print(f"{'given' if number == 0 else number:>6}  F1 {100 * f1:5.2f}  {', '.join(order)}", flush=True)
        scores.append(100 * f1)
    base = np.array(found[0])
    others = [np.array(one) for one in found[1:]]
    inside = [np.mean((one != base)[(base != "O") | (one != "O")]) for one in others]
    print(f"{len(dataset)} sentences, {len(base)} words, {orders} orders beside the given one")
    spread = f"{min(scores):.2f} to {max(scores):.2f}"
    print(f"F1: mean {np.mean(scores):.2f}, standard deviation {np.std(scores):.2f}, {spread}")
    changed = np.mean([one != base for one in others])
    print(f"words with another label than in the given order: {changed:.2%} of all, ", end="")
    print(f"{np.mean(inside):.1%} of those in an entity in either")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=PLAIN)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--limit", type=int, default=1000, help="Sentences, from the first.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    measure(arguments.orders, arguments.limit, arguments.seed)
