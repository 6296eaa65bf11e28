"""Few-shot sampling by the greedy N-way K~2K-shot rule of FEW-NERD (Ding et al., ACL 2021).

A sentence often has several entities, so a support set with exactly K entities of every type rarely exists.
The rule goes through the sentences in random order. It takes a sentence if it has an entity of a type that is
still below K, and if no type exceeds 2K with it. It stops when every type has at least K entities.

The label set of a training batch is sampled here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler

from ..model.decoding_lacl import OUTSIDE_ID
from .tags import entity_spans, entity_types, has_spans, to_io

ATTEMPTS = 100
"""Number of random orders of the sentences to try before giving up."""


@dataclass(frozen=True)
class Episode:
    """An N-way K~2K-shot episode: two disjoint sets of sentences with K to 2K entities of each type.

    Attributes:
        types: Label ids of the N types; the sentences have no entity of another type.
        support: Row numbers of the support set.
        query: Row numbers of the query set.
    """

    types: tuple[int, ...]
    support: tuple[int, ...]
    query: tuple[int, ...]


def count_entities(label_sequences: Iterable[Sequence[int]], num_labels: int) -> np.ndarray:
    """Count the entities of every type in every sentence.

    Consecutive tokens with the same label are one entity.

    Args:
        label_sequences: Label ids of each sentence, 0 for outside; negative labels (−100) are ignored.
        num_labels: Number of labels, including outside.

    Returns:
        An int64 array of shape `(sentences, num_labels)`; column 0 (outside) is zero.
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


