"""CoNLL-style columns: a token a line, a blank line between sentences, tags in one of the columns.

FEW-NERD's ``token<TAB>coarse-fine`` is the case of two columns. What the columns are is found out from the
first lines of the file: their number and separator by majority, the tag column by what looks like tags.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from .examples import LaclDataError, Sentence
from .lines import read_lines
from .tag_schemes import looks_like_tag, may_be_tag

_SAMPLE_LINES = 2000
_DOCUMENT_START = "-DOCSTART-"
_NEW_DOCUMENT = re.compile(r"#\s*newdoc(?:\s+id)?\s*=\s*(.+)")
# White space between columns. Not \s: a no-break space belongs to its token.
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True)
class Layout:
    """How a file's lines are cut: how many columns, whether by tabs, which ones hold token and tag."""

    columns: int
    by_tab: bool
    token: int
    tag: int

    def cut(self, line: str) -> tuple[list[str], bool]:
        """The columns, and whether the file's own separator gave them (False: the other one did)."""
        own, other = (_cut_tabs, _cut_blanks) if self.by_tab else (_cut_blanks, _cut_tabs)
        fields = own(line)
        if len(fields) == self.columns:
            return fields, True
        fallback = other(line)
        return (fallback, False) if len(fallback) == self.columns else (fields, True)


def read_columns(
    path: Path, encoding: str = "utf-8", token_column: int | None = None, tag_column: int | None = None
) -> Iterator[Sentence]:
    """Yield the sentences of a column file, reading as it goes.

    A line that starts with ``-DOCSTART-`` or ``# newdoc id = …`` begins a document; documents are numbered
    from 0 or have the name given. Other lines ``# …`` are comments unless they have the columns of a token
    line: "#" is a word in many corpora.

    Args:
        token_column, tag_column: number of the column from 0, negative from the right; found out if None.

    Raises:
        LaclDataError: a line that has not the columns of the others, with file and line.
    """
    lines = read_lines(path, encoding)
    sample = list(islice(lines, _SAMPLE_LINES))
    layout = detect_layout([line for _, line in sample], str(path), token_column, tag_column)

    seen_tags: set[str] = set()
    tokens: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    document_id, next_document = "0", 0

    for number, line in chain(sample, lines):
        starts_document = _DOCUMENT_START in line and _DOCUMENT_START in line.split()
        comment = line.startswith("#") and not starts_document and _is_comment(line, layout, seen_tags)
        new_document = _NEW_DOCUMENT.match(line) if comment else None
        if (starts_document or new_document or not line.strip()) and tokens:
            yield Sentence(tokens, tags, numbers, document_id=document_id)
            tokens, tags, numbers = [], [], []
            next_document = max(next_document, 1)  # these sentences stood before any mark
        if starts_document or new_document:
            document_id = new_document[1].strip() if new_document else str(next_document)
            next_document += 1
        elif not comment and line.strip():
            token, tag = _token_and_tag(line, layout, seen_tags, f"{path}:{number}")
            tokens.append(token)
            tags.append(tag)
            numbers.append(number)
            seen_tags.add(tag)
    if tokens:
        yield Sentence(tokens, tags, numbers, document_id=document_id)


def detect_layout(
    lines: Sequence[str], name: str, token_column: int | None = None, tag_column: int | None = None
) -> Layout:
    """Find the number of columns, the separator, and the token and tag columns from a file's first lines.

    The tag column is the last one, unless hardly anything in it looks like a tag (``O``, ``B-…``) and most of
    another column does. The token column is the first one that is neither the tag's nor a running number.

    Raises:
        LaclDataError: fewer than two columns, or a column given that is not there.
    """
    content = [line for line in lines if line.strip() and _DOCUMENT_START not in line]
    # "# a comment" must not have a say in the number of columns, unless there is nothing else.
    content = [line for line in content if not line.startswith("#")] or content
    with_tab = [line for line in content if "\t" in line]
    by_tab = bool(with_tab) and 2 * len(with_tab) >= len(content)
    cut = _cut_tabs if by_tab else _cut_blanks
    rows = [cut(line) for line in (with_tab if by_tab else content)]
    columns = Counter(map(len, rows)).most_common(1)[0][0] if rows else 2
    if columns < 2:
        problem = looks_like_csv(content[:20]) or _looks_oddly_spaced(content)
        if problem:
            raise LaclDataError(f"{name}: {problem}")
        raise LaclDataError(
            f"{name}: lines have a single column; a token and its tag are needed in each, separated by a tab"
        )
    rows = [row for row in rows if len(row) == columns]
    if tag_column is not None:
        tag = _checked_column(tag_column, columns, "tag_column", name)
    else:
        tag = _likely_tag_column(rows, columns)
    if token_column is not None:
        token = _checked_column(token_column, columns, "token_column", name)
        if token == tag:
            raise LaclDataError(
                f"{name}: token_column and tag_column are both column {token}; give both, numbered from 0"
            )
    else:
        others = [column for column in range(columns) if column != tag]
        words = [column for column in others if not _are_running_numbers([row[column] for row in rows])]
        token = (words or others)[0]
    return Layout(columns, by_tab, token, tag)


