"""`lacl demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app


@app.command()
def demo(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="Your own text to tag at the end.", show_default=False),
    ] = None,
    train: Annotated[
        bool,
        typer.Option("--train", help="Train a source model first, which takes minutes, and adapt it."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to save the adapted model in."),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Save the tagged text as an SVG image.")
    ] = None,
) -> None:
    """See how it works, without downloads: adapt on a few sentences, score before and after, tag text.

    Uses the source model included in the package, the small encoder of the extra `demo`, and small samples
    of real data: posts from the web (WNUT-17) as the new domain, and encyclopedia sentences (FEW-NERD) for
    --train.

    \b
    [bold]Examples[/bold]
    lacl demo
    lacl demo "Ana Ruiz posted a trailer of Blue Harbor from Quito."
    lacl demo --train
    """
    from .walkthrough import run_demo

    run_demo(text, train=train, output=output, svg=svg)
