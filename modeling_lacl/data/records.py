"""Examples in any form that `FORMS` has, as sentences; what is left out of them is counted and logged."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .examples import Origin, Sentence, read_record
from .formats.json_tools import as_example, left_out
from .formats.json_values import NOT_ANNOTATED, is_list

logger = logging.getLogger(__name__)


def read_records(
    records: Iterable[tuple[int, Any]],
    origin: Origin,
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
    forms: Counter[str] | None = None,
) -> Iterator[Sentence]:
    """Read examples, without those that their annotators rejected, skipped or did not reach.

    Args:
        records: Line or example numbers, and the examples.
        origin: The source, for error messages and warnings.
        token_column, tag_column, id2label: As for `read_record`.
        forms: Counts the examples of each form, by its name.

    Yields:
        The sentences.

    Raises:
        LaclDataError: As `as_example` and `read_record`.
    """
    notes: dict[str, list[int]] = {}

    def take(number: int, note: str) -> None:
        notes.setdefault(note, []).append(number)

    for number, record in _single(records, take):
        place = origin.at(number)
        reason = left_out(record)
        if reason:
            take(number, reason)
            continue
        form = "words with labels"
        if token_column is None and tag_column is None:
            record, form = as_example(record, place, partial(take, number))
        if forms is not None:
            forms[form] += 1
        if record is not None:
            yield read_record(record, number, place, token_column, tag_column, id2label)
    for note, numbers in notes.items():
        logger.warning(
            "%s: %d examples %s (the first at %s)", origin.name, len(numbers), note, origin.at(numbers[0])
        )


def _single(
    records: Iterable[tuple[int, Any]], take: Callable[[int, str], None]
) -> Iterator[tuple[int, Any]]:
    """Yield the examples, also those of a mapping that has a list of spaCy's tuples (NER Annotator)."""
    for number, record in records:
        listed = record.get("annotations") if isinstance(record, Mapping) and "data" not in record else None
        if isinstance(listed, Sequence) and all(one is None or is_list(one) for one in listed):
            for one in listed:
                if one is None:
                    take(number, NOT_ANNOTATED)
                else:
                    yield number, one
        else:
            yield number, record
