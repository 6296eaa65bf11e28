"""Texts to tag, one per line, from a file, standard input, or the command line."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

_LINES_LOOKED_AT = 20

# The replacement by errors="surrogateescape" of a byte that is not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")


def read_texts(lines: Iterable[bytes], name: str, tell: bool = True) -> Iterator[str]:
    """Decode lines of UTF-8 as they are read; bytes that are not UTF-8 become U+FFFD.

    Args:
        lines: The lines, as an open binary file returns them.
        name: Name of their source in messages.
        tell: Whether to warn on standard error of replaced bytes and of lines that look like labelled data.

    Yields:
        Each line without its line ending.

    Raises:
        ValueError: The lines are UTF-16 or binary.
    """
    from ..data.lines import describe_binary

    replaced = first = 0
    # The first lines, None once they have been checked: a stream is not delayed by the check.
    beginning: list[str] | None = []
    try:
        for number, line in enumerate(lines, start=1):
            if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ValueError(f"{name}:1: this is UTF-16; save it as UTF-8")
            if number == 1 and (problem := describe_binary(line)):
                raise ValueError(f"{name}: {problem}")
            text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
            if not text.isascii():
                text, count = _UNDECODED.subn("\ufffd", text)
                replaced += count
                first = first or (number if count else 0)
            text = text if number > 1 else text.removeprefix("\ufeff")
            if beginning is not None:
                beginning.append(text)
                if len(beginning) == _LINES_LOOKED_AT:
                    _tell_labelled(beginning, name, tell)
                    beginning = None
            yield text
    finally:
        if beginning:
            _tell_labelled(beginning, name, tell)
        if replaced and tell:
            print(
                f"{name}: {replaced} bytes that are not UTF-8 were replaced by U+FFFD "
                f"(the first in line {first})",
                file=sys.stderr,
            )


def _tell_labelled(beginning: Sequence[str], name: str, tell: bool) -> None:
    """Warn on standard error if the first lines look like labelled data."""
    from ..data.columns import looks_like_columns
    from ..data.jsonl import is_jsonl

    kind = "words with tags in columns" if looks_like_columns(beginning) else ""
    kind = "JSON" if is_jsonl(beginning[0]) else kind
    if kind and tell:
        print(
            f"{name}: these lines look like {kind}, but are tagged as plain text: give one text per line, "
            "without labels",
            file=sys.stderr,
        )
