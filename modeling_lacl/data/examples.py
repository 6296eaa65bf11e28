"""The error that every reader raises for a data file it cannot read.

What a reader yields: one sentence with its tags as they are written, and where it was found.

Examples as mappings, from JSON Lines, a Dataset or a list: words and tags, or a text and its spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from ..model.words_lacl import split_words, without_surrogates


class LaclDataError(ValueError):
    """Labelled data that cannot be read; the message names the place (``file:line``) and the remedy.

    Example:
        >>> from modeling_lacl import LaclDataError, read_dataset
        >>> try:
        ...     read_dataset([{"tokens": ["Ana"], "ner_tags": []}])
        ... except LaclDataError as error:
        ...     print(error)
        examples[0]: 1 tokens but 0 tags; give one tag a token
    """


@dataclass(frozen=True)
class Origin:
    """Names a place in a source: ``train.txt:12`` for lines of a file, ``examples[12]`` elsewhere."""

    name: str
    has_lines: bool = True

    def at(self, number: int) -> str:
        return f"{self.name}:{number}" if self.has_lines else f"{self.name}[{number}]"


@dataclass(frozen=True)
class Sentence:
    """One sentence as read.

    Attributes:
        tokens: the words, none of them empty.
        tags: as many tags, in the source's own scheme.
        numbers: for each token its line number in the file, or one number that holds for all of them.
        id, document_id: as the source gives them; None where it does not.
        from_spans: the tags were made from character spans, so they are BIO whatever the rest of the file
            uses.
        cut_words: number of words that borders of spans fall into.
    """

    tokens: Sequence[str]
    tags: Sequence[str]
    numbers: Sequence[int] | int
    id: str | None = None
    document_id: str | None = None
    from_spans: bool = False
    cut_words: int = 0

    def number(self, position: int) -> int:
        return self.numbers if isinstance(self.numbers, int) else self.numbers[position]


TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("ner_tags", "tags", "labels")
SPAN_COLUMNS = ("entities", "spans")
# The second is what predictions have: corrected, they are examples.
LABEL_KEYS = ("label", "entity_group")
DOCUMENT_COLUMNS = ("document_id", "doc_id")
EXAMPLES = (
    '{"tokens": ["Ana", …], "ner_tags": ["B-person", …]} '
    'or {"text": "…", "entities": [{"start", "end", "label"}]}'
)


def read_record(
    record: Any,
    number: int,
    place: str,
    token_column: str | None = None,
    tag_column: str | None = None,
    id2label: Mapping[int, str] | None = None,
) -> Sentence:
    """Turn one example into a sentence.

    Args:
        number, place: the example's number, and its name for errors.
        token_column, tag_column: keys of the words (or the text) and of the tags (or the spans), found out if
            None.
        id2label: names of tags that are given as numbers.

    Raises:
        LaclDataError: neither of the two shapes, lists of different length, an impossible span.
    """
    if not isinstance(record, Mapping):
        raise LaclDataError(f"{place}: expected an example like {EXAMPLES}, got {type(record).__name__}")
    token_key = token_column or _first_key(record, TOKEN_COLUMNS) or ("text" if "text" in record else None)
    if token_key not in record:
        wanted = repr(token_column) if token_column else "'tokens' or 'text'"
        raise LaclDataError(
            f"{place}: no {wanted} among the keys {sorted(map(str, record))}; write {EXAMPLES}"
        )
    is_text = isinstance(record[token_key], str)
    tag_key = tag_column or _first_key(record, SPAN_COLUMNS if is_text else TAG_COLUMNS)
    if tag_key not in record:
        wanted = (
            repr(tag_column)
            if tag_column
            else " or ".join(map(repr, SPAN_COLUMNS if is_text else TAG_COLUMNS))
        )
        raise LaclDataError(
            f"{place}: no {wanted} among the keys {sorted(map(str, record))}; write {EXAMPLES}"
        )
    cut_words = 0
    if is_text:
        tokens, tags, cut_words = words_from_spans(
            without_surrogates(record[token_key]), record[tag_key], place
        )
    else:
        tokens, tags = _from_tags(record[token_key], record[tag_key], id2label, place)
    document_key = _first_key(record, DOCUMENT_COLUMNS)
    return Sentence(
        tokens,
        tags,
        number,
        id=_as_id(record.get("id")),
        document_id=_as_id(record[document_key]) if document_key else None,
        from_spans=is_text,
        cut_words=cut_words,
    )


def _first_key(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((key for key in keys if key in record), None)


def _as_id(value: Any) -> str | None:
    return None if value is None else without_surrogates(str(value))


def _from_tags(
    tokens: Any, tags: Any, id2label: Mapping[int, str] | None, place: str
) -> tuple[list[str], list[str]]:
    for name, values in (("tokens", tokens), ("tags", tags)):
        if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str | bytes):
            raise LaclDataError(
                f"{place}: {name} must be a list, got {type(values).__name__}; write {EXAMPLES}"
            )
    if len(tokens) != len(tags):
        raise LaclDataError(f"{place}: {len(tokens)} tokens but {len(tags)} tags; give one tag a token")
    words: list[str] = []
    for position, token in enumerate(tokens):
        if not isinstance(token, str) or not token:
            raise LaclDataError(
                f"{place}: token {position} is {token!r}, not a word; correct it, or remove it with its tag"
            )
        words.append(without_surrogates(token))
    return words, [_tag_name(tag, position, id2label, place) for position, tag in enumerate(tags)]


def _tag_name(tag: Any, position: int, id2label: Mapping[int, str] | None, place: str) -> str:
    if isinstance(tag, str) and tag:
        return without_surrogates(tag)
    if isinstance(tag, int | np.integer) and not isinstance(tag, bool):
        if id2label is None:
            raise LaclDataError(
                f"{place}: tag {position} is the number {tag}; "
                "write tags as names, or in Python pass id2label={0: 'O', …}"
            )
        if int(tag) in id2label:
            return id2label[int(tag)]
        raise LaclDataError(f"{place}: tag {position} is {tag}, which is not among the label ids; correct it")
    raise LaclDataError(f"{place}: tag {position} is {tag!r}, not a name; write it as 'O' or 'B-person'")


def words_from_spans(text: str, spans: Any, place: str) -> tuple[list[str], list[str], int]:
    """Words of the text, split at the borders of spans too, their BIO tags, and the number of words split."""
    entities = _checked_spans(text, spans, place)
    words = np.array(split_words(text), dtype=np.int64).reshape(-1, 2)
    borders = np.unique(np.array([(start, end) for start, end, _ in entities], dtype=np.int64))
    # The word that a border could fall into: the last one that begins before it.
    owner = np.searchsorted(words[:, 0], borders, side="left") - 1
    inside = (owner >= 0) & (borders < words[owner, 1]) if len(words) else np.zeros(len(borders), dtype=bool)
    starts = np.sort(np.concatenate((words[:, 0], borders[inside])))
    ends = np.sort(np.concatenate((words[:, 1], borders[inside])))

    tags = ["O"] * len(starts)
    for start, end, label in entities:
        first, stop = np.searchsorted(starts, (start, end), side="left").tolist()
        if first == stop:
            raise LaclDataError(
                f"{place}: the span {start}–{end} ({label!r}) covers no word; correct or remove it"
            )
        tags[first:stop] = [f"B-{label}", *[f"I-{label}"] * (stop - first - 1)]
    tokens = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return tokens, tags, len(np.unique(owner[inside]))


def _checked_spans(text: str, spans: Any, place: str) -> list[tuple[int, int, str]]:
    if not isinstance(spans, Sequence) or isinstance(spans, str | bytes):
        raise LaclDataError(f"{place}: entities must be a list, got {type(spans).__name__}; write {EXAMPLES}")
    entities = []
    for span in spans:
        if not isinstance(span, Mapping):
            raise LaclDataError(f"{place}: a span must be {{'start', 'end', 'label'}}, got {span!r}")
        start, end = span.get("start"), span.get("end")
        if not (_is_offset(start) and _is_offset(end)):
            raise LaclDataError(
                f"{place}: the span {dict(span)!r} needs 'start' and 'end' as whole numbers of characters"
            )
        label_key = _first_key(span, LABEL_KEYS)
        if label_key is None:
            raise LaclDataError(f"{place}: the span {start}–{end} has no 'label'; {_label_hint(span)}")
        label = span[label_key]
        if not isinstance(label, str) or not label.strip() or label == "O":
            raise LaclDataError(
                f"{place}: the span {start}–{end} has the label {label!r}; name an entity type"
            )
        if not 0 <= start <= end <= len(text):
            raise LaclDataError(
                f"{place}: the span {start}–{end} ({label!r}) is not inside the text of {len(text)} "
                "characters; offsets count characters (not bytes) from 0, and the end is exclusive"
            )
        if start == end:
            raise LaclDataError(f"{place}: the span {start}–{end} ({label!r}) is empty; the end is exclusive")
        entities.append((int(start), int(end), without_surrogates(label)))
    entities.sort()
    for (start, end, label), (next_start, next_end, next_label) in zip(entities, entities[1:], strict=False):
        if next_start < end:
            raise LaclDataError(
                f"{place}: the spans {start}–{end} ({label!r}) and {next_start}–{next_end} ({next_label!r}) "
                "overlap; keep one of them"
            )
    return entities


def _label_hint(span: Mapping[str, Any]) -> str:
    """What to do about a span without a label: other programs have it under another key."""
    names = [key for key, value in span.items() if isinstance(value, str) and key not in ("word", "text")]
    return f"rename its {' or '.join(map(repr, names))}" if names else "name an entity type there"


def _is_offset(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
