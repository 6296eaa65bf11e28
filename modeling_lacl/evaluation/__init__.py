"""Evaluation protocols: domain transfer over support sets, episodes, and the comparison of methods."""

from .comparison import ComparisonReport, compare, evaluate_recipe
from .recipe import ComparisonRecipe, EpisodeTarget, TransferRecipe, TransferTarget
from .report import SeedsReport, TransferReport
from .results import TransferResult
from .transfer import evaluate_sources, evaluate_transfer

__all__ = [
    "ComparisonRecipe",
    "ComparisonReport",
    "EpisodeTarget",
    "SeedsReport",
    "TransferRecipe",
    "TransferReport",
    "TransferResult",
    "TransferTarget",
    "compare",
    "evaluate_recipe",
    "evaluate_sources",
    "evaluate_transfer",
]
