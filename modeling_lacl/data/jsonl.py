"""JSON Lines, one example per line, and JSON arrays: words with tags, or a text with character spans."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .examples import LaclDataError, Origin, Sentence
from .lines import read_lines
from .records import read_records


def read_jsonl(
    path: Path,
    encoding: str = "utf-8",
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
    forms: Counter[str] | None = None,
) -> Iterator[Sentence]:
    """Read the sentences of a JSON Lines file lazily.

    Args:
        path: The file.
        encoding: Its encoding.
        token_column, tag_column, id2label, forms: As for `read_records`.

    Yields:
        The sentences.

    Raises:
        LaclDataError: A line is not JSON or not an example; the message gives file and line.
    """
    origin = Origin(str(path))
    yield from read_records(
        _objects(path, encoding, origin), origin, token_column, tag_column, id2label, forms
    )


def _objects(path: Path, encoding: str, origin: Origin) -> Iterator[tuple[int, Any]]:
    for number, line in read_lines(path, encoding):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        # ValueError includes numbers with too many digits; RecursionError means nested too deeply.
        except (ValueError, RecursionError) as error:
            raise LaclDataError(
                f"{origin.at(number)}: not a JSON object ({error}); write one object per line"
            ) from error


def read_json(
    path: Path,
    encoding: str = "utf-8",
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
    forms: Counter[str] | None = None,
) -> Iterator[Sentence]:
    """Read the sentences of a file that is one JSON array of examples, or a single example.

    The whole file is read into memory.

    Args:
        path: The file.
        encoding: Its encoding.
        token_column, tag_column, id2label, forms: As for `read_records`.

    Yields:
        The sentences.

    Raises:
        LaclDataError: The file is not JSON, or an element is not an example; the message gives the
            line or the number of the element.
    """
    text = "\n".join(line for _, line in read_lines(path, encoding))
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise LaclDataError(
            f"{place}: begins like JSON, but is not ({error}); correct it, or write one object per line"
        ) from error
    if not isinstance(records, list):
        records = [records]
    origin = Origin(str(path), has_lines=False)
    yield from read_records(enumerate(records), origin, token_column, tag_column, id2label, forms)


def is_json_array(line: str, suffix: str) -> bool:
    """Return whether a file is a JSON array, from its first line; "[" can be a word of a column file, too."""
    start = line.lstrip()
    return start.startswith("[") and (suffix == ".json" or start[1:].lstrip()[:1] in ("", "{"))


def is_jsonl(line: str) -> bool:
    """Return whether a file is JSON Lines, from its first line."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def is_pair_line(line: str) -> bool:
    """Return whether a line is one of spaCy's tuples, ``["text", {…}]``, so that each line has one."""
    if not line.lstrip().startswith('["'):
        return False
    try:
        pair = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], dict)
