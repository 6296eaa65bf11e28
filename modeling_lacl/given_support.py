"""A support set that is given with a call: the model takes on its types for this call, without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DataCollatorForTokenClassification, PreTrainedTokenizerBase

from .checkpoint import of_the_package
from .checks import whole_number
from .configuration_lacl import OUTSIDE
from .evaluating import evaluating
from .label_set import with_own_labels
from .prediction import BATCH_SIZE, longest_text
from .prompts import split_prompt
from .records import EXAMPLES, read_record
from .rows import make_rows
from .sentences import Origin
from .tag_table import TagTable

if TYPE_CHECKING:
    from .modeling_lacl import LaclForTokenClassification

LabelledWords = list[tuple[str, str]]
"""A sentence: each word with its type, or `O`."""


def with_support(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    support: Any,
    label_names: Any = None,
    batch_size: int | None = None,
) -> LaclForTokenClassification:
    """A model on the same weights that holds another support set, as `adapt(..., steps=0)` makes it.

    Nothing is kept: `model` is left as it was, and threads can share it.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        support: A list of examples, `{"text", "entities"}` or `{"tokens", "ner_tags"}`; where the package is
            installed, whatever `read_dataset` reads.
        label_names: Natural-language names of types; by rule where a type has none.
        batch_size: Sentences that go through the encoder at once; None means 32.

    Raises:
        ValueError: No sentence, no entity, a type without an example, an example that cannot be read, or a
            name for a type that has no example.
        TypeError: `label_names` is no mapping.
    """
    if label_names is not None and not isinstance(label_names, Mapping):
        raise TypeError(
            f"labels is {label_names!r}: with support, which has the types, give a mapping to their names, "
            "or leave it out"
        )
    batch_size = BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, 1)
    package = of_the_package("adaptation")
    read = read_examples if package is None else package.labelled_words
    types, sentences = read(support)
    own = with_own_labels(model)
    own.tokenizer = tokenizer
    own.set_labels(types, label_names)
    number = {label: index for index, label in enumerate([OUTSIDE, *types])}
    rows = make_rows(
        [[word for word, _ in words] for words in sentences],
        [[number[label] for _, label in words] for words in sentences],
        tokenizer,
        longest_row(own),
    )
    features = [{"input_ids": row.input_ids.tolist(), "labels": row.labels.tolist()} for row in rows]
    own.set_support(*encode_rows(own, tokenizer, features, batch_size))
    return own


def longest_row(model: LaclForTokenClassification) -> int:
    """Longest support sentence in tokens, special ones included, that goes through the encoder at once."""
    token_ids = model.config.label_token_ids or []
    with_prompts = model.config.use_prompts and token_ids
    groups = split_prompt(token_ids, model.config.max_prompt_length) if with_prompts else []
    return longest_text(model, token_ids, groups)


@torch.inference_mode()
def encode_rows(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]],
    batch_size: int = BATCH_SIZE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Encodes labelled sentences under the model's own label prompt.

    Args:
        model: Its label set names the types; its mode (train or eval) is as before afterwards.
        tokenizer: Its tokenizer.
        rows: `input_ids` and `labels` of each, −100 where a token does not count.
        batch_size: Rows that go through the encoder at once.

    Returns:
        Mean and variance, each `(S, d)` fp32, and label ids `(S,)` long, of every token that counts.
    """
    collate = DataCollatorForTokenClassification(tokenizer)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with evaluating(model):
        for start in range(0, len(rows), batch_size):
            batch = collate([dict(rows[i]) for i in range(start, min(start + batch_size, len(rows)))])
            batch = batch.to(model.device)
            valid = batch["labels"] >= 0
            output = model(batch["input_ids"], batch["attention_mask"], return_dict=True)
            parts.append((output.mean[valid], output.variance[valid], batch["labels"][valid]))
    mean, variance, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, variance, labels


def read_examples(support: Any) -> tuple[list[str], list[LabelledWords]]:
    """Reads a list of examples as the package does, without what the package needs for files and datasets.

    Returns:
        The types in order of first appearance, and the sentences.

    Raises:
        ValueError: It is something else, has no entity, or an example is malformed; says which.
    """
    if isinstance(support, str | bytes | bytearray | Mapping) or not isinstance(support, Iterable):
        raise ValueError(
            f"support is of type {type(support).__name__}: give a list of {EXAMPLES}; install the package "
            "lacl to have files and datasets read"
        )
    table = TagTable(Origin("examples", has_lines=False))
    words: list[Sequence[str]] = []
    for number, example in enumerate(support):
        sentence = read_record(example, number, table.origin.at(number))
        table.add(sentence)
        words.append(sentence.tokens)
    normalized = table.normalized()
    if not normalized.types:
        raise ValueError("the support set: has no entity; give at least one labelled example a type")
    names = [*normalized.types, OUTSIDE]  # the last is that of −1
    labels = iter(normalized.type_ids.tolist())
    return normalized.types, [[(word, names[next(labels)]) for word in sentence] for sentence in words]
