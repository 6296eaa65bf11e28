"""`lacl render`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from operator import index
from pathlib import Path
from typing import Annotated, Any

import typer

from .app import app, keep_input, saved
from .predict import Result
from .texts import read_texts


@app.command(no_args_is_help=True)
def render(
    file: Annotated[
        Path,
        typer.Argument(metavar="ENTITIES.jsonl", help="What lacl predict wrote.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")],
) -> None:
    """Draw what lacl predict wrote as a web page, without the model. Needs the extra `spacy`.

    The page is that of [b]lacl view[/b] but for the nearest examples, which only the model knows.

    \b
    [bold]Examples[/bold]
    lacl predict outputs/ner texts.txt --output entities.jsonl
    lacl render entities.jsonl --output entities.html
    """
    from ..viz.html import save_html

    keep_input(file, "--output", output)
    with open(file, "rb") as stream:
        save_html(output, read_results(read_texts(stream, str(file), tell=False), str(file)))
    saved(output)


def read_results(lines: Iterable[str], name: str) -> Iterator[Result]:
    """What `lacl predict` wrote: each text and its entities; blank lines are passed over.

    Args:
        lines: The lines of the file.
        name: What to call the file in errors.

    Raises:
        ValueError: A line is no such result, or its entities have no place in its text or share one; names
            the line.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
            text, entities = result["text"], sorted(result["entities"], key=lambda entity: entity["start"])
            _check(text, entities)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f"{name}:{number}: no result of `lacl predict` ({type(error).__name__}: {error}); give JSON "
                "Lines with 'text' and 'entities', each with 'entity_group', 'score', 'start' and 'end'"
            ) from error
        yield text, entities


def _check(text: Any, entities: list[dict[str, Any]]) -> None:
    """Raises what a wrong type, a missing key or a wrong place raises."""
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r}")
    position = 0
    for entity in entities:
        start, end = index(entity["start"]), index(entity["end"])
        words = entity["entity_group"], entity.get("nearest_example") or ""
        if not all(isinstance(one, str) for one in words) or not isinstance(entity["score"], int | float):
            raise TypeError(f"the type or the score of {entity!r}")
        if not position <= start < end <= len(text):
            raise ValueError(f"{start} to {end} is no place in the text, or that of two entities")
        position = end
