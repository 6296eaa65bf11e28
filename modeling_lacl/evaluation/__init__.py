"""Entity scores, and the protocols: domain transfer over published support sets, and episodes.

Names load when first used: the trainer needs the scores alone, without the protocol, which imports adapting.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import ComparisonReport, compare, evaluate_recipe
    from .metric import SeqevalMetric
    from .recipe import ComparisonRecipe, EpisodeTarget, TransferRecipe, TransferTarget
    from .report import TransferReport
    from .results import TransferResult
    from .scores import EntityScores, TypeScores, entity_scores, length_scores
    from .transfer import evaluate_transfer

_MODULES = {
    "ComparisonRecipe": "recipe",
    "ComparisonReport": "comparison",
    "EntityScores": "scores",
    "EpisodeTarget": "recipe",
    "SeqevalMetric": "metric",
    "TransferRecipe": "recipe",
    "TransferReport": "report",
    "TransferResult": "results",
    "TransferTarget": "recipe",
    "TypeScores": "scores",
    "compare": "comparison",
    "entity_scores": "scores",
    "evaluate_recipe": "comparison",
    "evaluate_transfer": "transfer",
    "length_scores": "scores",
}

__all__ = [
    "ComparisonRecipe",
    "ComparisonReport",
    "EntityScores",
    "EpisodeTarget",
    "SeqevalMetric",
    "TransferRecipe",
    "TransferReport",
    "TransferResult",
    "TransferTarget",
    "TypeScores",
    "compare",
    "entity_scores",
    "evaluate_recipe",
    "evaluate_transfer",
    "length_scores",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
