"""CoNLL-style columns: one token per line, a blank line between sentences, tags in one of the columns.

FEW-NERD's ``token<TAB>coarse-fine`` has two columns. The layout is detected from the first lines of the file:
the number of columns and the separator by majority, the tag column by values that look like tags.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from .column_kinds import is_word_index, likely_tag_columns, likely_token_column
from .examples import LaclDataError, Sentence
from .foreign_formats import describe_format
from .lines import read_lines
from .tag_schemes import is_quoted, looks_like_tag, may_be_tag

_SAMPLE_LINES = 2000
_DOCUMENT_START = "-DOCSTART-"
_SENTENCE_ID = re.compile(r"#\s*sent_id\s*=\s*(.+)")
_NEW_DOCUMENT = re.compile(r"#\s*newdoc(?:\s+id)?\s*=\s*(.+)")
# Ids of CoNLL-U that do not stand for a word: a range of words, and an empty node.
_NO_WORD = re.compile(r"\d+[-.]\d+")
# Whitespace between columns. Not \s: a no-break space is part of its token.
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Layout:
    """Layout of a column file.

    Attributes:
        columns: Number of columns.
        by_tab: Columns are separated by tabs, otherwise by spaces.
        token, tag: Numbers of the token and the tag column.
        more_tags: Numbers of further tag columns, such as GermEval's of inner entities.
        index: Number of the column that numbers the words as CoNLL-U does, or None.
        quoted: Words and tags stand in quotes, as some programs write tables.
    """

    columns: int
    by_tab: bool
    token: int
    tag: int
    index: int | None = None
    quoted: bool = False
    more_tags: tuple[int, ...] = ()

    def cut(self, line: str) -> tuple[list[str], bool]:
        """Split a line into columns, and return whether the file's separator was used, not the other one."""
        own, other = (_cut_tabs, _cut_blanks) if self.by_tab else (_cut_blanks, _cut_tabs)
        fields = own(line)
        if len(fields) == self.columns:
            return fields, True
        fallback = other(line)
        return (fallback, False) if len(fallback) == self.columns else (fields, True)

    def is_no_word(self, line: str) -> bool:
        """Return whether a line is a range (``2-3``) or an empty node (``4.1``) of CoNLL-U, not a word."""
        return self.index is not None and any(
            _NO_WORD.fullmatch(field) for field in self.cut(line)[0][self.index : self.index + 1]
        )


def read_columns(
    path: Path,
    encoding: str = "utf-8",
    token_column: int | None = None,
    tag_column: int | None = None,
    stacked: bool = False,
) -> Iterator[Sentence]:
    """Read the sentences of a column file lazily.

    A line that starts with ``-DOCSTART-`` or ``# newdoc id = …`` begins a document; documents are numbered
    from 0 or have the name given. ``# sent_id = …`` gives the id of the sentence behind it. Other lines
    ``# …`` are comments unless they have the columns of a token line: "#" is a word in many corpora. Ranges
    and empty nodes of CoNLL-U are left out: they are no words.

    Args:
        path: The file.
        encoding: Its encoding.
        token_column, tag_column: Number of the column from 0, negative from the right; detected if None.
        stacked: Whether to read all columns that have tags of the same types; otherwise, and with
            `tag_column`, one is read.

    Yields:
        The sentences.

    Raises:
        LaclDataError: A line has other columns than the rest, with file and line in the message; or the
            file has another format.
    """
    lines = read_lines(path, encoding)
    sample = list(islice(lines, _SAMPLE_LINES))
    problem = describe_format([line for _, line in sample if line.strip()][:20])
    if problem:
        raise LaclDataError(f"{path}: {problem}")
    layout = detect_layout([line for _, line in sample], str(path), token_column, tag_column, stacked)

    seen_tags: set[str] = set()
    tokens: list[str] = []
    tags: list[list[str]] = []  # of each word, one of each tag column
    numbers: list[int] = []
    document_id, next_document = "0", 0
    sentence_id: str | None = None

    for number, line in chain(sample, lines):
        starts_document = _DOCUMENT_START in line and _DOCUMENT_START in line.split()
        comment = line.startswith("#") and not starts_document and _is_comment(line, layout, seen_tags)
        new_document = _NEW_DOCUMENT.match(line) if comment else None
        if (starts_document or new_document or not line.strip()) and tokens:
            yield _sentence(tokens, tags, numbers, document_id, sentence_id)
            tokens, tags, numbers, sentence_id = [], [], [], None
            next_document = max(next_document, 1)  # these sentences precede the first document mark
        if starts_document or new_document:
            document_id = new_document[1].strip() if new_document else str(next_document)
            next_document += 1
        elif comment and (given := _SENTENCE_ID.match(line)):
            sentence_id = given[1].strip()
        elif not comment and line.strip() and not layout.is_no_word(line):
            token, own_tags = _token_and_tags(line, layout, seen_tags, f"{path}:{number}")
            tokens.append(token)
            tags.append(own_tags)
            numbers.append(number)
            seen_tags.update(own_tags)
    if tokens:
        yield _sentence(tokens, tags, numbers, document_id, sentence_id)


