"""Examples as other programs write them, in the form that `read_record` reads; and which are left out.

Read are Prodigy's (tokens as mappings, `answer`), doccano's, Label Studio's JSON-MIN, GLiNER's, and the pairs
``(text, {"entities": [(start, end, label)]})`` of spaCy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .examples import SPAN_COLUMNS, TAG_COLUMNS, TOKEN_COLUMNS, LaclDataError, Origin, Sentence, read_record

logger = logging.getLogger(__name__)

# Keys of other programs, which a Dataset must keep: GLiNER's words and spans, doccano's spans, the answer.
OTHER_COLUMNS = ("tokenized_text", "ner", "label", "answer")
_LEFT_OUT = ("reject", "ignore")
# Keys with one of which a record of Prodigy is labelled; the last two are of other tasks than entities.
_LABELS = (*SPAN_COLUMNS, *TAG_COLUMNS, "label", "accept")


def read_records(
    records: Iterable[tuple[int, Any]],
    origin: Origin,
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
) -> Iterator[Sentence]:
    """Read examples, without those whose `answer` is Prodigy's "reject" or "ignore"; their number is logged.

    Args:
        records: Line or example numbers, and the examples.
        origin: The source, for error messages and warnings.
        token_column, tag_column, id2label: As for `read_record`.

    Yields:
        The sentences.

    Raises:
        LaclDataError: As `read_record`.
    """
    left_out: list[int] = []
    for number, record in records:
        if isinstance(record, Mapping) and record.get("answer") in _LEFT_OUT:
            left_out.append(number)
            continue
        place = origin.at(number)
        if token_column is None and tag_column is None:
            record = as_example(record, place)
        yield read_record(record, number, place, token_column, tag_column, id2label)
    if left_out:
        logger.warning(
            "%s: %d examples whose answer is 'reject' or 'ignore' were left out (the first at %s)",
            origin.name,
            len(left_out),
            origin.at(left_out[0]),
        )


def as_example(record: Any, place: str) -> Any:
    """Return an example of another program in the form that `read_record` reads; any other as it is.

    Args:
        record: The example.
        place: Its name in error messages.

    Raises:
        LaclDataError: It is a task of Label Studio's full export, or a span of GLiNER's is invalid.
    """
    if _is_pair(record):
        text, annotations = record
        return {**annotations, "text": text}
    if not isinstance(record, Mapping):
        return record
    if "annotations" in record and isinstance(record.get("data"), Mapping):
        raise LaclDataError(
            f"{place}: is Label Studio's JSON, in which a text can have several annotations; export JSON-MIN "
            "instead, which is read"
        )
    if "tokenized_text" in record and "ner" in record:
        spans = _word_spans(record["tokenized_text"], record["ner"], place)
        return {"tokens": record["tokenized_text"], "entities": spans}
    if record.get("answer") == "accept" and all(record.get(key) is None for key in _LABELS):
        record = {**record, "spans": []}  # Prodigy's, accepted without an entity
    token_key = next((key for key in TOKEN_COLUMNS if key in record), None)
    has_spans = isinstance(record.get("text"), str) and any(key in record for key in SPAN_COLUMNS)
    if token_key and has_spans and not any(key in record for key in TAG_COLUMNS):
        return {key: value for key, value in record.items() if key not in TOKEN_COLUMNS}
    if token_key and _are_token_mappings(record[token_key]):
        return {**record, token_key: [token["text"] for token in record[token_key]]}
    if token_key is None and isinstance(record.get("text"), str) and not has_spans:
        key = next((key for key in ("label", "labels") if _is_list(record.get(key))), None)
        return record if key is None else {**record, "entities": record[key]}
    return record


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_pair(record: object) -> bool:
    """Return whether an example is spaCy's pair of a text and a mapping with its entities."""
    return (
        isinstance(record, Sequence)
        and len(record) == 2
        and isinstance(record[0], str)
        and isinstance(record[1], Mapping)
        and "entities" in record[1]
    )


def _are_token_mappings(tokens: Any) -> bool:
    return (
        _is_list(tokens)
        and len(tokens) > 0
        and all(isinstance(token, Mapping) and isinstance(token.get("text"), str) for token in tokens)
    )


def _word_spans(words: Any, spans: Any, place: str) -> list[tuple[int, int, str]]:
    """Return GLiNER's spans ``[first word, last word, label]`` with exclusive ends."""
    if not (_is_list(words) and _is_list(spans)):
        raise LaclDataError(f"{place}: tokenized_text and ner must be lists, as GLiNER writes them")
    found = []
    for span in (tuple(span) if _is_list(span) else (span,) for span in spans):
        if (
            len(span) != 3
            or not all(isinstance(word, int | np.integer) for word in span[:2])
            or not 0 <= span[0] <= span[1] < len(words)
            or not isinstance(span[2], str)
            or not span[2].strip()
        ):
            raise LaclDataError(
                f"{place}: ner has {list(span)!r}; a span is [first word, last word, label], and words are "
                f"0 to {len(words) - 1} here"
            )
        found.append((span[0], span[1] + 1, span[2]))
    return found
