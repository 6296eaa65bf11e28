"""Entities as a web page that stands on its own, drawn by spaCy's displaCy."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path

from ..files import write_atomically
from ..optional import require
from .terminal import BACKGROUNDS, Entity, visible

# displaCy fills in what stands in braces; every value is escaped before.
_ENTITY = """
<mark class="entity" style="background: {bg}; padding: 0.3em 0.5em; margin: 0 0.2em;
border-radius: 0.35em; line-height: 2.6; box-decoration-break: clone; -webkit-box-decoration-break: clone">
{text}<span style="font-size: 0.8em; font-weight: bold; margin-left: 0.5em">{label}</span>
<span style="font-size: 0.8em">{note}</span></mark>
"""


def render_html(
    results: Iterable[tuple[str, Iterable[Entity]]], *, labels: Sequence[str] = (), title: str = "lacl"
) -> str:
    """Return an HTML page of texts with their entities in colour, which fetches nothing from elsewhere.

    Each entity has its type and score beside it and, if it has a `nearest_example`, that as well.

    Args:
        results: Pairs of text and entities, which must not overlap.
        labels: Labels in the order in which they take their colours; others follow as they come up.
        title: Title of the page.

    Raises:
        ModuleNotFoundError: spaCy is not installed.
    """
    displacy = require("spacy", "spacy").displacy
    backgrounds = cycle(BACKGROUNDS)
    colours = dict(zip(labels, backgrounds, strict=False))
    documents = []
    for text, entities in results:
        marks = []
        for entity in sorted(entities, key=lambda entity: entity["start"]):
            label = entity["entity_group"]
            if label not in colours:
                colours[label] = next(backgrounds)
            example = entity.get("nearest_example")
            note = f"{entity['score']:.2f}" + (f" · nearest example: {visible(example)}" if example else "")
            params = {"bg": colours[label], "note": html.escape(note)}
            shown = html.escape(visible(label))
            marks.append({"start": entity["start"], "end": entity["end"], "label": shown, "params": params})
        documents.append({"text": visible(text), "ents": marks, "title": None})
    page: str = displacy.render(
        documents, style="ent", page=True, manual=True, jupyter=False, options={"template": _ENTITY}
    )
    head = f'<meta charset="utf-8"><title>{html.escape(visible(title))}</title>'
    return page.replace("<title>displaCy</title>", head, 1).lstrip()


def save_html(
    path: str | Path, results: Iterable[tuple[str, Iterable[Entity]]], *, labels: Sequence[str] = ()
) -> None:
    """Write the page of [`render_html`] to a file, whose name is the title."""
    path = Path(path)
    write_atomically(path, render_html(results, labels=labels, title=path.stem))
