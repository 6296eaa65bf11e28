"""LACL: few-shot named entity recognition from label names and a handful of labelled sentences.

Names load when first used, so that `lacl --help` answers at once. This import alone makes the model known to
transformers: its Auto classes and pipelines find it, whether they are loaded before or after.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import registration

if TYPE_CHECKING:
    from .adaptation import adapt
    from .arguments import LaclTrainingArguments
    from .configuration_lacl import LaclConfig
    from .data import LaclDataError, read_dataset
    from .modeling_lacl import LaclForTokenClassification, LaclModel, LaclOutput, LaclPreTrainedModel
    from .pipeline_lacl import LaclPipeline
    from .trainer import LaclTrainer
    from .type_changes import add_types, remove_types

__version__ = "0.1.0"

_MODULES = {
    "LaclConfig": "configuration_lacl",
    "LaclDataError": "data",
    "LaclForTokenClassification": "modeling_lacl",
    "LaclModel": "modeling_lacl",
    "LaclOutput": "modeling_lacl",
    "LaclPipeline": "pipeline_lacl",
    "LaclPreTrainedModel": "modeling_lacl",
    "LaclTrainer": "trainer",
    "LaclTrainingArguments": "arguments",
    "adapt": "adaptation",
    "add_types": "type_changes",
    "read_dataset": "data",
    "remove_types": "type_changes",
}

__all__ = [
    "LaclConfig",
    "LaclDataError",
    "LaclForTokenClassification",
    "LaclModel",
    "LaclOutput",
    "LaclPipeline",
    "LaclPreTrainedModel",
    "LaclTrainer",
    "LaclTrainingArguments",
    "adapt",
    "add_types",
    "read_dataset",
    "remove_types",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


registration.watch()
