"""Loading checkpoints by folder or model id, with errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import PreTrainedConfig

from ..model.configuration_lacl import LaclConfig
from ..model.modeling_lacl import LaclForTokenClassification
from .bundled import RELEASED, check_name

if TYPE_CHECKING:
    pass


_REMEDY = (
    f"name a folder that `lacl train` or `lacl adapt` wrote, {' or '.join(RELEASED)}, "
    "or a LACL model on the Hub"
)


def load_model(
    checkpoint: str | Path, model_class: type[LaclForTokenClassification] = LaclForTokenClassification
) -> LaclForTokenClassification:
    """Load a checkpoint onto the fastest available device, in evaluation mode.

    Args:
        checkpoint: A folder that `save_pretrained`, `lacl train` or `lacl adapt` wrote, the name of a
            released model, or a model id on the Hub.
        model_class: The class of the model.

    Returns:
        The model, ready to predict.

    Raises:
        ValueError: The checkpoint does not exist, is not a LACL model, or is damaged. For a folder, the
            message names the file.
    """
    name, folder = str(checkpoint), Path(checkpoint)
    is_folder = folder.is_dir() and not (name in RELEASED and not (folder / "config.json").is_file())
    try:
        if is_folder:
            _check_type(name, _read_config(folder))
            if (folder / "model.onnx").is_file() and not any(folder.glob("*.safetensors")):
                raise ValueError(
                    f"{name} is an exported model, which only predicts: give the checkpoint that it was "
                    "exported from"
                )
        elif name not in RELEASED:
            check_name(name)
            values, _ = PreTrainedConfig.get_config_dict(name)
            if not values:
                raise OSError("no config.json")
            _check_type(name, values)
        model = model_class.from_pretrained(name)
        if is_folder:
            _check_prediction(model)
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {checkpoint} are damaged or cut short ({error}): copy or train them again"
        ) from error
    except (OSError, HFValidationError) as error:
        if is_folder and (folder / "config.json").is_file():
            raise ValueError(f"cannot load the checkpoint {name!r}: {_first_line(error)}") from error
        raise ValueError(f"cannot load the checkpoint {name!r}: {_REMEDY}") from error
    except ModuleNotFoundError:
        raise
    except Exception as error:
        if not is_folder or (isinstance(error, ValueError) and str(folder) in str(error)):
            raise
        # An invalid configuration may raise any exception in the code of the encoder.
        raise ValueError(
            f"{folder / 'config.json'} does not fit the weights beside it ({_first_line(error)}): "
            "copy or make the checkpoint again"
        ) from error
    return model.to(PartialState().device).eval()


def _read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder, checked as far as possible without the weights."""
    file = folder / "config.json"
    remedy = "copy or make the checkpoint again"
    if not file.is_file():
        if any(folder.glob(".saving-*")):
            raise ValueError(
                f"cannot load the checkpoint {str(folder)!r}: it has no config.json, since saving it was "
                "interrupted: make it again"
            )
        raise ValueError(f"cannot load the checkpoint {str(folder)!r}, which has no config.json: {_REMEDY}")
    try:
        values = json.loads(file.read_bytes().decode("utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}:{error.lineno}: not JSON ({error.msg}): {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not JSON ({error}): {remedy}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file}: holds a {type(values).__name__}, not an object: {remedy}")
    if values.get("model_type") == LaclConfig.model_type:
        try:
            LaclConfig.from_dict(values)
        except Exception as error:  # transformers raises various exceptions for invalid values of the encoder
            raise ValueError(f"{file}: {_first_line(error)}") from error
    return values


def _check_prediction(model: LaclForTokenClassification) -> None:
    """Tag one word: many options are only used, and invalid ones only found, in a forward pass."""
    config = model.config
    if model.has_support or (config.use_prompts and config.label_token_ids):
        model.predict("a")


def _check_type(name: str, values: dict[str, Any]) -> None:
    if values.get("model_type") != LaclConfig.model_type:
        raise ValueError(
            f"{name} is a {values.get('model_type')} model, not a LACL one: {_REMEDY}; "
            "`lacl train --encoder …` makes one from it"
        )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    return first if isinstance(error, ValueError | OSError) and first else f"{type(error).__name__}: {first}"