def _sentence(
    tokens: list[str], tags: list[list[str]], numbers: list[int], document_id: str, sentence_id: str | None
) -> Sentence:
    first, *others = zip(*tags, strict=True)
    return Sentence(tokens, first, numbers, sentence_id, document_id, others)


def detect_layout(
    lines: Sequence[str],
    name: str,
    token_column: int | None = None,
    tag_column: int | None = None,
    stacked: bool = False,
) -> Layout:
    """Detect the number of columns, the separator, and the token and tag columns.

    The tag column is the last one, unless hardly any of its values look like tags (``O``, ``B-…``) and most
    of those of another column do. The token column is the first of the others that has words: not numbers,
    ids, the name of a document, or parts of speech.

    Args:
        lines: The first lines of the file.
        name: Name of the file in error messages.
        token_column, tag_column: Number of the column from 0, negative from the right; detected if None.
        stacked: Whether all columns with tags of the same types are meant; otherwise they are an error.

    Raises:
        LaclDataError: There are fewer than two columns, a given column does not exist, or one that is not
            given cannot be told from the others.
    """
    content = [line for line in lines if line.strip() and _DOCUMENT_START not in line]
    # Comments must not influence the number of columns, unless there is nothing else.
    content = [line for line in content if not line.startswith("#")] or content
    with_tab = [line for line in content if "\t" in line]
    by_tab = bool(with_tab) and 2 * len(with_tab) >= len(content)
    cut = _cut_tabs if by_tab else _cut_blanks
    counts = Counter(len(cut(line)) for line in (with_tab if by_tab else content))
    columns = counts.most_common(1)[0][0] if counts else 2
    if columns < 2:
        problem = _looks_oddly_spaced(content)
        if problem:
            raise LaclDataError(f"{name}: {problem}")
        raise LaclDataError(
            f"{name}: lines have a single column; a token and its tag are needed in each, separated by a tab "
            "(tried: JSON, CSV, CoNLL-U, brat, spaCy, Parquet, and columns, which is nearest)"
        )
    sentences = _rows(lines, cut, columns)
    rows = list(chain.from_iterable(sentences))
    more_tags: list[int] = []
    if tag_column is not None:
        tag = _checked_column(tag_column, columns, "tag_column", name)
    else:
        tag, more_tags = likely_tag_columns(rows, columns, name, stacked)
    if token_column is not None:
        token = _checked_column(token_column, columns, "token_column", name)
        if token == tag:
            raise LaclDataError(
                f"{name}: token_column and tag_column are both column {token}; give both, numbered from 0"
            )
    else:
        others = [column for column in range(columns) if column not in (tag, *more_tags)]
        token = likely_token_column(sentences, others, name)
    index = 0 if 0 not in (token, tag) and is_word_index([row[0] for row in rows]) else None
    quoted = bool(rows) and all(is_quoted(row[token]) and is_quoted(row[tag]) for row in rows)
    more = tuple(column for column in more_tags if column != token)
    return Layout(columns, by_tab, token, tag, index, quoted, more)


