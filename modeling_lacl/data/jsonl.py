"""JSON Lines: an example a line, as words with tags or as a text with character spans."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import LaclDataError
from .lines import read_lines
from .records import read_record
from .sentences import Sentence


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


def is_jsonl(line: str) -> bool:
    """Whether the first line of a file shows it to be JSON Lines."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
