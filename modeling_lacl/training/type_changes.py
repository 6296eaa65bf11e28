"""Entity types come to an adapted model and go from it, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.support import (
    Support,
    check_model,
    encode_tokenized,
    joining_tokens,
    names_for,
    read_support,
    tokenize_support,
    warn_of_missing,
    widen_spans,
)
from ..model.decoding_lacl import OUTSIDE_ID
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.prediction_lacl import whole_number
from .adaptation import copied, without_tokenizer


@without_tokenizer
@torch.inference_mode(False)
def add_types(
    model: LaclForTokenClassification,
    examples: Support,
    label_names: str | Path | Mapping[str, str] | None = None,
    *,
    batch_size: int = 32,
) -> LaclForTokenClassification:
    """Add entity types to a model from label names and a few examples, without training.

    The examples are added to the support set that the model already has. They may also contain further
    examples of existing types. Words outside of every entity are not added, since sentences labelled for
    the new types may contain unlabelled entities of the existing ones.

    Args:
        model: A model with a label set. It is not modified.
        examples: The labelled sentences, in any format that `read_dataset` accepts.
        label_names: Label names of the new types, as in `adapt`.
        batch_size: Sentences encoded at once.

    Returns:
        A model with the existing and the new types.

    Raises:
        LaclDataError: As in `adapt`.
        ValueError: The model has no support set yet, or a new type shares its label name with another.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, adapt, add_types
        >>> source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> ner = adapt(source, [{"tokens": ["In", "Oslo"], "ner_tags": ["O", "city"]}], steps=0)
        >>> ner = add_types(ner, [{"tokens": ["The", "Vasa", "sank"], "ner_tags": ["O", "ship", "O"]}])
        >>> ner.entity_types
        ['city', 'ship']
    """
    check_model(model)
    batch_size = whole_number("batch_size", batch_size, 1)
    if not model.has_support:
        raise ValueError("the model has no support set yet: adapt it to all of its types at once")
    read = read_support(examples, nested=bool(model.config.max_span_words))
    names = names_for(read.types, label_names)
    old = model.entity_types
    changed = copied(model)
    config: Any = changed.config
    # Existing labels keep their ids: new types come last.
    everything = [*old, *(name for name in read.types if name not in old)]
    changed.set_labels(everything, {**config.label_names, **names})
    widen_spans(changed, read.dataset)
    new = joining_tokens(encode_tokenized(changed, tokenize_support(changed, read.dataset), batch_size))
    words = model.config.support_words
    changed.set_support(
        torch.cat([model.support_mean, new.mean]),
        torch.cat([model.support_variance, new.variance]),
        torch.cat([model.support_labels, new.labels]),
        None if words is None else [*words, *new.words],
    )
    warn_of_missing(changed)
    return changed.eval()


@torch.inference_mode(False)
def remove_types(model: LaclForTokenClassification, types: Sequence[str]) -> LaclForTokenClassification:
    """Remove entity types from a model; their support tokens become examples of outside.

    Args:
        model: A model with a label set. It is not modified.
        types: The labels to remove.

    Returns:
        A model with the remaining types.

    Raises:
        ValueError: The model does not have one of the labels, or no label would remain.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, adapt, remove_types
        >>> source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> examples = [{"tokens": ["The", "Vasa", "left", "Oslo"], "ner_tags": ["O", "ship", "O", "city"]}]
        >>> remove_types(adapt(source, examples, steps=0), ["ship"]).entity_types
        ['city']
    """
    check_model(model)
    old = model.entity_types
    if not isinstance(types, Sequence) or isinstance(types, str) or any(name not in old for name in types):
        raise ValueError(f"types is {types!r}: give a list of the model's own types, which are {old}")
    left = [name for name in old if name not in types]
    if not left:
        raise ValueError(f"types is {types!r}: at least one of {old} must be left")
    changed = copied(model)
    config: Any = changed.config
    names = {name: words for name, words in config.label_names.items() if name not in types}
    new_id = torch.tensor([0, *(left.index(name) + 1 if name in left else 0 for name in old)])
    changed.set_labels(left, names)
    new_id = new_id.to(model.support_labels.device)
    # A negative label, for a role in which a token is no example, stays.
    labels = torch.where(model.support_labels < 0, -1, new_id[model.support_labels.clamp_min(0)])
    if labels.dim() == 2:
        labels = _without_contradictions(model, labels)
    is_entity = (labels if labels.dim() == 1 else labels[:, -1]) > OUTSIDE_ID
    words = model.config.support_words and [
        word if kept else ""
        for word, kept in zip(model.config.support_words, is_entity.tolist(), strict=True)
    ]
    left_over = labels >= OUTSIDE_ID if labels.dim() == 1 else (labels >= OUTSIDE_ID).any(1)
    changed.set_support(
        model.support_mean[left_over],
        model.support_variance[left_over],
        labels[left_over],
        words and list(compress(words, left_over.tolist())),
    )
    return changed.eval()


def _without_contradictions(model: LaclForTokenClassification, labels: Tensor) -> Tensor:
    """Return labels by role, `(S, 3)`, where no word is outside in a role that it has in another entity.

    A word of several entities is there once for each, with the same Gaussian. Where one of them became
    outside, the others still stand.
    """
    _, word = torch.unique(model.support_mean, dim=0, return_inverse=True)
    in_entity = torch.zeros_like(labels, dtype=torch.bool)
    for role in range(labels.shape[1]):
        in_entity[:, role] = torch.isin(word, word[labels[:, role] > OUTSIDE_ID])
    return torch.where((labels == OUTSIDE_ID) & in_entity, -1, labels)
