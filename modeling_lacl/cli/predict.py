"""`lacl predict`: its options, and which of them go together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .app import app
from .options import Checkpoint, GivenTexts, Labels, Threshold, parse_labels
from .output import processes
from .tagging import Request, tag

TextFile: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="FILE", help="One text a line, UTF-8; - or nothing: standard input."),
]
BatchSize: TypeAlias = Annotated[int, typer.Option(min=1, help="Texts at once.")]
Words: TypeAlias = Annotated[
    bool,
    typer.Option("--words", help="Lines are words separated by white space, to be kept as they are."),
]
View: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--view/--jsonl",
        help="Coloured text, or a JSON object a line; by default coloured in a terminal.",
        show_default=False,
    ),
]
Output: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write JSON Lines to a file.")
]
Resume: TypeAlias = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the --output that a run of the same command has begun."),
]
Picture: TypeAlias = Annotated[
    Path | None,
    typer.Option("--svg", metavar="FILE", help="Draw the coloured text as an SVG picture (few texts)."),
]


@app.command(no_args_is_help=True)
def predict(
    checkpoint: Checkpoint,
    file: TextFile = "-",
    text: GivenTexts = None,
    labels: Labels = None,
    threshold: Threshold = 0.0,
    batch_size: BatchSize = 32,
    words: Words = False,
    view: View = None,
    output: Output = None,
    resume: Resume = False,
    svg: Picture = None,
) -> None:
    """Find entities in text.

    Writes one JSON object for each line: the text, and its entities with type, score, and place in the text.
    Takes files of any size.

    \b
    [bold]Examples[/bold]
    lacl predict outputs/ner texts.txt --output entities.jsonl
    lacl predict outputs/ner --text "Ana Ruiz flew to Quito."
    lacl predict lacl-minilm-fewnerd --text "Ana Ruiz flew to Quito." --labels person,city
    cat texts.txt | lacl predict outputs/ner > entities.jsonl

    Started by [b]accelerate launch[/b] or [b]torchrun[/b], each process tags a share of FILE; the merged
    --output has every text in order. The same command again goes on where a broken-off run ended.

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
        batch_size=batch_size,
        words=words,
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
    """Check that what is asked for goes together.

    Raises:
        typer.BadParameter: It does not.
    """
    if sum((request.output is not None, request.svg is not None, request.view is True)) > 1:
        raise typer.BadParameter("give one of --output, --svg and --view")
    if request.text is not None and request.file != "-":
        raise typer.BadParameter("give FILE or --text, not both")
    if request.world > 1 and (request.output is None or not os.path.isfile(request.file)):
        raise typer.BadParameter(f"{request.world} processes need a FILE and an --output")
    if request.resume and request.output is None:
        raise typer.BadParameter("--resume needs --output")
