"""Loading of models that have `predict`: checkpoints and exported models."""

from __future__ import annotations

from pathlib import Path

from ..hub.loading import load_model
from ..model.modeling_lacl import LaclForTokenClassification
from .onnx.runner import GRAPH_FILE, LaclOnnxModel


def load_predictor(checkpoint: str | Path) -> LaclForTokenClassification | LaclOnnxModel:
    """Load a checkpoint, as `load_model` does, or a model that `lacl export` wrote."""
    if (Path(checkpoint) / GRAPH_FILE).is_file():
        return LaclOnnxModel.from_pretrained(checkpoint)
    return load_model(checkpoint)
