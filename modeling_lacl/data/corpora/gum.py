"""GUM: the flattened columns of older releases, and the nested entities in CoNLL-U of the current release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..columns import read_columns
from ..examples import Sentence
from ..formats.conllu import read_conllu
from ..spans import bio_of_spans, outermost


def read_gum(path: Path) -> Iterator[Sentence]:
    """Read the sentences of a GUM file lazily: CoNLL-U if its suffix is .conllu, else columns.

    Of nested entities, the outermost are kept, as in the flattened columns; for all of them, read the file by
    `read_dataset`.

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
    for sentence in read_conllu(path):
        if sentence.entities is not None:
            tags = bio_of_spans(outermost(sentence.entities), len(sentence.tokens))
            sentence = replace(sentence, tags=tags, entities=None)
        yield sentence
