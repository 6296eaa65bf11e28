"""I2B2-2014 de-identification: one XML file per clinical note, with its text and character spans."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from ..documents import line_ranges
from ..examples import LaclDataError, Sentence, sentence_of_text
from ..spans import bio_of_spans

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Tag:
    """A span of the note, and the line of the file with its annotation."""

    start: int
    end: int
    type: str
    text: str
    number: int


@dataclass
class _Note:
    text: list[str] = field(default_factory=list)
    tags: list[_Tag] = field(default_factory=list)
    line: int = 0  # of the file, where the text begins
    path: list[str] = field(default_factory=list)  # open elements


def read_i2b2(path: Path) -> Iterator[Sentence]:
    """Read the lines of a note as sentences; lines that share an entity are joined.

    The type is the attribute TYPE of a tag, with `_` for `-` (`LOCATION_OTHER`), as in the support sets of
    CONTaiNER (Das et al., ACL 2022). The document id is the file name, `<patient>-<record>`.

    Args:
        path: The file.

    Yields:
        The sentences.

    Raises:
        LaclDataError: The file is not such an XML file, or a span is outside of the text; the message gives
            file and line.
    """
    note = _parse(path)
    text = "".join(note.text)
    tags = _kept(note.tags, text, path)
    number = note.line
    for start, stop in line_ranges(text, [(tag.start, tag.end) for tag in tags]):
        if text[start:stop].strip():
            spans = [
                {"start": tag.start - start, "end": tag.end - start, "label": tag.type}
                for tag in tags
                if start <= tag.start < stop
            ]
            one = sentence_of_text(text[start:stop], spans, number, f"{path}:{number}")
            bio = bio_of_spans(one.entities or (), len(one.tokens))
            yield Sentence(one.tokens, bio, number, document_id=path.stem, cut_words=one.cut_words)
        number += text.count("\n", start, stop)


def _parse(path: Path) -> _Note:
    note = _Note()
    parser = expat.ParserCreate()

    def begin(name: str, attributes: dict[str, str]) -> None:
        note.path.append(name)
        if name == "TEXT":
            note.line = parser.CurrentLineNumber
        elif note.path[-2:-1] == ["TAGS"]:
            place = f"{path}:{parser.CurrentLineNumber}"
            try:
                start, end = int(attributes["start"]), int(attributes["end"])
                kind = attributes["TYPE"].replace("-", "_")
            except (KeyError, ValueError) as error:
                raise LaclDataError(
                    f"{place}: the tag {name} needs 'start' and 'end' as whole numbers, and 'TYPE'"
                ) from error
            note.tags.append(_Tag(start, end, kind, attributes.get("text", ""), parser.CurrentLineNumber))

    def data(text: str) -> None:
        if note.path[-1] == "TEXT":
            note.text.append(text)

    def doctype(*_: object) -> None:
        raise LaclDataError(f"{path}:{parser.CurrentLineNumber}: a document type has no place in a note")

    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: note.path.pop()
    parser.CharacterDataHandler = data
    parser.StartDoctypeDeclHandler = doctype  # its XML entities could expand without bounds
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise LaclDataError(f"{path}:{error.lineno}: not XML ({expat.ErrorString(error.code)})") from error
    if not note.line:
        raise LaclDataError(f"{path}: has no element TEXT; give the notes of the de-identification task")
    return note


def _kept(tags: list[_Tag], text: str, path: Path) -> list[_Tag]:
    """Return the spans in text order, without those that overlap an earlier one."""
    kept: list[_Tag] = []
    overlapping, differing = [], []
    for tag in sorted(tags, key=lambda tag: (tag.start, -tag.end)):
        place = f"{path}:{tag.number}"
        if not 0 <= tag.start < tag.end <= len(text) or not text[tag.start : tag.end].strip():
            raise LaclDataError(
                f"{place}: the span {tag.start}–{tag.end} ({tag.type}) covers no word of the text of "
                f"{len(text)} characters; offsets count characters from 0, and the end is exclusive"
            )
        if tag.text and tag.text.split() != text[tag.start : tag.end].split():
            differing.append(place)
        if kept and tag.start < kept[-1].end:
            overlapping.append(place)
        else:
            kept.append(tag)
    for places, problem in (
        (overlapping, "overlap others and were left out"),
        (differing, "quote another text than the note has at their offsets; the offsets were used"),
    ):
        if places:
            logger.warning("%s: %d tags %s (the first at %s)", path, len(places), problem, places[0])
    return kept
