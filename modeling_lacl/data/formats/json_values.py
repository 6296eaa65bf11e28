"""What the readers of JSON examples share: looking at values, and our form of a text with its spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..examples import DOCUMENT_COLUMNS, LaclDataError
from .labelled_text import LabelledText

Note = Callable[[str], None]
"""Takes what is to be said of an example, to be counted and logged at the end."""
NOT_ANNOTATED = "are not annotated, or were skipped, and were left out"


def is_list(value: object) -> bool:
    """Return whether a value is a list, not a string."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def mappings(value: object, *keys: str) -> bool:
    """Return whether a value is a list of mappings with these keys, at least one."""
    return (
        is_list(value)
        and len(value) > 0  # type: ignore[arg-type]
        and all(isinstance(one, Mapping) and all(key in one for key in keys) for one in value)  # type: ignore[attr-defined]
    )


def mapping(record: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return record if isinstance(record, Mapping) else {}


def has(record: Any, *keys: str) -> bool:
    """Return whether an example has these keys, with values."""
    return all(mapping(record).get(key) is not None for key in keys)


def kept(record: Mapping[str, Any], text: Any, entities: Any) -> dict[str, Any]:
    """Return our form of a text and its entities, with the ids of an example."""
    own = {key: record[key] for key in ("id", *DOCUMENT_COLUMNS) if record.get(key) is not None}
    return {**own, "text": text, "entities": entities}


def one_answer(answers: Sequence[Any], place: str, tool: str) -> Any:
    """Return the only answer, or that of annotators who agree."""
    first, *others = answers
    if any(other != first for other in others):
        raise LaclDataError(
            f"{place}: has {len(answers)} annotations that differ; keep one of them in {tool}, or export a "
            "single annotator's"
        )
    return first


def only_text(values: Mapping[str, Any], place: str) -> str:
    """Return the value of `text`, or the only string."""
    texts = [
        value for key, value in values.items() if isinstance(value, str) and key not in ("id", "document_id")
    ]
    text = values.get("text", texts[0] if len(texts) == 1 else None)
    if not isinstance(text, str):
        raise LaclDataError(
            f"{place}: has no 'text' among {sorted(map(str, values))}; rename the key of the text"
        )
    return text


def ids(one: LabelledText) -> dict[str, Any]:
    """Return the ids of a text, without that of a document where there is one only."""
    return {"id": one.id, **({} if one.document_id == "0" else {"document_id": one.document_id})}
