"""Compare labelling the sentences that `suggest_sentences` suggests with labelling random ones.

    python training/suggesting.py training/recipes/suggesting.yaml

For each corpus and seed, a pool of sentences is sampled, and the source model is adapted on the first of them
in which each type occurs. In each round, further sentences of the pool are chosen and labelled by the corpus,
which plays the annotator, and the source model is adapted on all that is labelled; after the last round of
random sentences also the model of the round before. Prints Markdown tables of entity micro-F1 and of what was
labelled, and writes them to the output folder, with all results as JSON. Runs whose results are already there
are not repeated. Of nested entities the outermost ones are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from corpora_scores import read_packed
from datasets import Dataset, disable_progress_bars
from plans import check_settings, machine, plan_parser, read_json, read_plan, without
from scoring import mean_and_spread

from modeling_lacl import LaclForTokenClassification, adapt, evaluate_model, suggest_sentences
from modeling_lacl.data.corpora.index import read_index
from modeling_lacl.data.tags import entity_spans, keep_types
from modeling_lacl.evaluation.results import model_digest
from modeling_lacl.files import sha256, write_atomically
from modeling_lacl.reporting import markdown_table

WAYS = ("random", "suggested")


def main() -> None:
    parser = plan_parser(__doc__, "checkpoint, corpora, role, pool_size, rounds, sentences, adapt, …")
    parser.add_argument("--corpus", action="append", help="corpus to use (default: all of the plan's role)")
    options = parser.parse_args()
    plan = read_plan(options)
    disable_progress_bars()
    corpora = named_corpora(plan, options.data_root)
    model = LaclForTokenClassification.from_pretrained(plan["checkpoint"])
    settings = without(plan, "seeds", "checkpoint", "role")
    files = {f"{name}/{file.name}": sha256(file) for name, pair in corpora.items() for file in pair}
    check_settings(options.output, settings | {"model": model_digest(model), "files": files})
    results_file = options.output / "results.json"
    results = read_json(results_file)
    for name in options.corpus or corpora:
        source, test = (read_packed(file, nested="outermost") for file in corpora[name])
        for seed in plan["seeds"]:
            if f"{name}, seed {seed}" not in results:
                results[f"{name}, seed {seed}"] = run(model, source, test, plan, seed)
                write_atomically(results_file, json.dumps(results, indent=1) + "\n")
    report = to_markdown(results, plan, machine())
    write_atomically(options.output / "report.md", report)
    print(report)


def named_corpora(plan: Mapping[str, Any], data_root: Path) -> dict[str, tuple[Path, Path]]:
    """Return the files to choose sentences from and to score on of each corpus with the plan's role."""
    found = {}
    for corpus in read_index((data_root / plan["corpora"]).parent):
        if corpus.role == plan["role"]:
            source = "train" if corpus.sentences else "dev"
            folder = corpus.folder
            found[corpus.name] = (folder / f"{source}.jsonl.gz", folder / "test.jsonl.gz")
    return found


def run(
    model: LaclForTokenClassification, source: Dataset, test: Dataset, plan: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return F1 in percent after each round of each way of choosing, and the size of what was labelled."""
    generator = np.random.default_rng(seed)
    pool = sample(source, plan["pool_size"], generator)
    query = sample(test, plan["query_size"], generator)
    types = list(dict.fromkeys(name for spans in entity_spans(pool) for *_, name in spans))
    pool, query = keep_types(pool, types), keep_types(query, types)
    start = first_examples(pool, generator)
    first = adapt(model, pool.select(start), seed=seed, **plan["adapt"])
    result: dict[str, Any] = {"start": f1(first, query)}
    for way in WAYS:
        rows, ner, scores = list(start), first, []
        for _ in range(plan["rounds"]):
            rows += pick(way, ner, pool, rows, plan["sentences"], seed)
            before, ner = ner, adapt(model, pool.select(rows), seed=seed, **plan["adapt"])
            scores.append(f1(ner, query))
        result[way] = scores
        if way == "random":
            again = adapt(before, pool.select(rows), seed=seed, **plan["adapt"])
            result["from the adapted model"] = f1(again, query)
        added = pool.select(rows[len(start) :])
        result[f"{way}: words"] = sum(map(len, added["tokens"]))
        result[f"{way}: entities"] = sum(map(len, entity_spans(added)))
    return result


def first_examples(pool: Dataset, generator: np.random.Generator) -> list[int]:
    """Take sentences in random order, those with a type that has no example yet, until each type has one."""
    types = [{name for *_, name in spans} for spans in entity_spans(pool)]
    rows: list[int] = []
    found: set[str] = set()
    for row in generator.permutation(len(pool)).tolist():
        if not types[row] <= found:
            rows.append(row)
            found |= types[row]
    return rows


def sample(dataset: Dataset, size: int, generator: np.random.Generator) -> Dataset:
    """Sample sentences without repetitions."""
    texts = {" ".join(words): row for row, words in enumerate(dataset["tokens"])}
    rows = np.array(list(texts.values()))
    return dataset.select(generator.choice(rows, min(size, len(rows)), replace=False))


def pick(
    way: str, ner: LaclForTokenClassification, pool: Dataset, rows: Sequence[int], number: int, seed: int
) -> list[int]:
    """Choose rows of the pool to label next, apart from those that are labelled."""
    if way == "random":
        left = np.setdiff1d(np.arange(len(pool)), rows)
        return np.random.default_rng((seed, len(rows))).permutation(left)[:number].tolist()
    texts = [" ".join(words) for words in pool["tokens"]]
    labelled = pool.select(rows)["tokens"]
    suggested = suggest_sentences(ner, texts, number, exclude=labelled, seed=seed)
    return [texts.index(example["text"]) for example in suggested]


def f1(ner: LaclForTokenClassification, query: Dataset) -> float:
    return 100 * evaluate_model(ner, query).scores["f1"]


def to_markdown(results: Mapping[str, Any], plan: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """Return a table of F1 by corpus, the difference between both ways, and the size of what was labelled."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for key, result in results.items():
        runs.setdefault(key.rpartition(", seed ")[0], []).append(result)
    rounds = range(plan["rounds"])
    sizes = [(number + 1) * plan["sentences"] for number in rounds]
    columns = [f"{way}, {size} sentences" for size in sizes for way in WAYS]
    cells: list[list[str]] = []
    for name, some in [*runs.items(), ("mean", list(results.values()))]:
        scores = [np.mean([result["start"] for result in some])]
        scores += [np.mean([result[way][number] for result in some]) for number in rounds for way in WAYS]
        cells.append([name, *(f"{score:.1f}" for score in scores)])
    lines = [*markdown_table(["corpus", "start", *columns], cells, range(1, len(columns) + 2)), ""]
    for number, size in zip(rounds, sizes, strict=True):
        gains = [
            float(np.mean([one["suggested"][number] - one["random"][number] for one in some]))
            for some in runs.values()
        ]
        lines.append(
            f"Suggested minus random after {size} sentences: {mean_and_spread(gains)}, mean and standard "
            f"deviation over corpora ({len(results)} runs)."
        )
    again = [float(one["from the adapted model"] - one["random"][-1]) for one in results.values()]
    lines.append(
        "Adapting the adapted model again minus adapting the source model, after all random sentences: "
        f"{mean_and_spread(again)}, mean and standard deviation over runs."
    )
    lines.append("")
    for way in WAYS:
        words, entities = (
            np.mean([one[f"{way}: {what}"] for one in results.values()]) for what in ("words", "entities")
        )
        lines.append(f"Labelled, {way}: {words:.0f} words with {entities:.0f} entities.")
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
