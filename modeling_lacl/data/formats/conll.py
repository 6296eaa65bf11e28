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

    Args:
        texts: The texts, whose entities do not nest.
        path: The file.

    Raises:
        LaclDataError: A word or a type has a tab or a line break, or reads as the mark of a document.
    """
    lines: list[str] = []
    document = "0"
    for one in texts:
        if one.document_id != document and one.tokens:
            document = one.document_id
            lines.append(f"# newdoc id = {document}\n")
        for word, tag in zip(one.tokens, bio_of_spans(one.entities, len(one.tokens)), strict=True):
            check_field(word, path, one)
            check_field(tag, path, one)
            lines.append(f"{word}\t{tag}\n")
        lines.append("\n" * bool(one.tokens))
    tell_empty(texts, path)
    write_atomically(path, "".join(lines))


def check_field(value: str, path: Path, one: LabelledText) -> None:
    """Check that a value can stand in a column.

    Raises:
        LaclDataError: It cannot.
    """
    if _BREAK.search(value) or value.strip() == "-DOCSTART-":
        raise LaclDataError(
            f"{path}: {value!r} in the text {one.id!r} cannot stand in a column; choose another format (--to)"
        )


def tell_empty(texts: Sequence[LabelledText], path: Path) -> None:
    """Warn of texts without a word, of which a format of lines has nothing."""
    empty = [one.id for one in texts if not one.tokens]
    if empty:
        logger.warning(
            "%s: %d texts without a word were left out (the first has the id %s)", path, len(empty), empty[0]
        )
