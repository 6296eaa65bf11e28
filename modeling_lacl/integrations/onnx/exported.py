"""The files beside an exported graph, read without transformers: configuration and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from ...model.prediction_lacl import whole_number
from ...optional import require

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
_TOKENIZER_SETTINGS = "tokenizer_config.json"
_FORMAT_VERSION = 1
_REMEDY = "copy the folder again, or export the model again"


@dataclass(frozen=True)
class ExportedConfig:
    """What prediction needs of the `LaclConfig` of an exported model, which documents the values."""

    id2label: dict[int, str]
    max_text_length: int
    pad_token_id: int | None
    use_prompts: bool
    support_size: int
    viterbi: bool
    transitions: dict[str, Any] | None
    transition_power: float
    max_span_words: int = 0
    calibration: dict[str, list[float]] | None = None
    threshold: float = 0.5

    @classmethod
    def read(cls, file: Path) -> ExportedConfig:
        """Read the `config.json` of an exported model.

        Raises:
            ValueError: It is damaged, of another kind of model, or of a newer version.
        """
        values = read_json(file)
        if values.get("model_type") != "lacl":
            raise ValueError(
                f"{file}: the configuration of a {values.get('model_type')!r} model, not a LACL one"
            )
        if values.get("format_version", 1) != _FORMAT_VERSION:
            raise ValueError(
                f"{file}: format version {values['format_version']!r}, and this version of lacl reads "
                f"{_FORMAT_VERSION}: update it"
            )
        missing = [one.name for one in fields(cls) if one.default is MISSING and one.name not in values]
        if missing:
            raise ValueError(f"{file}: {', '.join(missing)} is missing: {_REMEDY}")
        given = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        try:
            labels = {int(number): label for number, label in given["id2label"].items()}
            if sorted(labels) != list(range(len(labels))) or not all(
                isinstance(label, str) for label in labels.values()
            ):
                raise ValueError("id2label is not a label for each number from 0")
            for name, least in (("max_text_length", 1), ("support_size", 0), ("max_span_words", 0)):
                whole_number(name, given.get(name, 0), least)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: {error}: {_REMEDY}") from error
        return cls(**{**given, "id2label": labels})


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: The file is not JSON, or holds something else.
    """
    try:
        values = json.loads(file.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error}): {_REMEDY}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file}: holds a {type(values).__name__}, not an object: {_REMEDY}")
    return values


@dataclass(frozen=True)
class ExportedTokenizer:
    """The tokenizer of an exported model, with what `predict` uses of a fast tokenizer of transformers.

    Args:
        backend_tokenizer: A `tokenizers.Tokenizer`.
        truncation_side: The side on which windows of a long text are incomplete: `right` or `left`.
    """

    backend_tokenizer: Any
    truncation_side: str = "right"
    is_fast = True

    @classmethod
    def read(cls, folder: Path) -> ExportedTokenizer:
        """Read the tokenizer from a folder that `export_onnx` wrote.

        Raises:
            ModuleNotFoundError: The package tokenizers is not installed.
            ValueError: A file is damaged.
        """
        tokenizers = require("tokenizers", "runtime")
        file = folder / TOKENIZER_FILE
        try:
            backend = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises no other class
            raise ValueError(f"{file}: not a tokenizer ({error}): {_REMEDY}") from error
        backend.no_padding()
        settings_file = folder / _TOKENIZER_SETTINGS
        settings = read_json(settings_file) if settings_file.is_file() else {}
        backend.encode_special_tokens = bool(settings.get("split_special_tokens", False))
        return cls(backend, str(settings.get("truncation_side", "right")))

    def num_special_tokens_to_add(self) -> int:
        """Return the number of special tokens around a text."""
        return int(self.backend_tokenizer.num_special_tokens_to_add(False))

    def __call__(
        self, texts: Sequence[str], *, max_length: int, stride: int, **options: bool
    ) -> dict[str, list[Any]]:
        """Tokenise texts, each as windows of at most `max_length` tokens that share `stride` tokens.

        Args:
            texts: The texts.
            max_length: Most tokens of a window, with the special ones.
            stride: Number of tokens that adjacent windows share.
            **options: What a tokenizer of transformers needs to be told to do the same.

        Returns:
            `input_ids`, `offset_mapping` and `overflow_to_sample_mapping` of every window, as from a
            tokenizer of transformers.

        Raises:
            TypeError: `options` ask for something else.
        """
        if options != _OPTIONS:
            raise TypeError(f"the tokenizer of an exported model only takes the options {_OPTIONS}")
        self.backend_tokenizer.enable_truncation(max_length, stride=stride, direction=self.truncation_side)
        encoded: dict[str, list[Any]] = {
            "input_ids": [],
            "offset_mapping": [],
            "overflow_to_sample_mapping": [],
        }
        for number, encoding in enumerate(self.backend_tokenizer.encode_batch(list(texts))):
            for window in (encoding, *encoding.overflowing):
                encoded["input_ids"].append(window.ids)
                encoded["offset_mapping"].append(window.offsets)
                encoded["overflow_to_sample_mapping"].append(number)
        return encoded


_OPTIONS = {
    "truncation": True,
    "return_overflowing_tokens": True,
    "return_offsets_mapping": True,
    "return_attention_mask": False,
    "return_token_type_ids": False,
}
