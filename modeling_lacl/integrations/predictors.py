"""Whatever has `predict`, by folder or name: a checkpoint, or an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..hub.loading import load_model
from ..model.modeling_lacl import LaclForTokenClassification

if TYPE_CHECKING:
    from .onnx.runner import LaclOnnxModel


def load_predictor(checkpoint: str | Path) -> LaclForTokenClassification | LaclOnnxModel:
    """Loads what has `predict`: a checkpoint as `load_model` does, or a folder that `lacl export` wrote."""
    if (Path(checkpoint) / "model.onnx").is_file():
        from .onnx.runner import LaclOnnxModel

        return LaclOnnxModel.from_pretrained(checkpoint)
    return load_model(checkpoint)
