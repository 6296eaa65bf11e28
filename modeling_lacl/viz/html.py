"""Entities as a self-contained web page, and the parts of such pages: the frame and the marked text."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import write_atomically
from .marks import Closing, Colours, Entity, Opening, marked, visible

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --line: #ccc; --quiet: #555; }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #555; --quiet: #bbb; }} }}
body {{ font-family: -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; margin: 4vmin; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ border: 1px solid var(--line); padding: 0.2em 0.7em; text-align: left; }}
table.sentence {{ width: 100%; table-layout: fixed; }}
.sentence td {{ vertical-align: top; }}
.sentence caption {{ text-align: left; color: var(--quiet); }}
ol {{ padding-left: 3em; }}
li::marker {{ color: var(--quiet); }}
.legend span, mark {{ color: #000; padding: 0.3em 0.5em; border-radius: 0.35em; }}
.legend span {{ line-height: 2.4; }}
.legend {{ padding: 0; list-style: none; display: flex; flex-wrap: wrap; column-gap: 1.5em; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; line-height: 2.6; margin: 0; }}
mark {{ margin: 0 0.2em; box-decoration-break: clone; -webkit-box-decoration-break: clone; }}
mark mark {{ outline: 1px solid #fff; }}
small {{ font-size: 0.8em; margin-left: 0.5em; user-select: none; -webkit-user-select: none; }}
</style>
</head>
<body>
<h1>{title}</h1>
{content}
</body>
</html>
"""


def render_html(
    results: Iterable[tuple[str, Iterable[Entity]]], *, labels: Sequence[str] = (), title: str = "lacl"
) -> str:
    """Return an HTML page of texts with coloured entities, which loads nothing from the network.

    Each text has its number, and each entity its type, its score and, if it has one, its `nearest_example`.
    Entities may overlap. Above the texts stand the types with the numbers of their entities.

    Args:
        results: Pairs of text and entities.
        labels: Labels in the order in which colours are assigned to them; others follow as they occur.
        title: Title of the page.

    Example:
        >>> city = {"entity_group": "city", "score": 0.9, "start": 3, "end": 7}
        >>> page = render_html([("In Oslo.", [city])])
        >>> '<p class="text" dir="auto">In <mark' in page
        True
    """
    colours = Colours(labels)
    counts: Counter[str] = Counter()
    texts = []
    for text, given in results:
        entities = list(given)
        counts.update(entity["entity_group"] for entity in entities)
        texts.append(f"<li>{marked_text(text, entities, colours)}</li>")
    legend = [
        f'<li><span style="background: {colours[label]};">{escaped(label)}</span> {counts[label]}</li>'
        for label in colours
        if counts[label]
    ]
    content = ['<ul class="legend">', *(legend or ["<li>no entities</li>"]), "</ul>", "<ol>", *texts, "</ol>"]
    return render_page(title, "\n".join(content))


def save_html(
    path: str | Path, results: Iterable[tuple[str, Iterable[Entity]]], *, labels: Sequence[str] = ()
) -> None:
    """Write the page of [`render_html`] to a file; its title is the file name."""
    path = Path(path)
    write_atomically(path, render_html(results, labels=labels, title=path.stem))


def render_page(title: str, content: str) -> str:
    """Return a page with a title, which is escaped, and a content, which is HTML."""
    return _PAGE.format(title=escaped(title), content=content)


def marked_text(text: str, entities: Iterable[Entity], colours: Colours) -> str:
    """Return a text with its entities marked, as HTML; they may overlap.

    Each mark ends with the type of the entity and, if it has them, its score, its `error` and its
    `nearest_example`.
    """
    return (
        f'<p class="text" dir="auto">{"".join(_html(part, colours) for part in marked(text, entities))}</p>'
    )


def escaped(text: str) -> str:
    """Return a text, such as a type, as HTML that shows it."""
    return html.escape(visible(text))


def _html(part: str | Opening | Closing, colours: Colours) -> str:
    if isinstance(part, Opening):
        return f'<mark style="background: {colours[part.entity["entity_group"]]};">'
    if isinstance(part, Closing):
        note = _note(part.entity)
        return (
            f"<small><strong>{escaped(part.label())}</strong>{' ' * bool(note)}{escaped(note)}</small></mark>"
        )
    return html.escape(part)


def _note(entity: Entity) -> str:
    example = entity.get("nearest_example")
    parts = [
        f"{entity['score']:.2f}" if "score" in entity else "",
        entity.get("error", ""),
        f"nearest example: {example}" if example else "",
    ]
    return " · ".join(filter(None, parts))
