"""Texts to tag, one per line, from a file, standard input, or the command line."""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

LINES_LOOKED_AT = 20
"""Number of lines by which labelled data are told."""

# The replacement by errors="surrogateescape" of a byte that is not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")


# Names of a column of texts, at the head of a table.
_TEXT_COLUMNS = {"text", "texts", "sentence", "sentences", "tokens", "words", "content", "body", "message"}


def in_utf8(stream: BinaryIO, name: str, encoding: str, newline: str | None = None) -> Iterator[bytes]:
    r"""Return the lines of a stream as lines of UTF-8 that end in ``\n``, read as they arrive.

    Args:
        stream: The stream.
        name: Its name in messages.
        encoding: Its encoding.
        newline: How its lines end, ``\n`` or ``\r``; by default as its beginning says.

    Raises:
        ValueError: The encoding is unknown, or does not fit the stream at all.
    """
    from ..data.lines import codec_of_text

    codec = codec_of_text(encoding)
    if codec is None:
        raise ValueError(f"{encoding!r} is no encoding: give --encoding one that Python knows, as utf-8")
    return _lines(stream, name, codec, newline)


def newline_of(stream: BinaryIO, codec: str) -> str:
    """Return how the lines of a stream end, by its beginning, which is still to be read then."""
    from ..data.lines import HEAD_BYTES, line_end

    if stream.seekable():
        place = stream.tell()
        head = stream.read(HEAD_BYTES)
        stream.seek(place)
    else:  # of a pipe or a terminal, what has arrived
        head = stream.peek() if isinstance(stream, io.BufferedReader) else b""
    return line_end(head, codec)


def _lines(stream: BinaryIO, name: str, codec: str, newline: str | None) -> Iterator[bytes]:
    newline = newline or newline_of(stream, codec)
    if codec == "utf-8" and newline == "\n":
        yield from stream
        return
    # An explicit newline disables universal newlines.
    with io.TextIOWrapper(stream, encoding=codec, errors="surrogateescape", newline=newline) as lines:
        try:
            for line in lines:
                line = line.removesuffix("\r") + "\n" if newline == "\r" else line
                yield line.encode("utf-8", "surrogateescape")
        except UnicodeError as error:
            raise ValueError(
                f"{name}: cannot be read as {codec} ({error}): give its own --encoding"
            ) from error


def decode_line(line: bytes) -> tuple[str, int]:
    """Return a line of UTF-8 without its line ending, and the number of its bytes that are not UTF-8.

    These bytes become U+FFFD.
    """
    text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
    return (text, 0) if text.isascii() else _UNDECODED.subn("\ufffd", text)


def read_texts(
    lines: Iterable[bytes], name: str, tell: bool = True, encoding: str = "utf-8"
) -> Iterator[str]:
    """Decode lines of UTF-8 as they are read; bytes that are not UTF-8 become U+FFFD.

    Args:
        lines: The lines, as an open binary file returns them.
        name: Name of their source in messages.
        tell: Whether the lines are texts, so that CSV and JSON are errors, and replaced bytes and lines that
            look like labelled data are told on standard error.
        encoding: What the lines were before `in_utf8`, for messages.

    Yields:
        Each line without its line ending.

    Raises:
        ValueError: The lines are UTF-16, binary, or, with `tell`, CSV or JSON.
    """
    replaced = first = 0
    # The first lines, None once they have been checked: a stream is not delayed by the check.
    beginning: list[str] | None = []
    try:
        for number, line in enumerate(lines, start=1):
            if number == 1:
                check_first_line(line, name, tell)
            text, count = decode_line(line)
            if count:
                replaced += count
                first = first or number
            if number == 1:
                text = text.removeprefix("\ufeff")
            if beginning is not None:
                beginning.append(text)
                if len(beginning) == LINES_LOOKED_AT:
                    if tell:
                        tell_labelled(beginning, name)
                    beginning = None
            yield text
    finally:
        if beginning and tell:
            tell_labelled(beginning, name)
        if replaced and tell:
            print(
                f"{name}: {replaced} bytes that are not {encoding.upper()} were replaced by U+FFFD "
                f"(the first in line {first}); another --encoding can be given",
                file=sys.stderr,
            )


def check_first_line(line: bytes, name: str, tell: bool = True) -> None:
    """Check that a file of texts may begin with a line; see `read_texts`."""
    from ..data.lines import describe_binary

    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{name}:1: this is UTF-16; save it as UTF-8, or give --encoding utf-16")
    problem = describe_binary(line)
    if not problem and tell:
        problem = describe_table(decode_line(line)[0].removeprefix("\ufeff"), name)
    if problem:
        raise ValueError(f"{name}: {problem}")


def tell_labelled(beginning: Sequence[str], name: str) -> None:
    """Warn on standard error if the first lines look like labelled data.

    Args:
        beginning: These lines, up to `LINES_LOOKED_AT` of them.
        name: Name of their source in the warning.
    """
    from ..data.columns import looks_like_columns

    if looks_like_columns(beginning):
        print(
            f"{name}: these lines look like words with tags in columns, but are tagged as plain text: give "
            "one text per line, without labels",
            file=sys.stderr,
        )


def describe_table(line: str, name: str) -> str:
    """Return what a file of JSON or CSV is and what to do about it; "" if it may be one text per line.

    Args:
        line: Its first line.
        name: Its name.
    """
    from ..data.jsonl import is_jsonl

    suffix = Path(name).suffix.lower()
    kind, column, remedy = "", "text", "save the texts alone"
    if is_jsonl(line) or suffix in (".jsonl", ".ndjson"):
        kind, reader = "JSON Lines", "from_json"
        # Without a file between: a text may have line breaks.
        remedy = (
            "of a file named .jsonl, lacl predict takes a column and keeps the others, by "
            "--engine ray --column text; lacl adapt learns from labelled examples"
        )
        if '"entity_group"' in line:
            remedy += ", and lacl render shows what lacl predict wrote"
    elif suffix == ".json" or re.match(r'\[\s*\{\s*"', line):
        kind, reader = "JSON", "from_json"
    elif (header := _header(line)) or suffix in (".csv", ".tsv"):
        kind, reader, column = "CSV", "from_csv", header or column
    return kind and (
        f"this is {kind}, and texts are read one per line: {remedy}. In Python, "
        f"model.predict takes the column: datasets.Dataset.{reader}(FILE)[{column!r}]"
    )


def _header(line: str) -> str | None:
    """Return the name of the column of texts if a line is the head of a table that has one."""
    for delimiter in ",;\t":
        names = [name.strip('"') for name in line.split(delimiter)]
        if len(names) > 1 and all(re.fullmatch(r"[\w-]+", name) for name in names):
            return next((name for name in names if name.lower() in _TEXT_COLUMNS), None)
    return None
