"""Entities as a self-contained web page, rendered by spaCy's displaCy."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path

from ..files import write_atomically
from ..optional import require
from .terminal import BACKGROUNDS, Entity, visible

ENTITY = """
<mark class="entity" style="background: {bg}; padding: 0.3em 0.5em; margin: 0 0.2em;
border-radius: 0.35em; line-height: 2.6; box-decoration-break: clone; -webkit-box-decoration-break: clone">
{text}<span style="font-size: 0.8em; font-weight: bold; margin-left: 0.5em">{label}</span>
<span style="font-size: 0.8em">{note}</span></mark>
"""
"""A marked entity. displaCy fills in the fields in braces; all values are escaped first."""


def render_html(
    results: Iterable[tuple[str, Iterable[Entity]]], *, labels: Sequence[str] = (), title: str = "lacl"
) -> str:
    """Return an HTML page of texts with coloured entities, which loads nothing from the network.

    Each entity is shown with its type, its score and, if it has one, its `nearest_example`.

    Args:
        results: Pairs of text and entities, which must not overlap.
        labels: Labels in the order in which colours are assigned to them; others follow as they occur.
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
        documents, style="ent", page=True, manual=True, jupyter=False, options={"template": ENTITY}
    )
    head = f'<meta charset="utf-8"><title>{html.escape(visible(title))}</title>'
    return page.replace("<title>displaCy</title>", head, 1).lstrip()


def save_html(
    path: str | Path, results: Iterable[tuple[str, Iterable[Entity]]], *, labels: Sequence[str] = ()
) -> None:
    """Write the page of [`render_html`] to a file; its title is the file name."""
    path = Path(path)
    write_atomically(path, render_html(results, labels=labels, title=path.stem))
