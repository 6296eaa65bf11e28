"""JSON Lines, an example a line, and JSON arrays: words with tags, or a text with character spans."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from .examples import LaclDataError, Sentence, read_record
from .lines import read_lines


def read_jsonl(
    path: Path,
    encoding: str = "utf-8",
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
) -> Iterator[Sentence]:
    """Yield the sentences of a JSON Lines file, reading as it goes.

    Raises:
        LaclDataError: a line that is not JSON or not an example, with file and line.
    """
    for number, line in read_lines(path, encoding):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            record = json.loads(line)
        # ValueError: also a number with too many digits; RecursionError: nested too deep.
        except (ValueError, RecursionError) as error:
            raise LaclDataError(f"{place}: not a JSON object ({error}); write one object a line") from error
        yield read_record(record, number, place, token_column, tag_column, id2label)


def read_json(
    path: Path,
    encoding: str = "utf-8",
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
) -> Iterator[Sentence]:
    """Yield the sentences of a file that is one JSON array of examples. It is in memory as a whole.

    Raises:
        LaclDataError: no JSON array, with file and line, or an element that is no example, with its number.
    """
    text = "\n".join(line for _, line in read_lines(path, encoding))
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise LaclDataError(
            f"{place}: begins like a JSON array, but is not JSON ({error}); correct it, or write one object "
            "a line"
        ) from error
    if not isinstance(records, list):
        raise LaclDataError(f"{path}: no JSON array, but {type(records).__name__}; put the examples into one")
    for number, record in enumerate(records):
        yield read_record(record, number, f"{path}[{number}]", token_column, tag_column, id2label)


def is_json_array(line: str, suffix: str) -> bool:
    """Whether the first line of a file shows it to be a JSON array; "[" is a word of column files, too."""
    start = line.lstrip()
    return start.startswith("[") and (suffix == ".json" or start[1:].lstrip()[:1] in ("", "{"))


def is_jsonl(line: str) -> bool:
    """Whether the first line of a file shows it to be JSON Lines."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
