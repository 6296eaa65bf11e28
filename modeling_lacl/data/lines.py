"""Lines of a text file as annotators left them: any line end, a byte order mark, broken UTF-8."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from .errors import LaclDataError

logger = logging.getLogger(__name__)

# What errors="surrogateescape" leaves for a byte that could not be decoded. Unlike U+FFFD from
# errors="replace", it cannot be mistaken for a character of the file, so the count is true.
_UNDECODED = re.compile("[\udc80-\udcff]")


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    r"""Yield (line number from 1, line without its line end), reading as it goes.

    Lines end at ``\n`` or ``\r\n`` only: U+0085, U+2028 or a form feed can be part of a token. Bytes that the
    encoding does not allow become U+FFFD; one warning at the end of the file tells how many there were.

    Raises:
        LaclDataError: the encoding is unknown or does not fit the file at all.
        OSError: the file cannot be opened.
    """
    try:
        codec = codecs.lookup(encoding).name
        "".encode(codec)  # not every codec is one of text
    except LookupError:
        raise LaclDataError(
            f"{path}: unknown encoding {encoding!r}; name one that Python knows, as 'utf-8'"
        ) from None
    replaced = first_line = number = 0
    with open(path, "rb") as head:
        if codec == "utf-8" and head.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise LaclDataError(
                f"{path}:1: the file is UTF-16; give the encoding utf-16, or save it as UTF-8"
            )
    try:
        # newline="\n" switches universal newlines off.
        with open(path, encoding=codec, errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                line = line.removesuffix("\n").removesuffix("\r")
                if number == 1:
                    line = line.removeprefix("\ufeff")
                if not line.isascii():
                    line, count = _UNDECODED.subn("\ufffd", line)
                    if count:
                        replaced += count
                        first_line = first_line or number
                yield number, line
    except UnicodeError as error:
        raise LaclDataError(
            f"{path}:{number + 1}: cannot be read as {encoding} ({error}); pass the file's own encoding"
        ) from error
    if replaced:
        logger.warning(
            "%s: %d bytes that are not %s were replaced by U+FFFD (the first in line %d)",
            path, replaced, encoding, first_line,
        )  # fmt: skip
