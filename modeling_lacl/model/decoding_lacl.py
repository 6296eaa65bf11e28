"""Decoding: from similarities to labels, from labels to entities. Pure functions on tensors.

Label 0 is always outside (`O`). Scores are log-scores: larger is better. K is the number of labels including
outside, S the number of support tokens, B the number of texts in a batch, W the number of words in a text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .configuration_lacl import OUTSIDE_ID
from .losses_lacl import Gaussians

# A log-score below every real one. Sums of it do not overflow in float32.
IMPOSSIBLE = -1e30
# Only differences between path scores matter: resetting the best to 0 keeps float32 exact for any length.
_RESCALE_EVERY = 16
# Viterbi pads texts to the same number of words: maximum number of (text, word) cells at a time.
_VITERBI_CELLS = 2**16

# Number of (token, support token) pairs compared at once on a CPU: 4 MiB in fp32, which fit its cache. Other
# devices, which have more parallelism, take 32 times as many.
_PAIRS = 1 << 20
_ROWS = 1 << 10

# The abstract transitions of StructShot (Yang & Katiyar 2020): the successors of each state.
SUCCESSORS = {"start": ("O", "I"), "O": ("O", "I"), "I": ("O", "same", "other")}


def nearest_neighbor_scores(similarity: Tensor, support_labels: Tensor, num_labels: int) -> Tensor:
    """Return the similarity to the nearest support token of every label (NNShot, Yang & Katiyar 2020).

    Args:
        similarity: (N, S) float, similarity of each token to each support token.
        support_labels: (S,) long, label ids in [0, num_labels).
        num_labels: K, the number of labels.

    Returns:
        (N, K), dtype of `similarity`. A label without support tokens gets the dtype's lowest finite
        value.
    """
    lowest = torch.finfo(similarity.dtype).min
    scores = similarity.new_full((similarity.shape[0], num_labels), lowest)
    return scores.scatter_reduce(1, support_labels.expand_as(similarity), similarity, reduce="amax")


def nearest_in_blocks(
    similarity: Callable[[Gaussians, Gaussians], Tensor],
    tokens: Gaussians,
    support: Gaussians,
    support_labels: Tensor,
    num_labels: int,
) -> Tensor:
    """Return `nearest_neighbor_scores` of (N, d) tokens and (S, d) support, in blocks to limit memory.

    Args:
        similarity: Function from (n, d) and (s, d) Gaussians to their (n, s) similarities.
        tokens, support: Mean and variance of each.
        support_labels, num_labels: As in `nearest_neighbor_scores`.
    """
    pairs = _PAIRS * (1 if support_labels.device.type == "cpu" else 32)
    rows = max(1, min(len(tokens[0]), _ROWS))
    columns = max(1, pairs // rows)
    labels = support_labels.split(columns)
    blocks = list(zip(support[0].split(columns), support[1].split(columns), labels, strict=True))
    parts = []
    for part in zip(tokens[0].split(rows), tokens[1].split(rows), strict=True):
        scores = [
            nearest_neighbor_scores(similarity(part, (mean, variance)), block_labels, num_labels)
            for mean, variance, block_labels in blocks
        ]
        parts.append(torch.stack(scores).amax(0) if len(scores) > 1 else scores[0])
    return torch.cat(parts)


def prototypes(
    mean: Tensor, variance: Tensor, support_labels: Tensor, num_labels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return one Gaussian per label: the average mean and variance of its support tokens (Snell et al. 2017).

    Args:
        mean, variance: (S, d) float each, the diagonal Gaussians of the support tokens.
        support_labels: (S,) long, label ids in [0, num_labels).
        num_labels: K, the number of labels.

    Returns:
        Mean (K, d), variance (K, d) and presence (K,) bool. A label without support tokens is not present,
        and has mean 0 and variance 1, so that divergences from it are finite.
    """
    counts = torch.bincount(support_labels, minlength=num_labels)
    present = counts > 0
    share = counts.clamp(min=1).unsqueeze(1).to(mean.dtype)
    shape = (num_labels, mean.shape[1])
    label_mean = mean.new_zeros(shape).index_add(0, support_labels, mean) / share
    label_variance = variance.new_zeros(shape).index_add(0, support_labels, variance) / share
    return label_mean, torch.where(present.unsqueeze(1), label_variance, 1.0), present


