"""Which column of a file has the words and which has the tags, from the values of its first lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .examples import LaclDataError
from .spans import NESTED_OPTION
from .tag_schemes import looks_like_tag, may_be_tag, split_tag

_BLANK = frozenset(("", "_", "-", "*"))
# Ids of CoNLL-U: a word's number, a range of words, and an empty node.
_WORD_INDEX = re.compile(r"\d+(?:[-.]\d+)?")
_MISC = re.compile(r"[A-Za-z_][\w.:\[\]-]*=[^|]*(?:\|[A-Za-z_][\w.:\[\]-]*=[^|]*)*")
_PARTS_OF_SPEECH = frozenset(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X "
    "CC CD DT EX FW IN JJ JJR JJS LS MD NN NNP NNPS NNS PDT POS PRP PRP$ RB RBR RBS RP TO UH VB VBD VBG VBN "
    "VBP VBZ WDT WP WP$ WRB . , : '' `` $ # -LRB- -RRB- HYPH NFP".split()
)
_CHUNKS = frozenset("O NP VP PP ADVP ADJP SBAR PRT CONJP INTJ LST UCP".split())

Rows = Sequence[Sequence[str]]


def likely_tag_columns(rows: Rows, columns: int, name: str, stacked: bool = False) -> tuple[int, list[int]]:
    """Return the number of the tag column, and those of further ones with other tags of the same types.

    Args:
        rows: The first lines, each with its columns.
        columns: Number of columns.
        name: Name of the file in error messages.
        stacked: Whether there may be further ones.

    Raises:
        LaclDataError: Two columns have tags of the same types without `stacked`, or there are only features
            of CoNLL-U.
    """
    strict, loose = (
        [sum(test(row[column]) for row in rows) / max(len(rows), 1) for column in range(columns)]
        for test in (looks_like_tag, may_be_tag)
    )
    last = columns - 1
    # "o" is also a word, and a frequent one in Portuguese: values that may be tags must be the majority.
    if strict[last] >= 0.1 or loose[last] >= 0.5:
        return last, _rivals(
            rows, [column for column in range(last) if strict[column] >= 0.1], last, name, stacked
        )
    others = [(shares, column) for shares in (strict, loose) for column in reversed(range(last))]
    found = next((column for shares, column in others if shares[column] >= 0.5), last)
    values = [row[last] for row in rows]
    if found == last and any("=" in value for value in values):
        if all(value in _BLANK or _MISC.fullmatch(value) for value in values):
            feature = next(value for value in values if "=" in value)
            raise LaclDataError(
                f"{name}: column {last} has features as CoNLL-U's MISC has ({feature!r}), and no column has "
                "tags; write each word's tag (B-person, I-person, O) as a column, or entities into MISC: "
                "brackets under Entity, or tags under NER"
            )
    return found, []


def _rivals(rows: Rows, others: Sequence[int], tag: int, name: str, stacked: bool) -> list[int]:
    """Return the columns that have other tags of the same types: GermEval's inner entities, predictions."""
    types = [split_tag(row[tag])[1] for row in rows]
    # GermEval has a number, the word, the outer and the inner tag; other types can be the inner ones.
    germeval = tag == 3 and is_word_index([row[0] for row in rows])
    rivals = []
    for rival in others:
        other = [split_tag(row[rival])[1] for row in rows]
        same_types = {*other} & {*types} - {"O"} or (germeval and rival == 2 and not {*other} <= _CHUNKS)
        if other != types and same_types and any(split_tag(row[rival])[0] for row in rows):
            rivals.append(rival)
    if {*types} == {"O"}:
        return rivals  # nothing is inner
    if rivals and not stacked:
        raise LaclDataError(
            f"{name}: columns {rivals[0]} and {tag} both have tags of the same types, and differ: if they "
            f"are outer and inner entities, as of GermEval, {NESTED_OPTION}; if gold and predicted tags, "
            f"name one: --tag-column {rivals[0]}, in Python read_dataset(…, tag_column={rivals[0]})"
        )
    return rivals


def likely_token_column(sentences: Sequence[Rows], others: Sequence[int], name: str) -> int:
    """Return the number of the column that has the words.

    It is the first whose values are neither numbers or ids, nor the same from line to line, nor tags, nor
    parts of speech.

    Args:
        sentences: The first lines by sentence, each line with its columns.
        others: The columns that do not have the tags.
        name: Name of the file in error messages.

    Raises:
        LaclDataError: None of several columns has words.
    """
    values = {column: [[row[column] for row in sentence] for sentence in sentences] for column in others}
    words = [column for column in others if _may_be_words(values[column])]
    words = [column for column in words if not _is_closed_class(column, words, values)] or words
    if words:
        return words[0]
    flat = {column: [value for sentence in values[column] for value in sentence] for column in others}
    left = [column for column in others if not are_running_numbers(flat[column])] or others[:1]
    # Numbers can be words: years, results of matches.
    numbers = [column for column in left if _are_numbers(flat[column])]
    if len(numbers or left) == 1:
        return (numbers or left)[0]
    shown = "; ".join(
        f"column {column} has {', '.join(map(repr, dict.fromkeys(flat[column][:3])))}" for column in others
    )
    raise LaclDataError(
        f"{name}: it is not clear which column has the words: {shown}; name it: --token-column {left[0]}, in "
        f"Python read_dataset(…, token_column={left[0]})"
    )


def _may_be_words(sentences: Sequence[Sequence[str]]) -> bool:
    """Return whether values are not numbers, ids, blanks, tags, or the same from line to line."""
    flat = [value for sentence in sentences for value in sentence]
    if not flat or 2 * sum(value in _BLANK for value in flat) > len(flat):
        return False
    if _are_numbers(flat) or 2 * sum(map(looks_like_tag, flat)) > len(flat):
        return False
    pairs = [pair for sentence in sentences for pair in zip(sentence, sentence[1:], strict=False)]
    same = sum(first == second for first, second in pairs)
    return not (len(flat) > 1 and len(set(flat)) == 1) and (not pairs or 2 * same < len(pairs))


def _are_numbers(values: Sequence[str]) -> bool:
    """Return whether values are numbers, offsets or ids (``t12``), of which a few may be missing."""
    digits = sum(any(map(str.isdecimal, value)) for value in values)
    blank = sum(value in _BLANK for value in values)
    return digits > blank and digits + blank >= 0.95 * len(values)


def _is_closed_class(column: int, words: Sequence[int], values: dict[int, list[list[str]]]) -> bool:
    """Return whether values are parts of speech or other classes: few different ones beside the words."""
    distinct = {one: {value for sentence in values[one] for value in sentence} for one in words}
    own = distinct[column]
    most = max(len(others) for one, others in distinct.items() if one >= column)
    capitals = all(value.isascii() and value.isupper() for value in own if any(map(str.isalpha, value)))
    return own <= _PARTS_OF_SPEECH or 2 * len(own) <= most or (capitals and len(own) < most)


def are_running_numbers(values: Sequence[str]) -> bool:
    """Return whether values number the words of sentences, starting from 0 or 1 in each sentence."""
    if not all(value.isdecimal() and len(value) < 10 for value in values):
        return False
    numbers = [int(value) for value in values]
    return all(
        number in (0, 1) or number == before + 1
        for before, number in zip([0, *numbers], numbers, strict=False)
    )


def is_word_index(values: Sequence[str]) -> bool:
    """Return whether values number words as CoNLL-U does, with ranges (``2-3``) and empty nodes (``4.1``)."""
    numbers = sum(value.isdecimal() for value in values)
    return 2 * numbers > len(values) and all(map(_WORD_INDEX.fullmatch, values))
