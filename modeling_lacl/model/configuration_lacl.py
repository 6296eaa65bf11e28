"""The configuration of a LACL model: encoder, projection head, objectives, label set and decoding."""

from __future__ import annotations

import copy
import os
import re
from math import inf
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

FORMAT_VERSION = 1
"""Version of the checkpoint layout that this code writes, and the newest version that it reads."""

DIVERGENCES = ("jeffreys", "geometric_js", "moment_js", "euclidean", "cosine")
LOSS_TYPES = ("container", "supcon_out", "decoupled")
SUPPORT_METHODS = ("neighbors", "prototypes")
CALIBRATED = ("names", "support")
PROJECTIONS = ("gaussian", "relu_gaussian", "hidden", "unit_hidden")
LABEL_VECTORS = ("mean", "cls")

AUTO_MAP = {
    "AutoConfig": "pipeline_lacl.LaclConfig",
    "AutoModel": "pipeline_lacl.LaclModel",
    "AutoModelForTokenClassification": "pipeline_lacl.LaclForTokenClassification",
}
"""Classes that the Auto classes load from a checkpoint's remote code where this package is not installed.

All are named in the file that imports every other, since transformers copies a file with its imports and keys
the copy by the contents: one process can load checkpoints of two versions.
"""

CUSTOM_PIPELINES = {
    task: {"impl": f"pipeline_lacl.{name}", "pt": ["AutoModelForTokenClassification"], "type": "text"}
    for task, name in (
        ("few-shot-ner", "LaclPipeline"),
        ("token-classification", "LaclTokenClassificationPipeline"),
        ("ner", "LaclTokenClassificationPipeline"),
    )
}
"""Classes that `transformers.pipeline` loads from the remote code, by task."""

