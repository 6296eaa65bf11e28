"""LACL: few-shot named entity recognition from label names and a handful of labelled sentences.

Names load when first used, so that `lacl --help` answers at once. This import alone makes the model known to
transformers: its Auto classes and pipelines find it, whether they are loaded before or after.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import registration
from .optional import remedy
from .version import __version__

if TYPE_CHECKING:
    from .data.corpora.loading import load_corpus
    from .data.examples import LaclDataError
    from .data.reading import read_dataset
    from .data.tokenize import tokenize_dataset
    from .evaluation.cross_validation import cross_validate
    from .evaluation.model_evaluation import evaluate_model
    from .evaluation.suggesting import suggest_sentences
    from .integrations.onnx.runner import LaclOnnxModel
    from .model.configuration_lacl import LaclConfig
    from .model.encoder_lacl import LaclOutput
    from .model.modeling_lacl import LaclForTokenClassification, LaclModel
    from .model.pipeline_lacl import LaclPipeline
    from .model.saving_lacl import LaclPreTrainedModel
    from .training.adaptation import adapt
    from .training.arguments import DataArguments, LaclTrainingArguments, ModelArguments
    from .training.collator import LaclDataCollator
    from .training.source import train_source
    from .training.trainer import LaclTrainer
    from .training.type_changes import add_types, remove_types

# The module of each name: PEP 562 has no way to import later but by the module's name.
_MODULES = {
    "DataArguments": "training.arguments",
    "LaclConfig": "model.configuration_lacl",
    "LaclDataCollator": "training.collator",
    "LaclDataError": "data.examples",
    "LaclForTokenClassification": "model.modeling_lacl",
    "LaclModel": "model.modeling_lacl",
    "LaclOnnxModel": "integrations.onnx.runner",
    "LaclOutput": "model.encoder_lacl",
    "LaclPipeline": "model.pipeline_lacl",
    "LaclPreTrainedModel": "model.saving_lacl",
    "LaclTrainer": "training.trainer",
    "LaclTrainingArguments": "training.arguments",
    "ModelArguments": "training.arguments",
    "adapt": "training.adaptation",
    "add_types": "training.type_changes",
    "cross_validate": "evaluation.cross_validation",
    "evaluate_model": "evaluation.model_evaluation",
    "load_corpus": "data.corpora.loading",
    "read_dataset": "data.reading",
    "remove_types": "training.type_changes",
    "suggest_sentences": "evaluation.suggesting",
    "tokenize_dataset": "data.tokenize",
    "train_source": "training.source",
}

__all__ = [
    "DataArguments",
    "LaclConfig",
    "LaclDataCollator",
    "LaclDataError",
    "LaclForTokenClassification",
    "LaclModel",
    "LaclOnnxModel",
    "LaclOutput",
    "LaclPipeline",
    "LaclPreTrainedModel",
    "LaclTrainer",
    "LaclTrainingArguments",
    "ModelArguments",
    "__version__",
    "adapt",
    "add_types",
    "cross_validate",
    "evaluate_model",
    "load_corpus",
    "read_dataset",
    "remove_types",
    "suggest_sentences",
    "tokenize_dataset",
    "train_source",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(remedy(error), name=error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


registration.install_import_hook()
