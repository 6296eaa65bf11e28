"""Sequences with entities, from sentences of any number: tokenised once, and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from ..files import sha256
from ..model.decoding_lacl import OUTSIDE_ID
from .entity_lines import EntitySentence
from .examples import LaclDataError
from .tokenize import sequence_entities, tokenize_words

_FORMAT = 2
"""Changes with what this module makes of the same sentences, so that older caches are not used."""
_AT_ONCE = 1000
"""Number of sentences tokenised at once."""
_FEATURES = Features(
    {
        "input_ids": List(Value("int32")),
        "attention_mask": List(Value("int8")),
        "labels": List(Value("int64")),
        "entities": List(List(Value("int32"))),
        "corpus": Value("string"),
    }
)


def cached_sequences(
    corpus: str,
    sentences: Callable[[], Iterable[EntitySentence]],
    content: str,
    type_ids: Mapping[str, int],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Dataset:
    """Tokenise a corpus, or return what an earlier call made of the same content.

    Neither the sentences nor the sequences are in memory as a whole: they are written to the cache of
    `datasets` and mapped from there. Of several processes, one does the work while the others wait for it.

    Args:
        corpus: Name of the corpus.
        sentences: Returns the sentences; called where they are not cached.
        content: A digest of the sentences.
        type_ids: Label id of each type, 0 for one that counts as outside.
        tokenizer: A fast tokenizer.
        max_length: Maximum number of tokens in a sequence, including special tokens.

    Returns:
        A Dataset with `input_ids`, `attention_mask`, `labels` (−100 except at the first subword of each word,
        where it is the id of the longest entity around the word), `entities` ([first, last, id] of each,
        words counted among the labelled tokens of the sequence, `last` inclusive) and `corpus`.

    Raises:
        LaclDataError: The sentences cannot be read, or have a type that is not in `type_ids`.
        ValueError: As in `tokenize_words`.
    """
    parts = [_FORMAT, corpus, content, sorted(type_ids.items()), _tokenizer_digest(tokenizer), max_length]

    def rows() -> Iterator[dict[str, Any]]:
        remaining = iter(sentences())
        while batch := list(islice(remaining, _AT_ONCE)):
            yield from sequences_of(batch, corpus, type_ids, tokenizer, max_length)

    try:
        made = Dataset.from_generator(_Rows(rows, sha256(json.dumps(parts))), features=_FEATURES)
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, LaclDataError | ValueError | OSError):
            raise error.__cause__ from None
        raise
    return made


class _Rows:
    """A generator function that pickles as its digest, by which `datasets` names its cache."""

    def __init__(self, rows: Callable[[], Iterator[dict[str, Any]]], digest: str) -> None:
        self.rows = rows
        self.digest = digest

    def __call__(self) -> Iterator[dict[str, Any]]:
        return self.rows()

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self.digest,)


def sequences_of(
    sentences: Sequence[EntitySentence],
    corpus: str,
    type_ids: Mapping[str, int],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[dict[str, Any]]:
    """Tokenise sentences to the rows of `cached_sequences`.

    A sentence longer than `max_length` tokens is split as by `tokenize_words`. Of an entity that is split
    with it, each sequence has the words that it contains.
    """
    entities = [_with_ids(sentence, type_ids) for sentence in sentences]
    labels = [_outermost(len(one.words), found) for one, found in zip(sentences, entities, strict=True)]
    rows = []
    for made in tokenize_words([one.words for one in sentences], labels, tokenizer, max_length):
        rows.append(
            {
                "input_ids": made.input_ids,
                "attention_mask": np.ones(len(made.input_ids), dtype=np.int8),
                "labels": made.labels,
                "entities": sequence_entities(made, entities[made.sentence]),
                "corpus": corpus,
            }
        )
    return rows


def paint(labels: NDArray[np.int64], entities: Iterable[tuple[int, int, int]]) -> None:
    """Write the id of each entity (first word, last word, id) over its words, the longest entity last."""
    for first, last, label in sorted(entities, key=lambda one: one[1] - one[0]):
        labels[first : last + 1] = label


def _outermost(words: int, entities: Iterable[tuple[int, int, int]]) -> NDArray[np.int64]:
    labels = np.full(words, OUTSIDE_ID, dtype=np.int64)
    paint(labels, ((first, stop - 1, label) for first, stop, label in entities))
    return labels


def _with_ids(sentence: EntitySentence, type_ids: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Return the entities as (first word, one past the last, id), without those outside."""
    found = []
    for first, stop, name in sentence.entities:
        if name not in type_ids:
            raise LaclDataError(
                f"{sentence.place}: the type {name!r} is not among those of the corpus, "
                f"{', '.join(sorted(type_ids))}; correct it, or add it to the types of the index"
            )
        if type_ids[name] != OUTSIDE_ID:
            found.append((first, stop, type_ids[name]))
    return found


def _tokenizer_digest(tokenizer: Any) -> str:
    """Return a digest of what a tokenizer does, without truncation and padding, which calls set."""
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    return sha256(json.dumps({**settings, "truncation": None, "padding": None}, sort_keys=True))