_CHOICES = {
    "projection": PROJECTIONS,
    "divergence": DIVERGENCES,
    "loss_type": LOSS_TYPES,
    "support_method": SUPPORT_METHODS,
    "label_vector": LABEL_VECTORS,
}
_NON_NEGATIVE = {
    "alpha": 1.0,
    "label_weight": 1.0,
    "threshold": 1.0,
    "class_weight_power": inf,
    "transition_power": inf,
}
_POSITIVE = ("similarity_temperature", "variance_epsilon")
_INTEGERS = {
    "projection_size": 1,
    "max_text_length": 1,
    "max_prompt_length": 1,
    "support_size": 0,
    "max_span_words": 0,
}
_MOST = {"num_hidden_layers": 1000, "hidden_size": 10**5, "intermediate_size": 10**6, "vocab_size": 10**7}
_MOST_LABELS = 10**5  # numbers above these are no model's: they would only fill the memory
_BOOLEANS = ("outside_attracts", "use_prompts", "shared_prompt", "viterbi")

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class LaclConfig(PreTrainedConfig):
    """Configuration of [`LaclModel`] and [`LaclForTokenClassification`].

    Args:
        encoder_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the encoder; any that `AutoModel` builds. Defaults to BERT base.
        projection (`str`): Representation of a token: `gaussian` (linear layers), `relu_gaussian` (a ReLU
            before them, as in CONTaiNER), `hidden` (the hidden state as the mean, with variance 1) or
            `unit_hidden` (the same, scaled to length 1).
        projection_size (`int`): Dimension *d* of the Gaussians. With `hidden` and `unit_hidden` it is the
            size of the hidden states.
        variance_epsilon (`float`): Added to `ELU + 1`, so that no variance is zero.
        divergence (`str`): Distance between two Gaussians, one of `jeffreys`, `geometric_js`, `moment_js`,
            `euclidean`, `cosine` (see [`losses_lacl.pairwise_divergence`]).
        similarity_temperature (`float`): A similarity is minus the divergence, divided by this.
        loss_type (`str`): `container`, `supcon_out` or `decoupled` (see [`losses_lacl`]).
        alpha (`float`): Weight in [0, 1] of the context–context loss. The context–label loss has the weight
            `1 - alpha`.
        class_weight_power (`float`): Both losses give a token the weight `n ** -class_weight_power`, where
            *n* is the number of tokens of its class in the batch. With 0 all tokens have the same weight,
            with 1 all classes.
        outside_attracts (`bool`): Whether the context–context loss treats outside tokens as a class like any
            other. If False, they do not attract each other and serve only as negatives of entity tokens.
        use_prompts (`bool`): Whether to append the label names to every text. If False, there is no
            context–label loss and no zero-shot prediction.
        shared_prompt (`bool`): Whether label names are encoded without attention to the text. Their states
            are then the same for every text and are computed once per batch, which saves time. A model has
            to be trained with the value it is used with.
        label_vector (`str`): State that stands for a label: the `mean` over the tokens of its name, or that
            of a `[CLS]` before the name (`cls`), as in the code of the paper's authors. A model has to be
            trained with the value it is used with.
        outside_name (`str`): The label name of outside, used in the prompt.
        label_names (`dict[str, str]`): Label name of each label.
        label_token_ids (`list[list[int]]`): Token ids of each label name, by label id, with the `[CLS]` of
            `label_vector`.
        separator_token_id (`int`): Token after each label name.
        pad_token_id (`int`, *optional*): Padding of packed sequences. Defaults to that of the encoder.
        max_text_length (`int`): Maximum length of a text in tokens, special tokens included. Longer texts are
            split into overlapping windows.
        max_prompt_length (`int`): Maximum length of a prompt in tokens. A larger label set is split into
            several prompts.
        support_size (`int`): Number of support tokens stored in the model.
        support_words (`list[str]`, *optional*): For each support token, the text of the entity that it
            belongs to. An empty string for outside.
        support_method (`str`): `neighbors` (nearest support token) or `prototypes`.
        label_weight (`float`): Weight in [0, 1] of label similarity if the model has a support set, too.
        viterbi (`bool`): Whether to decode by Viterbi with `transitions`.
        transition_power (`float`): Power to which transition probabilities are raised. Below 1 it reduces
            their influence relative to the scores of the words.
        max_span_words (`int`): Maximum number of words of an entity in a model of spans, whose tokens have
            Gaussians for three roles (see [`spans_lacl`]). With 0 the model labels tokens, as in the paper.
        calibration (`dict`, *optional*): For a model of spans, `[slope, intercept]` of the logistic function
            from the logit of a span to its score, by label names alone (`names`) and with a support set
            (`support`). Fitted on development data; by default `[1, 0]`.
        threshold (`float`): For a model of spans, minimum score of entities where `predict` is given none.
        languages (`list[str]`, *optional*): ISO 639-1 codes of the languages that the model was trained on.
            The installed package warns of text to tag that is in none of them.
        transitions (`dict`, *optional*): Abstract transition probabilities (see [`decoding_lacl`]).
        format_version (`int`): Layout version of the checkpoint.

    Raises:
        ValueError: If an option has an unknown value, a number is out of range, the encoder has no
            `model_type`, or the checkpoint has a newer format.

    Example:
        >>> from modeling_lacl import LaclConfig
        >>> config = LaclConfig(divergence="jeffreys", alpha=0.3)
        >>> config.encoder_config.model_type
        'bert'
    """

    model_type = "lacl"
    sub_configs = {"encoder_config": AutoConfig}
    # The predictions of `Trainer` are the logits, with hidden states and attentions if asked for.
    keys_to_ignore_at_inference = ["context_context_loss", "context_label_loss", "mean", "variance"]

    encoder_config: Any = None
    projection: str = "gaussian"
    projection_size: int = 128
    variance_epsilon: float = 1e-6
    divergence: str = "cosine"
    similarity_temperature: float = 0.1
    loss_type: str = "supcon_out"
    alpha: float = 0.6
    class_weight_power: float = 0.5
    outside_attracts: bool = True
    use_prompts: bool = True
    shared_prompt: bool = False
    label_vector: str = "mean"
    outside_name: str = "none"
    label_names: dict[str, str] | None = None
    label_token_ids: list[list[int]] | None = None
    separator_token_id: int | None = None
    pad_token_id: int | None = None
    max_text_length: int = 128
    max_prompt_length: int = 128
    support_size: int = 0
    support_words: list[str] | None = None
    support_method: str = "neighbors"
    label_weight: float = 0.7
    viterbi: bool = False
    transition_power: float = 0.3
    max_span_words: int = 0
    calibration: dict[str, list[float]] | None = None
    threshold: float = 0.5
    languages: list[str] | None = None
    transitions: dict[str, Any] | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self, **kwargs: Any) -> None:
        self._check_options()
        _check_size("num_labels", kwargs.get("num_labels"), _MOST_LABELS)
        self.encoder_config = encoder = _encoder_config(self.encoder_config)
        for name, most in _MOST.items():
            least = 0 if name == "num_hidden_layers" else 1  # embeddings alone are an encoder, too
            _check_size(f"encoder_config.{name}", getattr(encoder, name, None), most, least)
        if self.label_token_ids:
            _check_token_ids(
                self.label_token_ids, self.separator_token_id, getattr(encoder, "vocab_size", None)
            )
        if not self.projection.endswith("gaussian"):
            self.projection_size = self.hidden_size
        if self.pad_token_id is None:
            self.pad_token_id = encoder.pad_token_id
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        pipelines = copy.deepcopy(kwargs.pop("custom_pipelines", CUSTOM_PIPELINES))
        if not __name__.startswith("transformers_modules."):
            # The installed package registers these tasks, so that they need no `trust_remote_code`.
            pipelines = {task: impl for task, impl in pipelines.items() if task not in CUSTOM_PIPELINES}
        super().__post_init__(**{**kwargs, "custom_pipelines": pipelines})

    def _check_options(self) -> None:
        if self.format_version > FORMAT_VERSION:
            raise ValueError(
                f"this checkpoint has LACL format version {self.format_version}, and the code reads up to "
                f"{FORMAT_VERSION}: update it, by `pip install '.[torch]'` in a newer clone of lacl"
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name, highest in _NON_NEGATIVE.items():
            if not 0 <= getattr(self, name) <= highest:
                raise ValueError(f"{name} must be between 0 and {highest}, got {getattr(self, name)}")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name, lowest in _INTEGERS.items():
            number = getattr(self, name)
            if not isinstance(number, int) or number < lowest:
                raise ValueError(f"{name} must be a whole number from {lowest}, got {number!r}")
        for name in _BOOLEANS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if self.max_span_words and not self.projection.endswith("gaussian"):
            raise ValueError("max_span_words needs a gaussian projection, which gives each role its own")
        if self.calibration is not None:
            _check_calibration(self.calibration)
        if not isinstance(self.outside_name, str):
            raise ValueError(f"outside_name must be text, got {self.outside_name!r}")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Return the configuration of these values; `ValueError` for those of another type of model."""
        if config_dict.get("model_type", cls.model_type) != cls.model_type:
            raise ValueError(f"the configuration of a {config_dict['model_type']!r} model, not of a LACL one")
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return all values as they are saved, with references to the remote code and without local paths."""
        values = super().to_dict()
        values["auto_map"] = dict(AUTO_MAP)
        values["custom_pipelines"] = copy.deepcopy(CUSTOM_PIPELINES)
        encoder = values.get("encoder_config")
        if encoder and encoder.get("_name_or_path"):
            encoder["_name_or_path"] = hub_name(encoder["_name_or_path"])
        return values

    @property
    def hidden_size(self) -> int:
        """Size of the encoder's hidden states."""
        return self.encoder_config.hidden_size

    @property
    def gaussian_size(self) -> int:
        """Dimensions of all Gaussians of a token: `projection_size`, or for spans three times it."""
        return self.projection_size * (3 if self.max_span_words else 1)

    @property
    def vocab_size(self) -> int:
        """Size of the encoder's vocabulary; set by `resize_token_embeddings`."""
        return self.encoder_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, size: int) -> None:
        self.encoder_config.vocab_size = size


