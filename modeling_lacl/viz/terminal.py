"""Entities as coloured text in a terminal, or as an SVG image of it."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from ..files import write_atomically

Entity = Mapping[str, Any]
"""A prediction: `entity_group`, `score`, `word`, `start`, `end`."""

# Background colours on which black text is legible; neighbours in the list are easy to tell apart.
BACKGROUNDS = (
    "#8dd3c7",
    "#fdb462",
    "#b3b8ff",
    "#f7a8b8",
    "#b3de69",
    "#ffe66d",
    "#80b1d3",
    "#d9b3ff",
    "#e5c494",
    "#9be7ff",
    "#ff9e80",
    "#cfd8dc",
)

# Control characters would act on the terminal, and surrogates and noncharacters are invalid in XML. Each is
# replaced by one visible character, so that offsets stay valid.
_VISIBLE = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_VISIBLE |= dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
_VISIBLE |= dict.fromkeys((0x061C, 0x200E, 0x200F), 0xFFFD)
_VISIBLE |= dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), 0xFFFD)
del _VISIBLE[ord("\n")], _VISIBLE[ord("\t")]


class EntityView:
    """Display of texts with coloured entities, and of a legend.

    On a console without colours, entities are marked by brackets.

    Args:
        console: Console to print to.
        labels: Labels in the order in which colours are assigned to them; others follow as they occur.
    """

    def __init__(self, console: Console, labels: Sequence[str] = ()) -> None:
        self.console = console
        self.counts: Counter[str] = Counter()
        self._backgrounds = cycle(BACKGROUNDS)
        self._styles: dict[str, Style] = {}
        for label in labels:
            self._style(label)

    def show(self, text: str, entities: Iterable[Entity]) -> None:
        """Print `text` with its entities, which must not overlap."""
        self.console.print(self.render(text, entities), soft_wrap=not self.console.is_terminal)

    def legend(self) -> None:
        """Print the types shown so far, each in its colour and with its number of entities."""
        if not self.counts:
            self.console.print("no entities", style="dim")
            return
        legend = Text()
        for label, count in self.counts.items():
            legend.append("  " if legend else "")
            legend.append(f" {visible(label)} " if self._coloured else visible(label), self._style(label))
            legend.append(f" {count}")
        self.console.print(legend)

    def render(self, text: str, entities: Iterable[Entity]) -> Text:
        """Return `text` with each entity coloured and followed by its type and score."""
        text = visible(text)
        result = Text()
        position = 0
        for entity in sorted(entities, key=lambda entity: entity["start"]):
            label = entity["entity_group"]
            style = self._style(label)
            self.counts[label] += 1
            note = f"{visible(label)} {entity['score']:.2f}"
            result.append(text[position : entity["start"]])
            position = entity["end"]
            word = text[entity["start"] : position]
            if self._coloured:
                result.append(f"{word} ", style + Style(bold=True))
                result.append(note, style + Style(italic=True))
            else:
                result.append(f"[{word} | {note}]")
        result.append(text[position:])
        return result

    @property
    def _coloured(self) -> bool:
        return self.console.color_system is not None and not self.console.no_color

    def _style(self, label: str) -> Style:
        if label not in self._styles:
            self._styles[label] = Style(color="#000000", bgcolor=next(self._backgrounds))
        return self._styles[label]


def visible(text: str) -> str:
    """Replace characters that act on a terminal or are invalid in XML; the length is unchanged."""
    return text.translate(_VISIBLE)


def save_svg(
    path: str | Path,
    results: Iterable[tuple[str, Sequence[Entity]]],
    *,
    labels: Sequence[str] = (),
    title: str = "lacl",
    width: int = 90,
) -> None:
    """Write texts with their entities and a legend as an SVG image of a terminal.

    Args:
        path: File to write.
        results: Pairs of text and entities.
        labels: See `EntityView`.
        title: Title of the terminal window.
        width: Width of the terminal in characters.
    """
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    view = EntityView(console, labels)
    for text, entities in results:
        view.show(text, entities)
        console.print()
    view.legend()
    svg = console.export_svg(title=visible(title), unique_id="lacl")
    # Load no web fonts: the viewer's monospace font is used.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    write_atomically(Path(path), svg)
