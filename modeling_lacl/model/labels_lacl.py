"""Labels: label names, suffix prompts made of them, and the label set of a model.

A model holds its label set, its support set and its tokenizer: labels and label names in the configuration,
support tokens as buffers. A prompt, `none [SEP] person [SEP] …`, is packed after each text.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from .decoding_lacl import OUTSIDE
from .words_lacl import fast_tokenizer, tokenizer_lock

logger = logging.get_logger(__name__)

SEPARATOR_LABEL = -1
"""Value of `prompt_labels` at separators."""
PADDING_LABEL = -2
"""Value of `prompt_labels` at padding."""

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


def default_label_name(label: str) -> str:
    """Return the default label name of a label: `creative-work` -> `creative work`.

    `-`, `_`, `/` and `.` become spaces, and `CamelCase` is split. Common abbreviations (`PER`, `GPE`) are
    expanded if they are the whole label, or the only part of it in capitals. No tag prefix is removed, so
    that "U-boat" becomes "u boat".
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    parts = re.sub(r"[\s_/.\-]+", " ", words).split()
    short = [len(parts) == 1 or (part.isupper() and not label.isupper()) for part in parts]
    lower = [part.lower() for part in parts]
    names = [ABBREVIATIONS.get(word, word) if one else word for word, one in zip(lower, short, strict=True)]
    return " ".join(names) or label


def build_prompt(
    label_token_ids: Sequence[Sequence[int]],
    separator_token_id: int,
    order: Iterable[int] | None = None,
    label_vector: str = "mean",
) -> tuple[Tensor, Tensor]:
    """Build the suffix prompt `none [SEP] person [SEP] …`.

    Args:
        label_token_ids: Token ids of each label name, by label id.
        separator_token_id: Token after each label name.
        order: Label ids in the order of the prompt; may be a subset. By default all, by id.
        label_vector: As in [`LaclConfig`]; with `cls` each name begins with a `[CLS]`, which alone counts.

    Returns:
        `prompt_ids` and `prompt_labels`, each `(P,)` long: the token ids, and the label id of each token
        whose state counts for a label, −1 at all others.
    """
    ids: list[int] = []
    labels: list[int] = []
    for label in range(len(label_token_ids)) if order is None else order:
        tokens = list(label_token_ids[label])
        ids += [*tokens, separator_token_id]
        counted = 1 if label_vector == "cls" else len(tokens)
        labels += [label] * counted + [SEPARATOR_LABEL] * (len(tokens) + 1 - counted)
    exact: dict[str, Any] = {"dtype": torch.long, "device": "cpu"}
    return torch.tensor(ids, **exact), torch.tensor(labels, **exact)


