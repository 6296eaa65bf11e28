"""Checkpoints by folder or Hub name, with errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import PartialState  # type: ignore[import-untyped]
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from transformers import PreTrainedConfig

from .configuration_lacl import LaclConfig
from .modeling_lacl import LaclForTokenClassification
from .released import RELEASED

if TYPE_CHECKING:
    from .onnx import LaclOnnxModel


def load_model(
    checkpoint: str | Path, model_class: type[LaclForTokenClassification] = LaclForTokenClassification
) -> LaclForTokenClassification:
    """Loads a checkpoint onto the fastest device at hand, ready to predict.

    Args:
        checkpoint: A folder that `save_pretrained`, `lacl train` or `lacl adapt` wrote, the name of a
            released model, or a name on the Hub.
        model_class: The class of the model.

    Raises:
        ValueError: It is not there, or is not a LACL model.
    """
    remedy = (
        f"name a folder that `lacl train` or `lacl adapt` wrote, {' or '.join(RELEASED)}, "
        "or a LACL model on the Hub"
    )
    try:
        if checkpoint in RELEASED:
            return model_class.from_pretrained(checkpoint).to(PartialState().device).eval()
        values, _ = PreTrainedConfig.get_config_dict(str(checkpoint))
        if not values:
            raise OSError("no config.json")
        if values.get("model_type") != LaclConfig.model_type:
            raise ValueError(
                f"{checkpoint} is a {values.get('model_type')} model, not a LACL one: {remedy}; "
                "`lacl train --encoder …` makes one from it"
            )
        model = model_class.from_pretrained(checkpoint)
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {checkpoint} are damaged or cut short ({error}): copy or train them again"
        ) from error
    except (OSError, HFValidationError) as error:
        raise ValueError(f"cannot load the checkpoint {str(checkpoint)!r}: {remedy}") from error
    return model.to(PartialState().device).eval()


def load_predictor(checkpoint: str | Path) -> LaclForTokenClassification | LaclOnnxModel:
    """Loads what has `predict`: a checkpoint as `load_model` does, or a folder that `lacl export` wrote."""
    if (Path(checkpoint) / "model.onnx").is_file():
        from .onnx import LaclOnnxModel

        return LaclOnnxModel.from_pretrained(checkpoint)
    return load_model(checkpoint)
