"""The errors of a model as a self-contained web page: gold and predicted entities side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..files import write_atomically
from .html import escaped, marked_text, render_page
from .marks import Colours, Entity


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
    colours = Colours(labels)
    content = []
    for heading, (header, *rows) in (tables or {}).items():
        content.append(f"<h2>{escaped(heading)}</h2>\n<table>")
        content.append(_row("th", header))
        content += [_row("td", row) for row in rows]
        content.append("</table>")
    for name, text, gold, predicted in sentences:
        sides = "".join(f"<td>{marked_text(text, side, colours)}</td>" for side in (gold, predicted))
        content.append(
            f'<table class="sentence"><caption>{escaped(name)}</caption>\n'
            f"<tr><th>gold</th><th>predicted</th></tr>\n<tr>{sides}</tr></table>"
        )
    return render_page(title, "\n".join(content))


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
    return f"<tr>{''.join(f'<{cell}>{escaped(value)}</{cell}>' for value in values)}</tr>"
