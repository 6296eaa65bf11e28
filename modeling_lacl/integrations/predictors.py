"""Whatever has `predict`, by folder or name: a checkpoint, or an exported model."""

from __future__ import annotations

from pathlib import Path

from ..hub.loading import load_model
from ..model.modeling_lacl import LaclForTokenClassification
from .onnx.runner import GRAPH_FILE, LaclOnnxModel


def load_predictor(checkpoint: str | Path) -> LaclForTokenClassification | LaclOnnxModel:
    """Load what has `predict`: a checkpoint as `load_model` does, or a folder that `lacl export` wrote."""
    if (Path(checkpoint) / GRAPH_FILE).is_file():
        return LaclOnnxModel.from_pretrained(checkpoint)
    return load_model(checkpoint)