def combine_scores(label_scores: Tensor, support_scores: Tensor, label_weight: float) -> Tensor:
    """Combine two distributions over the labels by a weighted geometric mean of log-scores.

    A label without support, whose support score is the dtype's lowest value, goes by its name alone: the
    distribution of the support set is completed by the probability of its name.

    Args:
        label_scores: (..., K), similarity to the label names.
        support_scores: (..., K), similarity to the support set.
        label_weight: Weight of the label names in [0, 1].

    Returns:
        (..., K) `label_weight * log_softmax(label_scores) + (1 - label_weight) * log_softmax(support_scores)`

    Raises:
        ValueError: If `label_weight` is out of range.
    """
    if not 0.0 <= label_weight <= 1.0:
        raise ValueError(f"label_weight is {label_weight}: give a number from 0 (support) to 1 (names)")
    by_name, by_support = label_scores.log_softmax(dim=-1), support_scores.log_softmax(dim=-1)
    missing = support_scores == torch.finfo(support_scores.dtype).min
    # Without a missing label this adds 0, and changes no digit. No branch, for exported graphs.
    rest = (1 - by_name.exp().masked_fill(~missing, 0).sum(-1, keepdim=True)).clamp_min(1e-30).log()
    by_support = torch.where(missing, by_name, by_support + rest)
    # With a weight of 0 or 1 only one part is used, because 0 times minus infinity is NaN.
    if label_weight in (0.0, 1.0):
        return by_name if label_weight else by_support
    return torch.lerp(by_support, by_name, label_weight)


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
) -> tuple[Tensor, Tensor]:
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
    exact: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}
    start = torch.full((num_labels,), p["start"]["I"] / types, **exact)
    start[OUTSIDE_ID] = p["start"]["O"]
    matrix = torch.full((num_labels, num_labels), p["I"]["other"] / others, **exact)
    matrix.fill_diagonal_(p["I"]["same"])
    matrix[:, OUTSIDE_ID] = p["I"]["O"]
    matrix[OUTSIDE_ID, :] = p["O"]["I"] / types
    matrix[OUTSIDE_ID, OUTSIDE_ID] = p["O"]["O"]
    return _log_distribution(start, power), _log_distribution(matrix, power)


def _log_distribution(rows: Tensor, power: float) -> Tensor:
    total = rows.sum(dim=-1, keepdim=True)
    # A row without any mass (all its successors need a type that does not exist) becomes uniform.
    rows = torch.where(total > 0, rows / total, 1.0 / rows.shape[-1])
    tempered = torch.where(rows > 0, rows**power, 0.0)  # impossible at any power
    return (tempered / tempered.sum(dim=-1, keepdim=True)).log().clamp(min=IMPOSSIBLE).float()


def viterbi(log_scores: Tensor, lengths: Tensor, start: Tensor, matrix: Tensor) -> Tensor:
    """Return the best label path of every text: argmax of start + scores + transitions (Viterbi).

    Vectorised over texts and labels, with a loop over words.

    Args:
        log_scores: (B, W, K) float, log-scores of the words. Values past the length of a text are ignored.
        lengths: (B,) long, number of words of each text, in [0, W].
        start: (K,) log-probabilities of the first label.
        matrix: (K, K) log-probabilities of the step from label i to label j.

    Returns:
        (B, W) long, label ids, -1 past the length of a text.
    """
    batch, width, num_labels = log_scores.shape
    device = log_scores.device
    lengths = lengths.to(device)
    if batch == 0 or width == 0:
        return torch.full((batch, width), -1, dtype=torch.long, device=device)
    shortest = int(lengths.min())
    scores = log_scores.float().clamp(min=IMPOSSIBLE).transpose(0, 1)
    matrix = matrix.to(device).float().clamp(min=IMPOSSIBLE)
    stay = torch.arange(num_labels, device=device).expand(batch, num_labels)

    best = scores[0] + start.to(device).float().clamp(min=IMPOSSIBLE)
    pointers = [stay]
    for word in range(1, width):
        reached, pointer = (best.unsqueeze(2) + matrix).max(dim=1)
        reached += scores[word]
        if word % _RESCALE_EVERY == 0:
            reached = (reached - reached.amax(dim=1, keepdim=True)).clamp(min=IMPOSSIBLE)
        if word >= shortest:
            # Past its end a text keeps its state, so that one backward pass works for all lengths.
            inside = (lengths > word).unsqueeze(1)
            reached, pointer = torch.where(inside, reached, best), torch.where(inside, pointer, stay)
        best = reached
        pointers.append(pointer)

    previous = torch.stack(pointers).cpu().numpy()
    paths = np.empty((width, batch), dtype=np.int64)
    texts = np.arange(batch)
    state = best.argmax(dim=1).cpu().numpy()
    for word in range(width - 1, 0, -1):
        paths[word] = state
        state = previous[word, texts, state]
    paths[0] = state
    outside_text = torch.arange(width, device=device) >= lengths.unsqueeze(1)
    return torch.from_numpy(paths.T.copy()).to(device).masked_fill(outside_text, -1)


