"""GUM: the flattened columns of older releases, and the nested entities in CoNLL-U of the current release.

The current release writes entities as brackets under the key `Entity` of the tenth column, in the notation
of Universal Anaphora: `(12-person-new-…` opens a mention of entity 12, `12)` closes it, and one token can
open and close several. `# global.Entity` at the beginning of a document names the parts between the hyphens.
Only outermost mentions are kept, as in the flattened columns.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..columns import read_columns
from ..examples import LaclDataError, Sentence
from ..lines import read_lines

logger = logging.getLogger(__name__)

_COLUMNS, _FORM, _MISC = 10, 1, 9
_COMMENT = re.compile(r"#\s*(newdoc id|global\.Entity|sent_id)\s*=\s*(.+)")
_BRACKET = re.compile(r"\(([^()]+)(\)?)|([^()]+)\)")
_DEFAULT_PARTS = "GRP-etype"


def read_gum(path: Path) -> Iterator[Sentence]:
    """Read the sentences of a GUM file lazily: CoNLL-U if its suffix is .conllu, else columns.

    In CoNLL-U, two things are logged as warnings: sentences whose words are masked (texts from Reddit in the
    release) are skipped, and mentions that extend beyond the end of a sentence are split there.

    Args:
        path: The file.

    Yields:
        The sentences.

    Raises:
        LaclDataError: A line or a bracket is malformed; the message gives file and line.
    """
    if path.suffix != ".conllu":
        yield from read_columns(path, token_column=0, tag_column=1)
        return
    wordless = 0
    document = _Document()
    for sentence in _sentences(path, document):
        if all(set(token) == {"_"} for token in sentence.tokens):
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


def _sentences(path: Path, document: _Document) -> Iterator[Sentence]:
    tokens: list[str] = []
    numbers: list[int] = []
    spans: list[tuple[int, int, str]] = []
    sentence_id: str | None = None
    number = 0
    for number, line in read_lines(path):
        comment = _COMMENT.match(line)
        if not line.strip():
            if tokens:
                yield _sentence(tokens, numbers, spans, sentence_id, document)
                tokens, numbers, spans = [], [], []
        elif comment and comment[1] == "sent_id":
            sentence_id = comment[2].strip()
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
                tokens.append(fields[_FORM])
                numbers.append(number)
                misc = dict(item.partition("=")[::2] for item in fields[_MISC].split("|"))
                if "Entity" in misc:
                    _brackets(misc["Entity"], len(tokens) - 1, document, spans, f"{path}:{number}")
    if tokens:
        yield _sentence(tokens, numbers, spans, sentence_id, document)
    if document.open:
        raise LaclDataError(f"{path}:{number}: the file ends with an open entity {document.open[-1][0]!r}")


def _brackets(
    value: str, token: int, document: _Document, spans: list[tuple[int, int, str]], place: str
) -> None:
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
            document.open.append((attributes, parts[kind], token))
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
    tokens: Sequence[str],
    numbers: Sequence[int],
    spans: Sequence[tuple[int, int, str]],
    sentence_id: str | None,
    document: _Document,
) -> Sentence:
    """Return the sentence with its outermost mentions; open ones end here and continue in the next one."""
    whole = [*spans, *((first, len(tokens), name) for _, name, first in document.open)]
    document.cut += len(document.open)
    document.open = [(attributes, name, 0) for attributes, name, _ in document.open]
    tags = ["O"] * len(tokens)
    free = 0
    for start, end, name in sorted(whole, key=lambda span: (span[0], -span[1])):
        if start >= free:
            tags[start:end] = [f"B-{name}", *[f"I-{name}"] * (end - start - 1)]
            free = end
    return Sentence(tokens, tags, numbers, id=sentence_id, document_id=document.id)
