"""`lacl evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command(no_args_is_help=True)
def evaluate(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE.yaml", help="The test sets and support sets.", show_default=False),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Source model, instead of the recipe's.")
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option("--data-root", "--data_root", metavar="DIR", help="Folder of the data files."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of the results; an interrupted run goes on from there."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Support sets for each target and number of shots.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of a recipe with several methods, this one; may be repeated."),
    ] = None,
) -> None:
    """Measure a source model: adapt it on support sets, tag whole test sets, print the F1 scores.

    \b
    [bold]Examples[/bold]
    lacl evaluate recipe.yaml
    lacl evaluate recipe.yaml --checkpoint outputs/source --limit 1
    lacl evaluate training/recipes/compare_minilm.yaml --method LACL --method CONTaiNER
    """
    from ..evaluation.comparison import evaluate_recipe

    report = evaluate_recipe(
        recipe, methods=method, checkpoint=checkpoint, data_root=data_root, output=output, limit=limit
    )
    print(report.to_markdown())
