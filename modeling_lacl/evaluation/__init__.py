"""Entity scores, and the domain-transfer protocol over published support sets.

Names load when first used: the trainer needs the scores alone, without the protocol, which imports adapting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .metric import SeqevalMetric
    from .recipe import TransferRecipe, TransferTarget
    from .report import TransferReport
    from .results import TransferResult
    from .scores import EntityScores, TypeScores, entity_scores
    from .transfer import evaluate_recipe, evaluate_transfer

_MODULES = {
    "EntityScores": "scores",
    "SeqevalMetric": "metric",
    "TransferRecipe": "recipe",
    "TransferReport": "report",
    "TransferResult": "results",
    "TransferTarget": "recipe",
    "TypeScores": "scores",
    "entity_scores": "scores",
    "evaluate_recipe": "transfer",
    "evaluate_transfer": "transfer",
}

__all__ = [
    "EntityScores",
    "SeqevalMetric",
    "TransferRecipe",
    "TransferReport",
    "TransferResult",
    "TransferTarget",
    "TypeScores",
    "entity_scores",
    "evaluate_recipe",
    "evaluate_transfer",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
