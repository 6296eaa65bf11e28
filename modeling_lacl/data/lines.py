"""Read lines of text files robustly: any line ending, a byte order mark, invalid UTF-8."""

from __future__ import annotations

import codecs
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from .examples import LaclDataError

logger = logging.getLogger(__name__)

# Placeholders of errors="surrogateescape" for bytes that could not be decoded. Unlike U+FFFD from
# errors="replace", they cannot be confused with characters of the file, so the count is exact.
_UNDECODED = re.compile("[\udc80-\udcff]")

# First bytes of common binary formats, their names, and what to do about such a file.
_COMPRESSED = "unpack it first"
_BINARY_FORMATS = {
    b"\x1f\x8b": ("a gzip file", _COMPRESSED),
    b"BZh91AY&SY": ("a bzip2 file", _COMPRESSED),
    b"\xfd7zXZ\x00": ("an xz file", _COMPRESSED),
    b"\x28\xb5\x2f\xfd": ("a zstd file", _COMPRESSED),
    b"PK\x03\x04": (
        "a zip archive, as Excel's and Word's files are",
        "unpack it first, or save the sheet as text with tabs between the columns",
    ),
    b"\xd0\xcf\x11\xe0": ("an old Office file", "save it as text, with tabs between the columns"),
    b"PAR1\x15": (
        "a Parquet file",
        "lacl predict takes a column of it by --engine ray --column NAME; in Python, "
        "Dataset.from_parquet reads it",
    ),
    b"ARROW1\x00\x00": ("an Arrow file", "read it in Python by datasets.Dataset.from_file"),
    b"%PDF-": ("a PDF file", "save its text"),
    b"{\\rtf": ("an RTF file, as word processors write", "save it as plain text"),
    b"SQLite format 3\x00": ("an SQLite database", "export its examples as JSON Lines"),
    b"\x89HDF\r\n": ("an HDF5 file", "export its examples as JSON Lines"),
    b"x\x9c": (
        "a zlib stream, as spaCy's DocBin (.spacy)",
        "in Python, load its documents by DocBin().from_disk(FILE).get_docs(vocab), and write their texts "
        "and entities as JSON Lines",
    ),
    **dict.fromkeys(
        (b"\x80\x02", b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95"),
        ("a Python pickle", "it can run code and is not read; write its examples as JSON Lines"),
    ),
}
# Encodings for which a file of UTF-16 would pass as text with zeros.
_ASCII_BASED = ("utf-8", "ascii", "cp1252", "iso8859-1", "iso8859-15")
HEAD_BYTES = 1 << 16
"""As much of a file as decides how its lines end, and whether it is UTF-16."""


def describe_binary(head: bytes) -> str | None:
    """Return what a file with these first bytes is and what to do about it, or None if it may be text."""
    for start, (kind, remedy) in _BINARY_FORMATS.items():
        if head.startswith(start):
            return f"this is {kind}: {remedy}"
    return None


_read_already: ContextVar[tuple[Path, bytes] | None] = ContextVar("_read_already", default=None)


@contextmanager
def read_once(path: Path) -> Iterator[None]:
    """Let `read_lines` read a pipe (standard input, `<(…)`, a FIFO) several times inside the context.

    Such a file gives its content once, so that it is kept; an ordinary file is not touched.
    """
    if not path.exists() or path.is_file() or path.is_dir():
        yield
        return
    token = _read_already.set((path, path.read_bytes()))
    try:
        yield
    finally:
        _read_already.reset(token)


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, or what `read_once` keeps of a pipe."""
    kept = _read_already.get()
    return io.BytesIO(kept[1]) if kept is not None and kept[0] == path else open(path, "rb")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, or what `read_once` keeps of a pipe."""
    with open_bytes(path) as file:
        return file.read()


def _utf16(head: bytes) -> str | None:
    """Return the encoding if a file is UTF-16 by its mark, or by the zeros beside its ASCII characters."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [head[offset::2].count(0) for offset in (0, 1)]
    if min(zeros) * 8 > max(zeros) or max(zeros) < 4 or 8 * max(zeros) < len(head):
        return None
    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"


def codec_of_text(encoding: str) -> str | None:
    """Return the name of Python's codec for an encoding of text; None if there is none."""
    try:
        codec = codecs.lookup(encoding).name
        "".encode(codec)  # not every codec encodes text
    except LookupError:
        return None
    return codec


def line_end(head: bytes, codec: str) -> str:
    r"""Return how the lines of a file end, from its first bytes: ``\r``, as old Macs wrote, or ``\n``."""
    text = head.decode(codec, "ignore")
    return "\r" if "\r" in text[:-1] and "\n" not in text else "\n"


def read_lines(
    path: Path, encoding: str = "utf-8", tell: bool = True, ends: bool = False
) -> Iterator[tuple[int, str]]:
    r"""Read the lines of a text file lazily.

    Lines end only at ``\n`` or ``\r\n``, or at ``\r`` where there is no ``\n``: U+0085, U+2028 or a form feed
    can be part of a token. Bytes that are invalid in the encoding become U+FFFD; a warning at the end of the
    file reports their number.

    Args:
        path: The file.
        encoding: Its encoding.
        tell: Whether to log that warning.
        ends: Whether lines keep their line endings, as they are in the file.

    Yields:
        Tuples (line number from 1, line without its line ending).

    Raises:
        LaclDataError: The encoding is unknown or does not fit the file at all, or the file is not text.
        OSError: The file cannot be opened.
    """
    codec = codec_of_text(encoding)
    if codec is None:
        raise LaclDataError(f"{path}: unknown encoding {encoding!r}; name one that Python knows, as 'utf-8'")
    replaced = first_line = number = 0
    with open_bytes(path) as file_of_bytes:
        head = file_of_bytes.read(HEAD_BYTES)
    problem = describe_binary(head)
    if problem:
        raise LaclDataError(f"{path}: {problem}")
    utf16 = _utf16(head) if codec in _ASCII_BASED else None
    if utf16:
        raise LaclDataError(
            f"{path}:1: the file is UTF-16; save it as UTF-8, or give the encoding: --encoding {utf16}, in "
            f"Python read_dataset(…, encoding={utf16!r})"
        )
    try:
        # An explicit newline disables universal newlines.
        stream, newline = open_bytes(path), line_end(head, codec)
        with io.TextIOWrapper(stream, encoding=codec, errors="surrogateescape", newline=newline) as file:
            for number, line in enumerate(file, start=1):
                if not ends:
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
            f"{path}:{number + 1}: cannot be read as {encoding} ({error}); give the file's own: "
            "--encoding, in Python read_dataset(…, encoding=…)"
        ) from error
    if replaced and tell:
        logger.warning(
            "%s: %d bytes that are not %s were replaced by U+FFFD (the first in line %d)",
            path, replaced, encoding, first_line,
        )  # fmt: skip
