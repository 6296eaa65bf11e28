"""JSON Lines of sentences with entities, read as a stream: flat by BIO tags, or nested by spans of words."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .examples import LaclDataError
from .tag_schemes import split_tag

_FORMS = (
    '{"tokens": […], "ner_tags": ["B-person", …]} or {"tokens": […], "entities": [{"start", "end", "label"}]}'
)


class EntitySentence(NamedTuple):
    """A sentence and its entities, which may be nested, overlap, and share their words.

    Attributes:
        words: The words.
        entities: (First word, one past the last, type) of each entity, each once.
        place: Where it stands, as ``train.jsonl:12``.
    """

    words: list[str]
    entities: list[tuple[int, int, str]]
    place: str


def read_entity_lines(path: Path) -> Iterator[EntitySentence]:
    """Read the sentences of a JSON Lines file, compressed (`.gz`) or not, one at a time.

    Args:
        path: The file, in UTF-8. Each line has `tokens` and either `ner_tags` (BIO) or `entities` (positions
            of words, the end exclusive).

    Yields:
        The sentences; empty lines are skipped.

    Raises:
        LaclDataError: A line cannot be read; the message gives file and line.
        FileNotFoundError: There is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    number = 0
    opened: Any = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
    with opened as file:
        while True:
            number += 1
            place = f"{path}:{number}"
            try:
                line = file.readline()
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise LaclDataError(f"{place}: damaged gzip file ({error}); copy it again") from error
            if not line:
                return
            if line.strip():
                yield _sentence(line, place)


def _sentence(line: bytes, place: str) -> EntitySentence:
    try:
        record = json.loads(line.decode("utf-8"))
    # ValueError includes bytes that are not UTF-8; RecursionError means nested too deeply.
    except (ValueError, RecursionError) as error:
        raise LaclDataError(f"{place}: not JSON in UTF-8 ({error}); write one object per line") from error
    if not isinstance(record, dict) or "tokens" not in record:
        raise LaclDataError(f"{place}: not an object with tokens; write {_FORMS}")
    words = record["tokens"]
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise LaclDataError(f"{place}: tokens must be a list of words, none of them empty; write {_FORMS}")
    if ("ner_tags" in record) == ("entities" in record):
        found = "both ner_tags and entities" if "entities" in record else "neither ner_tags nor entities"
        raise LaclDataError(f"{place}: {found}; write {_FORMS}")
    if "ner_tags" in record:
        found_entities = _of_tags(record["ner_tags"], len(words), place)
    else:
        found_entities = _of_spans(record["entities"], len(words), place)
    return EntitySentence(words, list(dict.fromkeys(found_entities)), place)


def _of_tags(tags: Any, words: int, place: str) -> list[tuple[int, int, str]]:
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise LaclDataError(f"{place}: ner_tags must be a list of BIO tags; write {_FORMS}")
    if len(tags) != words:
        raise LaclDataError(f"{place}: {words} tokens but {len(tags)} tags; give one tag per token")
    entities: list[tuple[int, int, str]] = []
    for word, tag in enumerate(tags):
        if tag == "O":
            continue
        prefix, name = split_tag(tag)
        name = " ".join(name.split())
        if prefix == "B" and name:
            entities.append((word, word + 1, name))
        elif prefix == "I" and entities and entities[-1][1:] == (word, name):
            entities[-1] = (entities[-1][0], word + 1, name)
        else:
            raise LaclDataError(
                f"{place}: the tag {tag!r} of word {word} is not BIO: each entity begins with B-type and "
                "goes on with I-type"
            )
    return entities


def _of_spans(spans: Any, words: int, place: str) -> list[tuple[int, int, str]]:
    if not isinstance(spans, list):
        raise LaclDataError(f"{place}: entities must be a list; write {_FORMS}")
    return [_span(span, words, place) for span in spans]


def _span(span: Any, words: int, place: str) -> tuple[int, int, str]:
    given = span if isinstance(span, dict) else {}
    start, end, label = given.get("start"), given.get("end"), given.get("label")
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label.strip():
        raise LaclDataError(
            f"{place}: the entity {span!r} needs start and end, as positions of words, and a label"
        )
    if not 0 <= start < end <= words:
        raise LaclDataError(
            f"{place}: the entity {start}–{end} ({label!r}) is not inside of the {words} words; positions "
            "count from 0, and the end is exclusive"
        )
    return start, end, " ".join(label.split())
