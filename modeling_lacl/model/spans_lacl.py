"""Entities as spans: the score of a span from its start, end and inside, and the choice among spans.

A model with `config.max_span_words` has three Gaussians per token and label, for the roles of a word in an
entity: its first word (start), its last (end), and any of its words (inside). The similarity of a word to a
label in a role, minus that to outside, is a logit that does not depend on the other labels. The logit of a
span and a label is the sum of

- the start logit of its first word,
- the end logit of its last word,
- the mean of the inside logits of its words, and half of their minimum,

plus a constant for how rare entities are among all spans. In training it is compared with whether the span is
an entity of that type (a logistic loss over all spans and labels, so that a span may have several types, and
entities may nest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .losses_lacl import Gaussians

ROLES = ("start", "end", "inside")
"""Roles of a word in an entity, in the order of their Gaussians."""
OVERLAPS = ("flat", "nested", "any")
"""Which of the spans found in a text may overlap; see `select_spans`."""
PRIOR = -4.0
"""Constant of every span logit: most spans are no entity."""
LEAST_WEIGHT = 0.5
"""Weight of the minimum of the inside logits: one word outside of the entity costs more than its share."""
_AT_ONCE = 10_000
"""Number of spans among which is chosen at once, unless more of them overlap."""
_CELLS = 1 << 22
"""Maximum number of (span, label) logits computed at once at prediction, 16 MiB in fp32."""


class Spans(NamedTuple):
    """Spans of words with labels; parallel arrays.

    Attributes:
        first, last: (C,) int64, first and last word, counted over all texts.
        label: (C,) int64, label id, above 0.
        logit: (C,) float32.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    label: NDArray[np.int64]
    logit: NDArray[np.float32]

    def take(self, kept: NDArray[Any]) -> Spans:
        """Return the spans with these indices, or where this mask is True."""
        return Spans(*(part[kept] for part in self))


def by_role(gaussians: Gaussians) -> Gaussians:
    """Split Gaussians of all roles, `(..., N, 3·d)` each, into `(..., 3, N, d)`."""
    mean, variance = (part.unflatten(-1, (len(ROLES), -1)).transpose(-2, -3) for part in gaussians)
    return mean, variance


def span_logits(role_logits: Tensor, room: Tensor, max_words: int) -> Tensor:
    """Return the logits of all spans of at most `max_words` words, without a loop over words.

    Args:
        role_logits: (N, 3, K) float, logits of words in the roles; the words of all texts, one text after the
            other.
        room: (N,) long, number of words from each to the end of its text, itself included.
        max_words: M, the maximum number of words of a span.

    Returns:
        (N, M, K): `[n, m]` is that of the span of m + 1 words from word n. The lowest finite value where the
        text ends before the span does.

    Example:
        >>> import torch
        >>> from modeling_lacl.model.spans_lacl import span_logits
        >>> logits = torch.tensor([[[2.0], [0.0], [4.0]], [[0.0], [2.0], [2.0]]])
        >>> span_logits(logits, torch.tensor([2, 1]), 2).squeeze(2).tolist()[0]  # "New", "New York"
        [4.0, 4.0]
    """
    start, end, inside = role_logits.unbind(1)
    total = least = inside
    last = len(inside) - 1
    position = torch.arange(len(inside), device=inside.device)
    spans = []
    for more in range(max_words):
        at = (position + more).clamp_max(last)
        if more:
            word = inside[at]
            total, least = total + word, torch.minimum(least, word)
        spans.append(start + end[at] + total / (more + 1) + LEAST_WEIGHT * least + PRIOR)
    fits = torch.arange(max_words, device=room.device) < room.unsqueeze(1)
    return torch.stack(spans, 1).masked_fill(~fits.unsqueeze(2), torch.finfo(inside.dtype).min)


def room_in_text(counts: Tensor) -> Tensor:
    """Return (N,) the number of words from each word to the end of its text, from the words of each text."""
    ends = counts.cumsum(0).repeat_interleave(counts)
    return ends - torch.arange(len(ends), device=ends.device)


