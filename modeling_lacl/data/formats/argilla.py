"""Argilla's records, also flattened ones, and those of version 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..examples import LaclDataError
from .json_values import (
    NOT_ANNOTATED,
    Note,
    has,
    ids,
    is_list,
    kept,
    mapping,
    mappings,
    one_answer,
    only_text,
)
from .labelled_text import LabelledText

_SUGGESTED = "have suggestions but no response; the suggestions were read as their entities"


def is_record(record: Any) -> bool:
    """Return whether an example is a record, with fields and answers to questions."""
    has_answers = "responses" in mapping(record) or "suggestions" in mapping(record)
    return has_answers and isinstance(record.get("fields"), Mapping)


def read_record(record: Any, place: str, note: Note) -> Any:
    """Return a record in our form."""
    responses = record.get("responses")
    if is_list(responses):  # of a FeedbackDataset: a response has answers to several questions
        done = [
            mapping(one.get("values"))
            for one in map(mapping, responses)
            if one.get("status", "submitted") == "submitted"
        ]
        names = dict.fromkeys(name for values in done for name in values)
        responses = {name: [values[name] for values in done if name in values] for name in names}
    answers = [
        [mapping(one).get("value") for one in values]
        for values in mapping(responses).values()
        if is_list(values) and all(_are_spans(mapping(one).get("value")) for one in values)
    ]
    suggestions = record.get("suggestions")
    given = suggestions if is_list(suggestions) else mapping(suggestions).values()
    suggested = [one["value"] for one in map(mapping, given) if _are_spans(one.get("value"))]
    own = {**mapping(record.get("metadata")), **({"id": record["id"]} if record.get("id") else {})}
    return _argilla(own, only_text(record["fields"], place), answers, suggested, place, note)


def is_flat(record: Any) -> bool:
    """Return whether an example is a flattened record: `QUESTION.responses`, `QUESTION.suggestion`."""
    return has(record, "text") and any(str(key).endswith((".responses", ".suggestion")) for key in record)


def read_flat(record: Any, place: str, note: Note) -> Any:
    """Return a flattened record in our form."""
    answers = []
    for key in (key for key in record if str(key).endswith(".responses") and is_list(record[key])):
        states = record.get(f"{key}.status")
        states = states if is_list(states) else ["submitted"] * len(record[key])
        values = [
            value for value, state in zip(record[key], states, strict=False) if state in ("submitted", None)
        ]
        answers += [values] if values and all(map(_are_spans, values)) else []
    suggested = [
        value for key, value in record.items() if str(key).endswith(".suggestion") and _are_spans(value)
    ]
    return _argilla(record, only_text(record, place), answers, suggested, place, note)


def _argilla(
    own: Mapping[str, Any], text: str, answers: list[Any], suggested: list[Any], place: str, note: Note
) -> Any:
    """Return the example of the answers to each question, a list of annotators'; else of suggestions."""
    answers = [one for one in answers if one]
    if not answers and not suggested:
        note(NOT_ANNOTATED)
        return None
    if not answers:
        note(_SUGGESTED)
    agreed = [
        one_answer([_ordered(one) for one in given], place, "Argilla") for given in answers
    ] or suggested
    return kept(own, text, [one for spans in agreed for one in spans])


def _ordered(spans: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({key: one[key] for key in ("start", "end", "label")} for one in spans), key=repr)


def _are_spans(value: Any) -> bool:
    return is_list(value) and (not value or mappings(value, "start", "end", "label"))


def is_old(record: Any) -> bool:
    """Return whether an example is a record for token classification of Argilla 1."""
    return has(record, "text") and {"prediction", "annotation"} <= record.keys()


def read_old(record: Any, place: str, note: Note) -> Any:
    """Return a record of Argilla 1 in our form."""
    if record["annotation"] is None:
        note(NOT_ANNOTATED)
        return None
    if not (
        is_list(record["annotation"]) and all(is_list(one) and len(one) > 2 for one in record["annotation"])
    ):
        raise LaclDataError(f"{place}: annotation must have (label, start, end), as Argilla 1 writes it")
    spans = [{"start": start, "end": end, "label": label} for label, start, end, *_ in record["annotation"]]
    return kept(record, record["text"], spans)


def write_argilla(one: LabelledText) -> dict[str, Any]:
    """Return a record of Argilla, for a span question `entities`; a response would need a user's id."""
    spans = [{"start": start, "end": end, "label": name} for start, end, name in one.spans]
    given = ids(one)
    metadata = {key: given.pop(key) for key in ("document_id",) if key in given}
    return {
        **given,
        "fields": {"text": one.text},
        "metadata": metadata,
        "suggestions": {"entities": {"value": spans, "score": None, "agent": None}},
        "responses": {},
        "vectors": {},
    }
