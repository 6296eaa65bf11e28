"""Files that outlive a kill: atomic writes, JSON Lines that a stopped run goes on with, and digests.

Imports neither torch nor transformers: the command line uses it before a command is chosen.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

_Row = TypeVar("_Row")


def sha256(content: bytes | str | Path) -> str:
    """Return the SHA-256 of bytes, of a text as UTF-8, or of what a file holds, in hexadecimal."""
    if isinstance(content, Path):
        content = content.read_bytes()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a kill, finds the old content or the new and nothing between."""
    path = path.resolve()  # a link stays one
    is_special = path.exists() and not path.is_file()  # a pipe or a device must not give way to a file
    if is_special or not path.parent.is_dir():  # the error is to name the file that was asked for
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(unfinished, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        if path.exists():
            shutil.copymode(path, unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def append_json_line(path: Path, value: Any) -> None:
    """Append a value as one line of JSON and wait until it is on disk."""
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path) -> list[Any]:
    """Return the value of each line, None for a line that is no JSON; nothing where there is no file.

    A last line without its end, as a killed run leaves it, is cut from the file.
    """
    cut_half_line(path)
    return [_value(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def row_of(kind: type[_Row], value: Any, place: str) -> _Row:
    """Return the instance of a dataclass that a line of a file holds.

    Args:
        kind: The dataclass.
        value: What stands in the line.
        place: The file and the line, for the message.

    Raises:
        ValueError: The line has other fields than the dataclass.
    """
    if not isinstance(value, dict) or value.keys() != {entry.name for entry in fields(kind)}:  # type: ignore[arg-type]
        raise ValueError(f"{place}: not a result of this version; remove the file, or choose another output")
    return kind(**value)


def cut_half_line(path: Path) -> None:
    """Cut what follows the last line end off a file, which need not be there, by reading only its end."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        whole = 0
        while end and not whole:
            start = max(0, end - 2**16)
            file.seek(start)
            whole = file.read(end - start).rfind(b"\n") + 1
            if whole:
                whole += start
            end = start
        file.truncate(whole)


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
