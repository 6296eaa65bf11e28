"""`lacl adapt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from .app import app, next_step, no_short_bars
from .options import (
    Checkpoint,
    Encoding,
    Format,
    NestedOption,
    Scheme,
    TagColumn,
    TokenColumn,
    read_labelled,
)

SupportFile: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="SUPPORT",
        help="Labelled sentences: columns as in CoNLL, JSON Lines, or the export of a labelling tool.",
        show_default=False,
    ),
]
ModelFolder: TypeAlias = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the adapted model.")
]
LabelNames: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--label-names",
        "--label_names",
        metavar="YAML",
        help="Label names of your entity types, one [b]type: name[/b] per line. "
        "By default derived from the types: [b]B-creative-work[/b] becomes 'creative work'.",
    ),
]
Steps: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Training steps; 0 encodes the examples without fine-tuning. By default until the loss is low.",
    ),
]
LearningRate: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        "--learning_rate",
        min=0.0,
        help="Learning rate of the training steps. By default a tested value.",
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Random seed. The same seed gives the same model.")]


@app.command(no_args_is_help=True)
def adapt(
    checkpoint: Checkpoint,
    support: SupportFile,
    output: ModelFolder,
    label_names: LabelNames = None,
    steps: Steps = None,
    learning_rate: LearningRate = None,
    seed: Seed = 0,
    data_format: Format = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = None,
    encoding: Encoding = "utf-8",
    nested: NestedOption = "error",
) -> None:
    """Teach a model your entity types from a few labelled sentences.

    About five examples per type are a good start. The original model is not modified.

    \b
    [bold]Examples[/bold]
    lacl adapt lacl-minilm-fewnerd support.txt --output outputs/ner
    lacl adapt lacl-minilm-fewnerd support.jsonl --output outputs/ner --label-names names.yaml
    """
    # Fail before the training, not after it.
    output.mkdir(parents=True, exist_ok=True)
    from ..data.support import read_support
    from ..hub.loading import load_model
    from ..training.adaptation import adapt as adapt_model

    no_short_bars()
    dataset = read_labelled(support, data_format, token_column, tag_column, scheme, encoding, nested)
    examples = read_support(dataset, str(support))
    given: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    adapted = adapt_model(load_model(checkpoint), examples, label_names, steps=steps, seed=seed, **given)
    adapted.save_pretrained(output)
    print(f"Saved to {output}: {', '.join(adapted.entity_types)}", file=sys.stderr)
    next_step(f"lacl predict {output} FILE")
