"""Entities as spans: the Gaussians of roles, and what spans are compared with in training.

A model with `config.max_span_words` has three Gaussians per token and label, for the roles of a word in an
entity: its first word (start), its last (end), and any of its words (inside). The similarity of a word to a
label in a role, minus that to outside, is a logit that does not depend on the other labels. The logit of a
span and a label is the sum of

- the start logit of its first word,
- the end logit of its last word,
- the mean of the inside logits of its words, and half of their minimum,

plus a constant for how rare entities are among all spans: [`decoding_lacl.span_logits`], beside which spans
are chosen. In training it is compared with whether the span is an entity of that type (a logistic loss over
all spans and labels, so that a span may have several types, and entities may nest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .decoding_lacl import ROLES
from .losses_lacl import Gaussians


def by_role(gaussians: Gaussians) -> Gaussians:
    """Split Gaussians of all roles, `(..., N, 3·d)` each, into `(..., 3, N, d)`."""
    mean, variance = (part.unflatten(-1, (len(ROLES), -1)).transpose(-2, -3) for part in gaussians)
    return mean, variance


def room_in_text(counts: Tensor) -> Tensor:
    """Return (N,) the number of words from each word to the end of its text, from the words of each text."""
    ends = counts.cumsum(0).repeat_interleave(counts)
    return ends - torch.arange(len(ends), device=ends.device)


class Entities(NamedTuple):
    """Entities of a batch, one row each.

    Attributes:
        first, last: (E,) long, first and last word, counted over all sequences of the batch.
        label: (E,) long, label id, above 0.
    """

    first: Tensor
    last: Tensor
    label: Tensor


PADDING_ENTITY = -1
"""Value in the rows of `entities` that are padding."""


def pad_entities(rows: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Return (B, E, 3) long from the [first word, last word, label] of the entities of each sequence."""
    counts = np.asarray([len(row) for row in rows])
    padded = torch.full((len(rows), max(1, int(counts.max(initial=0))), 3), PADDING_ENTITY, dtype=torch.long)
    inside = torch.arange(padded.shape[1]) < torch.from_numpy(counts).unsqueeze(1)
    padded[inside] = torch.tensor([entity for row in rows for entity in row], dtype=torch.long).view(-1, 3)
    return padded


def batch_entities(labels: Tensor, counts: Tensor, entities: Tensor | None) -> Entities:
    """Return the entities of a batch: as given, or else the runs of words with one label.

    Args:
        labels: (N,) long, label ids of the words of all sequences.
        counts: (B,) long, number of words of each sequence.
        entities: (B, E, 3) long or None: first word, last word (both counted within the sequence) and label
            id; −1 in rows of padding.
    """
    if entities is not None:
        begins = counts.cumsum(0) - counts
        real = entities[..., 2] > 0
        shift = begins[:, None, None] * entities.new_tensor([1, 1, 0])
        return Entities(*(entities + shift)[real].unbind(1))
    room = room_in_text(counts)
    begins_text = nn.functional.pad(room[:-1] == 1, (1, 0), value=True)
    changes = nn.functional.pad(labels[1:] != labels[:-1], (1, 0), value=True) | begins_text
    ends = nn.functional.pad(changes[1:], (0, 1), value=True)
    first, last = (changes & (labels > 0)).nonzero().squeeze(1), (ends & (labels > 0)).nonzero().squeeze(1)
    return Entities(first, last, labels[first])


def role_labels(entities: Entities, number: int) -> Tensor:
    """Return (3, N) long: the label of each of N words in each role, 0 if it has none.

    A word within several entities has the label of the one that comes last in `entities`.
    """
    result = entities.label.new_zeros((len(ROLES), number))
    result[0, entities.first] = entities.label
    result[1, entities.last] = entities.label
    words, entity = _words_within(entities)
    result[2, words] = entities.label[entity]
    return result


def _words_within(entities: Entities) -> tuple[Tensor, Tensor]:
    """Return (n,) long the words of all entities, one entity after the other, and the entity of each."""
    length = entities.last - entities.first + 1
    entity = torch.arange(len(length), device=length.device).repeat_interleave(length)
    begins = length.cumsum(0) - length
    return torch.arange(len(entity), device=length.device) - (begins - entities.first)[entity], entity


def span_label_loss(
    logits: Tensor, entities: Entities, room: Tensor, present: Tensor, positives: Tensor | None = None
) -> Tensor:
    """Return the logistic loss of spans and labels: an entity attracts its labels, other spans repel them.

    An entity of more than M words has no span of its own. The spans within it do not count for its label: a
    part of an entity is neither an entity nor a good example of what is none.

    Args:
        logits: (N, M, K) of spans, as from `span_logits`, with outside as label 0.
        entities: The entities.
        room: (N,) long, see `span_logits`.
        present: (N, K) bool, whether the prompt of the word's sequence contains the label.
        positives: Number of entities to divide by; by default those of the batch.

    Returns:
        Scalar: the sum over spans and labels, divided by the number of entities (at least 1).
    """
    width = logits.shape[1]
    fits = torch.arange(width, device=room.device) < room.unsqueeze(1)
    counted = fits.unsqueeze(2) & present.unsqueeze(1)
    counted[..., 0] = False  # the logit of outside is 0
    length = entities.last - entities.first
    short = length < width
    if not bool(short.all()):
        counted &= ~_within_long(Entities(*(part[~short] for part in entities)), logits)
    targets = torch.zeros_like(logits)
    targets[entities.first[short], length[short], entities.label[short]] = 1
    counted |= targets.bool() & present.unsqueeze(1)
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.masked_fill(~counted, 0), targets, reduction="none"
    )
    number = (targets * counted).sum() if positives is None else positives
    return (losses * counted).sum() / number.clamp_min(1)


def _within_long(entities: Entities, logits: Tensor) -> Tensor:
    """Return (N, M, K) bool: which spans lie within one of these entities, for its label."""
    words, entity = _words_within(entities)
    number, width, labels = logits.shape
    cells = words * labels + entities.label[entity]
    until = words.new_full((number * labels,), -1).scatter_reduce(0, cells, entities.last[entity], "amax")
    ends = torch.arange(number, device=words.device)[:, None] + torch.arange(width, device=words.device)
    return ends.unsqueeze(2) <= until.view(number, 1, labels)
