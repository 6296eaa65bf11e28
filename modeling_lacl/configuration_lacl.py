"""The configuration of a LACL model: encoder, projection head, objectives, label set and decoding."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

FORMAT_VERSION = 1
"""Version of the checkpoint layout that this code writes, and the newest one that it reads."""

OUTSIDE = "O"
"""The label of a token that belongs to no entity; always label id 0."""

DIVERGENCES = ("jeffreys", "geometric_js", "moment_js", "euclidean", "cosine")
LOSS_TYPES = ("container", "supcon_out", "decoupled")
SUPPORT_METHODS = ("neighbors", "prototypes")
PROJECTIONS = ("gaussian", "relu_gaussian", "hidden", "unit_hidden")

AUTO_MAP = {
    "AutoConfig": "auto_lacl.LaclConfig",
    "AutoModel": "auto_lacl.LaclModel",
    "AutoModelForTokenClassification": "auto_lacl.LaclForTokenClassification",
}
"""What the Auto classes find in a checkpoint's own code, where this package is not installed."""

_TOKEN_CLASSIFICATION = {
    "impl": "auto_lacl.LaclTokenClassificationPipeline",
    "pt": ["AutoModelForTokenClassification"],
    "type": "text",
}
CUSTOM_PIPELINES = {
    "few-shot-ner": {
        "impl": "auto_lacl.LaclPipeline",
        "pt": ["AutoModelForTokenClassification"],
        "type": "text",
    },
    "token-classification": _TOKEN_CLASSIFICATION,
    "ner": _TOKEN_CLASSIFICATION,
}
"""What `transformers.pipeline` finds there, by task."""