def find_spans(
    role_logits: Tensor, room: Tensor, max_words: int, lowest: float, several_labels: bool = False
) -> Spans:
    """Return the spans whose logit is at least `lowest`, in the order of their first words.

    Args:
        role_logits, room, max_words: As in `span_logits`; label 0 is outside.
        lowest: Minimum logit.
        several_labels: Whether to return every such label of a span, or only the one with the highest logit.
    """
    per_word = max(1, max_words * role_logits.shape[2])
    size = max(max_words, _CELLS // per_word)
    found: list[Spans] = []
    for begin in range(0, len(room), size):
        part = slice(begin, begin + size + max_words - 1)  # spans may end in the next block
        logits = span_logits(role_logits[part, :, 1:], room[part], max_words)[:size]
        if several_labels:
            first, more, label = (logits >= lowest).nonzero(as_tuple=True)
        else:
            best, labels = logits.max(2)
            first, more = (best >= lowest).nonzero(as_tuple=True)
            label = labels[first, more]
        values = logits[first, more, label].float().numpy()
        first = first + begin
        found.append(Spans(first.numpy(), (first + more).numpy(), label.numpy() + 1, values))
    if not found:
        empty = np.empty(0, dtype=np.int64)
        return Spans(empty, empty, empty, np.empty(0, dtype=np.float32))
    return Spans(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def select_spans(spans: Spans, overlap: str = "flat") -> Spans:
    """Choose among overlapping spans: the best first, then the best of those that may stand beside it.

    Args:
        spans: Spans in the order of their first words.
        overlap: `flat`, no word belongs to two spans; `nested`, a span may lie within another; `any`, all
            spans.

    Returns:
        The chosen spans, in the order of their first words, longer ones before those within them.
    """
    if overlap == "any":
        order = np.lexsort((-spans.logit, -spans.last, spans.first))
        return spans.take(order)
    spans = spans.take(np.lexsort((-spans.last, spans.first)))
    reached = np.maximum.accumulate(spans.last)
    # Where no span reaches over a place, as between texts, both sides are independent: less memory.
    apart = np.flatnonzero(spans.first[1:] > reached[:-1]) + 1
    nearest = np.unique(np.searchsorted(apart, np.arange(_AT_ONCE, len(reached), _AT_ONCE)))
    parts = np.split(np.arange(len(reached)), apart[nearest[nearest < len(apart)]])
    return spans.take(np.concatenate([part[_chosen(spans.take(part), overlap)] for part in parts]))


def _chosen(spans: Spans, overlap: str) -> NDArray[np.bool_]:
    """Return the mask of the chosen spans, which are in order; see `select_spans`."""
    left, right = _conflicts(spans, overlap)
    # Among equal logits the first span is the better one.
    rank = np.empty(len(spans.logit), dtype=np.int64)
    rank[np.argsort(-spans.logit, kind="stable")] = np.arange(len(rank))
    better = np.where(rank[left] < rank[right], left, right)
    worse = left + right - better
    chosen = np.zeros(len(rank), dtype=bool)
    open_ = np.ones(len(rank), dtype=bool)
    # A span without a better one beside it is chosen, which excludes others, and so on: a few rounds for any
    # length of text.
    while open_.any():
        blocked = np.zeros(len(rank), dtype=bool)
        blocked[worse[open_[better] & open_[worse]]] = True
        new = open_ & ~blocked
        chosen |= new
        open_ &= ~new
        open_[worse[new[better]]] = False
    return chosen


def _conflicts(spans: Spans, overlap: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of spans that may not both be chosen, as indices; spans are in order."""
    lefts, rights = [], []
    left = np.arange(len(spans.first))
    distance = 1
    # Spans are sorted by their first words: if no span reaches the one d places on, none reaches further.
    while len(left := left[left + distance < len(spans.first)]):
        right = left + distance
        overlapping = spans.first[right] <= spans.last[left]
        left, right = left[overlapping], right[overlapping]
        conflict = np.ones(len(left), dtype=bool)
        if overlap == "nested":
            within = spans.last[right] <= spans.last[left]
            same = (spans.first[left] == spans.first[right]) & (spans.last[left] == spans.last[right])
            conflict = ~within | same
        lefts.append(left[conflict])
        rights.append(right[conflict])
        distance += 1
    empty = [np.empty(0, dtype=np.int64)]
    return np.concatenate(lefts or empty), np.concatenate(rights or empty)


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
    length = entities.last - entities.first + 1
    words = torch.repeat_interleave(entities.first - length.cumsum(0) + length, length)
    words = words + torch.arange(len(words), device=words.device)
    result[2, words] = entities.label.repeat_interleave(length)
    return result


def span_label_loss(
    logits: Tensor, entities: Entities, room: Tensor, present: Tensor, positives: Tensor | None = None
) -> Tensor:
    """Return the logistic loss of spans and labels: an entity attracts its labels, other spans repel them.

    Args:
        logits: (N, M, K) of spans, as from `span_logits`, with outside as label 0.
        entities: The entities, each of at most M words to be counted.
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
    targets = torch.zeros_like(logits)
    length = entities.last - entities.first
    short = length < width
    targets[entities.first[short], length[short], entities.label[short]] = 1
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits.masked_fill(~counted, 0), targets, reduction="none"
    )
    number = (targets * counted).sum() if positives is None else positives
    return (losses * counted).sum() / number.clamp_min(1)
