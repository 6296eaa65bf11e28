"""Examples in JSON as labelling tools write them: each tool's form, read to ours and written from ours.

Ours is what `examples.read_record` reads. A form is known by its keys; `FORMS` has them in the order in which
they are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..examples import (
    DOCUMENT_COLUMNS,
    EXAMPLES,
    SPAN_COLUMNS,
    TAG_COLUMNS,
    TOKEN_COLUMNS,
    LaclDataError,
    has_text_spans,
)
from .argilla import is_flat, is_old, is_record, read_flat, read_old, read_record
from .json_values import Note, has, ids, is_list, kept, mapping, mappings
from .label_studio import is_min, is_task, read_min, read_task
from .labelled_text import LabelledText

Read = Callable[[Any, str, Note], Any]
"""Takes an example, its place and a `Note`; returns it in our form, or None if it is left out."""

# Keys of tools, which a Dataset must keep.
TOOL_COLUMNS = (
    *("tokenized_text", "ner", "label", "answer", "data", "annotations"),
    *("fields", "responses", "suggestions", "metadata", "annotation", "annotator", "lead_time"),
)
_REJECTED = "whose answer is 'reject' or 'ignore' were left out"


class Form(NamedTuple):
    """The form of one tool's examples.

    Attributes:
        title: Its name in messages.
        needs: Its keys, each with those that can stand for it.
        matches: Returns whether an example has the form.
        read: Brings an example to our form.
    """

    title: str
    needs: tuple[tuple[str, ...], ...]
    matches: Callable[[Any], bool]
    read: Read


def as_example(record: Any, place: str, note: Note) -> tuple[Any, str]:
    """Return an example in our form, None if it is left out, and the name of the form that it has.

    Args:
        record: The example.
        place: Its name in error messages.
        note: Takes what is to be said of it.

    Raises:
        LaclDataError: It has no known form; the message names the nearest and what it lacks.
    """
    for form in FORMS:
        if form.matches(record):
            return form.read(record, place, note), form.title
    if not isinstance(record, Mapping):
        raise LaclDataError(f"{place}: expected an example like {EXAMPLES}, got {type(record).__name__}")
    raise LaclDataError(f"{place}: {_lacking(record)}")


def _lacking(record: Mapping[str, Any]) -> str:
    """Return what an example lacks of the form that is nearest to it."""

    def found(form: Form) -> float:
        share = sum(any(key in record for key in keys) for keys in form.needs) / len(form.needs)
        return share if share < 1 else 0  # it has the keys, but they mean something else

    nearest = max(reversed(FORMS), key=found)  # of equally near ones the last: our own
    lacking = [keys for keys in nearest.needs if not any(key in record for key in keys)]
    if not found(nearest):
        lacking = [("tokens", "text")]
    wanted = " and no ".join(" or ".join(map(repr, keys)) for keys in lacking)
    titles = ", ".join(dict.fromkeys(form.title for form in FORMS))
    is_near = f"; the nearest format is {nearest.title}" if found(nearest) else ""
    return (
        f"no {wanted} among the keys {sorted(map(str, record))}{is_near} (tried: {titles}); write {EXAMPLES}"
    )


def left_out(record: Any) -> str | None:
    """Return why an example does not count, by the `answer` of Prodigy; None if it does."""
    answer = record.get("answer") if isinstance(record, Mapping) else None
    return _REJECTED if answer in ("reject", "ignore") else None


# spaCy's training tuples.


def _is_pair(record: Any) -> bool:
    return (
        is_list(record)
        and len(record) == 2
        and isinstance(record[0], str)
        and isinstance(record[1], Mapping)
        and any(key in record[1] for key in SPAN_COLUMNS)
    )


def _read_pair(record: Any, place: str, note: Note) -> Any:
    text, annotations = record
    groups = annotations.get("spans") or ()  # by name
    lists = [
        annotations.get("entities") or (),
        *(groups.values() if isinstance(groups, Mapping) else [groups]),
    ]
    if not all(map(is_list, lists)):
        raise LaclDataError(f"{place}: entities and the groups of spans must be lists, as spaCy has them")
    entities = [one for spans in lists for one in spans]
    # A fourth value is the id of an entity in a knowledge base.
    return {"text": text, "entities": [tuple(one)[:3] if is_list(one) else one for one in entities]}


def write_pair(one: LabelledText) -> Any:
    """Return spaCy's training tuple; entities that nest are spans, since spaCy's entities cannot."""
    spans = [list(span) for span in one.spans]
    return [one.text, {"spans": {"sc": spans}} if one.overlap() else {"entities": spans}]


# GLiNER.


def _is_gliner(record: Any) -> bool:
    return {"tokenized_text", "ner"} <= mapping(record).keys()


def _read_gliner(record: Any, place: str, note: Note) -> Any:
    words, spans = record["tokenized_text"], record["ner"]
    if not (is_list(words) and is_list(spans)):
        raise LaclDataError(f"{place}: tokenized_text and ner must be lists, as GLiNER writes them")
    found = []
    for span in (tuple(span) if is_list(span) else (span,) for span in spans):
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
    own = {key: record[key] for key in ("id", *DOCUMENT_COLUMNS) if record.get(key) is not None}
    return {**own, "tokens": words, "entities": found}


def write_gliner(one: LabelledText) -> dict[str, Any]:
    """Return an example of GLiNER: the ends of its spans are inclusive."""
    spans = [[first, stop - 1, name] for first, stop, name in one.entities]
    return {**ids(one), "tokenized_text": one.tokens, "ner": spans}


# Prodigy.


def _is_prodigy(record: Any) -> bool:
    if not has(record, "text") or any(key in record for key in TAG_COLUMNS):
        return False
    # Tasks of other kinds have a label, or the choices that were accepted.
    if "answer" in record and "label" not in record and "accept" not in record:
        return True
    return mappings(record.get("tokens"), "text") and any(key in record for key in SPAN_COLUMNS)


def _read_prodigy(record: Any, place: str, note: Note) -> Any:
    # A task without a span has no list of them.
    example = kept(record, record["text"], record.get("spans") or record.get("entities") or [])
    if mappings(record.get("tokens"), "text"):
        example["tokens"] = [one["text"] for one in record["tokens"]]
    return example


def write_prodigy(one: LabelledText) -> dict[str, Any]:
    """Return an accepted task of Prodigy."""
    tokens = [
        {
            "text": one.text[start:end],
            "start": start,
            "end": end,
            "id": number,
            "ws": one.text[end : end + 1] == " ",
        }
        for number, (start, end) in enumerate(one.offsets)
    ]
    spans = [
        {"start": start, "end": end, "token_start": first, "token_end": stop - 1, "label": name}
        for (start, end, name), (first, stop, _) in zip(one.spans, one.entities, strict=True)
    ]
    return {**ids(one), "text": one.text, "tokens": tokens, "spans": spans, "answer": "accept"}


# doccano.


def _is_doccano(record: Any) -> bool:
    if not has(record, "text") or any(key in record for key in TOKEN_COLUMNS):
        return False
    if has_text_spans(record):
        return mappings(record.get("entities"), "start_offset", "end_offset")
    return any(is_list(record.get(key)) for key in ("label", "labels"))


def _read_doccano(record: Any, place: str, note: Note) -> Any:
    keys = ("entities", "label", "labels")
    return kept(record, record["text"], next(record[key] for key in keys if is_list(record.get(key))))


def write_doccano(one: LabelledText) -> dict[str, Any]:
    """Return an example of doccano."""
    return {**ids(one), "text": one.text, "label": [list(span) for span in one.spans]}


# Ours.


def _read_own(record: Any, place: str, note: Note) -> Any:
    key = next((key for key in TOKEN_COLUMNS if key in record), None)
    if key is not None and mappings(record[key], "text"):
        return {**record, key: [token["text"] for token in record[key]]}
    return record


def write_own(one: LabelledText) -> dict[str, Any]:
    """Return an example in our form: the text, its words, and its entities in characters."""
    spans = [{"start": start, "end": end, "label": name} for start, end, name in one.spans]
    return {**ids(one), "text": one.text, "tokens": one.tokens, "entities": spans}


def _has_words(record: Any) -> bool:
    return isinstance(record, Mapping) and all(any(key in record for key in keys) for keys in _OWN_WORDS)


_OWN_WORDS = (TOKEN_COLUMNS, (*TAG_COLUMNS, *SPAN_COLUMNS))
FORMS = (
    Form("spaCy's tuples", ((), ()), _is_pair, _read_pair),
    Form("Label Studio", (("data",), ("annotations",)), is_task, read_task),
    Form("Label Studio's JSON-MIN", (("text",), ("label",)), is_min, read_min),
    Form("Argilla", (("fields",), ("responses", "suggestions")), is_record, read_record),
    Form("Argilla", (("text",), ("QUESTION.responses",)), is_flat, read_flat),
    Form("Argilla", (("text",), ("annotation",), ("prediction",)), is_old, read_old),
    Form("GLiNER", (("tokenized_text",), ("ner",)), _is_gliner, _read_gliner),
    Form("Prodigy", (("text",), ("tokens",), ("spans",), ("answer",)), _is_prodigy, _read_prodigy),
    Form("doccano", (("text",), ("label", "labels")), _is_doccano, _read_doccano),
    Form("words with labels", _OWN_WORDS, _has_words, _read_own),
    Form("texts with spans", (("text",), SPAN_COLUMNS), lambda one: has_text_spans(mapping(one)), _read_own),
)
