"""`lacl plot`: learning curves, the embedding space of support and query tokens, the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .app import app, saved
from .options import Checkpoint, Encoding, Format, Scheme, TagColumn, TokenColumn, read_labelled

plots = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    plots,
    name="plot",
    help="Plot learning curves, the embedding space, or a confusion matrix. Needs the extra [b]plot[/b].",
)

Picture: TypeAlias = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="Image to write: .svg, .png or .pdf."),
]
Labelled: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Labelled sentences, in any format that lacl adapt reads.", show_default=False
    ),
]


@plots.command(no_args_is_help=True)
def curves(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Output folder of a training run, or a checkpoint in it.",
            show_default=False,
        ),
    ],
    output: Picture,
) -> None:
    """Plot losses, gradient norm, and scores over the steps of a training run.

    \b
    [bold]Example[/bold]
    lacl plot curves outputs/source --output curves.svg
    """
    from ..viz.plots import plot_learning_curves

    plot_learning_curves(folder, output)
    saved(output)


@plots.command(no_args_is_help=True)
def space(
    checkpoint: Checkpoint,
    file: Labelled,
    output: Picture,
    data_format: Format = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Plot support tokens and the words of labelled sentences on their first two principal components.

    Stars are words of the model's support set, dots words of FILE; both have the colour of their type.

    \b
    [bold]Example[/bold]
    lacl plot space outputs/ner dev.txt --output space.svg
    """
    from ..hub.loading import load_model
    from ..viz.plots import plot_embedding_space

    dataset = read_labelled(file, data_format, token_column, tag_column, scheme, encoding)
    plot_embedding_space(load_model(checkpoint), dataset, output)
    saved(output)


@plots.command(no_args_is_help=True)
def confusion(
    checkpoint: Checkpoint,
    file: Labelled,
    output: Picture,
    data_format: Format = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Plot how many words of each reference type the model assigns to each type.

    \b
    [bold]Example[/bold]
    lacl plot confusion outputs/ner test.txt --output confusion.svg
    """
    from ..data.tags import gold_tags
    from ..hub.loading import load_model
    from ..training.word_labels import predict_tags
    from ..viz.plots import plot_confusion

    dataset = read_labelled(file, data_format, token_column, tag_column, scheme, encoding)
    model = load_model(checkpoint)
    found = predict_tags(model, dataset["tokens"])
    plot_confusion(gold_tags(dataset), found, output)
    saved(output)
