"""Batches for training: padding, and a new label set sampled for every batch.

A model that always sees the same labels in its prompt learns their positions instead of their names. So
every batch has a new sample of the types: their names are shuffled in the prompt, and the labels renumbered
accordingly. A type that is not sampled is outside in that batch. With `fixed_labels` nothing is sampled:
every batch has all types in one order, as in the code of the paper's authors.
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
from ..model.decoding_lacl import OUTSIDE_ID
from ..model.labels_lacl import build_prompt, separator_id, tokenize_label_names
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.spans_lacl import PADDING_ENTITY, pad_entities


def remap_entities(entities: Tensor, lookup: Tensor) -> Tensor:
    """Renumber the labels of `entities` (B, E, 3) by `lookup`; those that become outside become padding."""
    labels = remap_labels(entities[..., 2], lookup)
    kept = (labels > OUTSIDE_ID).unsqueeze(-1)
    return torch.cat([entities[..., :2], labels.unsqueeze(-1)], -1).masked_fill(~kept, PADDING_ENTITY)


def remap_labels(labels: Tensor, lookup: Tensor) -> Tensor:
    """Renumber `labels` (long, any shape) by `lookup`; negative labels, which are ignored, are kept."""
    return torch.where(labels >= 0, lookup[labels.clamp(min=0)], labels)


class PaddingCollator:
    """Pads a batch, with its entities, and adds no prompt: the model uses that of its own labels.

    Args:
        tokenizer: Pads the batch.
        pad_to_multiple_of: Pad the text to a multiple of this many tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, pad_to_multiple_of: int | None = None) -> None:
        self.padding = DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=pad_to_multiple_of)
        self.columns = {"labels", *tokenizer.model_input_names}

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return the batch without a prompt; arguments and results as in `LaclDataCollator`."""
        sequences = [
            {key: value for key, value in sequence.items() if key in self.columns} for sequence in features
        ]
        batch = dict(self.padding(sequences))
        if "entities" in features[0]:
            batch["entities"] = pad_entities([sequence["entities"] for sequence in features])
        return batch


class LaclDataCollator:
    """Pads a batch and adds a prompt with a label set sampled for it.

    The label set depends only on `seed` and the token ids of the batch: it is the same in every worker
    process, and after training is resumed. If several processes share a batch, set `deferred`: batches are
    then only padded, and `add_prompt` adds the prompt once the sequences of all processes are known.

    Args:
        tokenizer: Pads the batch and tokenises the label names (once).
        label_names: Label name of each label id, outside first.
        labels_per_prompt: Number of types in a prompt, see `sample_label_set`; `None` for all types.
        present_share: See `sample_label_set`.
        coarse_names: See `sample_label_set`.
        coarse_probability: See `sample_label_set`.
        episodic: Use exactly the types that occur in the batch, since a batch is an episode.
        fixed_labels: Use all types in every batch, in the order of their ids, in place of a sample.
        label_vector: See [`LaclConfig`].
        max_prompt_length: Maximum length of a prompt in tokens.
        seed: Random seed of the sampling.
        pad_to_multiple_of: Pad the text to a multiple of this many tokens.

    Raises:
        ValueError: Two labels share a label name, a prompt may exceed `max_prompt_length`, an argument is out
            of range, or there are coarse names with `fixed_labels`, which merges no types.

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
        fixed_labels: bool = False,
        label_vector: str = "mean",
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
        if fixed_labels and coarse_names:
            raise ValueError("fixed_labels merges no types into coarse groups: leave out coarse_names")
        _check_names(label_names, coarse_names)
        self.label_names = tuple(label_names)
        self.labels_per_prompt = labels_per_prompt
        self.present_share = present_share
        self.coarse_names = coarse_names
        self.coarse_probability = coarse_probability
        self.episodic = episodic
        self.fixed_labels = fixed_labels
        self.label_vector = label_vector
        self.seed = seed
        self.deferred = False
        self.pad = PaddingCollator(tokenizer, pad_to_multiple_of)
        self.separator_id = separator_id(tokenizer)
        names = [*self.label_names, *sorted(set(coarse_names.values()) - set(self.label_names))]
        token_ids = tokenize_label_names(tokenizer, names, label_vector)
        self.name_ids = dict(zip(names, token_ids, strict=True))
        if max_prompt_length is not None:
            self._check_prompt_length(max_prompt_length)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Collate tokenised sentences.

        Args:
            features: Sequences with `input_ids`, `attention_mask` and `labels` (ids of `label_names`; labels
                of −100 are ignored), and with `entities` for a model of spans: [first word, last word, label]
                of each, where words are counted among those with a label. Other columns are dropped.

        Returns:
            `input_ids`, `attention_mask`, `labels`, each long of shape `(batch, length)`, and `prompt_ids`,
            `prompt_labels`, each long of shape `(batch, prompt length)`; with entities in the features,
            `entities`, long of shape `(batch, most entities, 3)`, −1 in rows of padding. If `deferred`, the
            prompt and the renumbering of labels are left to `add_prompt`.
        """
        batch = self.pad(features)
        if self.deferred:
            return batch
        return self.add_prompt(batch, self.sample_label_set(features, occurring_labels(batch)))

    def add_prompt(self, batch: Mapping[str, Tensor], label_set: LabelSet) -> dict[str, Tensor]:
        """Add the prompt of a label set to a padded batch, and renumber its labels (ids of `label_names`)."""
        labels = batch["labels"]
        prompt = (part.to(labels.device).repeat(len(labels), 1) for part in self.make_prompt(label_set))
        named = dict(zip(("prompt_ids", "prompt_labels"), prompt, strict=True))
        lookup = label_set.lookup.to(labels.device)
        if "entities" in batch:
            named["entities"] = remap_entities(batch["entities"], lookup)
        return {**batch, "labels": remap_labels(labels, lookup), **named}

    def sample_label_set(self, features: Sequence[Mapping[str, Any]], labels: Tensor) -> LabelSet:
        """Sample the label set of a batch with the `input_ids` of `features` and these `labels` in it."""
        if self.fixed_labels:
            number = len(self.label_names)
            return LabelSet(self.label_names, tuple(range(number)), torch.arange(number))
        present = [label for label in labels.unique().tolist() if label > OUTSIDE_ID]
        return sample_label_set(
            self.label_names,
            present,
            content_generator(self.seed, features),
            size=len(present) if self.episodic else self.labels_per_prompt,
            present_share=1.0 if self.episodic else self.present_share,
            coarse_names=None if self.episodic else self.coarse_names,
            coarse_probability=self.coarse_probability,
        )

    def make_prompt(self, label_set: LabelSet) -> tuple[Tensor, Tensor]:
        """Return the prompt of a label set: token ids and their labels (−1 at separators), both (P,) long."""
        name_ids = [self.name_ids[name] for name in label_set.names]
        return build_prompt(name_ids, self.separator_id, label_set.order, self.label_vector)

    def _check_prompt_length(self, limit: int) -> None:
        # Outside is in every prompt, and not one of the longest.
        outside, *others = (len(ids) + 1 for ids in self.name_ids.values())
        lengths = [outside, *sorted(others, reverse=True)]
        number = len(self.label_names)
        if self.labels_per_prompt is not None and not self.episodic and not self.fixed_labels:
            number = min(number, self.labels_per_prompt + 1)
        if (longest := sum(lengths[:number])) > limit:
            remedy = "leave out fixed_labels" if self.fixed_labels else "lower labels_per_prompt"
            raise ValueError(
                f"a prompt of {number} labels may have {longest} tokens, and max_prompt_length is {limit}; "
                f"{remedy}, shorten the label names, or raise max_prompt_length"
            )


def types_per_prompt(model: LaclForTokenClassification) -> int:
    """Return the number of types in a prompt of fine-tuning.

    A label set too large for one prompt is learnt in parts: every batch samples another subset. So it is the
    size of the model's smallest prompt, or less where the longest names would not fit into one together.
    """
    prompts = model.label_prompts
    if prompts is None or len(prompts.groups) == 1:
        return len(model.entity_types)
    config: Any = model.config
    outside, *others = (len(ids) + 1 for ids in config.label_token_ids)
    lengths = np.cumsum([outside, *sorted(others, reverse=True)])
    fitting = int(np.count_nonzero(lengths <= config.max_prompt_length)) - 1
    return min(fitting, *(len(group) - 1 for group in prompts.groups))


def occurring_labels(batch: Mapping[str, Tensor]) -> Tensor:
    """Return the labels of the words of a batch and of its entities, some of which may lie within others."""
    labels = batch["labels"].flatten()
    return torch.cat([labels, batch["entities"][..., 2].flatten()]) if "entities" in batch else labels


def content_generator(seed: int, features: Sequence[Mapping[str, Any]]) -> np.random.Generator:
    """Return a generator that depends on the seed and the `input_ids` of the sequences alone."""
    digest = 0
    for sequence in features:
        digest = zlib.crc32(np.asarray(sequence["input_ids"], dtype=np.int64).tobytes(), digest)
    return np.random.default_rng((seed, digest))


def _check_names(label_names: Sequence[str], coarse_names: Mapping[str, str]) -> None:
    owners: dict[str, int] = {}
    for label_id, name in enumerate(label_names):
        owner = owners.setdefault(name.strip().lower(), label_id)
        if owner != label_id:
            raise ValueError(
                f"labels {owner} and {label_id} share the label name {name!r}; give one of them another name"
            )
    for fine, coarse in coarse_names.items():
        owner = owners.get(coarse.strip().lower(), -1)
        # A type may have the same name as its own group, since the two never appear together.
        if owner >= 0 and coarse_names.get(label_names[owner]) != coarse:
            raise ValueError(
                f"the coarse name {coarse!r} of {fine!r} is also the name of label {owner}; "
                "give one of them another name"
            )
