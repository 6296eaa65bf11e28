"""Types that come to an adapted model and go from it, without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .adaptation import check_model, names_of, support_dataset
from .checks import whole_number
from .configuration_lacl import OUTSIDE
from .data import entity_types
from .label_set import copy_with_tokenizer
from .modeling_lacl import LaclForTokenClassification
from .support import encode_support, support_words


def add_types(
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    support: str | Path | Dataset | Iterable[Mapping[str, Any]],
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    batch_size: int = 32,
) -> LaclForTokenClassification:
    """A model with further entity types, learnt from their names and a few examples, without training.

    The support that the model holds stays, and the examples join it; more examples of a type that it has
    are welcome too. Words outside of every entity do not join, since sentences that are labelled for new
    types may well have unlabelled entities of the old ones.

    Args:
        model: A model with a label set; it is left as it was.
        tokenizer: Its tokenizer.
        support: The labelled sentences: whatever `read_dataset` reads.
        label_names: Natural-language names of the new types, as in `adapt`.
        batch_size: Sentences that go through the encoder at once.

    Raises:
        LaclDataError: As in `adapt`.
        ValueError: The model has no support yet, or a new type shares its natural-language name with another.
    """
    check_model(model)
    batch_size = whole_number("batch_size", batch_size, 1)
    if not model.has_support:
        raise ValueError("the model has no examples of its own types yet: adapt it to all of them at once")
    dataset = support_dataset(support)
    names = names_of(entity_types(dataset), label_names)
    old = _types(model)
    changed = copy_with_tokenizer(model, tokenizer)
    config: Any = changed.config
    kept = (model.support_mean, model.support_variance, model.support_labels)
    everything = [*old, *(name for name in entity_types(dataset) if name not in old)]
    changed.set_labels(everything, {**config.label_names, **names})
    mean, variance, labels = encode_support(changed, tokenizer, dataset, batch_size)
    joining = labels != 0
    words = None
    if model.config.support_words is not None:
        new = zip(support_words(tokenizer, dataset), joining.tolist(), strict=True)
        words = [*model.config.support_words, *(word for word, joins in new if joins)]
    # Old labels keep their ids: new types come last.
    changed.set_support(
        torch.cat([kept[0], mean[joining]]),
        torch.cat([kept[1], variance[joining]]),
        torch.cat([kept[2], labels[joining]]),
        words,
    )
    return changed.eval()


def remove_types(model: LaclForTokenClassification, types: Sequence[str]) -> LaclForTokenClassification:
    """A model without some of its types; their support tokens become examples of what is outside.

    Args:
        model: A model with a label set; it is left as it was.
        types: The labels to remove.

    Raises:
        ValueError: A label that the model does not have, or none that would be left.
    """
    check_model(model)
    old = _types(model)
    if not isinstance(types, Sequence) or isinstance(types, str) or any(name not in old for name in types):
        raise ValueError(f"types is {types!r}: give a list of the model's own types, which are {old}")
    left = [name for name in old if name not in types]
    if not left:
        raise ValueError(f"types is {types!r}: at least one of {old} must be left")
    changed = copy_with_tokenizer(model, model.tokenizer)
    config: Any = changed.config
    names = {name: words for name, words in config.label_names.items() if name not in types}
    new_id = torch.tensor([0, *(left.index(name) + 1 if name in left else 0 for name in old)])
    changed.set_labels(left, names)
    labels = new_id.to(model.support_labels.device)[model.support_labels]
    words = model.config.support_words and [
        word if label else "" for word, label in zip(model.config.support_words, labels.tolist(), strict=True)
    ]
    changed.set_support(model.support_mean, model.support_variance, labels, words)
    return changed.eval()


def _types(model: LaclForTokenClassification) -> list[str]:
    id2label: Any = model.config.id2label
    return [id2label[label] for label in range(len(id2label)) if id2label[label] != OUTSIDE]
