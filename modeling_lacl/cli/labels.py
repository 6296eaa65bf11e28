"""The option `--labels`, which `predict`, `view` and `export` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import typer

Labels: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAMES",
        help="These types instead of the model's, by name alone, with commas between them: "
        "[b]person,sports event[/b], or [b]GPE=country or city[/b]; can be repeated.",
    ),
]


def parse_labels(given: Sequence[str]) -> list[str] | dict[str, str]:
    """`["person,ship", "city"]` or `["GPE=country or city,person"]` as `predict` takes labels.

    Raises:
        typer.BadParameter: No name, a name without a type, a type twice, or `O`, which is no type.
    """
    names: dict[str, str | None] = {}
    for item in ",".join(given).split(","):
        label, equals, name = (part.strip() for part in item.partition("="))
        problem = None
        if equals and not label:
            problem = f"{item.strip()!r} has no type before '='; write TYPE=NAME, or the name alone"
        elif label == "O":
            problem = "'O' stands for what is no entity; name entity types alone"
        elif label in names:
            problem = f"{label!r} stands twice; name each type once"
        if problem:
            raise typer.BadParameter(problem, param_hint="--labels")
        if label:
            names[label] = name if equals else None
    if not names:
        raise typer.BadParameter("give at least one entity type", param_hint="--labels")
    if all(name is None for name in names.values()):
        return list(names)
    from ..model.labels_lacl import natural_label_name

    return {label: name or natural_label_name(label) for label, name in names.items()}
