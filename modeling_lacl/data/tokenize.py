"""From words and BIO tags to model input: token ids and one IO label at the first piece of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from ..checks import fast_tokenizer
from ..words import align_words
from .labels import UnknownTypes, io_lookup

IGNORED = -100
# So few sentences, a support set say, need neither a progress bar nor a fingerprint for the cache.
_AT_ONCE = 1000


class _Part(NamedTuple):
    """Words `first` to `stop` of a sentence, which become one row."""

    sentence: int
    first: int
    stop: int


def tokenize_dataset(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    types: Sequence[str],
    max_length: int = 128,
    text_column: str = "tokens",
    unknown_types: UnknownTypes = "error",
) -> Dataset:
    """Tokenise a dataset from `read_dataset` for training.

    Words are joined by single spaces and aligned by character offsets, as at prediction. A sentence longer
    than `max_length` tokens is cut at word borders into several rows, each a text of its own: every word that
    the tokenizer gives a piece carries its label exactly once. A single word longer than a row keeps its
    first pieces. A sentence without words gives no row.

    Args:
        types: entity types in the order of the model's labels 1, 2, …; 0 is outside.
        max_length: tokens of a row, special tokens included.
        text_column: the column that holds the words.
        unknown_types: "error", or "outside" for tags whose type is not in `types`.

    Returns:
        A Dataset with `input_ids`, `attention_mask` and `labels` (label ids, −100 but at the first piece of a
        word).

    Raises:
        ValueError: a tokenizer without offsets, a type not in `types`, no room for a word in `max_length`.
    """
    fast_tokenizer(tokenizer)
    if text_column not in dataset.column_names:
        raise ValueError(f"the dataset has no column {text_column!r}, only {', '.join(dataset.column_names)}")
    budget = max_length - tokenizer.num_special_tokens_to_add()
    if budget < 1:
        raise ValueError(
            f"max_length={max_length} leaves no room for a token beside the special ones; raise it"
        )
    lookup = io_lookup(dataset, types, unknown_types)

    def tokenize(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows: list[tuple[_Part, NDArray[np.int64], NDArray[np.int64]]] = []
        pending = [_Part(index, 0, len(words)) for index, words in enumerate(batch[text_column]) if words]
        while pending:
            words = [batch[text_column][part.sentence][part.first : part.stop] for part in pending]
            encoding = tokenizer(
                [" ".join(sentence) for sentence in words],
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                return_attention_mask=False,
                return_token_type_ids=False,
                # The tokenizer's own warning about long texts would be about text that is cut below.
                verbose=False,
            )
            longer: list[_Part] = []
            for row, (part, sentence) in enumerate(zip(pending, words, strict=True)):
                ids, offsets = encoding["input_ids"][row], encoding["offset_mapping"][row]
                positions = align_words(
                    np.array(offsets, dtype=np.int64).reshape(-1, 2), word_offsets(sentence)
                )
                if len(ids) > max_length and len(sentence) > 1:
                    longer.extend(_cut(part, positions, len(ids), budget))
                    continue
                labels = np.full(len(ids), IGNORED, dtype=np.int64)
                has_piece = positions >= 0
                tags = np.array(batch["ner_tags"][part.sentence][part.first : part.stop], dtype=np.int64)
                labels[positions[has_piece]] = lookup[tags[has_piece]]
                keep = _kept(encoding["special_tokens_mask"][row], max_length)
                rows.append((part, np.array(ids, dtype=np.int64)[keep], labels[keep]))
            pending = longer
        rows.sort(key=lambda row: row[0])
        return {
            "input_ids": [ids for _, ids, _ in rows],
            "attention_mask": [np.ones(len(ids), dtype=np.int8) for _, ids, _ in rows],
            "labels": [labels for _, _, labels in rows],
        }

    features = Features(
        {
            "input_ids": List(Value("int32")),
            "attention_mask": List(Value("int8")),
            "labels": List(Value("int64")),
        }
    )
    dataset = dataset.with_format(None)
    if len(dataset) <= _AT_ONCE:
        return Dataset.from_dict(tokenize(dataset[:]), features=features)
    return dataset.map(
        tokenize, batched=True, remove_columns=dataset.column_names, features=features, desc="Tokenizing"
    )


def word_offsets(words: Sequence[str]) -> NDArray[np.int64]:
    """(W, 2) character offsets of words in ``" ".join(words)``."""
    lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
    ends = np.cumsum(lengths + 1) - 1
    return np.stack((ends - lengths, ends), axis=1)


def _cut(part: _Part, positions: NDArray[np.int64], length: int, budget: int) -> list[_Part]:
    """Cut a part into runs of words that take at most `budget` tokens each, or one word that takes more.

    A run is a text of its own, which may be tokenised a little longer than within the sentence; it is then
    cut again.
    """
    # A word without a piece begins where the one before it does.
    begins = np.maximum.accumulate(positions)
    ends = np.append(begins[1:], length)
    parts: list[_Part] = []
    first = 0
    while first < len(positions):
        stop = max(int(np.searchsorted(ends, max(begins[first], 0) + budget, side="right")), first + 1)
        if first == 0 and stop == len(positions):
            stop -= 1
        parts.append(_Part(part.sentence, part.first + first, part.first + stop))
        first = stop
    return parts


def _kept(special_tokens_mask: Sequence[int], max_length: int) -> NDArray[np.int64]:
    """Positions of the tokens that stay: all, or of a word longer than a row its first pieces."""
    if len(special_tokens_mask) <= max_length:
        return np.arange(len(special_tokens_mask))
    special = np.array(special_tokens_mask, dtype=bool)
    pieces = np.flatnonzero(~special)[: max_length - int(special.sum())]
    return np.sort(np.concatenate((np.flatnonzero(special), pieces)))
