"""Batches from many corpora: groups of sentences of similar length, each group from one corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

POOL = 32
"""Number of groups in a pool: within one, sentences are sorted by length."""


class CorpusBatchSampler(Sampler[list[int]]):
    """Batch sampler that draws the corpus of each group of a batch by weight.

    Each corpus is gone through in passes. Every pass has all of its rows once, in another order, but for
    those left over from the last group. A batch depends only on the seed, the epoch and its number, so that a
    resumed run sees the same batches as an uninterrupted one.

    Args:
        lengths: For each corpus the numbers of tokens of its rows. The rows of the corpora follow each other
            in the dataset, in this order.
        weights: Weight of each corpus; its share of the groups is proportional to it.
        size: Number of rows in a batch, a multiple of `group_size`.
        group_size: Number of rows in a group.
        batches: Number of batches in an epoch.
        seed: Random seed.

    Raises:
        ValueError: A number does not fit the others, or a corpus has fewer rows than a group.

    Example:
        >>> import numpy as np
        >>> lengths = [np.array([3, 9, 4, 8]), np.array([5, 5])]
        >>> sampler = CorpusBatchSampler(lengths, [2, 1], size=4, group_size=2, batches=3)
        >>> [len(batch) for batch in sampler]
        [4, 4, 4]
    """

    def __init__(
        self,
        lengths: Sequence[NDArray[np.int64]],
        weights: Sequence[float],
        *,
        size: int,
        group_size: int,
        batches: int,
        seed: int = 0,
    ) -> None:
        if group_size < 1 or size < 1 or size % group_size:
            raise ValueError(
                f"a batch of {size} sentences has no whole number of groups of {group_size}; change "
                "per_device_train_batch_size or group_size"
            )
        if len(weights) != len(lengths) or not len(lengths) or min(weights) <= 0:
            raise ValueError(f"{len(lengths)} corpora need as many weights above 0, got {list(weights)}")
        if (fewest := min(map(len, lengths))) < group_size:
            raise ValueError(
                f"a corpus has only {fewest} sequences, fewer than group_size {group_size}; lower "
                "group_size, or leave the corpus out"
            )
        self.lengths = [np.asarray(one) for one in lengths]
        self.first_rows = np.cumsum([0, *map(len, lengths)])[:-1]
        self.probabilities = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self.groups = size // group_size
        self.group_size = group_size
        self.batches = batches
        self.seed = seed
        self.set_epoch(0)

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, so that the next pass has other batches. Called by the training loop."""
        self.epoch = epoch
        generator = np.random.default_rng((self.seed, epoch))
        shape = (self.batches, self.groups)
        self.drawn = generator.choice(len(self.lengths), shape, p=self.probabilities)
        # How often the corpus of a group was drawn before it in the epoch.
        flat = self.drawn.ravel()
        by_corpus = np.argsort(flat, kind="stable")
        counts = np.bincount(flat, minlength=len(self.lengths))
        earlier = np.empty(len(flat), dtype=np.int64)
        earlier[by_corpus] = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.earlier = earlier.reshape(shape)
        self._passes: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.batches):
            yield self.batch(number)

    def batch(self, number: int) -> list[int]:
        """Return the rows of the batch with this number in the current epoch, group after group."""
        rows: list[int] = []
        for corpus, earlier in zip(self.drawn[number].tolist(), self.earlier[number].tolist(), strict=True):
            pass_number, index = divmod(earlier, len(self.lengths[corpus]) // self.group_size)
            group = self._groups_of(corpus, pass_number)[index]
            rows += (group + self.first_rows[corpus]).tolist()
        return rows

    def _groups_of(self, corpus: int, pass_number: int) -> NDArray[np.int64]:
        """Return the groups of a pass over a corpus, `(groups, group_size)`, in their order."""
        if self._passes.get(corpus, (-1,))[0] != pass_number:
            generator = np.random.default_rng((self.seed, self.epoch, corpus, pass_number))
            lengths = self.lengths[corpus]
            order = generator.permutation(len(lengths))
            # The rows that are left over are any, not always the longest.
            order = order[: len(order) - len(order) % self.group_size]
            pool = np.arange(len(order)) // (POOL * self.group_size)
            order = order[np.lexsort((lengths[order], pool))]
            groups = generator.permutation(order.reshape(-1, self.group_size))
            self._passes[corpus] = (pass_number, groups)
        return self._passes[corpus][1]
