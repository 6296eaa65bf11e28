"""From words and labels to model input: token ids, and one label at the first subword of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from ..model.labels_lacl import fast_tokenizer, tokenizer_lock
from ..model.words_lacl import align_words, word_offsets
from .tags import UnknownTypes, io_lookup

IGNORED = -100


class TokenSequence(NamedTuple):
    """A text of its own, as model input.

    Attributes:
        input_ids: (L,) int64.
        labels: (L,) int64, -100 but at the first subword of a word.
        sentence: Number of the sentence that it is of.
        words: (n,) int64, numbers in that sentence of the words that its labelled tokens begin, in order.
    """

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    sentence: int
    words: NDArray[np.int64]


class _Part(NamedTuple):
    """Words `first` to `stop` of a sentence, which become one sequence."""

    sentence: int
    first: int
    stop: int


def tokenize_words(
    sentences: Sequence[Sequence[str]],
    labels: Sequence[Sequence[int] | NDArray[np.int64]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[TokenSequence]:
    """Tokenise sentences, and cut those that are longer than a sequence at word borders.

    Every word that the tokenizer gives a subword carries its label exactly once. A single word longer than a
    sequence keeps its first subwords. A sentence without words gives no sequence.

    Args:
        sentences: Lists of words, which are joined by single spaces and aligned by character offsets, as at
            prediction.
        labels: A label of each word.
        tokenizer: A fast one.
        max_length: Tokens of a sequence, special tokens included.

    Raises:
        ValueError: A tokenizer without offsets, or no room for a word in `max_length`.
    """
    fast_tokenizer(tokenizer)
    budget = max_length - tokenizer.num_special_tokens_to_add()
    if budget < 1:
        raise ValueError(
            f"max_length={max_length} leaves no room for a token beside the special ones; raise it"
        )
    sequences: list[tuple[_Part, TokenSequence]] = []
    pending = [_Part(index, 0, len(words)) for index, words in enumerate(sentences) if words]
    while pending:
        texts = [sentences[part.sentence][part.first : part.stop] for part in pending]
        with tokenizer_lock:
            encoding = tokenizer(
                [" ".join(words) for words in texts],
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                return_attention_mask=False,
                return_token_type_ids=False,
                # The tokenizer's own warning about long texts would be about text that is cut below.
                verbose=False,
            )
        longer: list[_Part] = []
        for number, (part, words) in enumerate(zip(pending, texts, strict=True)):
            ids, offsets = encoding["input_ids"][number], encoding["offset_mapping"][number]
            positions = align_words(np.array(offsets, dtype=np.int64).reshape(-1, 2), word_offsets(words))
            if len(ids) > max_length and len(words) > 1:
                longer.extend(_cut(part, positions, len(ids), budget))
                continue
            word_at = np.full(len(ids), -1, dtype=np.int64)
            has_subword = np.flatnonzero(positions >= 0)
            word_at[positions[has_subword]] = part.first + has_subword
            keep = _kept(encoding["special_tokens_mask"][number], max_length)
            word_at = word_at[keep]
            is_first = word_at >= 0
            of_tokens = np.full(len(keep), IGNORED, dtype=np.int64)
            of_tokens[is_first] = np.asarray(labels[part.sentence], dtype=np.int64)[word_at[is_first]]
            made = TokenSequence(
                np.array(ids, dtype=np.int64)[keep], of_tokens, part.sentence, word_at[is_first]
            )
            sequences.append((part, made))
        pending = longer
    return [sequence for _, sequence in sorted(sequences, key=lambda pair: pair[0])]


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
    """Positions of the tokens that stay: all, or of a word longer than a sequence its first subwords."""
    if len(special_tokens_mask) <= max_length:
        return np.arange(len(special_tokens_mask))
    special = np.array(special_tokens_mask, dtype=bool)
    subwords = np.flatnonzero(~special)[: max_length - int(special.sum())]
    return np.sort(np.concatenate((np.flatnonzero(special), subwords)))


# So few sentences, a support set say, need neither a progress bar nor a fingerprint for the cache.
_AT_ONCE = 1000
_FEATURES = Features(
    {
        "input_ids": List(Value("int32")),
        "attention_mask": List(Value("int8")),
        "labels": List(Value("int64")),
    }
)


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
    than `max_length` tokens is cut at word borders into several sequences, each a text of its own: every word
    that the tokenizer gives a subword carries its label exactly once. A single word longer than a sequence
    keeps its first subwords. A sentence without words gives no sequence.

    Args:
        types: entity types in the order of the model's labels 1, 2, …; 0 is outside.
        max_length: tokens of a sequence, special tokens included.
        text_column: the column that holds the words.
        unknown_types: "error", or "outside" for tags whose type is not in `types`.

    Returns:
        A Dataset with `input_ids`, `attention_mask` and `labels` (label ids, −100 but at the first
        subword of a word).

    Raises:
        ValueError: a tokenizer without offsets, a type not in `types`, no room for a word in `max_length`.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, read_dataset, tokenize_dataset
        >>> tokenizer = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd").tokenizer
        >>> dataset = read_dataset([{"tokens": ["Ana", "left", "Oslo"], "ner_tags": ["person", "O", "city"]}])
        >>> tokenize_dataset(dataset, tokenizer, ["person", "city"])["labels"][0]
        [-100, 1, 0, 2, -100]
    """
    if text_column not in dataset.column_names:
        raise ValueError(f"the dataset has no column {text_column!r}, only {', '.join(dataset.column_names)}")
    lookup = io_lookup(dataset, types, unknown_types)

    def tokenize(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        labels = [lookup[np.array(tags, dtype=np.int64)] for tags in batch["ner_tags"]]
        return _columns(tokenize_words(batch[text_column], labels, tokenizer, max_length))

    dataset = dataset.with_format(None)
    if len(dataset) <= _AT_ONCE:
        return Dataset.from_dict(tokenize(dataset[:]), features=_FEATURES)
    return dataset.map(
        tokenize, batched=True, remove_columns=dataset.column_names, features=_FEATURES, desc="Tokenizing"
    )


def sequences_dataset(sequences: Sequence[TokenSequence]) -> Dataset:
    """Collect sequences into a Dataset, as `tokenize_dataset` makes one."""
    return Dataset.from_dict(_columns(sequences), features=_FEATURES)


def _columns(sequences: Sequence[TokenSequence]) -> dict[str, list[Any]]:
    return {
        "input_ids": [one.input_ids for one in sequences],
        "attention_mask": [np.ones(len(one.input_ids), dtype=np.int8) for one in sequences],
        "labels": [one.labels for one in sequences],
    }
