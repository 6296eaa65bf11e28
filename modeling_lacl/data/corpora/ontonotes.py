"""OntoNotes in the columns of CoNLL-2012: the eleventh marks entities by brackets, `(ORG*`, `*)`, `(GPE)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..examples import LaclDataError, Sentence
from ..lines import read_lines

_WORD, _ENTITY = 3, 10
_BRACKETS = re.compile(r"(?:\(([^()*]+))?\*?(\))?")
_BLANKS = re.compile(r"[ \t]+")
# Escapes of brackets and of sentence-final punctuation in treebanks.
_ESCAPES = {
    "-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}",
    "/.": ".", "/?": "?", "/-": "-",
}  # fmt: skip


def read_ontonotes(path: Path) -> Iterator[Sentence]:
    """Read the sentences of a `*gold_conll` file lazily.

    A document is a part of a file, `bc/cctv/00/cctv_0001, part 000`. Treebank escapes of brackets and
    punctuation are undone. Texts without named-entity annotation (the New Testament) have no entity.

    Args:
        path: The file.

    Yields:
        The sentences.

    Raises:
        LaclDataError: There are too few columns, unmatched brackets, or words that are not filled in; the
            message gives file and line.
    """
    tokens: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    document_id = ""
    entity: str | None = None
    for number, line in read_lines(path):
        if line.startswith(("#begin document", "#end document")) or not line.strip():
            if entity is not None:
                raise LaclDataError(
                    f"{path}:{number}: the sentence ends inside an entity ({entity!r}); close its bracket"
                )
            if tokens:
                yield Sentence(tokens, tags, numbers, document_id=document_id)
                tokens, tags, numbers = [], [], []
            continue
        fields = _BLANKS.split(line.strip(" \t"))
        if len(fields) <= _ENTITY:
            raise LaclDataError(
                f"{path}:{number}: {len(fields)} columns, but CoNLL-2012 has at least {_ENTITY + 1}, the "
                "word in the fourth and the named entity in the eleventh"
            )
        if fields[_WORD] == "[WORD]":
            raise LaclDataError(
                f"{path}:{number}: the words are not filled in; make the file from LDC2013T19 by the scripts "
                "of CoNLL-2012 (https://conll.cemantix.org/2012/data.html)"
            )
        brackets = _BRACKETS.fullmatch(fields[_ENTITY])
        if brackets is None or (brackets[1] and entity) or (brackets[2] and not (brackets[1] or entity)):
            raise LaclDataError(
                f"{path}:{number}: the named entity {fields[_ENTITY]!r} does not fit "
                f"{'an open ' + entity if entity else 'the brackets before'}; entities do not nest, and are "
                "written '(ORG*', '*', '*)' or '(ORG)'"
            )
        document_id = f"{fields[0]}, part {fields[1].zfill(3)}"
        tokens.append(_ESCAPES.get(fields[_WORD], fields[_WORD]))
        numbers.append(number)
        if brackets[1]:
            entity = brackets[1]
            tags.append(f"B-{entity}")
        else:
            tags.append(f"I-{entity}" if entity else "O")
        if brackets[2]:
            entity = None
    if entity is not None:
        raise LaclDataError(f"{path}:{numbers[-1]}: the file ends inside an entity ({entity!r})")
    if tokens:
        yield Sentence(tokens, tags, numbers, document_id=document_id)
