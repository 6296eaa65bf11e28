"""The errors of a model as a self-contained web page: gold and predicted entities side by side."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path

from ..files import write_atomically
from .html import ENTITY
from .terminal import BACKGROUNDS, Entity, visible

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ border: 1px solid #ccc; padding: 0.2em 0.7em; text-align: left; }}
table.sentence {{ width: 100%; table-layout: fixed; }}
.sentence td {{ line-height: 2.6; vertical-align: top; overflow-wrap: anywhere; }}
.sentence caption {{ text-align: left; color: #555; }}
mark mark {{ outline: 1px solid #fff; }}
</style>
</head>
<body>
<h1>{title}</h1>
{content}
</body>
</html>
"""


def render_error_page(
    sentences: Iterable[tuple[str, str, Sequence[Entity], Sequence[Entity]]],
    *,
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    labels: Sequence[str] = (),
    title: str = "lacl",
) -> str:
    """Return an HTML page of texts with gold and predicted entities side by side.

    The page loads nothing from the network. Each entity is shown with its type and, if it has them, its
    score, its `error` and its `nearest_example`. Entities may overlap.

    Args:
        sentences: Name, text, gold entities and predicted entities of each sentence.
        tables: Tables to show above the sentences, by their heading; the first row is the header.
        labels: Labels in the order in which colours are assigned to them; others follow as they occur.
        title: Title of the page.
    """
    backgrounds = cycle(BACKGROUNDS)
    colours = dict(zip(labels, backgrounds, strict=False))
    content = []
    for heading, (header, *rows) in (tables or {}).items():
        content.append(f"<h2>{_escaped(heading)}</h2>\n<table>")
        content.append(_row("th", header))
        content += [_row("td", row) for row in rows]
        content.append("</table>")
    for name, text, gold, predicted in sentences:
        for entity in (*gold, *predicted):
            if entity["entity_group"] not in colours:
                colours[entity["entity_group"]] = next(backgrounds)
        sides = "".join(f"<td>{_marked(text, side, colours)}</td>" for side in (gold, predicted))
        content.append(
            f'<table class="sentence"><caption>{_escaped(name)}</caption>\n'
            f"<tr><th>gold</th><th>predicted</th></tr>\n<tr>{sides}</tr></table>"
        )
    return _PAGE.format(title=_escaped(title), content="\n".join(content))


def save_error_page(
    path: str | Path,
    sentences: Iterable[tuple[str, str, Sequence[Entity], Sequence[Entity]]],
    *,
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    labels: Sequence[str] = (),
    title: str = "lacl",
) -> None:
    """Write the page of [`render_error_page`] to a file."""
    write_atomically(Path(path), render_error_page(sentences, tables=tables, labels=labels, title=title))


def _row(cell: str, values: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{_escaped(value)}</{cell}>' for value in values)}</tr>"


def _marked(text: str, entities: Iterable[Entity], colours: Mapping[str, str]) -> str:
    """Return a text with its entities marked; one inside another is marked inside its mark."""
    waiting = sorted(entities, key=lambda entity: (entity["start"], -entity["end"]))
    return _mark_part(text, 0, len(text), waiting, colours)


def _mark_part(text: str, start: int, end: int, waiting: Sequence[Entity], colours: Mapping[str, str]) -> str:
    parts = []
    while waiting:
        first, *others = waiting
        stop = first["end"]
        inside = [{**one, "end": min(one["end"], stop)} for one in others if one["start"] < stop]
        # An entity that ends behind the one in which it begins is marked in two parts.
        behind = [{**one, "start": max(one["start"], stop)} for one in others if one["end"] > stop]
        parts.append(_escaped(text[start : first["start"]]))
        parts.append(
            ENTITY.format(
                bg=colours[first["entity_group"]],
                text=_mark_part(text, first["start"], stop, inside, colours),
                label=_escaped(first["entity_group"]),
                note=_escaped(_note(first)),
            ).strip()
        )
        start = stop
        waiting = sorted(behind, key=lambda entity: (entity["start"], -entity["end"]))
    return "".join([*parts, _escaped(text[start:end])])


def _note(entity: Entity) -> str:
    example = entity.get("nearest_example")
    parts = [
        f"{entity['score']:.2f}" if "score" in entity else "",
        entity.get("error", ""),
        f"nearest example: {example}" if example else "",
    ]
    return " · ".join(filter(None, parts))


def _escaped(text: str) -> str:
    return html.escape(visible(text))
