"""FEW-NERD's published episodes: one episode per line, as in `episode-data/inter/test_5_1.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..examples import LaclDataError
from ..lines import read_lines

_SHAPE = (
    '{"support": {"word": [["Ana", …], …], "label": [["person-actor", …], …]}, "query": {…}, "types": […]}'
)


@dataclass(frozen=True)
class PublishedEpisode:
    """A published N-way episode. Sentences are lists of words, labels are IO tags without a prefix.

    Attributes:
        types: The N entity types.
        support, support_labels: The support set.
        query, query_labels: The query set.
    """

    types: list[str]
    support: list[list[str]]
    support_labels: list[list[str]]
    query: list[list[str]]
    query_labels: list[list[str]]


def read_episodes(path: str | Path, skip: int = 0) -> Iterator[PublishedEpisode]:
    """Read the episodes of a JSON Lines file lazily, since such files have thousands of long lines.

    Args:
        path: The file.
        skip: Number of episodes at its beginning to skip without parsing.

    Yields:
        The episodes.

    Raises:
        LaclDataError: There is no such file, or a line is not an episode; the message gives file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise LaclDataError(
            f"{path}: no such file; FEW-NERD's episode-data is at https://ningding97.github.io/fewnerd/"
        )
    number_of_episode = 0
    for number, line in read_lines(path):
        if not line.strip():
            continue
        number_of_episode += 1
        if number_of_episode > skip:
            yield _episode(line, f"{path}:{number}")


def _episode(line: str, place: str) -> PublishedEpisode:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LaclDataError(f"{place}: not a JSON object ({error}); write {_SHAPE}") from error
    types = record.get("types") if isinstance(record, Mapping) else None
    if not _are_texts(types) or not types:
        raise LaclDataError(f"{place}: no list 'types' of entity types; write {_SHAPE}")
    return PublishedEpisode(types, *_sentences(record, "support", place), *_sentences(record, "query", place))


def _sentences(record: Mapping[str, Any], part: str, place: str) -> tuple[list[list[str]], list[list[str]]]:
    sentences = record.get(part)
    words = sentences.get("word") if isinstance(sentences, Mapping) else None
    labels = sentences.get("label") if isinstance(sentences, Mapping) else None
    if not (isinstance(words, list) and isinstance(labels, list) and len(words) == len(labels) and words):
        raise LaclDataError(
            f"{place}: {part!r} needs as many lists under 'word' as under 'label'; write {_SHAPE}"
        )
    for index, (sentence, tags) in enumerate(zip(words, labels, strict=True)):
        if not (_are_texts(sentence) and _are_texts(tags) and len(sentence) == len(tags)):
            raise LaclDataError(
                f"{place}: sentence {index} of {part!r} must have a label for every word, all of them texts"
            )
        for tag in tags:
            if tag != "O" and tag not in record["types"]:
                raise LaclDataError(
                    f"{place}: sentence {index} of {part!r} has the label {tag!r}, which is not in 'types'"
                )
    return words, labels


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)
