"""How many positions an encoder has, and where they begin."""

from __future__ import annotations

from typing import Any

from torch import nn

UNLIMITED = 2**31
"""Stands for the length of a row where positions are relative only, as in XLNet."""


def absolute_positions(encoder: nn.Module) -> int | None:
    """Tokens that an encoder with a table of position embeddings can take; None for one without."""
    table = _position_table(encoder)
    return None if table is None else table.num_embeddings - first_position_id(encoder)


def first_position_id(encoder: nn.Module) -> int:
    """Position id of the first token. RoBERTa and its kin count from behind the padding index."""
    table = _position_table(encoder)
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def longest_row(encoder: Any) -> int:
    """Tokens that an encoder is made for: at most those that its configuration tells."""
    positions = getattr(encoder.config, "max_position_embeddings", None) or -1
    return UNLIMITED if positions < 0 else int(positions) - first_position_id(encoder)


def _position_table(encoder: nn.Module) -> nn.Embedding | None:
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module
    return None
