"""`lacl adapt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from .app import app, messages_of, next_step
from .options import (
    Checkpoint,
    Encoding,
    Format,
    NestedOption,
    Scheme,
    TagColumn,
    TokenColumn,
    nested_for,
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
        help="Training steps; 0 encodes the examples without fine-tuning. By default eight passes, at least "
        "ten steps; for a model of tokens until the loss is low.",
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
WeightDecay: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--weight-decay",
        "--weight_decay",
        min=0.0,
        help="Weight decay of the training steps; 0.01 by default.",
    ),
]
AdaptBatchSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--batch-size", "--batch_size", min=1, help="Sentences per training step. By default a tested value."
    ),
]
FixedLabels: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--fixed-labels",
        "--fixed_labels",
        help="Keep the types in one order beside the text, instead of shuffling them at every step.",
    ),
]
Decoding: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="gaussian|unit_hidden|hidden",
        help="What of a word is compared with the examples: its Gaussian, the default, or the encoder's last "
        "hidden state, scaled to length 1 or as it is, which leaves the label names without weight.",
    ),
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Random seed. The same seed gives the same model.")]
Estimate: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--estimate",
        help="Also estimate precision, recall and F1 by cross-validation on the examples, which adapts three "
        "further models.",
    ),
]


@app.command(no_args_is_help=True)
def adapt(
    checkpoint: Checkpoint,
    support: SupportFile,
    output: ModelFolder,
    label_names: LabelNames = None,
    steps: Steps = None,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = None,
    batch_size: AdaptBatchSize = None,
    fixed_labels: FixedLabels = False,
    decoding: Decoding = None,
    seed: Seed = 0,
    data_format: Format = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = None,
    encoding: Encoding = "utf-8",
    nested: NestedOption = None,
    estimate: Estimate = False,
) -> None:
    """Teach a model your entity types from a few labelled sentences.

    About five examples per type are a good start. The original model is not modified.

    \b
    [bold]Examples[/bold]
    lacl adapt lacl-minilm-wide support.txt --output outputs/ner
    lacl adapt lacl-minilm-wide support.jsonl --output outputs/ner --label-names names.yaml
    lacl adapt lacl-minilm-wide support.txt --output outputs/ner --estimate
    """
    from ..data.support import read_support
    from ..hub.loading import load_model
    from ..reporting import percent
    from ..training import adaptation
    from .progress import AdaptingProgress

    model = load_model(checkpoint)
    columns = (data_format, token_column, tag_column, scheme, encoding)
    dataset = read_labelled(support, *columns, nested_for(model, nested))
    examples = read_support(dataset, str(support), nested=bool(model.config.max_span_words))
    options: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate, "weight_decay": weight_decay}
    options |= {"batch_size": batch_size, "decoding": decoding, "fixed_labels": fixed_labels, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    # Fail before the training, not after it.
    output.mkdir(parents=True, exist_ok=True)
    with AdaptingProgress() as progress:
        if estimate:
            from ..evaluation.cross_validation import cross_validate

            scores = cross_validate(model, examples, label_names, callbacks=[progress], **given).scores
        with messages_of(adaptation.logger):
            adapted = adaptation.adapt(model, examples, label_names, callbacks=[progress], **given)
    if estimate:
        print(
            f"Estimate by cross-validation on the examples: precision {percent(scores['precision'])}, "
            f"recall {percent(scores['recall'])}, F1 {percent(scores['f1'])}",
            file=sys.stderr,
        )
    adapted.save_pretrained(output)
    print(f"Saved to {output}: {', '.join(adapted.entity_types)}", file=sys.stderr)
    next_step(f"lacl predict {output} FILE")
