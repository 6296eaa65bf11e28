"""Entities as coloured text in a terminal, or as an SVG image of it."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from ..files import write_atomically
from .marks import Closing, Colours, Entity, Opening, marked, visible


class EntityView:
    """Display of texts with coloured entities, and of a legend.

    On a console without colours, entities are marked by brackets. A word of several entities has the colour
    of the innermost one; an entity that crosses the end of another is shown in two parts.

    Args:
        console: Console to print to.
        labels: Types that choose their colours first; see [`Colours`].
    """

    def __init__(self, console: Console, labels: Sequence[str] = ()) -> None:
        self.console = console
        self.counts: Counter[str] = Counter()
        self._colours = Colours(labels)

    def show(self, text: str, entities: Iterable[Entity]) -> None:
        """Print `text` with its entities, nested and crossing ones included."""
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
        entities = sorted(entities, key=lambda entity: entity["start"])
        self.counts.update(entity["entity_group"] for entity in entities)
        result = Text()
        opened: list[Style] = []
        for part in marked(text, entities):
            if isinstance(part, Opening):
                opened.append(self._style(part.entity["entity_group"]))
                result.append("" if self._coloured else "[")
            elif isinstance(part, Closing):
                style = opened.pop()
                note = f"{part.label()} {part.entity['score']:.2f}"
                if self._coloured:
                    result.append(f" {note}", style + Style(italic=True))
                else:
                    result.append(f" | {note}]")
            elif opened and self._coloured:
                result.append(part, opened[-1] + Style(bold=not self._few_colours))
            else:
                result.append(part)
        return result

    @property
    def _coloured(self) -> bool:
        return self.console.color_system is not None and not self.console.no_color

    @property
    def _few_colours(self) -> bool:
        """Whether there are 16, of which bold text has others in some terminals."""
        return self.console.color_system in ("standard", "windows")

    def _style(self, label: str) -> Style:
        shade = self._colours[label]
        return Style.parse(shade.ansi if self._few_colours else f"#000000 on {shade.light}")


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