FREE_OPTIONS = (
    "divergence",
    "similarity_temperature",
    "loss_type",
    "alpha",
    "class_weight_power",
    "outside_attracts",
    "support_method",
    "label_weight",
    "viterbi",
    "transition_power",
    "max_text_length",
    "max_prompt_length",
)
"""Options of losses, decoding and lengths: no weight is there or not because of them."""

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class LaclConfig(PreTrainedConfig):
    """Configuration of [`LaclModel`] and [`LaclForTokenClassification`].

    Args:
        encoder_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the encoder; any that `AutoModel` builds. Defaults to BERT base.
        projection (`str`): What stands for a token: `gaussian` (linear layers), `relu_gaussian` (a ReLU
            before them, as CONTaiNER has it), `hidden` (the hidden state itself as a mean, with variance 1)
            or `unit_hidden` (the same, scaled to length 1).
        projection_size (`int`): Dimension *d* of the Gaussians; without a projection that of hidden states.
        variance_epsilon (`float`): Added to `ELU + 1`, so that no variance is zero.
        divergence (`str`): Distance between two Gaussians, one of `jeffreys`, `geometric_js`, `moment_js`,
            `euclidean`, `cosine` (see [`divergences.pairwise_divergence`]).
        similarity_temperature (`float`): A similarity is minus the divergence, divided by this.
        loss_type (`str`): `container`, `supcon_out` or `decoupled` (see [`losses`]).
        alpha (`float`): Weight in [0, 1] of the context–context loss; context–label weighs `1 - alpha`.
        class_weight_power (`float`): In both losses a token of a class with *n* tokens in the batch weighs
            `n ** -class_weight_power`: 0 weighs tokens alike, 1 classes.
        outside_attracts (`bool`): In the context–context loss, tokens outside of entities are a class like
            others. Without, they do not attract each other, and are only what those of entities repel.
        use_prompts (`bool`): Append the label names to every text. Without, there is no context–label loss
            and no zero-shot prediction.
        shared_prompt (`bool`): Label names do not look at the text. Their states are the same for every text,
            so they are encoded once a batch, which saves their share of the work. A model is trained for one
            or the other.
        outside_name (`str`): The words that stand for "no entity" in the prompt.
        label_names (`dict[str, str]`): Natural-language name of each label.
        label_token_ids (`list[list[int]]`): Tokens of each label's name, by label id.
        separator_token_id (`int`): Token after each label name.
        pad_token_id (`int`, *optional*): Padding of packed rows; the encoder's by default.
        max_text_length (`int`): Longest text, in tokens with the special ones, that goes through the encoder
            at once; longer text is cut into overlapping windows.
        max_prompt_length (`int`): Longest prompt in tokens; a larger label set is split over several prompts.
        support_size (`int`): Number of support tokens kept with the model.
        support_words (`list[str]`, *optional*): For each of them the entity that it is a word of, as it is in
            its sentence; an empty string outside of entities.
        support_method (`str`): `neighbors` (nearest support token) or `prototypes`.
        label_weight (`float`): Weight in [0, 1] of label similarity when a support is there as well.
        viterbi (`bool`): Decode by Viterbi with `transitions`.
        transition_power (`float`): Power to which transition probabilities are raised: below 1 they count
            less against the scores of the words.
        transitions (`dict`, *optional*): Abstract transition probabilities (see [`decoding`]).
        format_version (`int`): Layout version of the checkpoint.

    Raises:
        ValueError: An unknown choice, a number outside its range, an encoder without `model_type`, or a
            checkpoint of a newer format.
    """

    model_type = "lacl"
    sub_configs = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: PreTrainedConfig | dict[str, Any] | None = None,
        projection: str = "gaussian",
        projection_size: int = 128,
        variance_epsilon: float = 1e-6,
        divergence: str = "cosine",
        similarity_temperature: float = 0.1,
        loss_type: str = "supcon_out",
        alpha: float = 0.6,
        class_weight_power: float = 0.5,
        outside_attracts: bool = True,
        use_prompts: bool = True,
        shared_prompt: bool = False,
        outside_name: str = "none",
        label_names: dict[str, str] | None = None,
        label_token_ids: list[list[int]] | None = None,
        separator_token_id: int | None = None,
        pad_token_id: int | None = None,
        max_text_length: int = 128,
        max_prompt_length: int = 128,
        support_size: int = 0,
        support_words: list[str] | None = None,
        support_method: str = "neighbors",
        label_weight: float = 0.7,
        viterbi: bool = False,
        transition_power: float = 0.3,
        transitions: dict[str, Any] | None = None,
        format_version: int = FORMAT_VERSION,
        **kwargs: Any,
    ) -> None:
        if format_version > FORMAT_VERSION:
            raise ValueError(
                f"this checkpoint has LACL format version {format_version}, and the code reads up to "
                f"{FORMAT_VERSION}: update it, by `pip install .` in a newer clone of lacl"
            )
        _check_choice("projection", projection, PROJECTIONS)
        _check_choice("divergence", divergence, DIVERGENCES)
        _check_choice("loss_type", loss_type, LOSS_TYPES)
        _check_choice("support_method", support_method, SUPPORT_METHODS)
        for name, value, highest in (
            ("alpha", alpha, 1.0),
            ("label_weight", label_weight, 1.0),
            ("class_weight_power", class_weight_power, float("inf")),
            ("transition_power", transition_power, float("inf")),
        ):
            if not 0 <= value <= highest:
                raise ValueError(f"{name} must be between 0 and {highest}, got {value}")
        for name, value in (
            ("similarity_temperature", similarity_temperature),
            ("variance_epsilon", variance_epsilon),
        ):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name, number, lowest in (
            ("projection_size", projection_size, 1),
            ("max_text_length", max_text_length, 1),
            ("max_prompt_length", max_prompt_length, 1),
            ("support_size", support_size, 0),
        ):
            if not isinstance(number, int) or number < lowest:
                raise ValueError(f"{name} must be a whole number from {lowest}, got {number!r}")
        for name, switch in (
            ("outside_attracts", outside_attracts),
            ("use_prompts", use_prompts),
            ("shared_prompt", shared_prompt),
            ("viterbi", viterbi),
        ):
            if not isinstance(switch, bool):
                raise ValueError(f"{name} must be true or false, got {switch!r}")
        if not isinstance(outside_name, str):
            raise ValueError(f"outside_name must be text, got {outside_name!r}")

        if encoder_config is None:
            encoder_config = AutoConfig.for_model("bert")
        elif isinstance(encoder_config, dict):
            if "model_type" not in encoder_config:
                raise ValueError("encoder_config has no model_type: give one, such as bert")
            encoder_config = AutoConfig.for_model(**encoder_config)
        if label_token_ids:
            _check_token_ids(label_token_ids, separator_token_id, getattr(encoder_config, "vocab_size", None))
        self.encoder_config = encoder_config
        self.projection = projection
        self.projection_size = projection_size if projection.endswith("gaussian") else self.hidden_size
        self.variance_epsilon = variance_epsilon
        self.divergence = divergence
        self.similarity_temperature = similarity_temperature
        self.loss_type = loss_type
        self.alpha = alpha
        self.class_weight_power = class_weight_power
        self.outside_attracts = outside_attracts
        self.use_prompts = use_prompts
        self.shared_prompt = shared_prompt
        self.outside_name = outside_name
        self.label_names = label_names
        self.label_token_ids = label_token_ids
        self.separator_token_id = separator_token_id
        self.max_text_length = max_text_length
        self.max_prompt_length = max_prompt_length
        self.support_size = support_size
        self.support_words = support_words
        self.support_method = support_method
        self.label_weight = label_weight
        self.viterbi = viterbi
        self.transition_power = transition_power
        self.transitions = transitions
        self.format_version = format_version
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        pipelines = copy.deepcopy(kwargs.pop("custom_pipelines", CUSTOM_PIPELINES))
        if not __name__.startswith("transformers_modules."):
            # The installed package registers these tasks: nobody need trust a checkpoint's own code for them.
            pipelines = {task: impl for task, impl in pipelines.items() if task not in CUSTOM_PIPELINES}
        super().__init__(**{**kwargs, "custom_pipelines": pipelines})
        self.pad_token_id = encoder_config.pad_token_id if pad_token_id is None else pad_token_id

    def to_dict(self) -> dict[str, Any]:
        """All values, as they are saved: with the way to the checkpoint's own code, and no folder's name."""
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
        size: int = self.encoder_config.hidden_size
        return size

    @property
    def vocab_size(self) -> int:
        """Size of the encoder's vocabulary; set by `resize_token_embeddings`."""
        size: int = self.encoder_config.vocab_size
        return size

    @vocab_size.setter
    def vocab_size(self, size: int) -> None:
        self.encoder_config.vocab_size = size


def _check_token_ids(labels: Any, separator: Any, vocab_size: int | None) -> None:
    """Raises unless these are the tokens of label names and the one between them, of this vocabulary."""

    def is_token(value: Any) -> bool:
        return isinstance(value, int) and 0 <= value < (vocab_size or value + 1)

    if not isinstance(labels, list) or not all(
        isinstance(name, list) and name and all(map(is_token, name)) for name in labels
    ):
        raise ValueError("label_token_ids must have a list of the encoder's token ids for each label")
    if not is_token(separator):
        raise ValueError(f"separator_token_id must be one of the encoder's token ids, got {separator!r}")


def hub_name(name: str | os.PathLike[str] | None) -> str:
    """A name on the Hub as it is, and nothing for a folder of this machine, which tells others nothing."""
    text = os.fspath(name or "")
    return text if _HUB_NAME.fullmatch(text) and not os.path.exists(text) else ""


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
