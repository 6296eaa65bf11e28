"""Evaluate adapting step by step on development data: when to stop, and how to weight names and support.

    lacl train training/recipes/development.yaml
    python training/adapting.py training/recipes/adapting.yaml

The source model was trained neither on the held-out types nor on the other development sets. Support sets
are sampled from each set, the model is adapted on each with a fixed number of steps, and after some of the
steps the remaining sentences are tagged: by label names, by the support, and by both with several weights,
with and without Viterbi. Prints Markdown tables of entity micro-F1, and of the F1 with a rule that stops at
a given context–label loss, and writes them to the output folder, with all results as JSON and a figure.
Support sets whose results are already there are not repeated. Needs the extra `plot`.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from datasets import Dataset
from figures import plot_curves
from plans import check_settings, digests, machine, plan_parser, read_plan, without
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.support import encode_support
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.evaluation.results import model_digest
from modeling_lacl.files import write_atomically
from modeling_lacl.metrics import entity_scores
from modeling_lacl.model.decoding_lacl import decode_scores
from modeling_lacl.model.labels_lacl import with_own_labels
from modeling_lacl.model.similarity_lacl import combine_scores
from modeling_lacl.optional import require
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import read_source
from modeling_lacl.training.validation import FewShotValidation
from modeling_lacl.training.word_labels import word_scores


def main() -> None:
    parser = plan_parser(__doc__, "checkpoint, recipe, dev_files, shots, steps, …")
    parser.add_argument("--checkpoint", help="source model, instead of the plan's")
    parser.add_argument(
        "--learning_rate", type=float, help="learning rate of `adapt`, instead of its default"
    )
    parser.add_argument("--batch_size", type=int, default=32, help="batch size of `adapt` (default: 32)")
    options = parser.parse_args()
    require("matplotlib.figure", "plot")  # fail now, not after all the work
    plan = read_plan(options)
    plan["adapt"] = {"batch_size": options.batch_size}
    if options.learning_rate is not None:
        plan["adapt"]["learning_rate"] = options.learning_rate
    if options.checkpoint is not None:
        plan["checkpoint"] = options.checkpoint
    model = LaclForTokenClassification.from_pretrained(plan["checkpoint"])
    settings = without(plan, "shots", "draws", "thresholds", "transition_power", "checkpoint")
    check_settings(
        options.output, settings | {"model": model_digest(model), "files": digests(plan, options.data_root)}
    )
    results_file = options.output / "results.json"
    results: list[dict[str, Any]] = json.loads(results_file.read_text()) if results_file.is_file() else []
    done = {(entry["set"], entry["shots"], entry["draw"]) for entry in results}
    for name, dataset, names in development_sets(plan, options.data_root):
        for shots in plan["shots"]:
            validation = FewShotValidation(
                dataset, k_shot=shots, draws=plan["draws"], query_size=plan["query_size"], label_names=names
            )
            for draw in range(plan["draws"]):
                if (name, shots, draw) not in done:
                    place = {"set": name, "shots": shots, "draw": draw}
                    results += [place | entry for entry in follow(model, validation, draw, plan)]
                    write_atomically(results_file, json.dumps(results, indent=1) + "\n")
    report = to_markdown(results, plan, machine())
    write_atomically(options.output / "report.md", report)
    plot(results, options.output / "curves.svg")
    print(report)


def development_sets(
    plan: Mapping[str, Any], data_root: Path
) -> Iterator[tuple[str, Dataset, Mapping[str, str]]]:
    """Yield name, sentences and label names of the held-out types of the recipe and of the plan's files."""
    arguments = [plan["recipe"], f"--train_file={data_root / plan['train_file']}"]
    _, data_args, _ = parse_arguments(arguments)
    source = read_source(data_args)
    assert source.held_out is not None
    yield "held-out types", source.held_out, source.label_names
    for name, file in plan["dev_files"].items():
        yield name, read_dataset(data_root / file["path"]), load_label_names(file["label_names"])


class _Snapshots(TrainerCallback):
    """Callback that scores the model after some of the steps of adapting."""

    def __init__(self, score: Any, steps: list[int], batches: int) -> None:
        self.score, self.steps = score, steps
        self.losses: deque[float] = deque(maxlen=batches)  # of one epoch, as in the stopping rule of `adapt`
        self.entries: list[dict[str, Any]] = []

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        model: LaclForTokenClassification | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "context_label_loss" in logs:
            self.losses.append(logs["context_label_loss"])
            if state.global_step in self.steps:
                assert model is not None
                loss = sum(self.losses) / len(self.losses)
                self.entries.append({"step": state.global_step, "loss": loss} | self.score(model))


