"""The errors of a model as a web page that stands alone: gold and predicted entities side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..files import write_atomically
from .marking import Marking
from .marks import Entity
from .page import Facet, escaped, render_page

_OPEN = 2
"""Tables that are unfolded at first."""

_NUMBER = re.compile(r"[\d.,]+|-|–")


def render_error_page(
    sentences: Iterable[tuple[int, str, Sequence[Entity], Sequence[Entity]]],
    *,
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    labels: Sequence[str] = (),
    title: str = "lacl",
    about: str = "",
) -> str:
    """Return an HTML page of texts with gold and predicted entities side by side.

    The page loads nothing from the network. Each entity is shown with its type and, if it has them, its
    score, its `error` and its `nearest_example`. Entities may overlap. Types, errors, a slider for the score
    and a search box choose what is shown.

    Args:
        sentences: Number, text, gold entities and predicted entities of each sentence.
        tables: Tables above the sentences, by their heading; the first row is the header. The first two are
            unfolded.
        labels: Types that choose their colours first, see [`Colours`].
        title: Title of the page.
        about: A line below it.
    """
    shown = list(sentences)
    gold = [entity for _, _, one, _ in shown for entity in one]
    predicted = [entity for _, _, _, other in shown for entity in other]
    marking = Marking(gold, predicted, labels=labels)
    content = ['<div class="tables">']
    content += [
        _table(heading, rows, opened=place < _OPEN)
        for place, (heading, rows) in enumerate((tables or {}).items())
    ]
    content += ["</div>", '<ol class="sentences">']
    for number, text, *sides in shown:
        columns = "".join(
            f'<div class="side"><h3>{name}</h3>{marking.render(text, side)}</div>'
            for name, side in zip(("gold", "predicted"), sides, strict=True)
        )
        content.append(
            f'<li class="sentence compared" id="s{number}"><a class="number" href="#s{number}">{number}</a>'
            f"{columns}</li>"
        )
    return render_page(
        title,
        "\n".join([*content, "</ol>"]),
        about=about,
        facets=[
            Facet("kind", "Errors", marking.kinds),
            Facet("type", "Types", marking.types, numbers="gold / predicted"),
        ],
        unit="sentence",
        numbers=(len(shown), len(gold) + len(predicted)),
        scored=marking.scored,
    )


def save_error_page(
    path: str | Path,
    sentences: Iterable[tuple[int, str, Sequence[Entity], Sequence[Entity]]],
    *,
    tables: Mapping[str, Sequence[Sequence[str]]] | None = None,
    labels: Sequence[str] = (),
    title: str = "lacl",
    about: str = "",
) -> None:
    """Write the page of [`render_error_page`] to a file."""
    page = render_error_page(sentences, tables=tables, labels=labels, title=title, about=about)
    write_atomically(Path(path), page)


def _table(heading: str, rows: Sequence[Sequence[str]], opened: bool) -> str:
    """Return a table that unfolds, with columns of numbers at the right."""
    header, *body = rows
    numbers = [all(_NUMBER.fullmatch(row[column]) for row in body) for column in range(len(header))]
    lines = "\n".join([_row("th", header, numbers), *(_row("td", row, numbers) for row in body)])
    return (
        f"<details{' open' * opened}><summary>{escaped(heading)}</summary>\n"
        f'<div class="scroll"><table>\n{lines}\n</table></div></details>'
    )


def _row(cell: str, values: Sequence[str], numbers: Sequence[bool]) -> str:
    cells = (
        f"<{cell}{' class=number' * is_number}>{escaped(value)}</{cell}>"
        for value, is_number in zip(values, numbers, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"
