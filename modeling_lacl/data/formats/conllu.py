"""CoNLL-U, with entities in its tenth column: as brackets that can nest, or as tags.

Brackets are those of Universal Anaphora (GUM, CorefUD) under the key `Entity`: `(12-person-new-…` opens a
mention of entity 12, `12)` closes it, and one token can open and close several. `# global.Entity` at the
beginning of a document names the parts between the hyphens. Tags stand under `NER`, or `ner` as of Stanza.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from ...files import write_atomically
from ...model.words_lacl import word_offsets
from ..examples import LaclDataError, Sentence, word_places
from ..lines import read_lines
from ..spans import WordSpan
from ..tag_schemes import looks_like_tag
from .conll import check_field, tell_empty
from .labelled_text import LabelledText

logger = logging.getLogger(__name__)

_COLUMNS, _FORM, _MISC = 10, 1, 9
_COMMENT = re.compile(r"#\s*(newdoc id|global\.Entity|sent_id|text)\s*=\s*(.+)")
_BRACKET = re.compile(r"\(([^()]+)(\)?)|([^()]+)\)")
_DEFAULT_PARTS = "GRP-etype"
_TAG_KEYS = ("NER", "ner", "Entity")
_HAS_ENTITY = re.compile(r"(?:^|\|)(?:NER|ner|Entity)=")


def is_conllu(lines: Sequence[str]) -> bool:
    """Return whether lines are of CoNLL-U with entities: ten columns, and a key of entities in the last."""
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    if not rows or any(len(row) != _COLUMNS for row in rows):
        return False
    return any(line.startswith("# global.Entity") for line in lines) or any(
        _HAS_ENTITY.search(row[_MISC]) for row in rows
    )


def read_conllu(path: Path, encoding: str = "utf-8") -> Iterator[Sentence]:
    """Read the sentences of a CoNLL-U file with entities.

    Two things are logged as warnings: sentences whose words are masked (texts from Reddit in GUM's release)
    are skipped, and mentions that extend beyond the end of a sentence are split there.

    Args:
        path: The file.
        encoding: Its encoding.

    Yields:
        The sentences, with entities where the file has brackets, with tags where it has tags.

    Raises:
        LaclDataError: A line or a bracket is malformed; the message gives file and line.
    """
    wordless = 0
    document = _Document()
    for sentence in _sentences(path, document, encoding):
        if all(set(token) == {"_"} for token in sentence.tokens) and any(map(len, sentence.tokens[1:])):
            wordless += 1
        else:
            yield sentence
    if wordless:
        logger.warning(
            "%s: %d sentences have underscores in the place of words and were skipped; GUM's get_text.py "
            "fills in the texts from Reddit",
            *(path, wordless),
        )
    if document.cut:
        logger.warning(
            "%s: %d entities run over the end of a sentence and were split there", path, document.cut
        )


@dataclass
class _Document:
    """State of a document across its sentences: the notation, and mentions that are still open."""

    id: str = "0"
    parts: list[str] = field(default_factory=_DEFAULT_PARTS.split("-").copy)
    open: list[tuple[str, str, int]] = field(default_factory=list)  # attributes, type, first token
    cut: int = 0


@dataclass
class _Pending:
    """What is read of a sentence."""

    tokens: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    spaces: list[bool] = field(default_factory=list)
    spans: list[WordSpan] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def _sentences(path: Path, document: _Document, encoding: str) -> Iterator[Sentence]:
    one = _Pending()
    tagged = _has_tags(path, encoding)
    sentence_id = text = None
    number = 0
    for number, line in read_lines(path, encoding):
        comment = _COMMENT.match(line)
        if not line.strip():
            if one.tokens:
                yield _sentence(one, sentence_id, text, document, tagged)
                one, text = _Pending(), None
        elif comment and comment[1] == "sent_id":
            sentence_id = comment[2].strip()
        elif comment and comment[1] == "text":
            text = comment[2]
        elif comment and comment[1] == "newdoc id":
            if document.open:
                raise LaclDataError(
                    f"{path}:{number}: the document before has an open entity {document.open[-1][0]!r}"
                )
            document.id, document.parts = comment[2].strip(), _DEFAULT_PARTS.split("-")
        elif comment:
            document.parts = comment[2].strip().split("-")
            if not {"etype", "entity"} & set(document.parts):
                raise LaclDataError(f"{path}:{number}: global.Entity names no etype among its parts")
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != _COLUMNS:
                raise LaclDataError(f"{path}:{number}: {len(fields)} columns, but CoNLL-U has {_COLUMNS}")
            # 3-4 is a contraction, whose words follow; 8.1 is an empty node of the syntax.
            if fields[0].isdecimal():
                misc = dict(item.partition("=")[::2] for item in fields[_MISC].split("|"))
                one.tokens.append(fields[_FORM])
                one.numbers.append(number)
                one.spaces.append(misc.get("SpaceAfter") != "No")
                one.tags.append(next((misc[key] for key in _TAG_KEYS if key in misc), "O"))
                if "Entity" in misc and not tagged:
                    place = f"{path}:{number}"
                    _brackets(misc["Entity"], len(one.tokens) - 1, document, one.spans, place)
    if one.tokens:
        yield _sentence(one, sentence_id, text, document, tagged)
    if document.open:
        raise LaclDataError(f"{path}:{number}: the file ends with an open entity {document.open[-1][0]!r}")


def _has_tags(path: Path, encoding: str) -> bool:
    """Return whether the first entity of a file is a tag, not a bracket."""
    for _, line in read_lines(path, encoding, tell=False):
        found = _HAS_ENTITY.search(line.rpartition("\t")[2])
        if found and not line.startswith("#"):
            return looks_like_tag(line.rpartition("\t")[2][found.end() :].partition("|")[0])
    return False


def _brackets(value: str, token: int, document: _Document, spans: list[WordSpan], place: str) -> None:
    """Open and close mentions according to the `Entity` value of one token."""
    kind = document.parts.index("etype" if "etype" in document.parts else "entity")
    end = 0
    for bracket in _BRACKET.finditer(value):
        if bracket.start() != end:
            break
        end = bracket.end()
        attributes, closes_at_once, closed = bracket.groups()
        if attributes:
            parts = attributes.split("-")
            if len(parts) <= kind or not parts[kind]:
                raise LaclDataError(f"{place}: the entity {attributes!r} has no type")
            document.open.append((attributes, unquote(parts[kind]), token))
        if closes_at_once or closed:
            wanted = attributes or closed
            position = next(
                (
                    index
                    for index in reversed(range(len(document.open)))
                    if f"{document.open[index][0]}-".startswith(f"{wanted}-")
                ),
                None,
            )
            if position is None:
                raise LaclDataError(f"{place}: the bracket '{closed})' closes no open entity")
            _, name, first = document.open.pop(position)
            spans.append((first, token + 1, name))
    if end != len(value):
        raise LaclDataError(
            f"{place}: the entity annotation {value!r} cannot be read from {value[end:]!r} on; brackets are "
            "written '(12-person-…', '12)' or '(12-person-…)'"
        )


def _sentence(
    one: _Pending, sentence_id: str | None, text: str | None, document: _Document, tagged: bool
) -> Sentence:
    """Return a sentence; mentions that are open end with it and go on in the next one."""
    spans = [*one.spans, *((first, len(one.tokens), name) for _, name, first in document.open)]
    document.cut += len(document.open)
    document.open = [(attributes, name, 0) for attributes, name, _ in document.open]
    offsets = None if text is None else word_places(text, one.tokens)
    if text is None or offsets is None:
        pieces = [token + " " * space for token, space in zip(one.tokens, one.spaces, strict=True)]
        text = "".join(pieces).removesuffix(" " if one.spaces[-1] else "")
        starts = word_offsets(pieces, "")[:, 0].tolist()
        offsets = [(start, start + len(token)) for start, token in zip(starts, one.tokens, strict=True)]
    return Sentence(
        one.tokens,
        one.tags if tagged else (),
        one.numbers,
        id=sentence_id,
        document_id=document.id,
        entities=None if tagged else sorted(set(spans)),
        text=text,
        offsets=offsets,
    )


def write_conllu(texts: Sequence[LabelledText], path: Path) -> None:
    """Write texts as CoNLL-U with brackets; texts without a word are left out, with a warning.

    Raises:
        LaclDataError: A word or an id has a tab or a line break.
    """
    lines: list[str] = []
    document: str | None = None
    for one in texts:
        if not one.tokens:
            continue
        if one.document_id != document:
            document = check_field(one.document_id, path, one)
            lines.append(f"# newdoc id = {document}\n# global.Entity = eid-etype\n")
        text = " ".join(one.text.split("\n"))
        lines.append(
            f"# sent_id = {check_field(one.id, path, one)}\n"
            + (f"# text = {text}\n" if text == text.strip() else "")
        )
        brackets = _written(one.entities, len(one.tokens))
        for number, (word, (_, end), bracket) in enumerate(
            zip(one.tokens, one.offsets, brackets, strict=True), start=1
        ):
            check_field(word, path, one)
            joined = number < len(one.offsets) and one.offsets[number][0] == end
            misc = "|".join([f"Entity={bracket}"] * bool(bracket) + ["SpaceAfter=No"] * joined) or "_"
            lines.append("\t".join([str(number), word, *"_" * (_COLUMNS - 3), misc]) + "\n")
        lines.append("\n")
    tell_empty(texts, path)
    write_atomically(path, "".join(lines))


def _written(entities: Sequence[WordSpan], words: int) -> list[str]:
    """Return the brackets at each word; those that close stand before those that open."""
    closing, opening = [""] * words, [""] * words
    # The longest opens first and closes last.
    for number, (first, stop, name) in enumerate(
        sorted(entities, key=lambda one: (one[0], -one[1])), start=1
    ):
        kind = "".join(f"%{ord(sign):02X}" if sign in "%-()|=\t\r\n" else sign for sign in name)
        if stop == first + 1:
            opening[first] += f"(e{number}-{kind})"
        else:
            opening[first] += f"(e{number}-{kind}"
            closing[stop - 1] = f"e{number})" + closing[stop - 1]
    return [closed + opened for closed, opened in zip(closing, opening, strict=True)]