def follow(
    model: LaclForTokenClassification,
    validation: FewShotValidation,
    draw: int,
    plan: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return one result per number of steps: the loss, and F1 in percent by decoding method."""
    support_rows, query = validation.splits[draw]
    support = validation.dataset.select(support_rows)
    rows = validation.dataset.select(query)
    gold = gold_tags(rows)

    def score(adapted: LaclForTokenClassification) -> dict[str, float]:
        learner = with_own_labels(adapted)
        learner.config.viterbi = False
        learner.set_support(*encode_support(learner, support))
        types = list(learner.config.id2label.values())[1:]

        def scores_at(label_weight: float) -> list[Tensor]:
            learner.config.label_weight = label_weight
            return word_scores(learner, rows["tokens"])

        # Two passes are enough for all weights: label names only, and support only.
        by_names, by_support = scores_at(1.0), scores_at(0.0)
        found: dict[str, float] = {}
        for weight in plan["label_weights"]:
            pairs = zip(by_names, by_support, strict=True)
            scores = [combine_scores(names, support, weight) for names, support in pairs]
            tags = io_to_bio([row.argmax(1).tolist() for row in scores], types)
            found[f"names {weight}"] = 100 * entity_scores(gold, tags)["f1"]
            for power in plan["transition_powers"] if weight == plan["label_weight"] else []:
                tags = io_to_bio(best_paths(learner, scores, power), types)
                found[f"Viterbi {power}"] = 100 * entity_scores(gold, tags)["f1"]
        return {key: round(value, 2) for key, value in found.items()}

    def run(steps: int, **options: Any) -> LaclForTokenClassification:
        names = validation.label_names
        return adapt(model, support, names, steps=steps, seed=draw, **plan["adapt"], **options)

    snapshots = _Snapshots(
        score, plan["steps"], batches=math.ceil(len(support) / plan["adapt"]["batch_size"])
    )
    run(max(plan["steps"]), callbacks=[snapshots])
    return [{"step": 0, "loss": None} | score(run(0)), *snapshots.entries]


def best_paths(model: LaclForTokenClassification, scores: list[Tensor], power: float) -> list[list[int]]:
    """Decode with Viterbi and the source's abstract transitions to a power; return label ids by sentence."""
    config: Any = model.config
    decoding = SimpleNamespace(viterbi=True, transitions=config.transitions, transition_power=power)
    return [path.tolist() for path in decode_scores(decoding, [row.numpy() for row in scores])]


def to_markdown(results: list[dict[str, Any]], plan: Mapping[str, Any], machine: Mapping[str, Any]) -> str:
    """Return a table per development set and number of shots, and one of rules that stop at a loss."""
    places = list(dict.fromkeys((entry["set"], entry["shots"]) for entry in results))
    lines: list[str] = []
    for name, shots in places:
        here = of(results, name, shots)
        ways = [key for key in here[0] if key.startswith(("names", "Viterbi"))]
        lines += [
            "",
            f"**{name}, {shots}-shot**, mean of {plan['draws']} support sets",
            "",
        ]
        lines += ["| steps | loss | " + " | ".join(ways) + " |", "|---:|---:|" + "---:|" * len(ways)]
        for step in sorted({entry["step"] for entry in here}):
            rows = [entry for entry in here if entry["step"] == step]
            losses = [entry["loss"] for entry in rows if entry["loss"] is not None]
            means = [f"{np.mean([entry[way] for entry in rows]):.1f}" for way in ways]
            loss = f"{np.mean(losses):.3f}" if losses else ""
            lines.append(f"| {step} | {loss} | " + " | ".join(means) + " |")
    columns = [f"{name}, {shots}-shot" for name, shots in places]
    for way in (f"names {plan['label_weight']}", f"Viterbi {plan['transition_power']}"):
        lines += ["", f"**Stopping once the loss is below a threshold** ({way})", ""]
        lines += ["| threshold | " + " | ".join(columns) + " | mean |"]
        lines += ["|---:|" + "---:|" * (len(columns) + 1)]
        for threshold in plan["thresholds"]:
            scores = [stopped(of(results, *place), threshold, way) for place in places]
            cells = " | ".join(f"{score:.1f}" for score in [*scores, float(np.mean(scores))])
            lines.append(f"| {threshold} | {cells} |")
    lines += ["", ", ".join(f"{key}: {value}" for key, value in machine.items())]
    return "\n".join(lines).strip() + "\n"


def plot(results: list[dict[str, Any]], file: Path) -> None:
    """Plot F1 by step, with a panel per set and number of shots, and a line per decoding method."""
    curves: dict[str, dict[int, dict[str, tuple[list[int], list[float]]]]] = {}
    for entry in sorted(results, key=lambda entry: entry["step"]):
        panel = f"{entry['set']}, {entry['shots']}-shot"
        for way in (key for key in entry if key.startswith(("names", "Viterbi"))):
            run = curves.setdefault(way, {}).setdefault(entry["draw"], {})
            steps, scores = run.setdefault(panel, ([], []))
            steps.append(entry["step"])
            scores.append(entry[way])
    panels = list(dict.fromkeys(f"{entry['set']}, {entry['shots']}-shot" for entry in results))
    by_way = {way: list(runs.values()) for way, runs in curves.items()}
    plot_curves(by_way, file, panels, "F1 in percent")


def of(results: list[dict[str, Any]], name: str, shots: int) -> list[dict[str, Any]]:
    """Return the results on one set with one number of shots."""
    return [entry for entry in results if (entry["set"], entry["shots"]) == (name, shots)]


def stopped(results: list[dict[str, Any]], threshold: float, way: str) -> float:
    """Return the mean F1 over support sets, each stopped at the first loss below the threshold."""
    by_support_set: dict[int, list[dict[str, Any]]] = {}
    for entry in results:
        by_support_set.setdefault(entry["draw"], []).append(entry)
    ends = []
    for entries in by_support_set.values():
        entries = sorted(entries, key=lambda entry: entry["step"])
        below = [entry for entry in entries if entry["loss"] is not None and entry["loss"] < threshold]
        ends.append((below or entries[-1:])[0][way])
    return float(np.mean(ends))


if __name__ == "__main__":
    main()
