"""Loading of models that have `predict`: checkpoints and exported models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..optional import require
from .onnx.runner import GRAPH_FILE, LaclOnnxModel

if TYPE_CHECKING:
    from ..model.modeling_lacl import LaclForTokenClassification


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


def is_exported(checkpoint: str | Path) -> bool:
    """Return whether this is the folder of a model that `lacl export` wrote."""
    return (Path(checkpoint) / GRAPH_FILE).is_file()


def load_predictor(
    checkpoint: str | Path, num_threads: int | None = None
) -> LaclForTokenClassification | LaclOnnxModel:
    """Load a checkpoint, as `load_model` does, or a model that `lacl export` wrote.

    Args:
        checkpoint: Its folder, or the name of the checkpoint.
        num_threads: Number of threads of an exported model; by default one per core.

    Raises:
        ModuleNotFoundError: What the kind of model needs is not installed.
    """
    if is_exported(checkpoint):
        return LaclOnnxModel.from_pretrained(checkpoint, num_threads=num_threads)
    require("torch", "torch")
    from ..hub.loading import load_model

    return load_model(checkpoint)
