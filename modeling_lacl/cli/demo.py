"""`lacl demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, no_short_bars


@app.command()
def demo(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="A text of yours to tag at the end.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Keep the adapted model in a folder.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw the tagged text as an SVG picture.")
    ] = None,
) -> None:
    """See it work, in a few minutes and with no download: train, adapt on a few sentences, tag text.

    Uses the small encoder that the extra `demo` installs, and small real samples: news and encyclopedia
    sentences (FEW-NERD) to train on, posts from the web (WNUT-17) as the new domain.

    \b
    [bold]Examples[/bold]
    lacl demo
    lacl demo "Ana Ruiz posted a trailer of Blue Harbor from Quito."
    """
    from ..demo import run_demo

    no_short_bars()
    run_demo(text, output=output, svg=svg)