def split_prompt(label_token_ids: Sequence[Sequence[int]], max_length: int) -> list[list[int]]:
    """Split label ids into groups, each with outside (0) first and a prompt of at most `max_length` tokens.

    The prompts have similar lengths, so that no label is alone in a prompt that has room for another.

    Raises:
        ValueError: If a label name, or that of outside, is too long.
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
    """A label set as suffix prompts: several if it is too long for one.

    Attributes:
        groups: Label ids of each prompt. Outside is the first label of every prompt.
        prompts: `prompt_ids` and `prompt_labels` of each prompt, `(P,)` long.
        length: Number of tokens of the longest prompt.
    """

    groups: list[list[int]]
    prompts: list[tuple[Tensor, Tensor]]
    length: int


def build_prompts(
    label_token_ids: Sequence[Sequence[int]], separator_token_id: int, max_length: int, label_vector: str
) -> LabelPrompts:
    """Build the prompts of a label set, each of at most `max_length` tokens; see `split_prompt`."""
    groups = split_prompt(label_token_ids, max_length)
    prompts = [build_prompt(label_token_ids, separator_token_id, group, label_vector) for group in groups]
    return LabelPrompts(groups, prompts, max(len(ids) for ids, _ in prompts))


def _fill(lengths: Sequence[int], number: int, room: int) -> list[list[int]] | None:
    """Split `lengths[1:]` in order into `number` groups of similar length; None if one exceeds `room`."""
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


Model = TypeVar("Model", bound="LabelSetMixin")


def tokenize_label_names(
    tokenizer: PreTrainedTokenizerBase, names: Sequence[str], label_vector: str = "mean"
) -> list[list[int]]:
    """Return the token ids of label names, without special tokens but for the `[CLS]` of `label_vector`.

    Raises:
        ValueError: If a label name has no tokens, or the tokenizer has no token for `label_vector`.
    """
    # With a leading space, byte-level tokenizers encode a name as they do inside a sentence.
    words = [f" {name.strip()}" for name in names]
    with tokenizer_lock:
        token_ids: list[list[int]] = tokenizer(words, add_special_tokens=False)["input_ids"]
    for name, ids in zip(names, token_ids, strict=True):
        if not ids:
            raise ValueError(f"the label name {name!r} has no token: give it other words")
    if label_vector == "cls":
        if tokenizer.cls_token_id is None:
            raise ValueError('label_vector="cls" needs a tokenizer with a cls_token: set one, or use "mean"')
        return [[tokenizer.cls_token_id, *ids] for ids in token_ids]
    return token_ids


def separator_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the token that separates label names.

    Raises:
        ValueError: If the tokenizer has no such token.
    """
    separator = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    if separator is None:
        raise ValueError("the tokenizer has neither sep_token nor eos_token to separate label names: set one")
    return cast(int, separator)


