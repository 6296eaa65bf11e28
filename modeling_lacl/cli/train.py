"""`lacl train`."""

from __future__ import annotations

from typing import Annotated

import typer

from .app import app, next_step


@app.command(
    no_args_is_help=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE.yaml|--KEY VALUE",
            help="A recipe, and arguments that override it.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="RECIPE.yaml", help="The recipe, as an option.", show_default=False),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume from the last complete checkpoint in output_dir, or start if there is none; short "
            "for [b]--resume_from_checkpoint last[/b].",
        ),
    ] = False,
    list_arguments: Annotated[
        bool, typer.Option("--arguments", help="List all arguments of a recipe and exit.")
    ] = False,
) -> None:
    """Train a source model, which `lacl adapt` can then adapt to your entity types.

    Needs a large labelled corpus with many entity types. A recipe is a YAML file with one `argument: value`
    per line.

    \b
    [bold]Examples[/bold]
    lacl train recipe.yaml
    lacl train recipe.yaml --train_file corpus.txt --output_dir outputs/source
    lacl train recipe.yaml --max_steps 500 --learning_rate 3e-5
    lacl train recipe.yaml --resume
    """
    from ..training.arguments import argument_parser, parse_arguments

    if list_arguments:
        argument_parser("lacl train").print_help()
        return
    from ..training.source import train_source

    given = list(arguments or [])
    given += [f"--config={recipe}" for recipe in config or ()]
    if resume:
        given.append("--resume")
    model_arguments, data_arguments, training_arguments = parse_arguments(given)
    train_source(model_arguments, data_arguments, training_arguments)
    next_step(f"lacl adapt {training_arguments.output_dir} SUPPORT --output DIR")
