"""Entities as a web page that stands alone: texts with marks, and filters by type, score and words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import write_atomically
from .marking import Marking
from .marks import Entity
from .page import Facet, render_page


def render_html(
    results: Iterable[tuple[str, Iterable[Entity]]],
    *,
    labels: Sequence[str] = (),
    title: str = "lacl",
    about: str = "",
) -> str:
    """Return an HTML page of texts with coloured entities, which loads nothing from the network.

    Each text has its number, and each entity its type, its score and, if it has one, its `nearest_example`.
    Entities may overlap. Beside the texts are the types with the numbers of their entities; they, a slider
    for the score and a search box choose what is shown.

    Args:
        results: Pairs of text and entities.
        labels: Types that choose their colours first, see [`Colours`].
        title: Title of the page.
        about: A line below it, such as which model found the entities.

    Example:
        >>> city = {"entity_group": "city", "score": 0.9, "start": 3, "end": 7}
        >>> page = render_html([("In Oslo.", [city])])
        >>> '<p class="text" dir="auto">In <mark' in page
        True
    """
    found = [(text, list(entities)) for text, entities in results]
    marking = Marking([entity for _, entities in found for entity in entities], labels=labels)
    texts = "\n".join(
        f'<li class="sentence" id="s{number}"><a class="number" href="#s{number}">{number}</a>'
        f'<div class="side">{marking.render(text, entities)}</div></li>'
        for number, (text, entities) in enumerate(found, start=1)
    )
    return render_page(
        title,
        f'<ol class="sentences">\n{texts}\n</ol>',
        about=about,
        facets=[Facet("type", "Types", marking.types)],
        numbers=(len(found), sum(len(entities) for _, entities in found)),
        scored=marking.scored,
    )


def save_html(
    path: str | Path,
    results: Iterable[tuple[str, Iterable[Entity]]],
    *,
    labels: Sequence[str] = (),
    title: str | None = None,
    about: str = "",
) -> None:
    """Write the page of [`render_html`] to a file; its title is by default the file name."""
    path = Path(path)
    page = render_html(results, labels=labels, title=path.stem if title is None else title, about=about)
    write_atomically(path, page)
