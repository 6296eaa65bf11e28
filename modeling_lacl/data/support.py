"""Support sets: reading and checking, tokenising, and encoding to the Gaussians that a model stores."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from datasets import Dataset
from torch import Tensor
from transformers import DataCollatorForTokenClassification

from ..model.decoding_lacl import OUTSIDE, OUTSIDE_ID
from ..model.labels_lacl import with_own_labels
from ..model.modeling_lacl import LaclForTokenClassification, evaluating
from ..model.prediction_lacl import BATCH_SIZE, whole_number
from ..model.spans_lacl import batch_entities, pad_entities, role_labels
from .examples import LaclDataError
from .label_names import load_label_names, shipped_label_names
from .reading import check_source, read_dataset
from .tags import entity_spans, entity_types, label_spans, to_io
from .tokenize import sequences_dataset, tokenize_words

logger = logging.getLogger(__name__)

MOST_SPAN_WORDS = 40
"""Length of the longest entities that a model learns to find from examples. Time and memory grow with it."""

ENCODED = ("input_ids", "attention_mask", "labels")
"""Columns of support sentences that are encoded."""


@dataclass(frozen=True)
class LabelledSupport:
    """A support set that has been read and checked, so that each of its types has an example.

    Attributes:
        dataset: Sentences as from `read_dataset`.
        types: Their entity types.
        labels: IO label ids of every sentence, 0 for outside and i + 1 for `types[i]`.
    """

    dataset: Dataset
    types: list[str]
    labels: list[list[int]]


Support: TypeAlias = str | Path | Dataset | Iterable[Mapping[str, Any]] | LabelledSupport
"""Labelled sentences: any source of `read_dataset`, or the result of `read_support`."""


class TokenizedSupport(NamedTuple):
    """Support sentences as model input.

    Attributes:
        sequences: `input_ids`, `attention_mask` and `labels`, as from `tokenize_dataset`.
        entities: The text of the entity that each labelled token belongs to; `""` outside of entities. For a
            model of spans the text of each entity of `sequences`, in order.
    """

    sequences: Dataset
    entities: list[str]


class EncodedSupport(NamedTuple):
    """Encoded support tokens: the arguments of [`LaclForTokenClassification.set_support`].

    Attributes:
        mean, variance: `(S, d)` fp32, of the first subword of every word.
        labels: `(S,)` long label ids; for a model of spans `(S, 3)`, by role.
        words: The text of the entity that each support token belongs to; `""` outside of entities.
    """

    mean: Tensor
    variance: Tensor
    labels: Tensor
    words: list[str]


def check_model(model: Any) -> None:
    """Check that `model` is a LACL model.

    Raises:
        TypeError: It is not, for example the name of a checkpoint or a model of another kind.
    """
    # Not by isinstance: a model loaded with remote code is of another class.
    if not hasattr(model, "set_labels"):
        raise TypeError(
            f"model is of type {type(model).__name__}: give a model, as "
            "LaclForTokenClassification.from_pretrained(…) loads it"
        )


def read_support(support: Support, place: str | None = None, nested: bool = False) -> LabelledSupport:
    """Read a support set and check that each of its types has an example.

    Args:
        support: The labelled sentences; a `LabelledSupport` is returned as it is.
        place: Name of the support set in error messages; by default its path, or "the support set".
        nested: Whether entities may nest, for a model of spans.

    A sentence that is there again with other entities is logged as a warning.

    Raises:
        LaclDataError: There is no sentence, no entity, or a type without an example.
        TypeError: `support` is not a source of labelled sentences.
    """
    if isinstance(support, LabelledSupport):
        return support
    check_source(support, "support")
    if place is None:
        place = str(support) if isinstance(support, str | Path) else "the support set"
    dataset = read_dataset(support, nested="keep" if nested else "error")
    if not len(dataset):
        raise LaclDataError(f"{place}: has no sentence; give at least one labelled sentence per type")
    types = entity_types(dataset)
    if not types:
        raise LaclDataError(f"{place}: has no entity; give at least one labelled example per type")
    seen = {name for spans in entity_spans(dataset) for _, _, name in spans}
    missing = [name for name in types if name not in seen]
    if missing:
        present = [name for name in types if name not in missing]
        raise LaclDataError(
            f"{place}: no example of {', '.join(missing)}; add a sentence with one, or leave the type out of "
            f"the classes: read_dataset(…, labels={present})"
        )
    _warn_of_contradictions(dataset, place)
    return LabelledSupport(dataset, types, to_io(dataset, types))


def _warn_of_contradictions(dataset: Dataset, place: str) -> None:
    """Log which sentences are there again with other entities: the model cannot follow both."""
    first_of: dict[tuple[str, ...], int] = {}
    entities = [set(spans) for spans in entity_spans(dataset)]
    for number, words in enumerate(dataset["tokens"][:]):
        first = first_of.setdefault(tuple(words), number)
        if entities[first] == entities[number]:
            continue
        start, stop, _ = min(entities[first] ^ entities[number], key=lambda span: (span[0], -span[1]))
        one, other = (
            " and ".join(sorted(name for *span, name in entities[index] if span == [start, stop]))
            for index in (first, number)
        )
        logger.warning(
            "%s: sentences %d and %d are the same and their entities are not: %r is %s in the first and %s "
            "in the second, in %r; correct one, or take it out",
            place,
            first + 1,
            number + 1,
            " ".join(words[start:stop]),
            one or "none",
            other or "none",
            " ".join(words),
        )


def names_for(types: list[str], label_names: str | Path | Mapping[str, str] | None) -> dict[str, str]:
    """Return the given label names of these types.

    Args:
        types: Entity types of a support set.
        label_names: Label names, as for `load_label_names`, or None. Only the maps shipped with the package
            may have names for other types.

    Raises:
        LaclDataError: There is a label name for a type that is not in `types`.
    """
    if label_names is None:
        return {}
    names = load_label_names(label_names)
    unseen = [name for name in names if name not in (*types, OUTSIDE)]
    if unseen and label_names not in shipped_label_names():
        place = label_names if isinstance(label_names, str | Path) else "label_names"
        raise LaclDataError(
            f"{place} has a name for {', '.join(unseen)}, of which the support set has no example; add a "
            "sentence with one, or take the name out"
        )
    return {name: words for name, words in names.items() if name not in unseen}


def widen_spans(model: LaclForTokenClassification, dataset: Dataset) -> None:
    """Let a model of spans find entities as long as those of its support set.

    Args:
        model: The model, whose `config.max_span_words` is raised, at most to `MOST_SPAN_WORDS`. A model of
            tokens is left as it is.
        dataset: Sentences as from `read_dataset`.
    """
    limit = model.config.max_span_words
    lengths = [
        (stop - first, row, first, stop)
        for row, spans in enumerate(entity_spans(dataset))
        for first, stop, _ in spans
    ]
    longest, row, first, stop = max(lengths, default=(0, 0, 0, 0))
    if not limit or longest <= limit:
        return
    model.config.max_span_words = min(longest, max(limit, MOST_SPAN_WORDS))
    logger.info("Entities may have %d words, as in the examples.", model.config.max_span_words)
    if longest > model.config.max_span_words:
        logger.warning(
            "the entity %r has %d words, and none of more than %d can be found: label a shorter part of it",
            " ".join(dataset[row]["tokens"][first:stop]),
            longest,
            model.config.max_span_words,
        )


def tokenize_support(
    model: LaclForTokenClassification, dataset: Dataset, labels: list[list[int]] | None = None
) -> TokenizedSupport:
    """Tokenise support sentences with the tokenizer and the label set of a model.

    Args:
        model: The model.
        dataset: Sentences as from `read_dataset`.
        labels: The model's label ids of every word; by default from the tags, where types unknown to the
            model become outside.
    """
    if labels is None:
        labels = to_io(dataset, model.entity_types, unknown_types="outside")
    tokens = list(dataset["tokens"])
    sequences = tokenize_words(tokens, labels, model.tokenizer, model.max_sequence_length)
    if model.config.max_span_words:
        made = sequences_dataset(sequences, label_spans(dataset, model.entity_types, "outside"))
        texts = [
            " ".join(tokens[one.sentence][one.words[first] : one.words[last] + 1])
            for one, own in zip(sequences, made["entities"], strict=True)
            for first, last, _ in own
        ]
        return TokenizedSupport(made, texts)
    of_words: list[list[str]] = []
    for words, spans in zip(tokens, entity_spans(dataset), strict=True):
        of_words.append([""] * len(words))
        for first, stop, _ in spans:
            of_words[-1][first:stop] = [" ".join(words[first:stop])] * (stop - first)
    entities = [of_words[one.sentence][word] for one in sequences for word in one.words.tolist()]
    return TokenizedSupport(sequences_dataset(sequences), entities)


@torch.inference_mode()
def encode_tokenized(
    model: LaclForTokenClassification, support: TokenizedSupport, batch_size: int = BATCH_SIZE
) -> EncodedSupport:
    """Encode tokenised support sentences with the model's label prompt.

    Args:
        model: The model; its mode (train or eval) is restored afterwards.
        support: Support sentences from `tokenize_support`.
        batch_size: Number of sequences per batch.
    """
    collate = DataCollatorForTokenClassification(model.tokenizer)
    sequences: Any = support.sequences
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    counts: list[int] = []
    with evaluating(model):
        for start in range(0, len(sequences), batch_size):
            stop = min(start + batch_size, len(sequences))
            with torch.device("cpu"):  # whatever default the caller has set
                rows = [dict(sequences[index]) for index in range(start, stop)]
                batch = collate([{name: row[name] for name in ENCODED} for row in rows])
            batch = batch.to(model.device)
            valid = batch["labels"] >= 0
            output = model(batch["input_ids"], batch["attention_mask"], return_dict=True)
            parts.append((output.mean[valid], output.variance[valid], batch["labels"][valid]))
            counts.extend(valid.sum(1).tolist())
    mean, variance, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    if model.config.max_span_words:
        return _by_role(mean, variance, labels, counts, support)
    return EncodedSupport(mean, variance, labels, support.entities)


def _by_role(
    mean: Tensor, variance: Tensor, labels: Tensor, counts: list[int], support: TokenizedSupport
) -> EncodedSupport:
    """Return support tokens by role: words as outside where they have no role, then those of entities."""
    rows = pad_entities(support.sequences["entities"]).to(labels.device)
    found = batch_entities(labels, torch.tensor(counts, device=labels.device), rows)
    roles = role_labels(found, len(labels))
    outside = torch.where(roles == OUTSIDE_ID, OUTSIDE_ID, -1).T
    is_outside = (outside == OUTSIDE_ID).any(1)
    length = found.last - found.first + 1
    entity = torch.arange(len(length), device=labels.device).repeat_interleave(length)
    word = torch.arange(len(entity), device=labels.device) - (length.cumsum(0) - length)[entity]
    word = word + found.first[entity]
    of_entity = found.label[entity]
    within = torch.stack(
        [
            torch.where(word == found.first[entity], of_entity, -1),
            torch.where(word == found.last[entity], of_entity, -1),
            of_entity,
        ],
        dim=1,
    )
    taken = torch.cat([is_outside.nonzero().squeeze(1), word])
    words = [""] * int(is_outside.sum()) + [support.entities[index] for index in entity.tolist()]
    return EncodedSupport(mean[taken], variance[taken], torch.cat([outside[is_outside], within]), words)


def encode_support(
    model: LaclForTokenClassification, dataset: Dataset, batch_size: int = BATCH_SIZE
) -> EncodedSupport:
    """Tokenise and encode sentences from `read_dataset`; types unknown to the model become outside."""
    return encode_tokenized(model, tokenize_support(model, dataset), batch_size)


def with_support(
    model: LaclForTokenClassification, support: Any, label_names: Any = None, batch_size: int | None = None
) -> LaclForTokenClassification:
    """Return a model with the same weights and another support set, equivalent to `adapt(..., steps=0)`.

    `model` itself is not changed, so that threads can share it.

    Args:
        model: The model.
        support: The labelled sentences: any source of `read_dataset`.
        label_names: Mapping from types to label names; a type without one gets a label name by rule.
        batch_size: Number of sequences per batch; None means 32.

    Raises:
        LaclDataError: As `read_support`.
        ValueError: There is a label name for a type without an example.
        TypeError: `label_names` is not a mapping.
    """
    if label_names is not None and not isinstance(label_names, Mapping):
        raise TypeError(
            f"labels is {label_names!r}: with support, which has the types, give a mapping to their names, "
            "or leave it out"
        )
    batch_size = BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, 1)
    read = read_support(support, nested=bool(model.config.max_span_words))
    own = with_own_labels(model)
    own.set_labels(read.types, label_names)
    widen_spans(own, read.dataset)
    store_support(own, encode_tokenized(own, tokenize_support(own, read.dataset, read.labels), batch_size))
    return own


def store_support(model: LaclForTokenClassification, encoded: EncodedSupport) -> None:
    """Store a support set in a model, with a warning that names the labels of which it has no word."""
    model.set_support(*encoded)
    warn_of_missing(model)


def warn_of_missing(model: LaclForTokenClassification) -> None:
    """Log the labels of which the support set of a model has no word."""
    found = set(model.support_labels.unique().tolist())
    labels = model.config.id2label or {}
    missing = [labels[label] for label in sorted(labels) if label not in found]
    if missing:
        words = " and ".join("outside of entities" if one == OUTSIDE else f"of {one}" for one in missing)
        effect = "goes by its label name alone" if model.config.use_prompts else "is never predicted"
        logger.warning(
            "the support set has no word %s, so that %s %s: add sentences with such words",
            words,
            ", ".join(missing),
            effect,
        )


def joining_tokens(encoded: EncodedSupport) -> EncodedSupport:
    """Return only the support tokens of entities, without those of outside."""
    labels = encoded.labels
    # By role, a token of an entity is inside of it.
    inside = labels != OUTSIDE_ID if labels.dim() == 1 else labels[:, -1] > OUTSIDE_ID
    words = [word for word, joins in zip(encoded.words, inside.tolist(), strict=True) if joins]
    return EncodedSupport(encoded.mean[inside], encoded.variance[inside], encoded.labels[inside], words)
