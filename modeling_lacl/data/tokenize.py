"""Tokenise words and labels to model input: token ids, and one label at the first subword of each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, Features, List, Value
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from ..model.decoding_lacl import OUTSIDE_ID
from ..model.words_lacl import align_words, fast_tokenizer, tokenizer_lock, word_offsets
from .tags import LabelSpan, UnknownTypes, io_lookup, label_spans, to_io

IGNORED = -100


class TokenSequence(NamedTuple):
    """One sequence of model input: a sentence or a part of a long one.

    Attributes:
        input_ids: (L,) int64.
        labels: (L,) int64, −100 except at the first subword of each word.
        sentence: Index of its sentence.
        words: (n,) int64, index in the sentence of the word of each labelled token, in order.
    """

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    sentence: int
    words: NDArray[np.int64]


class _Part(NamedTuple):
    """Words `first` to `stop` (exclusive) of a sentence, to be tokenised as one sequence."""

    sentence: int
    first: int
    stop: int


def tokenize_words(
    sentences: Sequence[Sequence[str]],
    labels: Sequence[Sequence[int] | NDArray[np.int64]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[TokenSequence]:
    """Tokenise sentences, and split those longer than `max_length` tokens at word boundaries.

    Every word that has a subword gets its label exactly once. A sentence is not split within an entity,
    unless the entity is longer than a sequence. A single word longer than a sequence is truncated to its
    first subwords. A sentence without words gives no sequence.

    Args:
        sentences: Lists of words, which are joined by single spaces and aligned by character offsets, as at
            prediction.
        labels: Label ids of the words of each sentence.
        tokenizer: A fast tokenizer.
        max_length: Maximum number of tokens in a sequence, including special tokens.

    Raises:
        ValueError: The tokenizer has no character offsets, or `max_length` leaves no room for a word.
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
                # No warning about long texts, since they are split below.
                verbose=False,
            )
        longer: list[_Part] = []
        for number, (part, words) in enumerate(zip(pending, texts, strict=True)):
            ids, offsets = encoding["input_ids"][number], encoding["offset_mapping"][number]
            positions = align_words(np.array(offsets, dtype=np.int64).reshape(-1, 2), word_offsets(words))
            if len(ids) > max_length and len(words) > 1:
                own = np.asarray(labels[part.sentence], dtype=np.int64)[part.first : part.stop]
                longer.extend(_cut(part, positions, own, len(ids), budget))
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


def _cut(
    part: _Part, positions: NDArray[np.int64], labels: NDArray[np.int64], length: int, budget: int
) -> list[_Part]:
    """Split a part into smaller parts of at most `budget` tokens each, or of a single word with more.

    Entities, as runs of words with one label, stay whole if they fit.

    A smaller part is tokenised again on its own, which may give more tokens than within the sentence; it is
    then split again.
    """
    # A word without a subword begins where the word before it does.
    begins = np.maximum.accumulate(positions)
    ends = np.append(begins[1:], length)
    # Before which words one may cut: not before those that go on with an entity.
    borders = np.flatnonzero(np.append(True, (labels[1:] != labels[:-1]) | (labels[1:] == OUTSIDE_ID)))
    parts: list[_Part] = []
    first = 0
    while first < len(positions):
        stop = max(int(np.searchsorted(ends, max(begins[first], 0) + budget, side="right")), first + 1)
        if first == 0 and stop == len(positions):
            stop -= 1
        border = int(borders[np.searchsorted(borders, stop, side="right") - 1])
        if first < border and stop < len(positions):
            stop = border
        parts.append(_Part(part.sentence, part.first + first, part.first + stop))
        first = stop
    return parts


def _kept(special_tokens_mask: Sequence[int], max_length: int) -> NDArray[np.int64]:
    """Return the positions of the tokens to keep: all, or the first subwords of a word that is too long."""
    if len(special_tokens_mask) <= max_length:
        return np.arange(len(special_tokens_mask))
    special = np.array(special_tokens_mask, dtype=bool)
    subwords = np.flatnonzero(~special)[: max_length - int(special.sum())]
    return np.sort(np.concatenate((np.flatnonzero(special), subwords)))


def sequence_entities(sequence: TokenSequence, spans: Sequence[LabelSpan]) -> list[LabelSpan]:
    """Return the entities within a sequence as (first word, last word, label), by its own words with a label.

    Args:
        sequence: A sentence, or a part of one.
        spans: The entities of the sentence: first word, one past the last, label id.

    Returns:
        What each has of words with a subword in the part, without repetitions.
    """
    if not spans:
        return []
    first, stop = np.searchsorted(sequence.words, np.asarray([span[:2] for span in spans])).T
    labels = [span[2] for span in spans]
    found = ((int(first[at]), int(stop[at]) - 1, labels[at]) for at in np.flatnonzero(first < stop))
    return list(dict.fromkeys(found))


