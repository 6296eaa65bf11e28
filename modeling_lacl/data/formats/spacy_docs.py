"""spaCy's DocBin (.spacy): documents with `ents`, or with spans that nest in the group `sc`. Needs spaCy."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...files import write_atomically
from ...optional import require
from ..examples import LaclDataError, Sentence, sentence_of_text
from ..lines import read_bytes
from .json_values import ids
from .labelled_text import LabelledText

logger = logging.getLogger(__name__)

GROUP = "sc"
"""The group of spans that spaCy's span categorizer reads by default."""


def read_docbin(path: Path) -> Iterator[Sentence]:
    """Read the documents of a DocBin, each as one sentence with spaCy's words.

    Args:
        path: The file.

    Yields:
        The sentences: entities are those of `ents` and of the spans `sc`. Documents without any annotation of
        entities are left out, with a warning.

    Raises:
        LaclDataError: The file is no DocBin, or has spans in other groups alone.
        ModuleNotFoundError: spaCy is not installed.
    """
    tokens, vocab = require("spacy.tokens", "spacy"), require("spacy.vocab", "spacy").Vocab()
    try:
        docs = list(tokens.DocBin().from_bytes(read_bytes(path)).get_docs(vocab))
    except (zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise LaclDataError(
            f"{path}: is compressed as a DocBin of spaCy is, but cannot be read ({error})"
        ) from error
    bare = []
    for number, doc in enumerate(docs):
        place = f"{path}[{number}]"
        found = [*doc.ents, *(doc.spans[GROUP] if GROUP in doc.spans else ())]
        others = [name for name in doc.spans if name != GROUP and len(doc.spans[name])]
        if not found and others:
            raise LaclDataError(
                f"{place}: the spans are in the groups {', '.join(map(repr, others))}; put the entities into "
                f"doc.ents or doc.spans[{GROUP!r}]"
            )
        if len(doc) and GROUP not in doc.spans and not doc.has_annotation("ENT_IOB"):
            bare.append(place)
            continue
        spans = [(span.start_char, span.end_char, span.label_) for span in found]
        words = [(token.idx, token.idx + len(token)) for token in doc]
        given = {key: doc.user_data.get(key) for key in ("id", "document_id")}
        given = {key: value if isinstance(value, str) else None for key, value in given.items()}
        yield sentence_of_text(doc.text, spans, number, place, words, **given)
    if bare:
        logger.warning(
            "%s: %d documents have no annotation of entities and were left out (the first at %s)",
            *(path, len(bare), bare[0]),
        )


def write_docbin(texts: Sequence[LabelledText], path: Path) -> None:
    """Write texts as a DocBin: their entities as `ents`, or where some nest all as the spans `sc`.

    Their ids are in `doc.user_data`.

    Raises:
        ModuleNotFoundError: spaCy is not installed.
    """
    tokens, vocab = require("spacy.tokens", "spacy"), require("spacy.vocab", "spacy").Vocab()
    nested = any(one.overlap() for one in texts)
    docs = tokens.DocBin(store_user_data=True)
    for one in texts:
        doc = _doc(one, tokens, vocab)
        spans = [doc.char_span(start, end, label=name) for start, end, name in one.spans]
        if nested:
            doc.spans[GROUP] = spans
        else:
            doc.set_ents(spans)
        doc.user_data |= ids(one)
        docs.add(doc)
    write_atomically(path, docs.to_bytes())


def _doc(one: LabelledText, tokens: Any, vocab: Any) -> Any:
    """Return the Doc of a text: white space is a token but for one space behind a word."""
    words: list[str] = []
    spaces: list[bool] = []
    position = 0
    for start, end in [*one.offsets, (len(one.text), len(one.text))]:
        gap = one.text[position:start]
        if gap.startswith(" ") and words:
            spaces[-1] = True
            gap = gap[1:]
        for text in (gap, one.text[start:end]):
            if text:
                words.append(text)
                spaces.append(False)
        position = end
    return tokens.Doc(vocab, words=words, spaces=spaces)
