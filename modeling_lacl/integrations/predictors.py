"""Loading of models that have `predict`: checkpoints and exported models."""

from __future__ import annotations

from pathlib import Path

from ..hub.loading import load_model
from ..model.modeling_lacl import LaclForTokenClassification
from .onnx.runner import GRAPH_FILE, LaclOnnxModel


def own_labels_notice(model: LaclForTokenClassification | LaclOnnxModel, option: str) -> str | None:
    """Return what to tell a user who gave no labels to a source model; None for the user's own model.

    Args:
        model: The model that predicts.
        option: How to give labels, such as `--labels person,city`.
    """
    if isinstance(model, LaclOnnxModel) or model.has_support or not model.entity_types:
        return None
    types = ", ".join(model.entity_types)
    return f"no labels given: the {len(model.entity_types)} types of the model are used ({types}); {option}"


def load_predictor(
    checkpoint: str | Path, num_threads: int | None = None
) -> LaclForTokenClassification | LaclOnnxModel:
    """Load a checkpoint, as `load_model` does, or a model that `lacl export` wrote.

    Args:
        checkpoint: Its folder, or the name of the checkpoint.
        num_threads: Number of threads of an exported model; by default one per core.
    """
    if (Path(checkpoint) / GRAPH_FILE).is_file():
        return LaclOnnxModel.from_pretrained(checkpoint, num_threads=num_threads)
    return load_model(checkpoint)
