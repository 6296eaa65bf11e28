"""Labels: their names as natural language, suffix prompts of these names, and the label set of a model.

A model holds its label set, its support and its tokenizer: types and names in the configuration, support
tokens as buffers. A prompt, `none [SEP] person [SEP] …`, is packed behind each text.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .configuration_lacl import OUTSIDE

SEPARATOR_LABEL = -1
"""In `prompt_labels`: a separator, which belongs to no label."""
PADDING_LABEL = -2
"""In `prompt_labels`: padding after a shorter prompt."""

ABBREVIATIONS = {
    "per": "person",
    "pers": "person",
    "loc": "location",
    "org": "organization",
    "misc": "miscellaneous",
    "gpe": "country or city",
    "fac": "facility",
    "norp": "nationality, religion or political group",
    "prod": "product",
    "evt": "event",
    "num": "number",
    "qty": "quantity",
}


def natural_label_name(label: str) -> str:
    """The words a label stands for, by rule: `creative-work` -> `creative work`.

    `-`, `_`, `/` and `.` become spaces; `CamelCase` is split; common abbreviations (`PER`, `GPE`) are written
    out where they are the whole label, or in capitals beside words that are not. A label is a type, without a
    tag's prefix: "U-boat" has none.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    parts = re.sub(r"[\s_/.\-]+", " ", words).split()
    short = [len(parts) == 1 or (part.isupper() and not label.isupper()) for part in parts]
    lower = [part.lower() for part in parts]
    names = [ABBREVIATIONS.get(word, word) if one else word for word, one in zip(lower, short, strict=True)]
    return " ".join(names) or label


def build_prompt(
    label_token_ids: Sequence[Sequence[int]], separator_token_id: int, order: Iterable[int] | None = None
) -> tuple[Tensor, Tensor]:
    """The suffix `none [SEP] person [SEP] …`.

    Args:
        label_token_ids: Tokens of each label's name, by label id.
        separator_token_id: Token after each name.
        order: Label ids in the order in which they stand in the prompt; a subset where some are left out.

    Returns:
        `prompt_ids` and `prompt_labels`, each `(P,)` long: the tokens, and the label id of each, −1 at
        separators.
    """
    ids: list[int] = []
    labels: list[int] = []
    for label in range(len(label_token_ids)) if order is None else order:
        tokens = list(label_token_ids[label])
        ids += [*tokens, separator_token_id]
        labels += [label] * len(tokens) + [SEPARATOR_LABEL]
    return torch.tensor(ids, dtype=torch.long), torch.tensor(labels, dtype=torch.long)