def _encoder_config(given: PreTrainedConfig | dict[str, Any] | None) -> Any:
    """Return the encoder's configuration: that of BERT base if none is given."""
    if given is None:
        return AutoConfig.for_model("bert")
    if not isinstance(given, dict):
        return given
    if "model_type" not in given:
        raise ValueError("encoder_config has no model_type: give one, such as bert")
    return AutoConfig.for_model(**given)


def _check_size(name: str, size: Any, most: int, least: int = 1) -> None:
    """Raise unless a size, if it is given, is a whole number of a model that can be."""
    if size is not None and (
        isinstance(size, bool) or not isinstance(size, int) or not least <= size <= most
    ):
        raise ValueError(f"{name} is {str(size)[:40]}: a model has a whole number from {least} to {most}")


def _check_calibration(calibration: Any) -> None:
    """Raise unless there is a positive slope and an intercept for names and for support."""
    for kind in CALIBRATED:
        line = calibration.get(kind) if isinstance(calibration, dict) else None
        if not isinstance(line, list | tuple) or len(line) != 2 or not line[0] > 0:
            raise ValueError(
                f"calibration must have [slope, intercept], slope > 0, for {' and '.join(CALIBRATED)}, "
                f"got {calibration!r}"
            )


def _check_token_ids(labels: Any, separator: Any, vocab_size: int | None) -> None:
    """Raise unless the token ids of label names and separator are in the vocabulary."""

    def is_token(value: Any) -> bool:
        return isinstance(value, int) and 0 <= value < (vocab_size or value + 1)

    if not isinstance(labels, list) or not all(
        isinstance(name, list) and name and all(map(is_token, name)) for name in labels
    ):
        raise ValueError("label_token_ids must have a list of the encoder's token ids for each label")
    if not is_token(separator):
        raise ValueError(f"separator_token_id must be one of the encoder's token ids, got {separator!r}")


def hub_name(name: str | os.PathLike[str] | None) -> str:
    """Return a name on the Hub unchanged, and an empty string for a local path, which others cannot use."""
    text = os.fspath(name or "")
    return text if _HUB_NAME.fullmatch(text) and not os.path.exists(text) else ""
