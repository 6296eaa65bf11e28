"""`lacl predict`: its options, and the checks of their combinations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from .app import app, check_target
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
from .tagging import Request, tag

TextFile: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="FILE", help="File with one text per line; standard input by default or for -."),
]
Target: TypeAlias = Annotated[
    Path | None,
    typer.Argument(metavar="OUTPUT", help="The same as --output.", show_default=False),
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
Engine: TypeAlias = Annotated[
    Literal["process", "ray"],
    typer.Option(
        metavar="process|ray",
        help="Tag in this process, or by Ray on all cores, GPUs and machines (extra [b]ray[/b]).",
    ),
]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="Of a running Ray cluster; by default one of this machine is started.",
        show_default=False,
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of Ray's workers; by default one per GPU, else per core.", show_default=False
    ),
]
Column: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column of texts in JSON Lines and Parquet, which Ray reads; by default [b]text[/b].",
        show_default=False,
    ),
]


@app.command(no_args_is_help=True)
def predict(
    checkpoint: Checkpoint,
    file: TextFile = "-",
    target: Target = None,
    *,
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
    engine: Engine = "process",
    address: Address = None,
    workers: Workers = None,
    column: Column = None,
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

    With [b]--engine ray[/b], FILE can also be JSON Lines or Parquet, a folder, or a pattern such as
    'texts/*.txt'. Running the same command again resumes an interrupted run.

    \b
    lacl predict outputs/ner texts.txt entities.jsonl --engine ray
    lacl predict outputs/ner texts.parquet entities.parquet --engine ray --address 10.0.0.1:6379
    """
    if target is not None and output is not None:
        raise typer.BadParameter("give OUTPUT or --output, not both")
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
        output=output or target,
        resume=resume,
        svg=svg,
    )
    _check(request)
    if engine == "ray":
        _check_for_ray(request)
        from .ray_engine import tag_with_ray

        tag_with_ray(request, column=column or "text", address=address, workers=workers)
        return
    for option, value in (("--address", address), ("--workers", workers), ("--column", column)):
        if value is not None:
            raise typer.BadParameter(f"{option} needs --engine ray")
    tag(request)


def _check(request: Request) -> None:
    """Check that the options can be combined.

    Raises:
        typer.BadParameter: They cannot.
    """
    if sum((request.output is not None, request.svg is not None, request.view is True)) > 1:
        raise typer.BadParameter("give only one of --output, --svg and --view")
    check_target(request.file, "--svg", request.svg)
    if request.text is not None and request.file != "-":
        raise typer.BadParameter("give FILE or --text, not both")
    if request.resume and request.output is None:
        raise typer.BadParameter("--resume needs --output")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise typer.BadParameter(
            "accelerate launch and torchrun start processes that train; to predict in several: --engine ray"
        )


def _check_for_ray(request: Request) -> None:
    """Check what Ray's workers cannot do.

    Raises:
        typer.BadParameter: The options ask for it.
    """
    if request.file == "-" or request.output is None:
        raise typer.BadParameter("--engine ray needs FILE and OUTPUT")
    if request.view is not None or request.svg is not None:
        raise typer.BadParameter("--engine ray writes files, without --view, --jsonl and --svg")
