"""`lacl convert`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import app, printable, saved
from .options import Encoding, Scheme, TagColumn, TokenColumn


@app.command(no_args_is_help=True)
def convert(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Labelled data of any format: a file, or a folder.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file or folder to write.", show_default=False)
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format of OUT; by default that of its suffix: jsonl, conll, conllu, csv, parquet, dataset, "
            "doccano, label-studio, label-studio-min, prodigy, argilla, spacy, spacy-json, gliner, brat.",
        ),
    ] = None,
    nested: Annotated[
        str,
        typer.Option(
            metavar="keep|outermost|innermost|error",
            help="Of entities that overlap, keep all, the longest, or the shortest.",
        ),
    ] = "keep",
    data_format: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="Format of IN: columns, jsonl, json, csv, conllu, brat, spacy, parquet, dataset, or as for "
            "--to; detected by default.",
        ),
    ] = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Convert labelled data between the formats of labelling tools.

    The format of IN is detected by content. Texts and the positions of entities stay as they are, as far as
    OUT can hold them: docs/formats.md says what each format holds.

    \b
    [bold]Examples[/bold]
    lacl convert export.jsonl train.spacy
    lacl convert train.conll tasks.json --to label-studio
    lacl convert nested.jsonl flat.conll --nested outermost
    """
    from ..data.columns import column_of
    from ..data.converting import convert as convert_data
    from ..data.formats.registry import FORMATS
    from ..data.spans import checked_nested

    done = convert_data(
        file,
        output,
        to,
        nested=checked_nested(nested),
        format=data_format,
        token_column=column_of(token_column),
        tag_column=column_of(tag_column),
        scheme=scheme,
        encoding=encoding,
    )
    print(f"{printable(str(file))}: {printable(done.summary())}", file=sys.stderr)
    saved(output, FORMATS[done.format].title)
