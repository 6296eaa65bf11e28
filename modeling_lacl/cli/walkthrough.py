"""`lacl demo`: all steps from a source model to entities in text, on small packaged samples of real data."""

from __future__ import annotations

import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from datasets import Dataset
from rich.console import Console
from rich.table import Table

from ..data.reading import read_dataset
from ..data.tags import entity_types, gold_tags
from ..hub.bundled import RELEASED, embedded_encoder
from ..metrics import EntityScores, entity_scores
from ..model.modeling_lacl import LaclForTokenClassification
from ..training.adaptation import adapt
from ..training.arguments import DataArguments, LaclTrainingArguments, ModelArguments
from ..training.source import train_source
from ..training.word_labels import predict_tags
from ..viz.terminal import EntityView, save_svg

SOURCE_STEPS = 80
"""Optimiser steps on the source sample: as many as two CPU cores can do in a few minutes."""

DOMAIN, SENTENCES = "jobs", "sentences from job adverts"
"""Begin of the names of the packaged samples that the model is adapted to, and what they are."""
TEXT = (
    "Corvina Robotics opens an office in Leuven and needs an engineer who knows Haskell, circuit design and "
    "project planning. A bachelor's degree in acoustics is a plus."
)


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo.

    Attributes:
        zero_shot: Zero-shot scores, from label names alone.
        adapted: Scores after adapting.
        entities: Entities that the adapted model finds in the text.
    """

    zero_shot: EntityScores
    adapted: EntityScores
    entities: list[dict[str, Any]]


def run_demo(
    text: str | None = None,
    *,
    output: str | Path | None = None,
    svg: str | Path | None = None,
    train: bool = False,
    source_steps: int = SOURCE_STEPS,
    seed: int = 0,
    console: Console | None = None,
) -> DemoResult:
    """Adapt the released model to ten sentences of an everyday domain, score it, and tag a text.

    Args:
        text: The text to tag; by default `TEXT`.
        output: Folder to save the adapted model in.
        svg: SVG image of the tagged text to write.
        train: Train a source model on a sample of FEW-NERD instead of using the released one.
        source_steps: Optimiser steps of that training.
        seed: Random seed; the same seed gives the same numbers on the same machine.
        console: Where to print; by default standard output.

    Raises:
        ModuleNotFoundError: The embedded encoder is not installed.
    """
    console = console or Console(highlight=False)
    start = time.perf_counter()
    embedded_encoder()  # raises now if it is missing, before anything is read
    with resources.as_file(resources.files("modeling_lacl") / "samples") as samples:
        domain = _read_new_domain(samples)
        if train:
            source = _trained_source(console, samples / "few_nerd_source.txt", source_steps, seed)
        else:
            source = _released_source(console)
    adapted, scores = _adapt(console, source, domain, seed)
    entities = _tag(console, adapted, text or TEXT, svg)
    if output is not None:
        adapted.save_pretrained(output)
        console.print(f"\nSaved to {output}. Next: lacl predict {output} FILE")
    console.print(f"\n{time.perf_counter() - start:.0f} s in total.", style="dim")
    return DemoResult(**scores, entities=entities)


@dataclass(frozen=True)
class _NewDomain:
    """The samples that the demo adapts to and evaluates on.

    Attributes:
        support: A few labelled sentences.
        test: Labelled sentences with the same types.
        types: Their types, which are their label names.
    """

    support: Dataset
    test: Dataset
    types: list[str]


def _read_new_domain(folder: Path) -> _NewDomain:
    support = read_dataset(folder / f"{DOMAIN}_support.jsonl")
    types = entity_types(support)
    return _NewDomain(support, read_dataset(folder / f"{DOMAIN}_test.jsonl", labels=types), types)


def _released_source(console: Console) -> LaclForTokenClassification:
    """Load the released model, and report it."""
    console.print(
        f"[bold]1. Source model.[/bold] {RELEASED[0]}, included in the package: a small\n"
        "   encoder trained on open corpora of many domains.\n"
        "   `lacl demo --train` trains one briefly instead."
    )
    return LaclForTokenClassification.from_pretrained(RELEASED[0])


def _trained_source(console: Console, file: Path, steps: int, seed: int) -> LaclForTokenClassification:
    """Train a source model briefly with the settings of the released one, and report it."""
    console.print(
        f"[bold]1. Source model.[/bold] A small encoder trains for {steps} steps on 800 sentences "
        "of FEW-NERD with 36 entity types.\n"
        f"   For comparison, {RELEASED[0]} was trained for 4,000 steps on 56 corpora."
    )
    with tempfile.TemporaryDirectory() as folder:
        return train_source(
            ModelArguments(encoder="minilm"),
            DataArguments(train_file=str(file), type_names="few_nerd", coarse_names="few_nerd_coarse"),
            LaclTrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=16,
                train_sampling_strategy="group_by_length",
                learning_rate=1e-4,
                head_learning_rate=1e-3,
                warmup_steps=steps // 10,
                seed=seed,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                dataloader_pin_memory=False,
            ),
        )


def _adapt(
    console: Console, source: LaclForTokenClassification, domain: _NewDomain, seed: int
) -> tuple[LaclForTokenClassification, dict[str, EntityScores]]:
    """Adapt on the support set, and print the scores before and after.

    Returns:
        The adapted model, and the scores by the attribute names of [`DemoResult`].
    """
    sentences = f"{len(domain.support)} labelled {SENTENCES}"
    console.print(f"\n[bold]2. Your types.[/bold] {sentences}, with the types {', '.join(domain.types)}.")
    start = time.perf_counter()
    with _told(console, "Adapting"):
        adapted = adapt(source, domain.support, seed=seed)
    adapting = time.perf_counter() - start
    scores = {"zero_shot": _scores(source, domain, labels=domain.types), "adapted": _scores(adapted, domain)}
    table = Table("entity scores in percent", "precision", "recall", "micro-F1")
    for row, key in (
        ("before: from the names of the types alone", "zero_shot"),
        ("after adapting", "adapted"),
    ):
        one = scores[key]
        table.add_row(row, *(f"{100 * one[score]:.1f}" for score in ("precision", "recall", "f1")))
    number = scores["adapted"]["number"]
    console.print(
        f"   Adapting took {adapting:.0f} s. {len(domain.test)} others to test on, {number} entities:"
    )
    console.print(table)
    return adapted, scores


def _tag(
    console: Console, model: LaclForTokenClassification, text: str, svg: str | Path | None
) -> list[dict[str, Any]]:
    """Find and show the entities of a text; also save them as an image if `svg` is given."""
    entities: list[dict[str, Any]] = model.predict(text)
    console.print("\n[bold]3. Your text.[/bold]")
    view = EntityView(console, model.entity_types)
    view.show(text, entities)
    view.legend()
    if svg is not None:
        save_svg(svg, [(text, entities)], labels=model.entity_types, title="lacl demo")
    return entities


def _scores(
    model: LaclForTokenClassification, domain: _NewDomain, labels: list[str] | None = None
) -> EntityScores:
    return entity_scores(gold_tags(domain.test), predict_tags(model, domain.test["tokens"], labels=labels))


def _told(console: Console, what: str) -> AbstractContextManager[object]:
    """Show a spinner in a terminal, and print a line elsewhere."""
    if console.is_terminal:
        return console.status(what)
    console.print(f"   {what} …")
    return nullcontext()
