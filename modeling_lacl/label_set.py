"""The label set, the support and the tokenizer that a model holds, apart from what it computes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .checks import fast_tokenizer
from .configuration_lacl import OUTSIDE
from .prompts import natural_label_name, split_prompt

Model = TypeVar("Model", bound="LabelSetMixin")

tokenizer_lock = threading.Lock()
"""The truncation setting of a fast tokenizer is state of its own: to be set and used in one piece."""


class LabelSetMixin:
    """Gives a model its labels, their names and its support; kept in its configuration and its buffers."""

    # Of the model: a `LaclConfig`, whose fields transformers types as optional.
    config: Any
    device: Any
    name_or_path: Any
    support_mean: Tensor
    support_variance: Tensor
    support_labels: Tensor
    _tokenizer: PreTrainedTokenizerBase | None
    _tokenizer_arguments: dict[str, Any]

    def set_labels(self, labels: Sequence[str], label_names: Mapping[str, str] | None = None) -> None:
        """Gives the model another label set and forgets its support.

        Args:
            labels: The types, without `O` and without prefixes of tags.
            label_names: Natural-language names; by rule (`natural_label_name`) where one is missing.

        Raises:
            TypeError: A label or a name that is no text, or not a list of the one and a mapping of the other.
            ValueError: No labels, a label twice, a name for an unknown label, two labels with one name, a
                name without tokens or with more than a prompt holds. The model is then as it was.
        """
        names = self.resolve_names(labels, label_names)
        token_ids = self.tokenize_names(list(names.values()))
        config, tokenizer = self.config, self.tokenizer
        split_prompt(token_ids, config.max_prompt_length)
        separator = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
        if separator is None:
            raise ValueError("the tokenizer has neither sep_token nor eos_token to part label names: set one")
        # Nothing fails from here on: an error leaves the model as it was.
        config.id2label = dict(enumerate(names))
        config.label2id = {label: index for index, label in enumerate(names)}
        config.label_names = names
        config.label_token_ids = token_ids
        config.separator_token_id = separator
        if tokenizer.pad_token_id is not None:
            config.pad_token_id = tokenizer.pad_token_id
        self.clear_support()

    def resolve_names(
        self, labels: Sequence[str], label_names: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Natural-language name of `O` and of each label, in the order of ids; raises as `set_labels`."""
        if isinstance(labels, str) or not isinstance(labels, Iterable):
            raise TypeError(f"labels must be a list of entity types, got {labels!r}")
        labels = [label for label in labels if label != OUTSIDE]
        if not labels:
            raise ValueError("labels has none but outside: give at least one entity type")
        if label_names is not None and not isinstance(label_names, Mapping):
            raise TypeError(f"label_names is {label_names!r}: give a mapping from labels to names")
        given = dict(label_names or {})
        for label in labels:
            if not isinstance(label, str):
                raise TypeError(f"labels has {label!r}: give every entity type as a text")
        for label, name in given.items():
            if not isinstance(name, str):
                raise TypeError(f"the name of the label {label!r} is {name!r}: give it in words, as a text")
        unknown = set(given) - {OUTSIDE, *labels}
        if unknown:
            raise ValueError(
                f"label_names has names for {sorted(unknown)}, which are not among the labels {labels}"
            )
        names = {OUTSIDE: given.get(OUTSIDE, self.config.outside_name)}
        owners = {names[OUTSIDE].strip().lower(): OUTSIDE}
        for label in labels:
            if label in names:
                raise ValueError(f"label {label!r} stands twice in labels")
            name = given.get(label, natural_label_name(label))
            owner = owners.setdefault(name.strip().lower(), label)
            if owner != label:
                raise ValueError(
                    f"labels {owner!r} and {label!r} share the name {name!r}: give one of them another name"
                )
            names[label] = name
        return names

    def tokenize_names(self, names: Sequence[str]) -> list[list[int]]:
        """Token ids of label names, without special tokens.

        Raises:
            ValueError: A name without a token, or two names that the tokenizer does not tell apart.
        """
        # A leading space: byte-level tokenizers write a word inside a sentence with one.
        words = [f" {name.strip()}" for name in names]
        with tokenizer_lock:
            token_ids = self.tokenizer(words, add_special_tokens=False)["input_ids"]
        owners: dict[tuple[int, ...], str] = {}
        for name, ids in zip(names, token_ids, strict=True):
            if not ids:
                raise ValueError(f"the label name {name!r} has no token: give it other words")
            owner = owners.setdefault(tuple(ids), name)
            if owner is not name:
                raise ValueError(
                    f"the tokenizer does not tell the label names {owner!r} and {name!r} apart: "
                    "give one of them other words"
                )
        return [list(ids) for ids in token_ids]

    @property
    def has_support(self) -> bool:
        """Whether the model holds support representations."""
        return bool(self.config.support_size)

    def set_support(
        self, mean: Tensor, variance: Tensor, labels: Tensor, words: Sequence[str] | None = None
    ) -> None:
        """Keeps copies of support tokens with the model: `(S, d)`, `(S, d)` fp32 and `(S,)` long label ids.

        Args:
            mean, variance, labels: Of the tokens.
            words: For each token the entity that it is a word of, `""` outside: shown as the example behind a
                prediction, and not used for one.

        Raises:
            ValueError: Other shapes, or a label that the model does not have.
        """
        shape = (len(labels), self.config.projection_size)
        if mean.shape != shape or variance.shape != shape:
            raise ValueError(
                f"mean and variance must be {shape}, got {tuple(mean.shape)}, {tuple(variance.shape)}"
            )
        if words is not None and len(words) != len(labels):
            raise ValueError(f"words must be {len(labels)}, one for each support token, got {len(words)}")
        num_labels = len(self.config.id2label or ())
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_labels:
            raise ValueError(
                f"support labels must be from 0 to {num_labels - 1}, got {labels.unique().tolist()}"
            )
        # Copies made outside of inference mode, in which the caller may be, can take part in anything later.
        with torch.inference_mode(False):
            self.support_mean = mean.detach().to(self.device, torch.float32, copy=True).contiguous()
            self.support_variance = variance.detach().to(self.device, torch.float32, copy=True).contiguous()
            self.support_labels = labels.detach().to(self.device, torch.long, copy=True).contiguous()
        self.config.support_size = len(labels)
        self.config.support_words = None if words is None else list(words)

    def clear_support(self) -> None:
        """Forgets the support representations."""
        empty = self.support_mean.new_zeros((0, self.config.projection_size))
        self.set_support(empty, empty, self.support_labels[:0])

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer: the one given, or the one that was saved with the checkpoint.

        Raises:
            ValueError: There is none.
        """
        if self._tokenizer is None:
            if not self.name_or_path:
                raise ValueError("the model has no tokenizer: set model.tokenizer")
            try:
                # Given the configuration, it does not ask for one. Code that a tokenizer's own files name is
                # refused without a question, whose answer would be read from standard input.
                self.tokenizer = AutoTokenizer.from_pretrained(
                    self.name_or_path,
                    config=self.config,
                    trust_remote_code=False,
                    **self._tokenizer_arguments,
                )
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"no usable tokenizer in {self.name_or_path!r}: set model.tokenizer"
                ) from error
        return cast(PreTrainedTokenizerBase, self._tokenizer)

    @tokenizer.setter
    def tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        fast_tokenizer(tokenizer)
        self._tokenizer = tokenizer


def with_own_labels(model: Model) -> Model:
    """A model on the same weights whose label set and support can be changed without touching `model`'s."""
    own: Any = copy.copy(model)
    own.config = copy.deepcopy(model.config)
    own._buffers = dict(own._buffers)
    # Mixed precision puts a forward on the instance that is bound to the original, and so to its labels.
    own.__dict__.pop("forward", None)
    return cast(Model, own)


def copy_with_tokenizer(model: Model, tokenizer: PreTrainedTokenizerBase) -> Model:
    """A copy of a model that holds `tokenizer`: to copy the model's own takes longer than all the rest."""
    held: Any = cast(Any, model)._tokenizer
    copied = copy.deepcopy(model, {} if held is None else {id(held): tokenizer})
    cast(Any, copied).tokenizer = tokenizer
    return copied
