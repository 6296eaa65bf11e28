"""`lacl predict`: its options, and the checks of their combinations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .app import app
from .options import (
    BatchSize,
    Checkpoint,
    GivenTexts,
    Labels,
    Overlap,
    TextEncoding,
    Threshold,
    parse_labels,
)
from .output import processes
from .tagging import Request, tag

TextFile: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="FILE", help="File with one text per line; standard input by default or for -."),
]
Words: TypeAlias = Annotated[
    bool,
    typer.Option("--words", help="Lines are already split into words, separated by white space."),
]
View: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--view/--jsonl",
        help="Show coloured text, or print one JSON object per line. By default coloured in a terminal.",
        show_default=False,
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the results to a file, as JSON Lines."),
]
Resume: TypeAlias = Annotated[
    bool,
    typer.Option("--resume", help="Resume an interrupted run of the same command with the same --output."),
]
Picture: TypeAlias = Annotated[
    Path | None,
    typer.Option("--svg", metavar="FILE", help="Save the coloured text as an SVG image (for a few texts)."),
]


@app.command(no_args_is_help=True)
def predict(
    checkpoint: Checkpoint,
    file: TextFile = "-",
    text: GivenTexts = None,
    labels: Labels = None,
    threshold: Threshold = None,
    overlap: Overlap = "flat",
    batch_size: BatchSize = 32,
    words: Words = False,
    encoding: TextEncoding = "utf-8",
    view: View = None,
    output: Output = None,
    resume: Resume = False,
    svg: Picture = None,
) -> None:
    """Find entities in text.

    Writes one JSON object per text, with the text and its entities: type, score, and offsets in the text.
    Files can be of any size.

    \b
    [bold]Examples[/bold]
    lacl predict outputs/ner texts.txt --output entities.jsonl
    lacl predict outputs/ner --text "Ana Ruiz flew to Quito."
    lacl predict lacl-minilm-wide --text "Ana Ruiz flew to Quito." --labels person,city
    cat texts.txt | lacl predict outputs/ner > entities.jsonl

    With [b]accelerate launch[/b] or [b]torchrun[/b], each process tags a share of FILE, and the results are
    merged into --output in the order of the texts. Running the same command again resumes an interrupted run.

    \b
    accelerate launch --multi_gpu --num_processes 2 --no_python \\
      lacl predict outputs/ner texts.txt --output entities.jsonl
    """
    rank, world = processes()
    request = Request(
        checkpoint=checkpoint,
        file=file,
        text=text,
        labels=parse_labels(labels),
        threshold=threshold,
        overlap=overlap,
        batch_size=batch_size,
        words=words,
        encoding=encoding,
        view=view,
        output=output,
        resume=resume,
        svg=svg,
        rank=rank,
        world=world,
    )
    _check(request)
    tag(request)


def _check(request: Request) -> None:
    """Check that the options can be combined.

    Raises:
        typer.BadParameter: They cannot.
    """
    if sum((request.output is not None, request.svg is not None, request.view is True)) > 1:
        raise typer.BadParameter("give only one of --output, --svg and --view")
    if request.text is not None and request.file != "-":
        raise typer.BadParameter("give FILE or --text, not both")
    if request.world > 1 and (request.output is None or not os.path.isfile(request.file)):
        raise typer.BadParameter(f"{request.world} processes need a FILE and an --output")
    if request.resume and request.output is None:
        raise typer.BadParameter("--resume needs --output")
