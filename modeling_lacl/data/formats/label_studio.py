"""Label Studio's JSON (tasks with annotations) and JSON-MIN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..examples import DOCUMENT_COLUMNS, LaclDataError
from .json_values import NOT_ANNOTATED, Note, has, ids, is_list, kept, mappings, one_answer, only_text
from .labelled_text import LabelledText


def is_task(record: Any) -> bool:
    """Return whether an example is a task of the full export."""
    return has(record, "annotations") and isinstance(record.get("data"), Mapping)


def read_task(record: Any, place: str, note: Note) -> Any:
    """Return a task in our form: its only annotation, the one that is ground truth, or all if they agree."""
    if not is_list(record["annotations"]):
        raise LaclDataError(f"{place}: annotations must be a list, as Label Studio writes it")
    done = [one for one in record["annotations"] if isinstance(one, Mapping) and not one.get("was_cancelled")]
    if not done:
        note(NOT_ANNOTATED)
        return None
    truth = [one for one in done if one.get("ground_truth")]
    data = record["data"]
    text = only_text(data, place)
    answers = [_task_spans(text, one.get("result"), place) for one in (truth if len(truth) == 1 else done)]
    own = {"id": data.get("id", record.get("id")), "document_id": data.get("document_id")}
    return kept(own, text, one_answer(answers, place, "Label Studio, or mark it as ground truth"))


def _task_spans(text: str, results: Any, place: str) -> list[dict[str, Any]]:
    if not is_list(results):
        raise LaclDataError(f"{place}: an annotation has no list 'result', as Label Studio writes it")
    values = [one["value"] for one in results if isinstance(one, Mapping) and has(one.get("value"), "labels")]
    return sorted(_in_characters(text, values, place), key=repr)


def _in_characters(text: str, spans: Iterable[Any], place: str) -> list[dict[str, Any]]:
    """Return spans of Label Studio, which counts UTF-16 units, in characters.

    Offsets of other programs, which count characters, are left as they are: the `text` of the span tells.
    """
    units = np.cumsum([0, *(1 + (ord(one) > 0xFFFF) for one in text)]) if not text.isascii() else None
    found = []
    for span in spans:
        span = {key: span[key] for key in ("start", "end", "text", "labels") if span.get(key) is not None}
        start, end, own = span.get("start"), span.get("end"), span.get("text")
        if isinstance(start, str):
            raise LaclDataError(
                f"{place}: the span starts at {start!r}, a place in HTML; label plain text, shown by <Text>"
            )
        if (
            units is not None
            and isinstance(start, int)
            and isinstance(end, int)
            and 0 <= start <= end <= units[-1]
        ):
            first, stop = np.searchsorted(units, (start, end)).tolist()
            if own is None or own == text[first:stop]:
                span = {**span, "start": first, "end": stop}
        found.append(span)
    return found


def is_min(record: Any) -> bool:
    """Return whether an example is JSON-MIN: its spans stand under the name of a tag in the setup."""
    if not isinstance(record, Mapping) or not any(isinstance(value, str) for value in record.values()):
        return False
    exported = "annotator" in record or "annotation_id" in record
    return exported or any(mappings(record.get(key), "start", "end", "labels") for key in record)


def read_min(record: Any, place: str, note: Note) -> Any:
    """Return an example of JSON-MIN in our form."""
    own = ("annotator", "annotation_id", "created_at", "updated_at", "id", "lead_time", *DOCUMENT_COLUMNS)
    text = only_text({key: value for key, value in record.items() if key not in own}, place)
    lists = [value for value in record.values() if mappings(value, "start", "end", "labels")]
    return kept(record, text, _in_characters(text, [one for spans in lists for one in spans], place))


def _studio_spans(one: LabelledText) -> list[dict[str, Any]]:
    units = np.cumsum([0, *(1 + (ord(sign) > 0xFFFF) for sign in one.text)]).tolist()
    return [
        {"start": units[start], "end": units[end], "text": one.text[start:end], "labels": [name]}
        for start, end, name in one.spans
    ]


def write_task(one: LabelledText) -> dict[str, Any]:
    """Return a task of Label Studio with an annotation, for <Text name="text"> and <Labels name="label">."""
    result = [
        {"id": f"e{number}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
        for number, value in enumerate(_studio_spans(one))
    ]
    return {"data": {"text": one.text, **ids(one)}, "annotations": [{"result": result}]}


def write_min(one: LabelledText) -> dict[str, Any]:
    """Return an example of Label Studio's JSON-MIN."""
    return {**ids(one), "text": one.text, "label": _studio_spans(one), "annotator": 1, "annotation_id": 1}
