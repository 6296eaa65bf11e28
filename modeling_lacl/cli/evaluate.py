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
        typer.Argument(
            metavar="RECIPE.yaml", help="Recipe with the test sets and support sets.", show_default=False
        ),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Source model to use instead of the recipe's.")
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option("--data-root", "--data_root", metavar="DIR", help="Folder with the data files."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder for the results; an interrupted run resumes from there."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of support sets per target and number of shots.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Method to evaluate, of a recipe with several; can be repeated."),
    ] = None,
) -> None:
    """Evaluate a source model: adapt it on support sets, tag whole test sets, print the F1 scores.

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
