"""Files that survive an interruption: atomic writes, JSON Lines that a run can resume from, and digests.

Imports neither torch nor transformers, because the command line imports it at startup.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

_Row = TypeVar("_Row")


def sha256(content: bytes | str | Path) -> str:
    """Return the SHA-256 of bytes, of a text in UTF-8, or of the content of a file, in hexadecimal."""
    if isinstance(content, Path):
        content = content.read_bytes()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file atomically: readers, and an interruption, find either the old content or the new.

    Args:
        path: The file.
        content: What is to be in it; a text in UTF-8.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    content = content.encode() if isinstance(content, str) else content
    is_special = path.exists() and not path.is_file()  # do not replace a pipe or a device by a file
    target = path.resolve()  # keep a symbolic link; that of a pipe, such as /dev/stdout, leads to no file
    if is_special or not target.parent.is_dir():  # raise an error that names the requested file
        with _errors_of(path):
            path.write_bytes(content)
        return
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _errors_of(path):
            with open(unfinished, "xb") as file:
                file.write(content)
            if target.exists():
                shutil.copymode(target, unfinished)
            os.replace(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Let errors inside of the context name a file; a disk that is full, for one, names none."""
    try:
        yield
    except OSError as error:
        if error.strerror:
            error.filename = str(path)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all.

    Args:
        path: The folder, which is not there, or is empty.

    Yields:
        Another folder, whose files are in the place of `path` after the context.

    Raises:
        FileExistsError: There is something already.
    """
    is_there = path.is_dir()
    if next(path.iterdir(), None) is not None if is_there else path.exists():
        problem = "is not empty" if is_there else "is a file"
        raise FileExistsError(f"{path}: {problem}, and nothing there is replaced; name a new folder")
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    unfinished.mkdir()
    try:
        with _errors_of(path):
            yield unfinished
        if is_there:  # it may be the working folder, or a mount
            for file in unfinished.iterdir():
                os.replace(file, place / file.name)
        else:
            os.replace(unfinished, place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def append_json_line(path: Path, value: Any) -> None:
    """Append a value as one line of JSON, and flush it to disk."""
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(value, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path) -> list[Any]:
    """Return the value of each line, None for a line that is not JSON; an empty list without a file.

    A last line without line ending, as an interrupted run leaves it, is cut from the file.
    """
    cut_half_line(path)
    return [_value(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def row_of(kind: type[_Row], value: Any, place: str) -> _Row:
    """Return the instance of a dataclass that is stored in a line of a file.

    Args:
        kind: The dataclass.
        value: The value of the line.
        place: File and line, for the error message.

    Raises:
        ValueError: The line does not have exactly the fields of the dataclass.
    """
    if not isinstance(value, dict) or value.keys() != {entry.name for entry in fields(kind)}:  # type: ignore[arg-type]
        raise ValueError(f"{place}: not a result of this version; remove the file, or choose another output")
    return kind(**value)


def cut_half_line(path: Path) -> None:
    """Cut an incomplete last line from a file, reading only its end; the file may be missing."""
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