# For so few sentences (a support set, for example), the cache and progress bar of `Dataset.map` are not worth
# their overhead.
_AT_ONCE = 1000
_FEATURES = Features(
    {
        "input_ids": List(Value("int32")),
        "attention_mask": List(Value("int8")),
        "labels": List(Value("int64")),
    }
)

_SPAN_FEATURES = Features({**_FEATURES, "entities": List(List(Value("int32")))})


def tokenize_dataset(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    types: Sequence[str],
    max_length: int = 128,
    text_column: str = "tokens",
    unknown_types: UnknownTypes = "error",
    entities: bool = False,
) -> Dataset:
    """Tokenise a dataset from `read_dataset` for training.

    Words are joined by single spaces and aligned by character offsets, as at prediction. A sentence longer
    than `max_length` tokens is split into several sequences, at word boundaries and not within an entity that
    fits into one. Every word that has a subword gets its label exactly once. A single word longer than a
    sequence is truncated to its first subwords. A sentence without words gives no sequence.

    Args:
        dataset: A dataset from `read_dataset`.
        tokenizer: A fast tokenizer.
        types: Entity types in the order of the model's labels 1, 2, …; 0 is outside.
        max_length: Maximum number of tokens in a sequence, including special tokens.
        text_column: Name of the column with the words.
        unknown_types: "error", or "outside" for tags whose type is not in `types`.
        entities: Whether to add the entities, for a model of spans.

    Returns:
        A Dataset with `input_ids`, `attention_mask` and `labels` (label ids, −100 except at the first
        subword of each word). With `entities` it has that column as well: [first word, last word, label id]
        of each, where words are counted among those with a label.

    Raises:
        ValueError: The tokenizer has no character offsets, a type is not in `types`, or `max_length` leaves
            no room for a word.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, read_dataset, tokenize_dataset
        >>> tokenizer = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd").tokenizer
        >>> dataset = read_dataset([{"tokens": ["Ana", "left", "Oslo"], "ner_tags": ["person", "O", "city"]}])
        >>> tokenize_dataset(dataset, tokenizer, ["person", "city"])["labels"][0]
        [-100, 1, 0, 2, -100]
    """
    if text_column not in dataset.column_names:
        raise ValueError(f"the dataset has no column {text_column!r}, only {', '.join(dataset.column_names)}")
    if entities:
        return _with_entities(dataset, tokenizer, types, max_length, text_column, unknown_types)
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


def _with_entities(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    types: Sequence[str],
    max_length: int,
    text_column: str,
    unknown_types: UnknownTypes,
) -> Dataset:
    """Tokenise a dataset of either form, with the column `entities`; see `tokenize_dataset`."""
    labels = to_io(dataset, types, unknown_types)
    spans = label_spans(dataset, types, unknown_types)

    def tokenize(words: list[list[str]], rows: list[int]) -> dict[str, list[Any]]:
        sequences = tokenize_words(words, [labels[row] for row in rows], tokenizer, max_length)
        return _columns(sequences, [spans[row] for row in rows])

    dataset = dataset.with_format(None).select_columns([text_column])
    if len(dataset) <= _AT_ONCE:
        made = tokenize(dataset[:][text_column], list(range(len(dataset))))
        return Dataset.from_dict(made, features=_SPAN_FEATURES)
    return dataset.map(
        tokenize,
        with_indices=True,
        input_columns=[text_column],
        batched=True,
        remove_columns=[text_column],
        features=_SPAN_FEATURES,
        desc="Tokenizing",
    )


def sequences_dataset(
    sequences: Sequence[TokenSequence], spans: Sequence[Sequence[LabelSpan]] | None = None
) -> Dataset:
    """Return a Dataset of sequences with the columns of `tokenize_dataset`; `spans` are of each sentence."""
    return Dataset.from_dict(
        _columns(sequences, spans), features=_FEATURES if spans is None else _SPAN_FEATURES
    )


def _columns(
    sequences: Sequence[TokenSequence], spans: Sequence[Sequence[LabelSpan]] | None = None
) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "input_ids": [one.input_ids for one in sequences],
        "attention_mask": [np.ones(len(one.input_ids), dtype=np.int8) for one in sequences],
        "labels": [one.labels for one in sequences],
    }
    if spans is not None:
        columns["entities"] = [sequence_entities(one, spans[one.sentence]) for one in sequences]
    return columns
