"""What all readers share: their error, and the sentences that they yield.

Also the reader of single examples (from JSON Lines, a Dataset or a list): words and tags, or a text and its
spans.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from ..model.words_lacl import split_words, without_surrogates


class LaclDataError(ValueError):
    """Labelled data that cannot be read; the message gives the place (``file:line``) and the remedy.

    Example:
        >>> from modeling_lacl import LaclDataError, read_dataset
        >>> try:
        ...     read_dataset([{"tokens": ["Ana"], "ner_tags": []}])
        ... except LaclDataError as error:
        ...     print(error)
        examples[0]: 1 tokens but 0 tags; give one tag per token
    """


@dataclass(frozen=True)
class Origin:
    """Name of a source, for places in it: ``train.txt:12`` for lines of a file, else ``examples[12]``.

    A source of several files has a list of `places`, which grows as it is read.
    """

    name: str
    has_lines: bool = True
    places: list[str] | None = None

    def at(self, number: int) -> str:
        """Return the name of the place with this line or example number, or index in `places`."""
        if self.places is not None:
            return self.places[number]
        return f"{self.name}:{number}" if self.has_lines else f"{self.name}[{number}]"


@dataclass(frozen=True)
class Sentence:
    """A sentence as read, before its tags are normalised.

    Attributes:
        tokens: The words, none of them empty.
        tags: One tag per word, in the scheme of the source; empty if there are `entities`.
        numbers: Line number of each token, or one line or example number for all of them.
        id, document_id: Ids given in the source, or None.
        more_tags: Further tags of the words, such as those of a second column.
        entities: (First word, one past the last, type) of each entity, in place of tags; they can nest.
        cut_words: Number of words that were split because a span begins or ends inside them.
        text, offsets: The text that the words are from, and (start, end) of each word in it; None if the
            source has words alone.
    """

    tokens: Sequence[str]
    tags: Sequence[str]
    numbers: Sequence[int] | int
    id: str | None = None
    document_id: str | None = None
    more_tags: Sequence[Sequence[str]] = ()
    entities: Sequence[tuple[int, int, str]] | None = None
    cut_words: int = 0
    text: str | None = None
    offsets: Sequence[tuple[int, int]] | None = None

    def number(self, position: int) -> int:
        """Return the line or example number of the token at a position."""
        return self.numbers if isinstance(self.numbers, int) else self.numbers[position]


TOKEN_COLUMNS = ("tokens", "words")
TAG_COLUMNS = ("ner_tags", "tags", "labels")
SPAN_COLUMNS = ("entities", "spans")
# Predictions have the second key: corrected by hand, they can be read as examples.
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
    """Convert one example to a sentence.

    Args:
        record: The example, a mapping with words and tags, or with a text and spans.
        number, place: Its line or example number, and its name in error messages.
        token_column, tag_column: Keys of the words (or the text) and of the tags (or the spans); detected if
            None.
        id2label: Names of tags that are given as numbers.

    Raises:
        LaclDataError: It has neither of the two forms, lists of different length, or an invalid span.
    """
    if not isinstance(record, Mapping):
        raise LaclDataError(f"{place}: expected an example like {EXAMPLES}, got {type(record).__name__}")
    token_key = token_column or _first_key(record, TOKEN_COLUMNS) or ("text" if "text" in record else None)
    words = None
    if token_column is None and has_text_spans(record) and _first_key(record, TAG_COLUMNS) is None:
        words, token_key = record.get(str(token_key)), "text"  # of the text, to which the spans refer
    if token_key not in record:
        wanted = repr(token_column) if token_column else "'tokens' or 'text'"
        raise LaclDataError(
            f"{place}: no {wanted} among the keys {sorted(map(str, record))}; write {EXAMPLES}"
        )
    is_text = isinstance(record[token_key], str)
    keys = SPAN_COLUMNS if is_text else (*TAG_COLUMNS, *SPAN_COLUMNS)
    tag_key = tag_column or _first_key(record, keys)
    if tag_key not in record:
        wanted = repr(tag_column) if tag_column else " or ".join(map(repr, keys))
        raise LaclDataError(
            f"{place}: no {wanted} among the keys {sorted(map(str, record))}; write {EXAMPLES}"
        )
    values = record[tag_key]
    document_key = _first_key(record, DOCUMENT_COLUMNS)
    ids: dict[str, Any] = {
        "id": _as_id(record.get("id")),
        "document_id": _as_id(record[document_key]) if document_key else None,
    }
    if is_text:
        text = without_surrogates(record[token_key])
        return sentence_of_text(text, values, number, place, words, **ids)
    if tag_key in SPAN_COLUMNS or _has_spans(values):
        tokens = _words(record[token_key], place)
        return Sentence(tokens, (), number, entities=_word_spans(values, len(tokens), place), **ids)
    tokens, tags = _from_tags(record[token_key], values, id2label, place)
    return Sentence(tokens, tags, number, **ids)


def sentence_of_text(
    text: str,
    spans: Any,
    number: int,
    place: str,
    words: Any = None,
    *,
    id: str | None = None,
    document_id: str | None = None,
) -> Sentence:
    """Return the sentence of a text and its spans in characters.

    Words are split where a span begins or ends.

    Args:
        text: The text.
        spans: A list of mappings with `start`, `end` and `label`, or of such triples.
        number, place: Line or example number, and its name in error messages.
        words: The words of the text in order, or their (start, end); by default, and where they are not all
            of the text, it is split as at prediction.
        id, document_id: Its ids.

    Raises:
        LaclDataError: A span is invalid.
    """
    _check_list("entities", spans, place)
    found = [one for span in spans for one in _as_spans(span, place)]
    # Some programs write a span twice; as a set, equal ones are one.
    entities = sorted({_checked_span(text, one, place) for one in found})
    places = word_places(text, words)
    offsets = np.array(split_words(text) if places is None else places, dtype=np.int64).reshape(-1, 2)
    borders = np.unique(np.array([(start, end) for start, end, _ in entities], dtype=np.int64))
    # Only the last word that begins before a border can contain it.
    owner = np.searchsorted(offsets[:, 0], borders, side="left") - 1
    inside = (
        (owner >= 0) & (borders < offsets[owner, 1]) if len(offsets) else np.zeros(len(borders), dtype=bool)
    )
    starts = np.sort(np.concatenate((offsets[:, 0], borders[inside])))
    ends = np.sort(np.concatenate((offsets[:, 1], borders[inside])))

    of_words: list[tuple[int, int, str]] = []
    for start, end, label in entities:
        first, stop = np.searchsorted(starts, (start, end), side="left").tolist()
        if first == stop:
            raise LaclDataError(
                f"{place}: the span {start}–{end} ({label!r}) covers no word; correct or remove it"
            )
        of_words.append((first, stop, label))
    all_offsets = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return Sentence(
        [text[start:end] for start, end in all_offsets],
        (),
        number,
        id=id,
        document_id=document_id,
        entities=of_words,
        cut_words=len(np.unique(owner[inside])),
        text=text,
        offsets=all_offsets,
    )


def word_places(text: str, words: Any) -> list[tuple[int, int]] | None:
    """Return the (start, end) of words in their text; None if they are not all of it, in its order.

    Args:
        text: The text.
        words: The words, or their (start, end); words of white space alone are left out.
    """
    if not isinstance(words, Sequence) or isinstance(words, str | bytes):
        return None
    offsets: list[tuple[int, int]] = []
    position = 0
    for word in words:
        if isinstance(word, tuple):
            start, end = word
        elif isinstance(word, str):
            word = without_surrogates(word)
            start = text.find(word, position)
            end = start + len(word)
        else:
            return None
        if start < position or text[position:start].strip():
            return None
        if len(pieces := text[start:end].split()) > 1:
            return None
        if pieces:
            offsets.append((start, end))
        position = end
    return None if text[position:].strip() else offsets


def has_text_spans(record: Mapping[str, Any]) -> bool:
    """Return whether an example has a text and spans, perhaps beside words."""
    return isinstance(record.get("text"), str) and _first_key(record, SPAN_COLUMNS) is not None


def _first_key(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    return next((key for key in keys if key in record), None)


def _as_id(value: Any) -> str | None:
    return None if value is None else without_surrogates(str(value))


def _from_tags(
    tokens: Any, tags: Any, id2label: Mapping[int, str] | None, place: str
) -> tuple[list[str], list[str]]:
    _check_list("tokens", tokens, place)
    _check_list("tags", tags, place)
    if len(tokens) != len(tags):
        raise LaclDataError(f"{place}: {len(tokens)} tokens but {len(tags)} tags; give one tag per token")
    words = _words(tokens, place)
    return words, [_tag_name(tag, position, id2label, place) for position, tag in enumerate(tags)]


def _check_list(name: str, values: Any, place: str) -> None:
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str | bytes):
        raise LaclDataError(f"{place}: {name} must be a list, got {type(values).__name__}; write {EXAMPLES}")


def _words(tokens: Any, place: str) -> list[str]:
    _check_list("tokens", tokens, place)
    words: list[str] = []
    for position, token in enumerate(tokens):
        if not isinstance(token, str) or not token:
            raise LaclDataError(
                f"{place}: token {position} is {token!r}, not a word; correct it, or remove it with its tag"
            )
        words.append(without_surrogates(token))
    return words


def _tag_name(tag: Any, position: int, id2label: Mapping[int, str] | None, place: str) -> str:
    if isinstance(tag, str) and tag:
        return without_surrogates(tag)
    if isinstance(tag, int | np.integer) and not isinstance(tag, bool):
        if id2label is None:
            raise LaclDataError(
                f"{place}: tag {position} is the number {tag}; "
                "write tags as names, or read them in Python by read_dataset(…, id2label={0: 'O', …})"
            )
        if int(tag) in id2label:
            return id2label[int(tag)]
        raise LaclDataError(f"{place}: tag {position} is {tag}, which is not among the label ids; correct it")
    raise LaclDataError(f"{place}: tag {position} is {tag!r}, not a name; write it as 'O' or 'B-person'")


def _has_spans(values: Any) -> bool:
    """Return whether a list beside words has spans, not tags."""
    first = next(iter(values), None) if isinstance(values, Sequence) else None
    return isinstance(first, Mapping) or (isinstance(first, Sequence) and not isinstance(first, str))


def _word_spans(spans: Any, words: int, place: str) -> list[tuple[int, int, str]]:
    """Return the entities of a list of words, from spans in word positions."""
    _check_list("entities", spans, place)
    entities = set()
    for span in (one for given in spans for one in _as_spans(given, place)):
        start, end, label = _ends_and_label(span, "words", place)
        if not 0 <= start < end <= words:
            raise LaclDataError(
                f"{place}: the span {start}–{end} ({label!r}) is not inside the {words} words; positions "
                "count words from 0, and the end is exclusive"
            )
        entities.add((start, end, label))
    return sorted(entities)


def _as_spans(span: Any, place: str) -> list[Mapping[str, Any]]:
    """Return a span as mappings with `start`, `end` and a label: one for each of its labels."""
    if isinstance(span, Sequence) and not isinstance(span, str | bytes) and len(span) == 3:
        return [dict(zip(("start", "end", "label"), span, strict=True))]
    if not isinstance(span, Mapping):
        raise LaclDataError(f"{place}: a span must be {{'start', 'end', 'label'}}, got {span!r}")
    if "start_offset" in span and "start" not in span:  # doccano
        span = {**span, "start": span["start_offset"], "end": span.get("end_offset")}
    labels = span.get("labels")  # Label Studio
    if isinstance(labels, Sequence) and not isinstance(labels, str) and _first_key(span, LABEL_KEYS) is None:
        if not labels:
            raise LaclDataError(
                f"{place}: the span {span.get('start')}–{span.get('end')} has no label among its labels; "
                "give it one or remove it"
            )
        return [{**span, "label": label} for label in labels]
    return [span]


def _ends_and_label(span: Mapping[str, Any], units: str, place: str) -> tuple[int, int, str]:
    start, end = span.get("start"), span.get("end")
    if not (_is_offset(start) and _is_offset(end)):
        raise LaclDataError(
            f"{place}: the span {dict(span)!r} needs 'start' and 'end' as whole numbers of {units}"
        )
    label_key = _first_key(span, LABEL_KEYS)
    if label_key is None:
        raise LaclDataError(f"{place}: the span {start}–{end} has no 'label'; {_label_hint(span)}")
    label = span[label_key]
    if not isinstance(label, str) or not label.strip() or label == "O":
        raise LaclDataError(f"{place}: the span {start}–{end} has the label {label!r}; name an entity type")
    return int(start), int(end), without_surrogates(label)


def _checked_span(text: str, span: Mapping[str, Any], place: str) -> tuple[int, int, str]:
    start, end, label = _ends_and_label(span, "characters", place)
    if not 0 <= start <= end <= len(text):
        raise LaclDataError(
            f"{place}: the span {start}–{end} ({label!r}) is not inside the text of {len(text)} "
            "characters; offsets count characters (not bytes) from 0, and the end is exclusive"
        )
    if start == end:
        raise LaclDataError(f"{place}: the span {start}–{end} ({label!r}) is empty; the end is exclusive")
    for key, fold in (("text", _without_spaces), ("word", _letters)):
        own = span.get(key)
        if (
            isinstance(own, str)
            and "[UNK]" not in own
            and fold(without_surrogates(own)) != fold(text[start:end])
        ):
            raise LaclDataError(
                f"{place}: the span {start}–{end} ({label!r}) has the {key} {own!r}, but the text has "
                f"{text[start:end]!r} there; correct the offsets (characters from 0, the end exclusive) or "
                f"remove {key!r}"
            )
    return start, end, label


def _without_spaces(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).split())


def _letters(text: str) -> str:
    """Return what a tokenizer's decoding leaves of a text: pipelines write their `word` in lower case."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(one for one in decomposed if one.isalnum())


def _label_hint(span: Mapping[str, Any]) -> str:
    """Return what to do about a span without a label: other programs write it under another key."""
    names = [key for key, value in span.items() if isinstance(value, str) and key not in ("word", "text")]
    return f"rename its {' or '.join(map(repr, names))}" if names else "name an entity type there"


def _is_offset(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
