"""Columns as in CoNLL-2003: a word and its BIO tag on each line. They are read by `columns`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from ...files import write_atomically
from ..examples import LaclDataError
from ..spans import bio_of_spans
from .labelled_text import LabelledText

logger = logging.getLogger(__name__)

_BREAK = re.compile(r"[\t\n\r]")


def write_conll(texts: Sequence[LabelledText], path: Path) -> None:
    """Write the words of texts with their tags; texts without a word are left out, with a warning.

    A document and a sentence that are not only numbered have comments with their ids.

    Args:
        texts: The texts, whose entities do not nest.
        path: The file.

    Raises:
        LaclDataError: A word, a type or an id has a tab or a line break, or reads as the mark of a document.
    """
    lines: list[str] = []
    document = "0"
    for number, one in enumerate(one for one in texts if one.tokens):
        if one.document_id != document:
            document = check_field(one.document_id, path, one)
            lines.append(f"# newdoc id = {document}\n")
        if one.id != str(number):
            lines.append(f"# sent_id = {check_field(one.id, path, one)}\n")
        for word, tag in zip(one.tokens, bio_of_spans(one.entities, len(one.tokens)), strict=True):
            check_field(word, path, one)
            check_field(tag, path, one)
            lines.append(f"{word}\t{tag}\n")
        lines.append("\n")
    tell_empty(texts, path)
    write_atomically(path, "".join(lines))


def check_field(value: str, path: Path, one: LabelledText) -> str:
    """Return a value, checked that it can stand in a column or a comment.

    Raises:
        LaclDataError: It cannot.
    """
    if _BREAK.search(value) or value.strip() == "-DOCSTART-":
        raise LaclDataError(
            f"{path}: {value!r} in the text {one.id!r} cannot stand in a column; choose another format (--to)"
        )
    return value


def tell_empty(texts: Sequence[LabelledText], path: Path) -> None:
    """Warn of texts without a word, of which a format of lines has nothing."""
    empty = [one.id for one in texts if not one.tokens]
    if empty:
        logger.warning(
            "%s: %d texts without a word were left out (the first has the id %s)", path, len(empty), empty[0]
        )
