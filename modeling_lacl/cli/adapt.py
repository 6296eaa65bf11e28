"""`lacl adapt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import Checkpoint, app, entity_types, next_step, no_short_bars


@app.command(no_args_is_help=True)
def adapt(
    checkpoint: Checkpoint,
    support: Annotated[
        Path,
        typer.Argument(
            metavar="SUPPORT",
            help="Labelled sentences: CoNLL-style columns or JSON Lines.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the adapted model.")
    ],
    label_names: Annotated[
        str | None,
        typer.Option(
            "--label-names",
            "--label_names",
            metavar="YAML",
            help="What your types are called in plain words, one [b]type: name[/b] a line. "
            "By default a rule: [b]B-creative-work[/b] is 'creative work'.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Training steps on the support set; 0 only looks at it. By default a tested number."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate of those steps. By default a tested one.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    data_format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="columns|jsonl|json", help="Format of SUPPORT; found out by default."
        ),
    ] = None,
    token_column: Annotated[
        str | None,
        typer.Option(
            "--token-column", "--token_column", metavar="N|KEY", help="Where words are; found out by default."
        ),
    ] = None,
    tag_column: Annotated[
        str | None,
        typer.Option(
            "--tag-column", "--tag_column", metavar="N|KEY", help="Where tags are; found out by default."
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(metavar="IO|IOB1|BIO|BIOES|BILOU", help="Scheme of the tags; found out by default."),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of SUPPORT; UTF-8 by default.")] = None,
) -> None:
    """Teach a model your entity types with a few labelled sentences.

    About five examples a type make a good start. The model that you start from is left as it is.

    \b
    [bold]Examples[/bold]
    lacl adapt lacl-minilm-fewnerd support.txt --output outputs/ner
    lacl adapt lacl-minilm-fewnerd support.jsonl --output outputs/ner --label-names names.yaml
    """
    # Before the training, not after it.
    output.mkdir(parents=True, exist_ok=True)
    from ..adaptation import adapt as adapt_model
    from ..data import read_dataset
    from ..data.columns import column_of
    from ..loading import load_model

    no_short_bars()
    reading: dict[str, Any] = {
        "format": data_format,
        "token_column": column_of(token_column),
        "tag_column": column_of(tag_column),
        "scheme": scheme,
        "encoding": encoding,
    }
    reading = {key: value for key, value in reading.items() if value is not None}
    examples = read_dataset(support, **reading) if reading else support
    given: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate}
    model = load_model(checkpoint)
    adapted = adapt_model(
        model,
        model.tokenizer,
        examples,
        label_names,
        seed=seed,
        **{key: value for key, value in given.items() if value is not None},
    )
    adapted.save_pretrained(output)
    print(f"Saved to {output}: {', '.join(entity_types(adapted))}", file=sys.stderr)
    next_step(f"lacl predict {output} FILE")
