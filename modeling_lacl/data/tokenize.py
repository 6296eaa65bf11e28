"""From words and BIO tags to model input: token ids and one IO label at the first piece of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase

from ..rows import make_rows
from .labels import UnknownTypes, io_lookup

# So few sentences, a support set say, need neither a progress bar nor a fingerprint for the cache.
_AT_ONCE = 1000


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
    if text_column not in dataset.column_names:
        raise ValueError(f"the dataset has no column {text_column!r}, only {', '.join(dataset.column_names)}")
    lookup = io_lookup(dataset, types, unknown_types)

    def tokenize(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        labels = [lookup[np.array(tags, dtype=np.int64)] for tags in batch["ner_tags"]]
        rows = make_rows(batch[text_column], labels, tokenizer, max_length)
        return {
            "input_ids": [row.input_ids for row in rows],
            "attention_mask": [np.ones(len(row.input_ids), dtype=np.int8) for row in rows],
            "labels": [row.labels for row in rows],
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
