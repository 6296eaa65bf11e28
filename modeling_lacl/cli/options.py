"""The options and arguments that several commands share, and their parsing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from datasets import Dataset

Checkpoint: TypeAlias = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="Folder of a LACL model, or its name on the Hub.")
]
GivenTexts: TypeAlias = Annotated[
    list[str] | None, typer.Option("--text", "-t", help="Text to tag instead of FILE; can be repeated.")
]
Labels: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="Find these entity types instead of the model's, from label names alone (zero-shot): separated "
        "by commas, as in [b]person,sports event[/b] or [b]GPE=country or city[/b]; can be repeated.",
    ),
]
Threshold: TypeAlias = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Leave out entities with a lower score; by default as the model's configuration says.",
        show_default=False,
    ),
]
Overlap: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="flat|nested|any",
        help="Which entities of a model of spans may overlap: none, one within another, or any.",
    ),
]
BatchSize: TypeAlias = Annotated[int, typer.Option(min=1, help="Number of texts per batch.")]
Page: TypeAlias = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")]

# Options for reading labelled data.
Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="columns|jsonl|json|csv|…",
        help="Format of the labelled file: columns, jsonl, json, csv, conllu, brat, spacy, parquet or "
        "dataset; detected by default.",
    ),
]
TokenColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--token-column",
        "--token_column",
        metavar="N|KEY",
        help="Column or key of the words; detected by default.",
    ),
]
TagColumn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tag-column",
        "--tag_column",
        metavar="N|KEY",
        help="Column or key of the tags; detected by default.",
    ),
]
Scheme: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="IO|IOB1|BIO|BIOES|BILOU", help="Tagging scheme; detected by default."),
]
NestedOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--nested",
        metavar="keep|outermost|innermost|error",
        help="Of entities that overlap, keep all, the longest, or the shortest. By default keep with a model "
        "of spans, and error with a model of tokens, which cannot learn them all.",
    ),
]
Encoding: TypeAlias = Annotated[str, typer.Option(help="Encoding of the labelled file.")]
TextEncoding: TypeAlias = Annotated[str, typer.Option("--encoding", help="Encoding of the texts.")]


def parse_labels(given: Sequence[str] | None) -> list[str] | dict[str, str] | None:
    """Parse `["person,ship", "city"]` or `["GPE=country or city,person"]` into labels for `predict`.

    Args:
        given: The values of `--labels`; None if the option is not given.

    Returns:
        Label names, or label names by label where at least one name is given; None for None.

    Raises:
        typer.BadParameter: There is no name, a name without a type, a repeated type, or `O`, which is not
            an entity type.
    """
    if given is None:
        return None
    names: dict[str, str | None] = {}
    for item in ",".join(given).split(","):
        label, equals, name = (part.strip() for part in item.partition("="))
        problem = None
        if equals and not label:
            problem = f"{item.strip()!r} has no type before '='; write TYPE=NAME, or only the name"
        elif label == "O":
            problem = "'O' stands for words outside entities; give only entity types"
        elif label in names:
            problem = f"{label!r} is given twice; give each type once"
        if problem:
            raise typer.BadParameter(problem, param_hint="--labels")
        if label:
            names[label] = name if equals else None
    if not names:
        raise typer.BadParameter("give at least one entity type", param_hint="--labels")
    if all(name is None for name in names.values()):
        return list(names)
    from ..model.labels_lacl import default_label_name

    return {label: name or default_label_name(label) for label, name in names.items()}


def nested_for(model: Any, given: str | None) -> str:
    """Return the value of `--nested` or, where none is given, what `adapt` and `evaluate_model` do."""
    return given or ("keep" if model.config.max_span_words else "error")


def read_labelled(
    file: Path,
    data_format: str | None,
    token_column: str | None,
    tag_column: str | None,
    scheme: str | None,
    encoding: str,
    nested: str = "error",
) -> Dataset:
    """Call `read_dataset` with the values of the options; it raises the same errors."""
    from ..data.columns import column_of
    from ..data.reading import read_dataset
    from ..data.spans import checked_nested

    return read_dataset(
        file,
        format=data_format,
        token_column=column_of(token_column),
        tag_column=column_of(tag_column),
        scheme=scheme,
        encoding=encoding,
        nested=checked_nested(nested),
    )
