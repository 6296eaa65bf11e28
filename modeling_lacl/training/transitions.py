"""Estimating the transition probabilities of Viterbi decoding from a labelled corpus."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..model.decoding_lacl import OUTSIDE_ID, SUCCESSORS


def estimate_transitions(
    label_sequences: Iterable[Sequence[int] | NDArray[np.int64]],
) -> dict[str, dict[str, float]]:
    """Estimate the abstract transition probabilities of a labelled corpus, with add-one smoothing.

    Args:
        label_sequences: Label ids of the words of each sentence; 0 is outside, ids below 0 are ignored.

    Returns:
        Probabilities in the format of `expand_transitions`, serialisable as JSON.
    """
    counts = {state: dict.fromkeys(successors, 1) for state, successors in SUCCESSORS.items()}
    for sequence in label_sequences:
        labels = np.asarray(sequence, dtype=np.int64)
        labels = labels[labels >= 0]
        if not len(labels):
            continue
        counts["start"]["O" if labels[0] == OUTSIDE_ID else "I"] += 1
        before, after = labels[:-1], labels[1:]
        from_outside, to_outside, same = before == OUTSIDE_ID, after == OUTSIDE_ID, before == after
        counts["O"]["O"] += int((from_outside & to_outside).sum())
        counts["O"]["I"] += int((from_outside & ~to_outside).sum())
        counts["I"]["O"] += int((~from_outside & to_outside).sum())
        counts["I"]["same"] += int((~from_outside & same).sum())
        counts["I"]["other"] += int((~from_outside & ~to_outside & ~same).sum())
    return {
        state: {name: count / sum(row.values()) for name, count in row.items()}
        for state, row in counts.items()
    }