def _likely_tag_column(rows: Sequence[Sequence[str]], columns: int) -> int:
    strict, loose = (
        [sum(test(row[column]) for row in rows) / max(len(rows), 1) for column in range(columns)]
        for test in (looks_like_tag, may_be_tag)
    )
    last = columns - 1
    # "o" is a word as well, in Portuguese a frequent one: what only may be tags must be most of a column.
    if strict[last] >= 0.1 or loose[last] >= 0.5:
        return last
    others = [(shares, column) for shares in (strict, loose) for column in reversed(range(last))]
    return next((column for shares, column in others if shares[column] >= 0.5), last)


def looks_like_csv(lines: Sequence[str]) -> str | None:
    """What to do about lines that are cut by commas or semicolons, if these are such."""
    for sign, meaning in ((",", "CSV"), (";", "CSV with semicolons")):
        try:  # by the csv module, since signs inside of quotes do not cut
            counts = {len(row) for row in csv.reader(lines, delimiter=sign)}
        except csv.Error:
            continue
        if len(counts) == 1 and max(counts) > 1:
            return (
                f"looks like {meaning}, which is not read: write a token and its tag a line with a tab "
                "between them and a blank line between sentences, or JSON Lines"
            )
    return None


def _looks_oddly_spaced(lines: Sequence[str]) -> str | None:
    """What to do about columns with a space between them that is not the usual one."""
    spaces = Counter(space for line in lines for space in re.findall(r"(?<=\S)[^\S \t](?=\S)", line))
    if not spaces or 2 * max(spaces.values()) < len(lines):
        return None
    space = max(spaces, key=lambda one: spaces[one])
    return (
        f"columns are parted by {unicodedata.name(space, 'a control character').lower()} "
        f"(U+{ord(space):04X}), which is part of a word here; put tabs or plain spaces there"
    )


def looks_like_columns(lines: Sequence[str]) -> bool:
    """Whether the first lines of a file are words and tags in columns, and no running text."""
    content = [line for line in lines if line.strip() and not line.startswith("#")]
    rows = [_cut_tabs(line) if "\t" in line else _cut_blanks(line) for line in content]
    if len(rows) < 3 or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        return False
    return any(
        2 * sum(looks_like_tag(word) or may_be_tag(word) for word in column) >= len(rows)
        for column in zip(*rows, strict=True)
    )


def column_of(given: str | None) -> int | str | None:
    """A column as the command line and recipes name it: a number for column files, else a key."""
    return int(given) if given is not None and given.lstrip("-").isdecimal() else given


def _are_running_numbers(values: Sequence[str]) -> bool:
    """Whether values count the words of sentences: from 0 or 1 up, again and again."""
    if not all(value.isdecimal() and len(value) < 10 for value in values):
        return False
    numbers = [int(value) for value in values]
    return all(
        number in (0, 1) or number == before + 1
        for before, number in zip([0, *numbers], numbers, strict=False)
    )


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
    """Whether a line that starts with "#" is a comment: "# …" that cannot be the token "#" with its tag."""
    if not (line == "#" or line[1].isspace()):
        return False
    fields, own_separator = layout.cut(line)
    if len(fields) != layout.columns:
        return True
    tag = fields[layout.tag]
    certain = layout.by_tab and own_separator
    return not (certain or tag in seen_tags or looks_like_tag(tag))


def _token_and_tag(line: str, layout: Layout, seen_tags: set[str], place: str) -> tuple[str, str]:
    fields, own_separator = layout.cut(line)
    if len(fields) != layout.columns:
        raise LaclDataError(
            f"{place}: {len(fields)} columns where the other lines have {layout.columns}; "
            "write the token and its tag separated as in the other lines, or leave the line blank "
            "to end a sentence"
        )
    token, tag = fields[layout.token], fields[layout.tag].strip()
    token = token.strip(" ") or token
    if not token or not tag:
        raise LaclDataError(
            f"{place}: the {'tag' if token else 'token'} is empty; fill it in or remove the line"
        )
    # "New York" with its tag forgotten also has two columns if cut at the space.
    if not own_separator and tag not in seen_tags and not looks_like_tag(tag):
        separator = "tab" if layout.by_tab else "space"
        raise LaclDataError(
            f"{place}: no {separator} between token and tag as in the other lines; put one there"
        )
    return token, tag
