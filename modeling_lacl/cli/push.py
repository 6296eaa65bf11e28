"""`lacl push`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import app, next_step


@app.command(no_args_is_help=True)
def push(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of a LACL model.", show_default=False)
    ],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO",
            help="NAME or OWNER/NAME on the Hub; created if it does not exist.",
            show_default=False,
        ),
    ],
    private: Annotated[
        bool | None,
        typer.Option(
            help="Visibility of a new repository; by default the setting of its owner.", show_default=False
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Replace a LACL model that is already in the repository.")
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option(metavar="BRANCH", help="Branch; created if it does not exist. By default main."),
    ] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Commit message.")] = "Upload model",
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="REPORT.json",
            help="Report of [b]lacl evaluate[/b] on this model, for the model card; can be repeated.",
        ),
    ] = None,
) -> None:
    """Upload a model to the Hugging Face Hub: weights, code, tokenizer, card and metrics in one commit.

    Log in first with [b]hf auth login[/b], or set HF_TOKEN. Pickled files, hidden files and subfolders of
    FOLDER are not uploaded. The model card shows examples from the training data of the model.

    \b
    [bold]Examples[/bold]
    lacl push outputs/ner my-ner --private
    lacl push outputs/source my-source --report outputs/results/report.json
    lacl push outputs/ner my-ner --update
    """
    from ..evaluation.card_results import add_results
    from ..hub.push import published_files, push_folder

    published_files(folder)
    for file in report or ():
        add_results(folder, file)
    commit = push_folder(
        folder, repository, private=private, revision=revision, update=update, commit_message=message
    )
    print(f"Uploaded {len(published_files(folder))} files: {commit.commit_url}", file=sys.stderr)
    next_step(f"lacl predict {commit.repo_url.repo_id} FILE")
