"""Few-shot samples by the greedy N-way K~2K-shot rule of FEW-NERD (Ding et al., ACL 2021).

A sentence often holds several entities, so exactly K of every type cannot be had. The rule draws sentences
one by one; a sentence is taken if it brings a type that has fewer than K entities as yet, and lifts none
above 2K. It stops when every type has its K.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler

from ..model.configuration_lacl import OUTSIDE_ID
from .tags import entity_types, to_io

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
    starts &= label != OUTSIDE_ID
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
    return sample_support_from_counts(
        counts, wanted, k, generator, names=types, allow_other_types=allow_other_types
    )


def sample_support_from_counts(
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


def sample_episode(
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
        return sample_episode(self.counts, self.n_way, self.k_shot, self.q_shot, generator)


def _check_at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


@dataclass(frozen=True)
class LabelSet:
    """The labels of one batch.

    Attributes:
        names: natural-language name of each label by its id in the batch; `names[0]` is outside.
        order: the label ids in the order in which the prompt names them, outside among them.
        lookup: long tensor of shape `(number of types + 1,)`, id in the data set -> id in the batch.
    """

    names: tuple[str, ...]
    order: tuple[int, ...]
    lookup: Tensor


def sample_label_set(
    label_names: Sequence[str],
    present: Collection[int],
    generator: np.random.Generator,
    *,
    size: int | None = 10,
    present_share: float = 0.5,
    coarse_names: Mapping[str, str] | None = None,
    coarse_probability: float = 0.0,
) -> LabelSet:
    """Draws the label set of one batch.

    Args:
        label_names: natural-language name of each label by id, outside first.
        present: ids of the types that occur in the batch.
        generator: source of the randomness.
        size: number of labels to draw, outside not counted; all of them if there are fewer, or if it is
            `None`.
        present_share: share of `size` that is drawn among the labels present in the batch, as far as there
            are so many; the rest is drawn among all the labels left.
        coarse_names: natural name of a type -> name of the coarse group that it belongs to.
        coarse_probability: probability with which the types of a group appear as one label under the name of
            the group; decided for each group apart.
    """
    groups = _group_types(label_names, generator, coarse_names or {}, coarse_probability)
    names = list(groups)
    size = len(names) if size is None else min(size, len(names))

    wanted = set(present)
    found = [i for i, name in enumerate(names) if not wanted.isdisjoint(groups[name])]
    reserved = _shuffled(found, generator)[: round(present_share * size)]
    # Shuffled anew, or those that were not reserved just now would have less of a chance.
    rest = _shuffled(set(range(len(names))).difference(reserved), generator)
    drawn = _shuffled(reserved + rest[: size - len(reserved)], generator)

    lookup = torch.full((len(label_names),), OUTSIDE_ID, dtype=torch.long)
    for new_id, i in enumerate(drawn, start=1):
        lookup[groups[names[i]]] = new_id
    return LabelSet(
        names=(label_names[OUTSIDE_ID], *(names[i] for i in drawn)),
        order=tuple(_shuffled(range(size + 1), generator)),
        lookup=lookup,
    )


def _shuffled(items: Iterable[int], generator: np.random.Generator) -> list[int]:
    shuffled: list[int] = generator.permutation(np.array(sorted(items), dtype=np.int64)).tolist()
    return shuffled


def _group_types(
    label_names: Sequence[str],
    generator: np.random.Generator,
    coarse_names: Mapping[str, str],
    coarse_probability: float,
) -> dict[str, list[int]]:
    """Natural name of a label -> ids of its types, once a coin has decided for each coarse group."""
    # Sorted, since the draws must not depend on the order of the mapping.
    merged = {name for name in sorted(set(coarse_names.values())) if generator.random() < coarse_probability}
    groups: dict[str, list[int]] = {}
    for label_id, name in enumerate(label_names):
        if label_id != OUTSIDE_ID:
            coarse = coarse_names.get(name)
            groups.setdefault(coarse if coarse in merged else name, []).append(label_id)
    return groups
