"""Few-shot samples by the greedy N-way K~2K-shot rule of FEW-NERD (Ding et al., ACL 2021).

A sentence often holds several entities, so exactly K of every type cannot be had. The rule draws sentences
one by one; a sentence is taken if it brings a type that has fewer than K entities as yet, and lifts none
above 2K. It stops when every type has its K.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from torch.utils.data import Sampler

from .data import entity_types, to_io
from .decoding import OUTSIDE

ATTEMPTS = 100
"""How many random orders of the sentences are tried before a sample counts as impossible."""


@dataclass(frozen=True)
class Episode:
    """Types, and the rows of two disjoint sets that hold K to 2K entities of each of them and no others."""

    types: tuple[int, ...]
    support: tuple[int, ...]
    query: tuple[int, ...]


def count_entities(label_sequences: Iterable[Sequence[int]], num_labels: int) -> np.ndarray:
    """Counts the entities of every type in every sentence; a run of one label is one entity.

    Args:
        label_sequences: label ids of each sentence, 0 for outside; negative ones (−100) are passed over.
        num_labels: number of labels, outside among them.

    Returns:
        int64 array of shape `(sentences, num_labels)`; column 0 (outside) is zero.
    """
    sequences = [np.asarray(labels, dtype=np.int64) for labels in label_sequences]
    counts = np.zeros((len(sequences), num_labels), dtype=np.int64)
    if not sequences:
        return counts
    sentence = np.repeat(np.arange(len(sequences)), [len(labels) for labels in sequences])
    label = np.concatenate(sequences)
    sentence, label = sentence[label >= 0], label[label >= 0]
    starts = np.ones(len(label), dtype=bool)
    starts[1:] = (label[1:] != label[:-1]) | (sentence[1:] != sentence[:-1])
    starts &= label != OUTSIDE
    np.add.at(counts, (sentence[starts], label[starts]), 1)
    return counts


def greedy_sample(
    counts: np.ndarray,
    types: Sequence[int],
    k: int,
    generator: np.random.Generator,
    *,
    exclude: Collection[int] = (),
    allow_other_types: bool = False,
) -> list[int] | None:
    """Rows that hold K to 2K entities of each of `types`, by one pass of the greedy rule.

    One pass over the sentences in random order is as good as drawing for ever: a sentence that is refused
    once would be refused again, as the counts only grow.

    Args:
        counts: entities of every type in every sentence, as `count_entities` gives them.
        types: label ids.
        k: K, at least 1.
        generator: source of the randomness.
        exclude: rows that must not be taken.
        allow_other_types: take sentences that hold other types as well (for the caller to treat as outside).

    Returns:
        Row numbers in the order in which they were taken, or `None` if this order of the sentences leaves a
        type short of K.
    """
    wanted = counts[:, list(types)]
    number_wanted = wanted.sum(axis=1)
    allowed = number_wanted > 0
    if not allow_other_types:
        allowed &= number_wanted == counts.sum(axis=1)
    candidates = np.setdiff1d(np.flatnonzero(allowed), np.asarray(list(exclude), dtype=np.int64))
    total = np.zeros(len(types), dtype=np.int64)
    taken: list[int] = []
    for row in generator.permutation(candidates).tolist():
        number = wanted[row]
        if (number[total < k] > 0).any() and (total + number <= 2 * k)[number > 0].all():
            total += number
            taken.append(row)
            if (total >= k).all():
                return taken
    return None


def sample_support(
    dataset: Dataset,
    types: Sequence[str],
    k: int,
    generator: np.random.Generator,
    *,
    allow_other_types: bool = False,
) -> list[int]:
    """Sentences of a dataset from `read_dataset` that hold K to 2K entities of each of `types`.

    Args:
        dataset: sentences with BIO tags in `ner_tags`.
        types: entity types.
        k: K, at least 1.
        generator: source of the randomness.
        allow_other_types: take sentences that hold other types as well, to be treated as outside.

    Returns:
        Row numbers, for `dataset.select`.

    Raises:
        ValueError: `k` is below 1, there are no `types`, or the dataset holds no such sample.
    """
    others = [name for name in entity_types(dataset) if name not in types]
    everything = [*types, *others]
    counts = count_entities(to_io(dataset, everything), len(everything) + 1)
    wanted = range(1, len(types) + 1)
    return draw_support(counts, wanted, k, generator, names=types, allow_other_types=allow_other_types)


def draw_support(
    counts: np.ndarray,
    types: Sequence[int],
    k: int,
    generator: np.random.Generator,
    *,
    names: Sequence[str] | None = None,
    allow_other_types: bool = False,
) -> list[int]:
    """`sample_support` where the entities are already counted by `count_entities` and `types` are label ids.

    `names` of the types serve the error message.
    """
    _check_at_least_one(k=k, types=len(types))
    for _ in range(ATTEMPTS):
        rows = greedy_sample(counts, types, k, generator, allow_other_types=allow_other_types)
        if rows is not None:
            return rows
    found = {name: int(counts[:, label].sum()) for name, label in zip(names or types, types, strict=True)}
    raise ValueError(
        f"found no sample of {k} to {2 * k} entities of each type among {len(counts)} sentences, which hold "
        f"(type: entities) {found}; lower k, leave out the rare types, or give more sentences"
    )


def draw_episode(
    counts: np.ndarray, n_way: int, k_shot: int, q_shot: int, generator: np.random.Generator
) -> Episode:
    """An episode over types drawn at random.

    Args:
        counts: entities of every type in every sentence, as `count_entities` gives them.
        n_way: number of types.
        k_shot: K of the support set.
        q_shot: K of the query set.
        generator: source of the randomness.

    Raises:
        ValueError: there are fewer types than `n_way`, or no episode was found in `ATTEMPTS` draws.
    """
    _check_at_least_one(n_way=n_way, k_shot=k_shot, q_shot=q_shot)
    usable = np.flatnonzero(counts.sum(axis=0) >= k_shot + q_shot)
    if len(usable) < n_way:
        raise ValueError(
            f"n_way is {n_way}, but only {len(usable)} types have the {k_shot + q_shot} entities that an "
            "episode takes; lower n_way, k_shot or q_shot"
        )
    for _ in range(ATTEMPTS):
        types = generator.choice(usable, n_way, replace=False).tolist()
        support = greedy_sample(counts, types, k_shot, generator)
        if support is None:
            continue
        query = greedy_sample(counts, types, q_shot, generator, exclude=support)
        if query is not None:
            return Episode(tuple(types), tuple(support), tuple(query))
    raise ValueError(
        f"found no {n_way}-way episode of {k_shot} + {q_shot} shots among {len(counts)} sentences in "
        f"{ATTEMPTS} draws; lower n_way, k_shot or q_shot, or train on plain batches"
    )


class EpisodeBatchSampler(Sampler[list[int]]):
    """Batches that are episodes: the rows of a support and a query set together.

    An episode depends on the seed, the epoch and its number alone, so that a resumed run goes on where it
    was.

    Args:
        label_sequences: label ids of each row of the data set, 0 for outside, −100 passed over.
        num_labels: number of labels, outside among them.
        n_way: types in an episode.
        k_shot: K of the support set.
        q_shot: K of the query set.
        episodes: number of episodes in an epoch.
        seed: seed of the draws.
    """

    def __init__(
        self,
        label_sequences: Iterable[Sequence[int]],
        num_labels: int,
        *,
        n_way: int,
        k_shot: int,
        q_shot: int,
        episodes: int,
        seed: int = 0,
    ) -> None:
        self.counts = count_entities(label_sequences, num_labels)
        self.n_way = n_way
        self.k_shot = k_shot
        self.q_shot = q_shot
        self.episodes = episodes
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.episodes

    def set_epoch(self, epoch: int) -> None:
        """Gives the next pass other episodes; called by the training loop."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.episodes):
            episode = self.episode(number)
            yield [*episode.support, *episode.query]

    def episode(self, number: int) -> Episode:
        """The episode of this number in the present epoch."""
        generator = np.random.default_rng((self.seed, self.epoch, number))
        return draw_episode(self.counts, self.n_way, self.k_shot, self.q_shot, generator)


def _check_at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