def split_prompt(label_token_ids: Sequence[Sequence[int]], max_length: int) -> list[list[int]]:
    """Groups of label ids, each with outside (0) first, whose prompts have at most `max_length` tokens.

    Groups have about the same length, so that no label stands alone where another fits beside it.

    Raises:
        ValueError: A name, or that of outside, is too long.
    """
    lengths = [len(tokens) + 1 for tokens in label_token_ids]
    room = max_length - lengths[0]
    if room < 0:
        raise ValueError(
            f"the name of outside has {lengths[0] - 1} tokens, too many for a prompt of {max_length}: "
            "give it a shorter one, or raise max_prompt_length"
        )
    longest = max(lengths[1:], default=0)
    if longest > room:
        raise ValueError(
            f"label {lengths.index(longest, 1)} has a name of {longest - 1} tokens, and a prompt of at most "
            f"{max_length} has room for {max(room - 1, 0)}: give it a shorter one, or raise "
            "max_prompt_length"
        )
    number = max(1, -(-sum(lengths[1:]) // max(room, 1)))
    while True:
        groups = _fill(lengths, number, room)
        if groups is not None:
            return groups
        number += 1


class LabelPrompts(NamedTuple):
    """A label set as suffix prompts: several where it is too long for one.

    Attributes:
        groups: Label ids of each prompt; outside is in every one, and first.
        prompts: `prompt_ids` and `prompt_labels` of each, `(P,)` long.
        length: Tokens of the longest.
    """

    groups: list[list[int]]
    prompts: list[tuple[Tensor, Tensor]]
    length: int


def build_prompts(
    label_token_ids: Sequence[Sequence[int]], separator_token_id: int, max_length: int
) -> LabelPrompts:
    """Build the prompts of a label set, each of at most `max_length` tokens; raises as `split_prompt`."""
    groups = split_prompt(label_token_ids, max_length)
    prompts = [build_prompt(label_token_ids, separator_token_id, group) for group in groups]
    return LabelPrompts(groups, prompts, max(len(ids) for ids, _ in prompts))


def _fill(lengths: Sequence[int], number: int, room: int) -> list[list[int]] | None:
    """`lengths[1:]` dealt in order to `number` groups of about equal length; None if one outgrows `room`."""
    target = sum(lengths[1:]) / number
    groups: list[list[int]] = [[0]]
    used = 0.0
    total = 0.0
    for label, length in enumerate(lengths[1:], start=1):
        if len(groups) < number and len(groups[-1]) > 1 and total + length / 2 > target * len(groups):
            groups.append([0])
            used = 0
        used += length
        total += length
        if used > room:
            return None
        groups[-1].append(label)
    return groups


def fast_tokenizer(tokenizer: Any) -> None:
    """Checks that `tokenizer` gives character offsets.

    Raises:
        TypeError: It is no tokenizer.
        ValueError: It is a slow one.
    """
    if not hasattr(tokenizer, "is_fast"):
        raise TypeError(
            f"tokenizer is of type {type(tokenizer).__name__}: give the model's own, `model.tokenizer`, or "
            "one from `AutoTokenizer.from_pretrained`"
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no character offsets: load the fast one, use_fast=True"
        )


Model = TypeVar("Model", bound="LabelSetMixin")

tokenizer_lock = threading.Lock()
"""The truncation setting of a fast tokenizer is state of its own: to be set and used in one piece."""


def tokenize_label_names(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> list[list[int]]:
    """Return the token ids of label names, without special tokens.

    Raises:
        ValueError: A name without a token.
    """
    # A leading space: byte-level tokenizers write a word inside a sentence with one.
    words = [f" {name.strip()}" for name in names]
    with tokenizer_lock:
        token_ids: list[list[int]] = tokenizer(words, add_special_tokens=False)["input_ids"]
    for name, ids in zip(names, token_ids, strict=True):
        if not ids:
            raise ValueError(f"the label name {name!r} has no token: give it other words")
    return [list(ids) for ids in token_ids]


def separator_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that parts label names.

    Raises:
        ValueError: The tokenizer has none.
    """
    separator = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    if separator is None:
        raise ValueError("the tokenizer has neither sep_token nor eos_token to part label names: set one")
    return cast(int, separator)


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
    tokenizer_arguments: dict[str, Any]
    _label_prompts: tuple[Any, LabelPrompts] | None = None

    @property
    def entity_types(self) -> list[str]:
        """The types that the model finds, in the order of their label ids, without outside."""
        id2label: dict[int, str] = self.config.id2label or {}
        return [id2label[label] for label in range(1, len(id2label))]

    @property
    def label_prompts(self) -> LabelPrompts | None:
        """The label set as prompts, made once for a label set and device; None without prompts or labels."""
        config = self.config
        names = config.label_token_ids
        if not (config.use_prompts and names):
            return None
        key = (names, config.separator_token_id, config.max_prompt_length, self.device)
        if self._label_prompts is None or self._label_prompts[0] != key:
            made = build_prompts(*key[:3])
            on_device = [(ids.to(self.device), labels.to(self.device)) for ids, labels in made.prompts]
            self._label_prompts = (key, made._replace(prompts=on_device))
        return self._label_prompts[1]

    def set_labels(self, labels: Sequence[str], label_names: Mapping[str, str] | None = None) -> None:
        """Give the model another label set and forget its support.

        Args:
            labels: The types, without `O` and without prefixes of tags.
            label_names: Natural-language names; by rule (`natural_label_name`) where one is missing.

        Raises:
            TypeError: A label or a name that is no text, or not a list of the one and a mapping of the other.
            ValueError: No labels, a label twice, a name for an unknown label, two labels with one name, a
                name without tokens or with more than a prompt holds. The model is then as it was.
        """
        names = self.resolve_names(labels, label_names)
        config, tokenizer = self.config, self.tokenizer
        token_ids = tokenize_label_names(tokenizer, list(names.values()))
        _check_distinct(list(names.values()), token_ids)
        separator = separator_id(tokenizer)
        split_prompt(token_ids, config.max_prompt_length)
        # Nothing fails from here on: an error leaves the model as it was.
        config.id2label = dict(enumerate(names))
        config.label2id = {label: index for index, label in enumerate(names)}
        config.label_names = names
        config.label_token_ids = token_ids
        config.separator_token_id = separator
        if tokenizer.pad_token_id is not None:
            config.pad_token_id = tokenizer.pad_token_id
        self.clear_support()

    def with_labels(self: Model, labels: Sequence[str] | Mapping[str, str]) -> Model:
        """Return a model on the same weights that finds other types, zero-shot.

        Args:
            labels: The types, or a mapping from types to natural-language names.

        Raises:
            TypeError: Neither of these.
            ValueError: The model has no prompts, or as `set_labels`.
        """
        if not self.config.use_prompts:
            raise ValueError(
                "labels needs a model with label prompts, and this one was made with use_prompts=False"
            )
        if isinstance(labels, str) or not isinstance(labels, Sequence | Mapping):
            raise TypeError(f"labels is {labels!r}: give a list of labels, or a mapping from labels to names")
        own = with_own_labels(self)
        own.set_labels(list(labels), labels if isinstance(labels, Mapping) else None)
        return own

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
                    **self.tokenizer_arguments,
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


def _check_distinct(names: Sequence[str], token_ids: Sequence[Sequence[int]]) -> None:
    """Raise unless the tokenizer tells all names apart."""
    owners: dict[tuple[int, ...], str] = {}
    for name, ids in zip(names, token_ids, strict=True):
        owner = owners.setdefault(tuple(ids), name)
        if owner is not name:
            raise ValueError(
                f"the tokenizer does not tell the label names {owner!r} and {name!r} apart: "
                "give one of them other words"
            )


def with_own_labels(model: Model) -> Model:
    """A model on the same weights whose label set and support can be changed without touching `model`'s."""
    own: Any = copy.copy(model)
    # One level deep: setting labels and support replaces fields, and changes none in place.
    own.config = copy.copy(model.config)
    own._buffers = dict(own._buffers)
    own._modules = dict(own._modules)
    # Mixed precision puts a forward on the instance that is bound to the original, and so to its labels.
    own.__dict__.pop("forward", None)
    return cast(Model, own)


def copy_model(model: Model) -> Model:
    """Return a deep copy of a model that shares its tokenizer, whose copy takes longer than all the rest."""
    tokenizer = model.tokenizer
    return copy.deepcopy(model, {id(tokenizer): tokenizer})
