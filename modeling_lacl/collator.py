"""Batches for source training: padding, and a label set drawn afresh for every batch.

A model that always sees the same labels in its prompt learns their positions instead of their names. So
every batch draws some of the types, shuffles their names in the prompt, and renumbers the labels accordingly;
a type that is not drawn counts as outside in that batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DataCollatorForTokenClassification, PreTrainedTokenizerBase

from .decoding import OUTSIDE
from .prompts import build_prompt


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


def draw_label_set(
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

    lookup = torch.full((len(label_names),), OUTSIDE, dtype=torch.long)
    for new_id, i in enumerate(drawn, start=1):
        lookup[groups[names[i]]] = new_id
    return LabelSet(
        names=(label_names[OUTSIDE], *(names[i] for i in drawn)),
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
        if label_id != OUTSIDE:
            coarse = coarse_names.get(name)
            groups.setdefault(coarse if coarse in merged else name, []).append(label_id)
    return groups


def remap_labels(labels: Tensor, lookup: Tensor) -> Tensor:
    """Renumbers `labels` (long, any shape) by `lookup`; negative labels, which do not count, stay."""
    return torch.where(labels >= 0, lookup[labels.clamp(min=0)], labels)


class LaclDataCollator:
    """Pads a batch and gives it a prompt over a label set drawn for it.

    The draw depends on `seed` and on the token ids of the batch alone: it is the same in every worker
    process, and after a training run is resumed. Where several processes share a batch, set `deferred`: then
    batches are padded only, and `add_prompt` draws when the rows of all of them are known.

    Args:
        tokenizer: pads the batch and tokenises the label names (once).
        label_names: natural-language name of each label by id, outside first.
        labels_per_prompt: number of types in a prompt, see `draw_label_set`; `None` for all of them.
        present_share: see `draw_label_set`.
        coarse_names: see `draw_label_set`.
        coarse_probability: see `draw_label_set`.
        episodic: use exactly the types that occur in the batch, as an episode's batch holds just its own.
        max_prompt_length: refuse a label set whose prompt may grow longer than this many tokens.
        seed: seed of the draws.
        pad_to_multiple_of: pads the text to a multiple of this many tokens.

    Raises:
        ValueError: two labels share a natural-language name, a prompt may grow too long, or an argument is
            out of its range.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        label_names: Sequence[str],
        *,
        labels_per_prompt: int | None = 10,
        present_share: float = 0.5,
        coarse_names: Mapping[str, str] | None = None,
        coarse_probability: float = 0.0,
        episodic: bool = False,
        max_prompt_length: int | None = None,
        seed: int = 0,
        pad_to_multiple_of: int | None = None,
    ) -> None:
        if labels_per_prompt is not None and labels_per_prompt < 1:
            raise ValueError(f"labels_per_prompt is {labels_per_prompt}; give a number of at least 1")
        for argument, value in (("present_share", present_share), ("coarse_probability", coarse_probability)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{argument} is {value}; give a number from 0 to 1")
        coarse_names = dict(coarse_names or {})
        _check_names(label_names, coarse_names)
        self.label_names = tuple(label_names)
        self.labels_per_prompt = labels_per_prompt
        self.present_share = present_share
        self.coarse_names = coarse_names
        self.coarse_probability = coarse_probability
        self.episodic = episodic
        self.seed = seed
        self.deferred = False
        self.padding = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=pad_to_multiple_of)
        self.columns = {"labels", *tokenizer.model_input_names}
        self.separator_id = (
            tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        )
        names = [*self.label_names, *sorted(set(coarse_names.values()) - set(self.label_names))]
        # A leading space, as inside a sentence: the model tokenises its own label names in the same way.
        pieces = tokenizer([f" {name.strip()}" for name in names], add_special_tokens=False)["input_ids"]
        self.name_ids: dict[str, list[int]] = dict(zip(names, pieces, strict=True))
        if max_prompt_length is not None:
            self._check_prompt_length(max_prompt_length)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collates tokenised sentences.

        Args:
            features: rows with `input_ids`, `attention_mask` and `labels` (ids of `label_names`, −100 where a
                token does not count); other columns are left out.

        Returns:
            `input_ids`, `attention_mask`, `labels`, each long of shape `(batch, length)`, and `prompt_ids`,
            `prompt_labels`, each long of shape `(batch, prompt length)`; the latter two and the labels of the
            prompt are left to `add_prompt` if `deferred`.
        """
        rows = [{key: value for key, value in row.items() if key in self.columns} for row in features]
        batch = dict(self.padding(rows))
        return batch if self.deferred else self.add_prompt(batch, self.draw(features, batch["labels"]))

    def add_prompt(self, batch: Mapping[str, Tensor], label_set: LabelSet) -> dict[str, Tensor]:
        """Adds a label set's prompt to a padded batch, and renumbers its labels, ids of `label_names`."""
        labels = batch["labels"]
        prompt = (part.to(labels.device).repeat(len(labels), 1) for part in self.make_prompt(label_set))
        named = dict(zip(("prompt_ids", "prompt_labels"), prompt, strict=True))
        return {**batch, "labels": remap_labels(labels, label_set.lookup.to(labels.device)), **named}

    def draw(self, features: Sequence[Mapping[str, Any]], labels: Tensor) -> LabelSet:
        """The label set for a batch with the `input_ids` of `features` and the padded `labels`."""
        present = [label for label in labels.unique().tolist() if label > OUTSIDE]
        return draw_label_set(
            self.label_names,
            present,
            self._generator(features),
            size=len(present) if self.episodic else self.labels_per_prompt,
            present_share=1.0 if self.episodic else self.present_share,
            coarse_names=None if self.episodic else self.coarse_names,
            coarse_probability=self.coarse_probability,
        )

    def make_prompt(self, label_set: LabelSet) -> tuple[Tensor, Tensor]:
        """The prompt of a label set: token ids, and the label of each (−1 at separators); `(P,)` long."""
        return build_prompt(
            [self.name_ids[name] for name in label_set.names], self.separator_id, label_set.order
        )

    def _check_prompt_length(self, limit: int) -> None:
        lengths = sorted((len(ids) + 1 for ids in self.name_ids.values()), reverse=True)
        number = len(self.label_names)
        if self.labels_per_prompt is not None and not self.episodic:
            number = min(number, self.labels_per_prompt + 1)
        if (longest := sum(lengths[:number])) > limit:
            raise ValueError(
                f"a prompt of {number} labels may have {longest} tokens, and max_prompt_length is {limit}; "
                "lower labels_per_prompt, shorten the label names, or raise max_prompt_length"
            )

    def _generator(self, features: Sequence[Mapping[str, Any]]) -> np.random.Generator:
        digest = 0
        for row in features:
            digest = zlib.crc32(np.asarray(row["input_ids"], dtype=np.int64).tobytes(), digest)
        return np.random.default_rng((self.seed, digest))


def _check_names(label_names: Sequence[str], coarse_names: Mapping[str, str]) -> None:
    owners: dict[str, int] = {}
    for label_id, name in enumerate(label_names):
        owner = owners.setdefault(name.strip().lower(), label_id)
        if owner != label_id:
            raise ValueError(
                f"labels {owner} and {label_id} share the natural-language name {name!r}; "
                "give one of them another name"
            )
    for fine, coarse in coarse_names.items():
        owner = owners.get(coarse.strip().lower(), -1)
        # A type may bear the name of its own group, since the two never appear together.
        if owner >= 0 and coarse_names.get(label_names[owner]) != coarse:
            raise ValueError(
                f"the coarse name {coarse!r} of {fine!r} is also the name of label {owner}; "
                "give one of them another name"
            )
