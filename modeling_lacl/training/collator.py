"""Batches for source training: padding, and a label set drawn afresh for every batch.

A model that always sees the same labels in its prompt learns their positions instead of their names. So
every batch draws some of the types, shuffles their names in the prompt, and renumbers the labels accordingly;
a type that is not drawn counts as outside in that batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DataCollatorForTokenClassification, PreTrainedTokenizerBase

from ..data.sampling import LabelSet, sample_label_set
from ..model.configuration_lacl import OUTSIDE_ID
from ..model.labels_lacl import build_prompt, separator_id, tokenize_label_names


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
        labels_per_prompt: number of types in a prompt, see `sample_label_set`; `None` for all of them.
        present_share: see `sample_label_set`.
        coarse_names: see `sample_label_set`.
        coarse_probability: see `sample_label_set`.
        episodic: use exactly the types that occur in the batch, as an episode's batch holds just its own.
        max_prompt_length: refuse a label set whose prompt may grow longer than this many tokens.
        seed: seed of the draws.
        pad_to_multiple_of: pads the text to a multiple of this many tokens.

    Raises:
        ValueError: two labels share a natural-language name, a prompt may grow too long, or an argument is
            out of its range.

    Example:
        >>> from modeling_lacl import LaclDataCollator, LaclForTokenClassification
        >>> tokenizer = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd").tokenizer
        >>> collate = LaclDataCollator(tokenizer, ["none", "person", "city"])
        >>> batch = collate([{"input_ids": [101, 9617, 102], "labels": [-100, 1, -100]}])
        >>> sorted(batch)
        ['attention_mask', 'input_ids', 'labels', 'prompt_ids', 'prompt_labels']
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
        self.separator_id = separator_id(tokenizer)
        names = [*self.label_names, *sorted(set(coarse_names.values()) - set(self.label_names))]
        self.name_ids = dict(zip(names, tokenize_label_names(tokenizer, names), strict=True))
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
        if self.deferred:
            return batch
        return self.add_prompt(batch, self.sample_label_set(features, batch["labels"]))

    def add_prompt(self, batch: Mapping[str, Tensor], label_set: LabelSet) -> dict[str, Tensor]:
        """Adds a label set's prompt to a padded batch, and renumbers its labels, ids of `label_names`."""
        labels = batch["labels"]
        prompt = (part.to(labels.device).repeat(len(labels), 1) for part in self.make_prompt(label_set))
        named = dict(zip(("prompt_ids", "prompt_labels"), prompt, strict=True))
        return {**batch, "labels": remap_labels(labels, label_set.lookup.to(labels.device)), **named}

    def sample_label_set(self, features: Sequence[Mapping[str, Any]], labels: Tensor) -> LabelSet:
        """The label set for a batch with the `input_ids` of `features` and the padded `labels`."""
        present = [label for label in labels.unique().tolist() if label > OUTSIDE_ID]
        return sample_label_set(
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
