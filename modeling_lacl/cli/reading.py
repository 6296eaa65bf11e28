"""The options that say how labelled data are read, which `adapt` and `plot` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from datasets import Dataset


Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="columns|jsonl|json", help="Format of the labelled file; found out by default."
    ),
]
TokenColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--token-column", "--token_column", metavar="N|KEY", help="Where words are; found out by default."
    ),
]
TagColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tag-column", "--tag_column", metavar="N|KEY", help="Where tags are; found out by default."
    ),
]
Scheme: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="IO|IOB1|BIO|BIOES|BILOU", help="Scheme of the tags; found out by default."),
]
Encoding: TypeAlias = Annotated[str, typer.Option(help="Encoding of the labelled file.")]


def read_labelled(
    file: Path,
    data_format: str | None,
    token_column: str | None,
    tag_column: str | None,
    scheme: str | None,
    encoding: str,
) -> Dataset:
    """`read_dataset` with what the options say; raises as it does."""
    from ..data.columns import column_of
    from ..data.reading import read_dataset

    return read_dataset(
        file,
        format=data_format,
        token_column=column_of(token_column),
        tag_column=column_of(tag_column),
        scheme=scheme,
        encoding=encoding,
    )
