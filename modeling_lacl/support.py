"""From labelled support sentences to the Gaussians that an adapted model keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .configuration_lacl import OUTSIDE
from .data import tokenize_dataset
from .data.labels import tag_names
from .given_support import encode_rows, longest_row
from .modeling_lacl import LaclForTokenClassification
from .prediction import BATCH_SIZE
from .words import align_words, word_offsets


def tokenize_support(
    model: LaclForTokenClassification, tokenizer: PreTrainedTokenizerBase, support: Dataset
) -> Dataset:
    """Support sentences as model input, labelled by the model's own label ids; types it lacks are outside."""
    types = [label for label in model.config.id2label.values() if label != OUTSIDE]
    return tokenize_dataset(support, tokenizer, types, longest_row(model), unknown_types="outside")


def encode_support(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    support: Dataset,
    batch_size: int = BATCH_SIZE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Encodes support sentences under the model's own label prompt.

    Args:
        model: Its label set names the types; its mode (train or eval) is as before afterwards.
        tokenizer: Its tokenizer.
        support: Sentences from `read_dataset`.
        batch_size: Sentences that go through the encoder at once.

    Returns:
        Mean and variance, each `(S, d)` fp32, and label ids `(S,)` long, of the first piece of every word.
    """
    rows: Any = tokenize_support(model, tokenizer, support)
    return encode_rows(model, tokenizer, rows, batch_size)


def support_words(tokenizer: PreTrainedTokenizerBase, support: Dataset) -> list[str]:
    """The entity of every support token of `encode_support`, in its order; `""` outside of entities."""
    names = tag_names(support)
    entities: list[str] = []
    for words, tags in zip(support["tokens"], support["ner_tags"], strict=True):
        if not words:
            continue
        offsets = tokenizer(" ".join(words), return_offsets_mapping=True, verbose=False)["offset_mapping"]
        # A word without a piece is no support token.
        has_piece = align_words(np.asarray(offsets).reshape(-1, 2), word_offsets(words)) >= 0
        start = 0
        while start < len(words):
            stop = start + 1
            while names[tags[start]] != "O" and stop < len(words) and names[tags[stop]].startswith("I-"):
                stop += 1
            entity = " ".join(words[start:stop]) if names[tags[start]] != "O" else ""
            entities += [entity] * int(has_piece[start:stop].sum())
            start = stop
    return entities
