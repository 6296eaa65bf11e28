"""Texts to tag, a line each, from a file, standard input or the command line."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

_LINES_LOOKED_AT = 20

# What errors="surrogateescape" leaves for a byte that is not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")


def read_texts(lines: Iterable[bytes], name: str, tell: bool = True) -> Iterator[str]:
    """Lines of UTF-8 without their ends, as they come; bytes that are no UTF-8 become U+FFFD.

    Args:
        lines: As an open file gives them.
        name: What to call them where bytes are replaced or where they look like labelled data, which is told
            if `tell` is set.

    Raises:
        ValueError: They are UTF-16, or no text.
    """
    from ..data.lines import describe_binary

    replaced = first = 0
    # None once they are looked at: a stream is not kept waiting for it.
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
    """Tells on standard error where the first lines of texts look like labelled data."""
    from ..data.columns import looks_like_columns
    from ..data.jsonl import is_jsonl

    kind = "words with tags in columns" if looks_like_columns(beginning) else ""
    kind = "JSON" if is_jsonl(beginning[0]) else kind
    if kind and tell:
        print(
            f"{name}: these lines look like {kind}, and are tagged as they stand: give one text a line, "
            "without its labels",
            file=sys.stderr,
        )