def _rows(lines: Sequence[str], cut: Callable[[str], list[str]], columns: int) -> list[list[list[str]]]:
    """Return the rows with this number of columns, by sentence; comments only if there is nothing else."""
    for comments in (False, True):
        sentences: list[list[list[str]]] = [[]]
        for line in lines:
            if not line.strip() or _DOCUMENT_START in line:
                sentences.append([])
            elif comments or not line.startswith("#"):
                row = cut(line)
                if len(row) == columns:
                    sentences[-1].append(row)
        if any(sentences):
            break
    return [sentence for sentence in sentences if sentence]


def _looks_oddly_spaced(lines: Sequence[str]) -> str | None:
    """Return what to do about columns separated by an unusual space character, or None if they are not."""
    spaces = Counter(space for line in lines for space in re.findall(r"(?<=\S)[^\S \t](?=\S)", line))
    if not spaces or 2 * max(spaces.values()) < len(lines):
        return None
    space = max(spaces, key=lambda one: spaces[one])
    return (
        f"columns are separated by {unicodedata.name(space, 'a control character').lower()} "
        f"(U+{ord(space):04X}), which is part of a word here; put tabs or plain spaces there"
    )


def looks_like_columns(lines: Sequence[str]) -> bool:
    """Return whether the first lines of a file are words and tags in columns, not running text."""
    content = [line for line in lines if line.strip() and not line.startswith("#")]
    rows = [_cut_tabs(line) if "\t" in line else _cut_blanks(line) for line in content]
    if len(rows) < 3 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return False
    return any(
        2 * sum(looks_like_tag(word) or may_be_tag(word) for word in column) >= len(rows)
        for column in zip(*rows, strict=True)
    )


def column_of(given: str | None) -> int | str | None:
    """Return a column given on the command line or in a recipe as a number (column files) or a key."""
    return int(given) if given is not None and given.lstrip("-").isdecimal() else given


def _cut_tabs(line: str) -> list[str]:
    return line.split("\t")


def _cut_blanks(line: str) -> list[str]:
    return _BLANKS.split(line.strip(" \t"))


def _checked_column(column: int, columns: int, argument: str, name: str) -> int:
    if not isinstance(column, int):
        raise LaclDataError(f"{name}: {argument} must be the number of a column from 0, got {column!r}")
    if not -columns <= column < columns:
        raise LaclDataError(f"{name}: {argument}={column}, but lines have {columns} columns, numbered from 0")
    return column % columns


def _is_comment(line: str, layout: Layout, seen_tags: set[str]) -> bool:
    """Return whether a line that starts with "#" is a comment, and not the token "#" with its tag."""
    if not (line == "#" or line[1].isspace()):
        return False
    fields, own_separator = layout.cut(line)
    if len(fields) != layout.columns:
        return True
    tag = fields[layout.tag]
    certain = layout.by_tab and own_separator
    return not (certain or tag in seen_tags or looks_like_tag(tag))


def _token_and_tags(line: str, layout: Layout, seen_tags: set[str], place: str) -> tuple[str, list[str]]:
    fields, own_separator = layout.cut(line)
    if len(fields) != layout.columns:
        raise LaclDataError(
            f"{place}: {len(fields)} columns where the other lines have {layout.columns}; "
            "write the token and its tag separated as in the other lines, or leave the line blank "
            "to end a sentence"
        )
    token, tags = fields[layout.token], [fields[one].strip() for one in (layout.tag, *layout.more_tags)]
    if layout.quoted and is_quoted(token) and all(map(is_quoted, tags)):
        token, tags = token[1:-1].replace('""', '"'), [tag[1:-1] for tag in tags]
    token = token.strip(" ") or token
    if not token or not all(tags):
        raise LaclDataError(
            f"{place}: the {'tag' if token else 'token'} is empty; fill it in or remove the line"
        )
    # "New York" without its tag also has two columns if split at the space.
    if not own_separator and tags[0] not in seen_tags and not looks_like_tag(tags[0]):
        separator = "tab" if layout.by_tab else "space"
        raise LaclDataError(
            f"{place}: no {separator} between token and tag as in the other lines; put one there"
        )
    return token, tags
