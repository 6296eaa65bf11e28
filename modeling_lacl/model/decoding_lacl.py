"""Decoding: from scores of words to labels, from labels or spans to entities. Pure functions on arrays.

Label 0 is always outside (`O`). Scores are log-scores: larger is better. K is the number of labels including
outside, B the number of texts in a batch, W the number of words in a text. Without torch, so that exported
models need none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

OUTSIDE = "O"
"""The label of a token that belongs to no entity."""
OUTSIDE_ID = 0
"""The label id of [`OUTSIDE`]."""

# A log-score below every real one. Sums of it do not overflow in float32.
IMPOSSIBLE = -1e30
# Only differences between path scores matter: resetting the best to 0 keeps float32 exact for any length.
_RESCALE_EVERY = 16
# Viterbi pads texts to the same number of words: maximum number of (text, word) cells at a time.
_VITERBI_CELLS = 2**16

# The abstract transitions of StructShot (Yang & Katiyar 2020): the successors of each state.
SUCCESSORS = {"start": ("O", "I"), "O": ("O", "I"), "I": ("O", "same", "other")}

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


def log_softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Return log-probabilities from scores (..., K), in their dtype."""
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(log_scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the softmax of scores (..., K), in double precision."""
    return np.exp(log_softmax(log_scores.astype(np.float64)))


def _checked_transitions(transitions: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    checked: dict[str, dict[str, float]] = {}
    for state, successors in SUCCESSORS.items():
        row = transitions.get(state)
        if not isinstance(row, Mapping) or set(row) != set(successors):
            raise ValueError(
                f"transitions[{state!r}] is {row!r}: give a probability for each of {successors}"
            )
        values = {name: float(row[name]) for name in successors}
        if min(values.values()) < 0.0 or not np.isclose(sum(values.values()), 1.0, atol=1e-3):
            raise ValueError(f"transitions[{state!r}] is {row!r}: probabilities must be >= 0 and sum to 1")
        checked[state] = values
    return checked


def expand_transitions(
    transitions: Mapping[str, Any], num_labels: int, power: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Expand abstract transitions to labels, with the mass of "I" and "other" spread over the types.

    Args:
        transitions: Probabilities `{"start": {"O", "I"}, "O": {"O", "I"}, "I": {"O", "same", "other"}}`, as
            estimated on another label set by `estimate_transitions` (StructShot, Yang & Katiyar 2020).
        num_labels: K >= 1, the number of labels. Without types (K = 1), or with one type only (K = 2), the
            remaining probabilities of a row are scaled up.
        power: Power to which the probabilities are raised, after which every row is scaled to sum to 1
            again. Below 1 it reduces their influence (CONTaiNER, Das et al., ACL 2022, uses 0.01).

    Returns:
        Start (K,) and matrix (K, K), float32 log-probabilities. `matrix[i, j]` is the step from label i to
        label j. Every row of probabilities sums to 1. A probability of 0 becomes `IMPOSSIBLE`.

    Raises:
        ValueError: If a state or a successor is missing, or a row is not a distribution.
    """
    if num_labels < 1:
        raise ValueError(f"num_labels is {num_labels}: there is at least one label, outside")
    p = _checked_transitions(transitions)
    types, others = max(num_labels - 1, 1), max(num_labels - 2, 1)
    start = np.full(num_labels, p["start"]["I"] / types)
    start[OUTSIDE_ID] = p["start"]["O"]
    matrix = np.full((num_labels, num_labels), p["I"]["other"] / others)
    np.fill_diagonal(matrix, p["I"]["same"])
    matrix[:, OUTSIDE_ID] = p["I"]["O"]
    matrix[OUTSIDE_ID, :] = p["O"]["I"] / types
    matrix[OUTSIDE_ID, OUTSIDE_ID] = p["O"]["O"]
    return _log_distribution(start, power), _log_distribution(matrix, power)


def _log_distribution(rows: NDArray[np.float64], power: float) -> NDArray[np.float32]:
    total = rows.sum(-1, keepdims=True)
    # A row without any mass (all its successors need a type that does not exist) becomes uniform.
    rows = np.where(total > 0, rows / np.where(total > 0, total, 1), 1 / rows.shape[-1])
    tempered = np.where(rows > 0, rows**power, 0)  # impossible at any power
    tempered /= tempered.sum(-1, keepdims=True)
    logs = np.full(rows.shape, IMPOSSIBLE)
    return np.log(tempered, out=logs, where=tempered > 0).astype(np.float32)


def viterbi(
    log_scores: NDArray[np.float32],
    lengths: NDArray[np.int64],
    start: NDArray[np.float32],
    matrix: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Return the best label path of every text: argmax of start + scores + transitions (Viterbi).

    Vectorised over texts and labels, with a loop over words.

    Args:
        log_scores: (B, W, K) float32, log-scores of the words. Values past the length of a text are ignored.
        lengths: (B,) int64, number of words of each text, in [0, W].
        start: (K,) log-probabilities of the first label.
        matrix: (K, K) log-probabilities of the step from label i to label j.

    Returns:
        (B, W) int64, label ids, -1 past the length of a text.
    """
    batch, width, num_labels = log_scores.shape
    paths = np.full((batch, width), -1, dtype=np.int64)
    if batch == 0 or width == 0:
        return paths
    shortest = int(lengths.min())
    scores = np.maximum(log_scores, IMPOSSIBLE, dtype=np.float32).swapaxes(0, 1)
    # By the label that is reached first: the label before is the last dimension, which argmax is fastest on.
    steps = np.ascontiguousarray(np.maximum(matrix, IMPOSSIBLE, dtype=np.float32).T)
    stay = np.arange(num_labels)

    best = scores[0] + np.maximum(start, IMPOSSIBLE, dtype=np.float32)
    pointers = np.empty((width, batch, num_labels), dtype=np.int64)
    for word in range(1, width):
        candidates = best[:, None, :] + steps
        pointer = candidates.argmax(2)
        reached = np.take_along_axis(candidates, pointer[:, :, None], 2)[:, :, 0] + scores[word]
        if word % _RESCALE_EVERY == 0:
            reached = np.maximum(reached - reached.max(1, keepdims=True), np.float32(IMPOSSIBLE))
        if word >= shortest:
            # Past its end a text keeps its state, so that one backward pass works for all lengths.
            inside = (lengths > word)[:, None]
            reached, pointer = np.where(inside, reached, best), np.where(inside, pointer, stay)
        best = reached
        pointers[word] = pointer

    texts = np.arange(batch)
    state = best.argmax(1)
    for word in range(width - 1, -1, -1):
        paths[:, word] = state
        if word:
            state = pointers[word, texts, state]
    paths[np.arange(width) >= lengths[:, None]] = -1
    return paths


def decode_scores(config: Any, scores: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int64]]:
    """Decode the words of each text: by the best label of each word, or by Viterbi if `config.viterbi`.

    Args:
        config: A `LaclConfig`, or one of an exported model.
        scores: (W, K) float32 log-scores of each text.

    Returns:
        (W,) int64 label ids of each text.

    Raises:
        ValueError: If `config.viterbi` is set without `config.transitions`.
    """
    if not config.viterbi:
        return [text.argmax(1) for text in scores]
    if config.transitions is None:
        raise ValueError("config.viterbi is set without config.transitions: estimate them, or switch it off")
    paths: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * len(scores)
    order = sorted(range(len(scores)), key=lambda index: -len(scores[index]))
    while order:
        width, num_labels = scores[order[0]].shape
        taken = max(1, _VITERBI_CELLS // max(1, width))
        chosen, order = order[:taken], order[taken:]
        start, matrix = expand_transitions(config.transitions, num_labels, config.transition_power)
        lengths = np.array([len(scores[index]) for index in chosen])
        padded = np.zeros((len(chosen), width, num_labels), dtype=np.float32)
        padded[np.arange(width) < lengths[:, None]] = np.concatenate([scores[index] for index in chosen])
        for index, path, length in zip(chosen, viterbi(padded, lengths, start, matrix), lengths, strict=True):
            paths[index] = path[:length]
    return paths


def outside_scores(num_labels: int) -> NDArray[np.float32]:
    """Return (K,) log-scores of a word without tokens, which is outside."""
    scores = np.full(num_labels, IMPOSSIBLE, dtype=np.float32)
    scores[OUTSIDE_ID] = 0
    return scores


def has_token(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (W,) bool: whether the log-scores (W, K) of a word are others than `outside_scores`."""
    return np.asarray((scores != outside_scores(scores.shape[1])).any(1))


def fill_gaps(label_ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return (W,) label ids: those of the `known` words, and for other words that on both of their sides."""
    padded = np.pad(label_ids, 1, constant_values=OUTSIDE_ID)
    left = np.cumsum(known)
    right = left + ~known
    return np.where(padded[left] == padded[right], padded[left], OUTSIDE_ID)


def label_runs(label_ids: ArrayLike, with_outside: bool = False) -> list[tuple[int, int, int]]:
    """Return the entities of a text (IO tags): each run of adjacent words with the same type is one.

    Args:
        label_ids: (W,) label ids. Label 0 (outside) and negative ids belong to no entity.
        with_outside: Whether to return the runs of label 0 as well.

    Returns:
        `(start_word, end_word, label)` per run, in order. `end_word` is exclusive.
    """
    ids = np.asarray(label_ids, dtype=np.int64)
    if not len(ids):
        return []
    edges = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(ids)]))
    labels = ids[starts]
    kept = labels >= OUTSIDE_ID if with_outside else labels > OUTSIDE_ID
    return list(zip(starts[kept].tolist(), ends[kept].tolist(), labels[kept].tolist(), strict=True))


def run_scores(log_scores: NDArray[np.float32], runs: Sequence[tuple[int, int, int]]) -> list[float]:
    """Return the score of each entity: the mean softmax probability of its label over its words with tokens.

    Args:
        log_scores: (W, K) float32.
        runs: Entities of this text, as returned by `label_runs`.

    Returns:
        One float in [0, 1] per entity.
    """
    if not runs:
        return []
    starts, ends, labels = np.asarray(runs, dtype=np.int64).T
    lengths = ends - starts
    # The words of all entities, concatenated.
    first = np.cumsum(lengths) - lengths
    words = np.arange(lengths.sum()) + np.repeat(starts - first, lengths)
    run_label = np.repeat(labels, lengths)
    own = softmax(log_scores[words])[np.arange(len(words)), run_label]
    counted = (run_label == OUTSIDE_ID) | has_token(log_scores)[words]
    total = np.add.reduceat(own * counted, first)
    scores: list[float] = np.clip(total / np.add.reduceat(counted, first, dtype=np.int64), 0.0, 1.0).tolist()
    return scores


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


def span_logits(role_logits: Any, room: Any, max_words: int, library: Any = np) -> Any:
    """Return the logits of all spans of at most `max_words` words, without a loop over words.

    Args:
        role_logits: (N, 3, K) float, logits of words in the roles; the words of all texts, one text after the
            other.
        room: (N,) integer, number of words from each to the end of its text, itself included.
        max_words: M, the maximum number of words of a span.
        library: numpy, or torch if `role_logits` and `room` are tensors, as in training.

    Returns:
        (N, M, K): `[n, m]` is that of the span of m + 1 words from word n. The lowest finite value where the
        text ends before the span does.

    Example:
        >>> import numpy as np
        >>> from modeling_lacl.model.decoding_lacl import span_logits
        >>> logits = np.array([[[2.0], [0.0], [4.0]], [[0.0], [2.0], [2.0]]])
        >>> span_logits(logits, np.array([2, 1]), 2)[0, :, 0].tolist()  # "New", "New York"
        [4.0, 4.0]
    """
    start, end, inside = (role_logits[:, role] for role in range(len(ROLES)))
    total = least = inside
    position = library.ones_like(room).cumsum(0) - 1
    lowest = library.finfo(inside.dtype).min
    spans = []
    for more in range(max_words):
        at = library.clip(position + more, None, len(inside) - 1)
        if more:
            word = inside[at]
            total, least = total + word, library.minimum(least, word)
        logits = start + end[at] + total / (more + 1) + LEAST_WEIGHT * least + PRIOR
        spans.append(library.where((room > more)[:, None], logits, lowest))
    return library.stack(spans, 1)


def find_spans(
    role_logits: NDArray[np.float32],
    room: NDArray[np.int64],
    max_words: int,
    lowest: float,
    several_labels: bool = False,
) -> Spans:
    """Return the spans whose logit is at least `lowest`, in the order of their first words.

    Args:
        role_logits, room, max_words: As in `span_logits`; label 0 is outside.
        lowest: Minimum logit.
        several_labels: Whether to return every such label of a span, or only the one with the highest logit.
    """
    per_word = max(1, max_words * role_logits.shape[2])
    size = max(max_words, _CELLS // per_word)
    empty = np.empty(0, dtype=np.int64)
    found = [Spans(empty, empty, empty, np.empty(0, dtype=np.float32))]
    for begin in range(0, len(room), size):
        part = slice(begin, begin + size + max_words - 1)  # spans may end in the next block
        logits = span_logits(role_logits[part, :, 1:], room[part], max_words)[:size]
        if several_labels:
            first, more, label = (logits >= lowest).nonzero()
        else:
            first, more = (logits.max(2, initial=-np.inf) >= lowest).nonzero()
            label = logits[first, more].argmax(1) if len(first) else empty
        values = logits[first, more, label]
        first = first + begin
        found.append(Spans(first, first + more, label + 1, values))
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
