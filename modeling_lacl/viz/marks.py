"""Marks of entities, on pages and in terminals: colours, and where nested and crossing ones begin and end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from zlib import crc32

Entity = Mapping[str, Any]
"""A prediction: `entity_group`, `score`, `word`, `start`, `end`."""


class Shade(NamedTuple):
    """A colour of the palette, as each kind of display draws it.

    Attributes:
        name: Its name, which is also the class of marks on pages.
        light: Background under black text.
        deep: Background under white text, and colour of dots and lines on white.
        ansi: Style in a terminal of 16 colours.
    """

    name: str
    light: str
    deep: str
    ansi: str


# Neighbours in the list are easy to tell apart.
PALETTE = (
    Shade("red", "#ffb3ab", "#b3261e", "bright_white on red"),
    Shade("teal", "#80dccd", "#006f66", "black on cyan"),
    Shade("magenta", "#f3b0ec", "#9a2795", "black on bright_magenta"),
    Shade("lime", "#cbe86b", "#526900", "black on bright_green"),
    Shade("indigo", "#bdbcff", "#4a50c8", "bright_white on bright_blue"),
    Shade("orange", "#ffc58a", "#954d00", "black on yellow"),
    Shade("sky", "#8fe4f5", "#006987", "black on bright_cyan"),
    Shade("pink", "#ffb8d2", "#b0235e", "black on bright_red"),
    Shade("green", "#93e0a0", "#1c7430", "black on green"),
    Shade("violet", "#dcc0ff", "#7a3bc4", "bright_white on magenta"),
    Shade("yellow", "#ffe270", "#735c00", "black on bright_yellow"),
    Shade("blue", "#8fbcff", "#1c5fb0", "bright_white on blue"),
)

# With this start of the checksum, the types of common label sets rarely want the same shade.
_START = 24921

# Control characters would act on the terminal, and surrogates and noncharacters are invalid in XML. Each is
# replaced by one visible character, so that offsets stay valid.
_VISIBLE = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_VISIBLE |= dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
_VISIBLE |= dict.fromkeys((0x061C, 0x200E, 0x200F), 0xFFFD)
_VISIBLE |= dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), 0xFFFD)
del _VISIBLE[ord("\n")], _VISIBLE[ord("\t")]


class Opening(NamedTuple):
    """The beginning of a mark."""

    entity: Entity


class Closing(NamedTuple):
    """The end of a mark, which is the last that was opened.

    Attributes:
        entity: The entity that is marked.
        begun: Whether the entity begins in a mark before this one.
        goes_on: Whether the entity goes on in a mark behind this one.
    """

    entity: Entity
    begun: bool
    goes_on: bool

    def label(self) -> str:
        """Return the entity type, with `…` where the entity has another mark.

        Example:
            >>> Closing({"entity_group": "city"}, begun=False, goes_on=True).label()
            'city …'
        """
        return f"{'… ' * self.begun}{visible(self.entity['entity_group'])}{' …' * self.goes_on}"


def marked(text: str, entities: Iterable[Entity]) -> Iterator[str | Opening | Closing]:
    """Yield the parts of a text and, between them, the borders of the marks of its entities.

    Marks are closed in the reverse of the order in which they are opened. An entity within another is marked
    within its mark; an entity that goes on behind the one in which it begins has a mark in it and a mark
    behind it.

    Args:
        text: The text. The parts, put together, are its [`visible`] form.
        entities: Entities in any order.

    Yields:
        Parts of the text, none of them empty, and borders.

    Raises:
        ValueError: An entity is empty or lies outside the text.

    Example:
        >>> brackets = {Opening: "[", Closing: "]"}
        >>> entities = [{"start": 0, "end": 12}, {"start": 8, "end": 12}]
        >>> "".join(brackets.get(type(part), part) for part in marked("Bank of Oslo fell", entities))
        '[Bank of [Oslo]] fell'
    """
    text = visible(text)
    waiting = sorted(entities, key=lambda entity: (entity["start"], -entity["end"]))[::-1]
    for entity in waiting:
        if not 0 <= entity["start"] < entity["end"] <= len(text):
            raise ValueError(f"the offsets {entity['start']} to {entity['end']} lie outside the text")
    opened: list[tuple[Entity, int]] = []  # with the beginnings of their marks
    borders = sorted({0, len(text), *(entity[side] for entity in waiting for side in ("start", "end"))})
    for border, following in zip(borders, [*borders[1:], None], strict=True):
        # What ends here, and the marks within it, which go on behind it.
        ending = [number for number, (entity, _) in enumerate(opened) if entity["end"] <= border]
        first = ending[0] if ending else len(opened)
        for entity, start in reversed(opened[first:]):
            yield Closing(entity, start > entity["start"], entity["end"] > border)
        opening = [entity for entity, _ in opened[first:] if entity["end"] > border]
        del opened[first:]
        while waiting and waiting[-1]["start"] <= border:
            opening.append(waiting.pop())
        for entity in sorted(opening, key=lambda entity: -entity["end"]):
            opened.append((entity, border))
            yield Opening(entity)
        if following is not None:
            yield text[border:following]


class Colours:
    """The shade of each type: the same on pages, in terminals, pictures and plots.

    It follows from the name of the type; only where two types want the same shade, the later one takes the
    next that is free. Beyond twelve types, shades repeat.

    Args:
        labels: Types that choose first, in alphabetical order; others choose as they are asked for.

    Example:
        >>> colours = Colours(["city", "person"])
        >>> colours["city"].name, colours["city"] == Colours(["person", "city", "ship"])["city"]
        ('indigo', True)
    """

    def __init__(self, labels: Iterable[str] = ()) -> None:
        self._shades: dict[str, Shade] = {}
        self._taken = dict.fromkeys(PALETTE, 0)
        for label in sorted(set(labels)):
            self[label]

    def __getitem__(self, label: str) -> Shade:
        if label not in self._shades:
            first = crc32(label.encode("utf-8", "surrogatepass"), _START) % len(PALETTE)
            shade = min(PALETTE[first:] + PALETTE[:first], key=self._taken.__getitem__)
            self._shades[label] = shade
            self._taken[shade] += 1
        return self._shades[label]


def visible(text: str) -> str:
    """Replace characters that act on a terminal or are invalid in XML; the length is unchanged."""
    return text.translate(_VISIBLE)