class LabelSetMixin:
    """Label set, label names and support set of a model, stored in its configuration and buffers."""

    # Provided by the model. `config` is a `LaclConfig`, whose fields transformers types as optional.
    config: Any
    device: Any
    get_input_embeddings: Any
    name_or_path: Any
    support_mean: Tensor
    support_variance: Tensor
    support_labels: Tensor
    _tokenizer: PreTrainedTokenizerBase | None
    tokenizer_arguments: dict[str, Any]
    _label_prompts: tuple[Any, LabelPrompts] | None = None

    @property
    def entity_types(self) -> list[str]:
        """The entity types that the model finds, in the order of their label ids, without outside."""
        id2label: dict[int, str] = self.config.id2label or {}
        return [id2label[label] for label in range(1, len(id2label))]

    @property
    def label_prompts(self) -> LabelPrompts | None:
        """The prompts of the label set, cached per label set and device; None without prompts or labels."""
        config = self.config
        names = config.label_token_ids
        if not (config.use_prompts and names):
            return None
        key = (names, config.separator_token_id, config.max_prompt_length, config.label_vector, self.device)
        if self._label_prompts is None or self._label_prompts[0] != key:
            made = build_prompts(*key[:4])
            on_device = [(ids.to(self.device), labels.to(self.device)) for ids, labels in made.prompts]
            self._label_prompts = (key, made._replace(prompts=on_device))
        return self._label_prompts[1]

    def set_labels(
        self,
        labels: Sequence[str] | Mapping[str, str],
        label_names: Mapping[str, str] | None = None,
    ) -> None:
        """Replace the label set of the model and clear its support set. On errors the model is unchanged.

        A label name of which the tokenizer knows no token, such as an emoji, is logged as a warning.

        Args:
            labels: The labels, without `O` and without tag prefixes, or a mapping from labels to names.
            label_names: Label names, by label. Defaults to `default_label_name` where one is missing.

        Raises:
            TypeError: If `labels` is not a list of strings, or a mapping is not to strings.
            ValueError: If there are no labels, a label is repeated, a name is for an unknown label, names are
                given in both arguments, two labels have the same name, or a name has no tokens or too many
                for a prompt.

        Example:
            >>> from modeling_lacl import LaclForTokenClassification
            >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
            >>> model.set_labels(["person", "GPE"], {"GPE": "country or city"})
            >>> model.entity_types
            ['person', 'GPE']
        """
        names = self.resolve_names(labels, label_names)
        config, tokenizer = self.config, self.tokenizer
        token_ids = tokenize_label_names(tokenizer, list(names.values()), config.label_vector)
        owners: dict[tuple[int, ...], str] = {}
        for name, ids in zip(names.values(), token_ids, strict=True):
            if (owner := owners.setdefault(tuple(ids), name)) != name:
                raise ValueError(f"the label names {owner!r} and {name!r} have the same tokens: change one")
            if config.use_prompts and set(ids) <= {tokenizer.unk_token_id, tokenizer.cls_token_id}:
                logger.warning_once(
                    f"the tokenizer has no word of the label name {name!r}, so that the model cannot tell "
                    "what it means: give it other words"
                )
        separator = separator_id(tokenizer)
        split_prompt(token_ids, config.max_prompt_length)
        # Nothing fails from here on, so that an error leaves the model unchanged.
        config.id2label = dict(enumerate(names))
        config.label2id = {label: index for index, label in enumerate(names)}
        config.label_names = names
        config.label_token_ids = token_ids
        config.separator_token_id = separator
        if tokenizer.pad_token_id is not None:
            config.pad_token_id = tokenizer.pad_token_id
        self.clear_support()

    def with_labels(self: Model, labels: Sequence[str] | Mapping[str, str]) -> Model:
        """Return a model that shares the weights of this one and finds other types, zero-shot.

        Args:
            labels: The labels, or a mapping from labels to label names.

        Raises:
            TypeError: If `labels` is neither a list nor a mapping.
            ValueError: If the model has no prompts, or as in `set_labels`.

        Example:
            >>> from modeling_lacl import LaclForTokenClassification
            >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
            >>> cities = model.with_labels({"GPE": "city"})
            >>> [entity["word"] for entity in cities.predict("Ana Ruiz lives in Quito.")]
            ['Quito']
            >>> cities.entity_types == model.entity_types
            False
        """
        if not self.config.use_prompts:
            raise ValueError(
                "labels needs a model with label prompts, and this one was made with use_prompts=False"
            )
        if isinstance(labels, str) or not isinstance(labels, Sequence | Mapping):
            raise TypeError(f"labels is {labels!r}: give a list of labels, or a mapping from labels to names")
        model = with_own_labels(self)
        model.set_labels(labels)
        return model

    def resolve_names(
        self,
        labels: Sequence[str] | Mapping[str, str],
        label_names: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Return the label names of `O` and each label, in the order of ids; raises as `set_labels`."""
        if isinstance(labels, str) or not isinstance(labels, Iterable):
            raise TypeError(f"labels must be a list of entity types, got {labels!r}")
        if isinstance(labels, Mapping):
            if label_names:
                raise ValueError("labels is a mapping to names already: leave out label_names")
            label_names = labels
        labels = [label for label in labels if label != OUTSIDE]
        if not labels:
            raise ValueError("labels has no label except outside: give at least one entity type")
        if label_names is not None and not isinstance(label_names, Mapping):
            raise TypeError(f"label_names is {label_names!r}: give a mapping from labels to names")
        given = dict(label_names or {})
        for label in labels:
            if not isinstance(label, str):
                raise TypeError(f"labels has {label!r}: give every entity type as a string")
        for label, name in given.items():
            if not isinstance(name, str):
                raise TypeError(f"the name of the label {label!r} is {name!r}: give it in words, as a string")
        unknown = set(given) - {OUTSIDE, *labels}
        if unknown:
            raise ValueError(
                f"label_names has names for {sorted(unknown)}, which are not among the labels {labels}"
            )
        names = {OUTSIDE: given.get(OUTSIDE, self.config.outside_name)}
        owners = {names[OUTSIDE].strip().lower(): OUTSIDE}
        for label in labels:
            if label in names:
                raise ValueError(f"label {label!r} is repeated in labels: give it once")
            name = given.get(label, default_label_name(label))
            owner = owners.setdefault(name.strip().lower(), label)
            if owner != label:
                raise ValueError(
                    f"labels {owner!r} and {label!r} share the name {name!r}: give one of them another name"
                )
            names[label] = name
        return names

    @property
    def has_support(self) -> bool:
        """Whether the model has a support set."""
        return bool(self.config.support_size)

    def set_support(
        self, mean: Tensor, variance: Tensor, labels: Tensor, words: Sequence[str] | None = None
    ) -> None:
        """Store copies of support tokens in the model.

        Args:
            mean, variance: `(S, d)` fp32 each.
            labels: `(S,)` long, label ids; for a model of spans `(S, 3)`, by role, where −1 means that the
                token is no example in that role.
            words: For each token the text of the entity that it belongs to, `""` for outside. Only used to
                show the nearest example of a prediction.

        Raises:
            ValueError: If the shapes do not match, or a label is not one of the model.
        """
        shape = (len(labels), self.config.gaussian_size)
        if mean.shape != shape or variance.shape != shape:
            raise ValueError(
                f"mean and variance must be {shape}, got {tuple(mean.shape)}, {tuple(variance.shape)}"
            )
        if words is not None and len(words) != len(labels):
            raise ValueError(f"words must be {len(labels)}, one for each support token, got {len(words)}")
        num_labels = len(self.config.id2label or ())
        lowest = -1 if self.config.max_span_words else 0
        if labels.shape[1:] != self.support_labels.shape[1:]:
            raise ValueError(f"labels must be (S, 3) for a model of spans, else (S,), got {labels.shape}")
        if len(labels) and not lowest <= int(labels.min()) <= int(labels.max()) < num_labels:
            raise ValueError(
                f"support labels must be from 0 to {num_labels - 1}, got {labels.unique().tolist()}"
            )
        # The caller may be in inference mode, whose tensors cannot be used in autograd later.
        with torch.inference_mode(False):
            self.support_mean = mean.detach().to(self.device, torch.float32, copy=True).contiguous()
            self.support_variance = variance.detach().to(self.device, torch.float32, copy=True).contiguous()
            self.support_labels = labels.detach().to(self.device, torch.long, copy=True).contiguous()
        self.config.support_size = len(labels)
        self.config.support_words = None if words is None else list(words)

    def clear_support(self) -> None:
        """Remove the support set."""
        empty = self.support_mean.new_zeros((0, self.config.gaussian_size))
        self.set_support(empty, empty, self.support_labels[:0])

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer: the one that was set, or else the one saved with the checkpoint.

        Raises:
            ValueError: If there is none.
        """
        if self._tokenizer is None:
            if not self.name_or_path:
                raise ValueError("the model has no tokenizer: set model.tokenizer")
            try:
                # `config` avoids another request for it. Remote code of the tokenizer is refused explicitly;
                # otherwise transformers would ask on standard input.
                loaded = AutoTokenizer.from_pretrained(
                    self.name_or_path,
                    config=self.config,
                    trust_remote_code=False,
                    **self.tokenizer_arguments,
                )
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"no usable tokenizer in {self.name_or_path!r}: set model.tokenizer"
                ) from error
            self.tokenizer = loaded
        return cast(PreTrainedTokenizerBase, self._tokenizer)

    @tokenizer.setter
    def tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        fast_tokenizer(tokenizer)
        number = max(tokenizer.get_vocab().values(), default=-1) + 1
        embeddings = self.get_input_embeddings().num_embeddings
        if number > embeddings:
            raise ValueError(
                f"the tokenizer has {number} tokens and the encoder has embeddings of {embeddings}: give the "
                f"encoder's own tokenizer, or call resize_token_embeddings({number}) of the encoder or model"
            )
        self._tokenizer = tokenizer


def with_own_labels(model: Model) -> Model:
    """Return a model that shares the weights of `model`, with an independent label set and support set."""
    result: Any = copy.copy(model)
    # Shallow copies are enough: setting labels or support replaces fields and changes none in place.
    result.config = copy.copy(model.config)
    result._buffers = dict(result._buffers)
    result._modules = dict(result._modules)
    # Mixed precision sets a `forward` on the instance that is bound to the original, and so to its labels.
    result.__dict__.pop("forward", None)
    return cast(Model, result)