def decode_scores(config: Any, scores: Sequence[Tensor]) -> list[np.ndarray]:
    """Decode the words of each text: by the best label of each word, or by Viterbi if `config.viterbi`.

    Args:
        config: A `LaclConfig`.
        scores: (W, K) float log-scores of each text.

    Returns:
        (W,) int64 label ids of each text.

    Raises:
        ValueError: If `config.viterbi` is set without `config.transitions`.
    """
    if not config.viterbi:
        return [text.argmax(dim=1).numpy() for text in scores]
    if config.transitions is None:
        raise ValueError("config.viterbi is set without config.transitions: estimate them, or switch it off")
    paths: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(scores)
    order = sorted(range(len(scores)), key=lambda index: -len(scores[index]))
    while order:
        taken = max(1, _VITERBI_CELLS // max(1, len(scores[order[0]])))
        chosen, order = order[:taken], order[taken:]
        start, matrix = expand_transitions(
            config.transitions, scores[chosen[0]].shape[1], config.transition_power
        )
        lengths = torch.tensor([len(scores[index]) for index in chosen], device="cpu")
        padded = torch.nn.utils.rnn.pad_sequence([scores[index] for index in chosen], batch_first=True)
        found = viterbi(padded, lengths, start, matrix).numpy()
        for index, path, length in zip(chosen, found, lengths.tolist(), strict=True):
            paths[index] = path[:length]
    return paths


def outside_scores(num_labels: int) -> Tensor:
    """Return (K,) float32 log-scores of a word without tokens, which is outside."""
    # The default dtype and device are the caller's, and another thread that loads a model may change them.
    scores = torch.full((num_labels,), IMPOSSIBLE, dtype=torch.float32, device="cpu")
    scores[OUTSIDE_ID] = 0.0
    return scores


def has_token(scores: Tensor) -> np.ndarray:
    """Return (W,) bool: whether the log-scores (W, K) of a word are others than `outside_scores`."""
    return (scores != outside_scores(scores.shape[1])).any(dim=1).numpy()


def fill_gaps(label_ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return (W,) label ids: those of the `known` words, and for other words that on both of their sides."""
    padded = np.pad(label_ids, 1, constant_values=OUTSIDE_ID)
    left = np.cumsum(known)
    right = left + ~known
    return np.where(padded[left] == padded[right], padded[left], OUTSIDE_ID)


def label_runs(
    label_ids: np.ndarray | Tensor | Sequence[int], with_outside: bool = False
) -> list[tuple[int, int, int]]:
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


def run_scores(log_scores: Tensor, runs: Sequence[tuple[int, int, int]]) -> list[float]:
    """Return the score of each entity: the mean softmax probability of its label over its words with tokens.

    Args:
        log_scores: (W, K) float on the CPU.
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
    probabilities = log_scores.detach()[words].double().softmax(dim=-1).numpy()
    counted = (run_label == OUTSIDE_ID) | has_token(log_scores)[words]
    total = np.add.reduceat(probabilities[np.arange(len(words)), run_label] * counted, first)
    return np.clip(total / np.add.reduceat(counted, first, dtype=np.int64), 0.0, 1.0).tolist()
