"""`lacl render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, check_target, saved
from .options import Page
from .output import read_results
from .texts import read_texts


@app.command(no_args_is_help=True)
def render(
    file: Annotated[
        Path,
        typer.Argument(metavar="ENTITIES.jsonl", help="Output of lacl predict.", show_default=False),
    ],
    output: Page,
) -> None:
    """Render the output of lacl predict as a web page, without the model.

    The page is the same as that of [b]lacl view[/b], except for the nearest examples, which need the model.

    \b
    [bold]Examples[/bold]
    lacl predict outputs/ner texts.txt --output entities.jsonl
    lacl render entities.jsonl --output entities.html
    """
    from ..viz.html import save_html

    check_target(file, "--output", output)
    with open(file, "rb") as stream:
        save_html(output, read_results(read_texts(stream, str(file), tell=False), str(file)))
    saved(output)
