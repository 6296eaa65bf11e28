"""Text formats of other programs that would pass as columns, recognised by their first lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BRAT = re.compile(r"T\d+\t\S+ \d+ \d+(?:;\d+ \d+)*\t|[REAMN]\d+\t\S+ |#\d+\t\S+ |\*\t\S+ ")
_BRAT_ENTITY = re.compile(r"T\d+\t\S+ \d+ \d+")
_XML = re.compile(r"\s*<(?:\?xml\b|!DOCTYPE\b|!--|([A-Za-z][\w:.-]*)(?:\s[^<>]*)?/?>)", re.IGNORECASE)
_ELEMENT = re.compile(r"<([A-Za-z][\w:.-]*)(?:\s[^<>]*)?>.*</\1\s*>", re.DOTALL)
_AS_JSON_LINES = (
    'write {"text": "…", "entities": [{"start", "end", "label"}]} for each text, one JSON object a line'
)


def describe_format(lines: Sequence[str]) -> str | None:
    """Return what a text file with these first lines is and what to do about it; None if it may be columns.

    Args:
        lines: The first lines that are not blank.
    """
    if lines and all(map(_BRAT.match, lines)) and any(map(_BRAT_ENTITY.match, lines)):
        return (
            "is brat's standoff format, whose text is in another file: name them alike, this one .ann and "
            f"the text .txt, or {_AS_JSON_LINES}"
        )
    if lines and is_markup(lines):
        return f"is XML or HTML, which is not read: {_AS_JSON_LINES}"
    return None


def is_markup(lines: Sequence[str]) -> bool:
    """Return whether the first lines are of an XML or HTML file, not columns with ``<s>`` among the words."""
    first = _XML.match(lines[0])
    if not first or "\t" in lines[0]:
        return False
    text = "\n".join(lines)
    # "<unk> O" is a word with its tag; an element that is closed, or a declaration, is markup.
    return first[1] is None or bool(_ELEMENT.search(text)) or lines[0].strip() == first[0].strip()