def entity_counts(dataset: Dataset, types: Sequence[str]) -> np.ndarray:
    """Count the entities of every type in every sentence of a dataset from `read_dataset`, of either form.

    In a dataset with tags, adjacent entities of one type count as one, as in `count_entities`.

    Args:
        dataset: The sentences.
        types: The entity types of the dataset, at least.

    Returns:
        An int64 array of shape `(sentences, len(types) + 1)`; column 0 (outside) is zero.

    Raises:
        ValueError: The dataset has a type that is not in `types`.
    """
    if not has_spans(dataset):
        return count_entities(to_io(dataset, types), len(types) + 1)
    columns = {name: column for column, name in enumerate(types, start=1)}
    counts = np.zeros((len(dataset), len(types) + 1), dtype=np.int64)
    for row, spans in enumerate(entity_spans(dataset)):
        for *_, name in spans:
            if name not in columns:
                raise ValueError(f"the dataset has the type {name!r}, which is not in types; add it")
            counts[row, columns[name]] += 1
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
    """Sample sentences with K to 2K entities of each of `types`, in one pass of the greedy rule.

    One pass over the sentences in random order is enough: a sentence that is rejected once would be rejected
    again, since the counts only grow.

    Args:
        counts: Number of entities of every type in every sentence, as returned by `count_entities`.
        types: Label ids of the types.
        k: K, at least 1.
        generator: Random generator.
        exclude: Row numbers that must not be sampled.
        allow_other_types: Also take sentences with entities of other types (the caller treats these as
            outside).

    Returns:
        Row numbers in the order in which they were sampled, or `None` if a type stays below K in this order
        of the sentences.
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
    """Sample a support set with K to 2K entities of each of `types` from a dataset.

    Args:
        dataset: Sentences as from `read_dataset`, with tags or with entities that can nest.
        types: Entity types.
        k: K, at least 1.
        generator: Random generator.
        allow_other_types: Also take sentences with entities of other types, to be treated as outside.

    Returns:
        Row numbers, for `dataset.select`.

    Raises:
        ValueError: `k` is below 1, `types` is empty, or no such support set was found.
    """
    others = [name for name in entity_types(dataset) if name not in types]
    everything = [*types, *others]
    counts = entity_counts(dataset, everything)
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
    """Sample a support set like `sample_support`, from entity counts instead of a dataset.

    Args:
        counts: Number of entities of every type in every sentence, as returned by `count_entities`.
        types: Label ids of the types.
        k: K, at least 1.
        generator: Random generator.
        names: Names of `types` for the error message; by default their ids.
        allow_other_types: Also take sentences with entities of other types, to be treated as outside.

    Returns:
        Row numbers of `counts`.

    Raises:
        ValueError: `k` is below 1, `types` is empty, or no such support set was found.
    """
    _check_at_least_one(k=k, types=len(types))
    for _ in range(ATTEMPTS):
        rows = greedy_sample(counts, types, k, generator, allow_other_types=allow_other_types)
        if rows is not None:
            return rows
    found = {name: int(counts[:, label].sum()) for name, label in zip(names or types, types, strict=True)}
    raise ValueError(
        f"found no sample of {k} to {2 * k} entities of each type among {len(counts)} sentences, which have "
        f"(type: entities) {found}; lower k, leave out the rare types, or give more sentences"
    )


def sample_episode(
    counts: np.ndarray, n_way: int, k_shot: int, q_shot: int, generator: np.random.Generator
) -> Episode:
    """Sample an episode: first its types, then the sentences of its support and query sets.

    Args:
        counts: Number of entities of every type in every sentence, as returned by `count_entities`.
        n_way: Number of types.
        k_shot: K of the support set.
        q_shot: K of the query set.
        generator: Random generator.

    Raises:
        ValueError: Fewer than `n_way` types have enough entities, or no episode was found in `ATTEMPTS`
            attempts.
    """
    _check_at_least_one(n_way=n_way, k_shot=k_shot, q_shot=q_shot)
    usable = np.flatnonzero(counts.sum(axis=0) >= k_shot + q_shot)
    if len(usable) < n_way:
        raise ValueError(
            f"n_way is {n_way}, but only {len(usable)} types have the {k_shot + q_shot} entities that an "
            "episode needs; lower n_way, k_shot or q_shot"
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
        f"{ATTEMPTS} attempts; lower n_way, k_shot or q_shot, or train on plain batches"
    )


class EpisodeBatchSampler(Sampler[list[int]]):
    """Batch sampler that yields one episode per batch: the rows of its support set, then of its query set.

    An episode depends only on the seed, the epoch and its number, so that a resumed run sees the same
    episodes as an uninterrupted one.

    Args:
        label_sequences: Label ids of each row of the dataset, 0 for outside; labels of −100 are ignored.
        num_labels: Number of labels, including outside.
        n_way: Number of types in an episode.
        k_shot: K of the support set.
        q_shot: K of the query set.
        episodes: Number of episodes in an epoch.
        seed: Random seed.
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
        """Set the epoch, so that the next pass samples other episodes. Called by the training loop."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.episodes):
            episode = self.episode(number)
            yield [*episode.support, *episode.query]

    def episode(self, number: int) -> Episode:
        """Return the episode with this number in the current epoch."""
        generator = np.random.default_rng((self.seed, self.epoch, number))
        return sample_episode(self.counts, self.n_way, self.k_shot, self.q_shot, generator)


def _check_at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


@dataclass(frozen=True)
class LabelSet:
    """The label set of one batch.

    Attributes:
        names: Label name of each label id of the batch; `names[0]` is that of outside.
        order: Label ids of the batch, including outside, in their order in the prompt.
        lookup: Long tensor of shape `(number of types + 1,)` that maps label ids of the dataset to label ids
            of the batch.
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
    """Sample the label set of one batch.

    Args:
        label_names: Label name of each label by id, outside first.
        present: Label ids of the types that occur in the batch.
        generator: Random generator.
        size: Number of labels to sample, excluding outside; all labels if there are fewer, or if it is
            `None`.
        present_share: Share of `size` that is sampled from the labels present in the batch, as far as there
            are enough; the rest is sampled from all remaining labels.
        coarse_names: Maps the label name of a type to that of its coarse group.
        coarse_probability: Probability that the types of a coarse group are merged into one label with the
            name of the group; decided independently for each group.
    """
    groups = _group_types(label_names, generator, coarse_names or {}, coarse_probability)
    names = list(groups)
    size = len(names) if size is None else min(size, len(names))

    wanted = set(present)
    found = [i for i, name in enumerate(names) if not wanted.isdisjoint(groups[name])]
    reserved = _shuffled(found, generator)[: round(present_share * size)]
    # Present labels that were not reserved are shuffled in again, so that all the rest have the same chance.
    rest = _shuffled(set(range(len(names))).difference(reserved), generator)
    sampled = _shuffled(reserved + rest[: size - len(reserved)], generator)

    lookup = torch.full((len(label_names),), OUTSIDE_ID, dtype=torch.long)
    for new_id, i in enumerate(sampled, start=1):
        lookup[groups[names[i]]] = new_id
    return LabelSet(
        names=(label_names[OUTSIDE_ID], *(names[i] for i in sampled)),
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
    """Map each label name to the ids of its types, after deciding at random which coarse groups to merge."""
    # Sorted, since the random numbers must not depend on the order of the mapping.
    merged = {name for name in sorted(set(coarse_names.values())) if generator.random() < coarse_probability}
    groups: dict[str, list[int]] = {}
    for label_id, name in enumerate(label_names):
        if label_id != OUTSIDE_ID:
            coarse = coarse_names.get(name)
            groups.setdefault(coarse if coarse in merged else name, []).append(label_id)
    return groups
