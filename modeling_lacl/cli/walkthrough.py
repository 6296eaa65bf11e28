"""`lacl demo`: the whole way from a source model to entities in text, on small packaged real data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from datasets import Dataset
from rich.console import Console
from rich.table import Table

from ..data.label_names import label_names_for
from ..data.reading import read_dataset
from ..data.tag_schemes import io_to_bio
from ..data.tags import entity_types, gold_tags
from ..hub.bundled import RELEASED, embedded_encoder
from ..metrics import EntityScores, entity_scores
from ..model.modeling_lacl import LaclForTokenClassification
from ..training.adaptation import adapt
from ..training.arguments import DataArguments, LaclTrainingArguments, ModelArguments
from ..training.source import train_source
from ..training.word_labels import predict_words
from ..viz.terminal import EntityView, save_svg

SOURCE_STEPS = 80
"""Optimiser steps on the source sample: what fits into the minutes that a demo may take on two CPU cores."""

TEXT = (
    "Maria Jensen left Microsoft for a startup in Lisbon. Last night she watched Stranger Things on her new "
    "iPhone, then danced to Coldplay in Hyde Park."
)


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured and found.

    Attributes:
        zero_shot: Scores by the names of the types alone.
        unadapted: Scores with the support set looked at, without a training step on it.
        adapted: Scores after adapting.
        entities: Entities of the text, by the adapted model.
    """

    zero_shot: EntityScores
    unadapted: EntityScores
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
    """Adapts the released model on a 5-shot support set of WNUT-17, scores and tags.

    Args:
        text: A text to tag in the end; by default one is given.
        output: Folder to keep the adapted model in.
        svg: File for a picture of the tagged text.
        train: Train a source model on a sample of FEW-NERD in the place of the released one.
        source_steps: Optimiser steps of that training.
        seed: The same seed gives the same numbers on the same machine.
        console: Where to tell what goes on; by default standard output.

    Raises:
        ModuleNotFoundError: The embedded encoder is not installed.
    """
    console = console or Console(highlight=False)
    start = time.perf_counter()
    text = text or TEXT
    embedded_encoder()  # told now if it is missing, before anything is read
    samples = resources.files(__package__) / "samples"
    with tempfile.TemporaryDirectory() as folder, resources.as_file(samples) as data:
        support = read_dataset(data / "wnut17_support_5shot.txt")
        types = entity_types(support)
        test = read_dataset(data / "wnut17_test.txt", labels=types)
        names = label_names_for(types, "wnut17")

        if train:
            console.print(
                f"[bold]1. Source.[/bold] A small encoder trains for {source_steps} steps on 800 sentences "
                "of FEW-NERD with 36 entity types.\n"
                f"   {RELEASED[0]} has seen 24,412 of them for 1,200 steps: this is a taste of it."
            )
            source = _train(data / "few_nerd_source.txt", Path(folder) / "source", source_steps, seed)
        else:
            console.print(
                f"[bold]1. Source.[/bold] {RELEASED[0]}, which comes with the package: a small\n"
                "   encoder trained on sentences of FEW-NERD with 36 entity types.\n"
                "   `lacl demo --train` trains one briefly, as you watch."
            )
            source = LaclForTokenClassification.from_pretrained(RELEASED[0])

        console.print(
            f"\n[bold]2. Your types.[/bold] {len(support)} labelled posts from the web (WNUT-17), about five "
            f"entities for each of: {', '.join(names.values())}."
        )
        with _told(console, "Adapting and tagging test posts"):
            unadapted = adapt(source, support, names, steps=0, seed=seed)
            adapted = adapt(source, support, names, seed=seed)
            zero_shot_scores = _scores(source, test, types, labels=names)
            unadapted_scores = _scores(unadapted, test, types)
            adapted_scores = _scores(adapted, test, types)
        table = Table("entity scores in percent", "precision", "recall", "micro-F1")
        for row, scores in (
            ("before: by the names of the types alone", zero_shot_scores),
            ("before: with the posts looked at alone", unadapted_scores),
            ("after adapting", adapted_scores),
        ):
            table.add_row(row, *(f"{100 * scores[key]:.1f}" for key in ("precision", "recall", "f1")))
        console.print(f"   {len(test)} test posts, {adapted_scores['number']} entities:")
        console.print(table)

        entities = adapted.predict(text)
        console.print("\n[bold]3. Your text.[/bold]")
        view = EntityView(console, types)
        view.show(text, entities)
        view.legend()
        if svg is not None:
            save_svg(svg, [(text, entities)], labels=types, title="lacl demo")
        if output is not None:
            adapted.save_pretrained(output)
            console.print(f"\nThe model is in {output}: lacl predict {output} FILE")
    console.print(f"\n{time.perf_counter() - start:.0f} s in all.", style="dim")
    return DemoResult(zero_shot_scores, unadapted_scores, adapted_scores, entities)


def _train(file: Path, folder: Path, steps: int, seed: int) -> LaclForTokenClassification:
    """A source model trained briefly by the recipe of the released one."""
    return train_source(
        ModelArguments(encoder="minilm"),
        DataArguments(train_file=str(file), type_names="few_nerd", coarse_names="few_nerd_coarse"),
        LaclTrainingArguments(
            output_dir=str(folder),
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


def _scores(
    model: LaclForTokenClassification,
    test: Dataset,
    types: Sequence[str],
    labels: dict[str, str] | None = None,
) -> EntityScores:
    found = predict_words(model, test["tokens"], labels=labels)
    return entity_scores(gold_tags(test), io_to_bio(found, types))


def _told(console: Console, what: str) -> AbstractContextManager[object]:
    """A spinner in a terminal, a line elsewhere."""
    if console.is_terminal:
        return console.status(what)
    console.print(f"   {what} …")
    return nullcontext()
