"""Batches from many corpora: the label set of each group of sentences is that of its corpus.

What one corpus annotates, another leaves out. So every group of a batch has a prompt of its own, with types
of its corpus: those that occur in its sentences, others that do not, and some of corpora so different that
they cannot occur. The labels are numbered for the batch as a whole: a type of two groups is one class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DataCollatorForTokenClassification, PreTrainedTokenizerBase

from ..data.entity_sequences import paint
from ..data.type_names import TypeName
from ..model.decoding_lacl import OUTSIDE_ID
from ..model.labels_lacl import PADDING_LABEL, build_prompt, separator_id, tokenize_label_names
from .collator import content_generator, remap_labels
from .corpora import TrainingCorpus

FEWEST_LABELS = 3
"""Least number of types in a prompt, for corpora that have as many."""


class GroupLabels(NamedTuple):
    """The label set of one group.

    Attributes:
        keys: Class of each label (see `TypeName`); that of outside is empty.
        names: Name of each label, outside first.
        order: Labels, as positions in `keys`, in their order in the prompt.
        lookup: Label id of the corpus -> position in `keys`; a type that was not drawn is outside.
    """

    keys: list[str]
    names: list[str]
    order: list[int]
    lookup: dict[int, int]


class _Label(NamedTuple):
    """Something that can be drawn: a type of a corpus, several by a coarser name, or a foreign type."""

    named: TypeName
    type_ids: tuple[int, ...]


class CorpusDataCollator:
    """Pads a batch of groups, and gives each group a prompt with labels drawn for it.

    The labels of a group depend only on `seed` and its token ids: they are the same in every worker process,
    and after training is resumed.

    Args:
        tokenizer: Pads the batch and tokenises the names (once).
        corpora: The corpora, with their types.
        outside_name: Label name of outside.
        group_size: Number of sequences in a group.
        labels_per_prompt: Most types of the corpus in a prompt; a number from 3 to this is drawn for each
            group. Types that occur in the group come first.
        foreign_labels: Most foreign types in a prompt; a number from 0 to this is drawn.
        variant_probability: Probability that a label goes by another of its names.
        coarse_probability: Probability that types with a common coarser name are merged into one label.
        label_vector: See [`LaclConfig`].
        max_prompt_length: Maximum length of a prompt in tokens. Labels drawn last are left out if it would
            be longer.
        entities: Whether the batch has `entities`.
        seed: Random seed of the drawing.
        pad_to_multiple_of: Pad the text to a multiple of this many tokens.

    Raises:
        ValueError: Two types of a corpus have one name, or a name is too long for a prompt.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        corpora: Sequence[TrainingCorpus],
        *,
        outside_name: str = "none",
        group_size: int = 8,
        labels_per_prompt: int = 10,
        foreign_labels: int = 3,
        variant_probability: float = 0.3,
        coarse_probability: float = 0.0,
        label_vector: str = "mean",
        max_prompt_length: int = 128,
        entities: bool = True,
        seed: int = 0,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        self.corpora = {corpus.name: corpus for corpus in corpora}
        self.outside_name = outside_name
        self.group_size = group_size
        self.labels_per_prompt = labels_per_prompt
        self.foreign_labels = foreign_labels
        self.variant_probability = variant_probability
        self.coarse_probability = coarse_probability
        self.label_vector = label_vector
        self.max_prompt_length = max_prompt_length
        self.entities = entities
        self.seed = seed
        self.padding = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=pad_to_multiple_of)
        self.columns = {"labels", *tokenizer.model_input_names}
        self.pad_token_id = tokenizer.pad_token_id or 0
        self.separator_id = separator_id(tokenizer)
        names = list(dict.fromkeys([outside_name, *_all_names(corpora)]))
        token_ids = tokenize_label_names(tokenizer, names, label_vector)
        self.name_ids = dict(zip(names, token_ids, strict=True))
        for corpus in corpora:
            self._check_names(corpus)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collate the groups of a batch.

        Args:
            features: Sequences of `cached_sequences`: `group_size` of one corpus after another.

        Returns:
            `input_ids`, `attention_mask` and `labels`, long `(batch, length)`; `prompt_ids` and
            `prompt_labels`, long `(batch, prompt length)`, padded with −2 in `prompt_labels`; and, if they
            are asked for, the `entities` of drawn labels, long `(batch, entities, 3)`, padded with −1. Label
            ids are those of the batch.

        Raises:
            ValueError: The sequences of a group are from two corpora.
        """
        batch = dict(
            self.padding(
                [{key: value for key, value in one.items() if key in self.columns} for one in features]
            )
        )
        ids: dict[str, int] = {"": OUTSIDE_ID}
        prompts: list[tuple[Tensor, Tensor]] = []
        entities: list[list[tuple[int, int, int]]] = []
        for first in range(0, len(features), self.group_size):
            group = features[first : first + self.group_size]
            drawn = self.draw(group)
            of_batch = [ids.setdefault(key, len(ids)) for key in drawn.keys]
            name_ids = [self.name_ids[name] for name in drawn.names]
            prompt_ids, prompt_labels = build_prompt(
                name_ids, self.separator_id, drawn.order, self.label_vector
            )
            prompts += [(prompt_ids, remap_labels(prompt_labels, torch.tensor(of_batch)))] * len(group)
            for sequence in group:
                found = [
                    (begin, end, of_batch[drawn.lookup[label]])
                    for begin, end, label in sequence["entities"]
                    if label in drawn.lookup
                ]
                entities.append(list(dict.fromkeys(found)))
        batch["labels"] = _labels(batch["labels"], entities)
        batch["prompt_ids"] = _padded([one for one, _ in prompts], self.pad_token_id)
        batch["prompt_labels"] = _padded([one for _, one in prompts], PADDING_LABEL)
        if self.entities:
            rows = [torch.tensor(found, dtype=torch.long).reshape(-1, 3) for found in entities]
            batch["entities"] = _padded(rows, -1)
        return batch

    def draw(self, group: Sequence[Mapping[str, Any]]) -> GroupLabels:
        """Draw the label set of a group, from its content and the seed."""
        names = {sequence["corpus"] for sequence in group}
        if len(names) > 1:
            raise ValueError(
                f"a group of {self.group_size} sequences is from {' and '.join(sorted(names))}; batches must "
                "consist of whole groups, as CorpusBatchSampler makes them"
            )
        corpus = self.corpora[names.pop()]
        generator = content_generator(self.seed, group)
        occurring = {label for sequence in group for *_, label in sequence["entities"]}
        labels = self._labels_of(corpus, generator)
        present = [one for one in labels if not occurring.isdisjoint(one.type_ids)]
        absent = [one for one in labels if occurring.isdisjoint(one.type_ids)]
        fewest = min(FEWEST_LABELS, self.labels_per_prompt)
        number = int(generator.integers(fewest, self.labels_per_prompt + 1))
        drawn = [*_shuffled(present, generator), *_shuffled(absent, generator)][:number]
        number = int(generator.integers(0, self.foreign_labels + 1))
        foreign = _shuffled(corpus.foreign, generator)[:number] if number else []
        return self._named([*drawn, *(_Label(one, ()) for one in foreign)], generator)

    def _labels_of(self, corpus: TrainingCorpus, generator: np.random.Generator) -> list[_Label]:
        """Return the labels of a corpus, after deciding at random which coarser names to merge types by."""
        by_key: dict[str, _Label] = {}
        for type_id, named in enumerate(corpus.types, start=1):
            known = by_key.get(named.key, _Label(named, ()))
            by_key[named.key] = _Label(known.named, (*known.type_ids, type_id))
        coarser = {two.key: two for one in by_key.values() for two in one.named.coarser}
        for key in sorted(coarser):
            merged = [fine for fine, one in by_key.items() if coarser[key] in one.named.coarser]
            if generator.random() < self.coarse_probability and len(merged) > 1:
                type_ids = tuple(chain.from_iterable(by_key.pop(fine).type_ids for fine in merged))
                by_key[key] = _Label(coarser[key], type_ids)
        return list(by_key.values())

    def _named(self, labels: Sequence[_Label], generator: np.random.Generator) -> GroupLabels:
        """Name labels as long as their prompt has room, and shuffle them."""
        keys, names, lookup = [""], [self.outside_name], {}
        used = {tuple(self.name_ids[self.outside_name])}
        room = self.max_prompt_length - len(self.name_ids[self.outside_name]) - 1
        for named, type_ids in labels:
            possible = [named.name]
            if generator.random() < self.variant_probability and named.variants:
                possible.insert(0, str(generator.choice(named.variants)))
            fitting = (
                name
                for name in possible
                if len(self.name_ids[name]) < room and tuple(self.name_ids[name]) not in used
            )
            name = next(fitting, None)
            if name is None or named.key in keys:
                continue
            lookup.update(dict.fromkeys(type_ids, len(keys)))
            keys.append(named.key)
            names.append(name)
            used.add(tuple(self.name_ids[name]))
            room -= len(self.name_ids[name]) + 1
        order: list[int] = generator.permutation(len(keys)).tolist()
        return GroupLabels(keys, names, order, lookup)

    def _check_names(self, corpus: TrainingCorpus) -> None:
        owners = {tuple(self.name_ids[self.outside_name]): f"{self.outside_name} (outside)"}
        room = self.max_prompt_length - len(self.name_ids[self.outside_name]) - 1
        for named in dict.fromkeys(corpus.types):
            ids = tuple(self.name_ids[named.name])
            owner = owners.setdefault(ids, named.name)
            if owner != named.name:
                raise ValueError(
                    f"{corpus.name}: the types {owner!r} and {named.name!r} have the same tokens; rename one "
                    "of them in name_variants"
                )
            if len(ids) >= room:
                raise ValueError(
                    f"{corpus.name}: the name {named.name!r} has {len(ids)} tokens, too many for a prompt of "
                    f"{self.max_prompt_length}; rename it in name_variants, or raise max_prompt_length"
                )


def _labels(padded: Tensor, entities: Sequence[Sequence[tuple[int, int, int]]]) -> Tensor:
    """Return `(batch, length)` labels: that of the longest entity around each word, −100 as in `padded`."""
    labels = padded.clone()
    for row, found in zip(labels, entities, strict=True):
        is_word = row >= 0
        of_words = np.full(int(is_word.sum()), OUTSIDE_ID, dtype=np.int64)
        paint(of_words, found)
        row[is_word] = torch.from_numpy(of_words)
    return labels


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)


def _all_names(corpora: Sequence[TrainingCorpus]) -> Iterable[str]:
    for corpus in corpora:
        for named in chain(corpus.types, corpus.foreign):
            for one in (named, *named.coarser):
                yield from (one.name, *one.variants)


def _shuffled(items: Sequence[Any], generator: np.random.Generator) -> list[Any]:
    return [items[index] for index in generator.permutation(len(items)).tolist()]
