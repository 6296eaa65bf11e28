"""Rows of like length go through the encoder together, so that a short row does not pay for a long one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SMALLEST_GROUP = 8
"""Rows; with fewer a matrix product loses more than padding costs."""
WORTH_SPLITTING = 0.9
"""Share of the padded tokens that has to remain at most."""


def length_groups(lengths: Tensor) -> list[Tensor]:
    """Row numbers in groups of like length; one group with all of them where more would save little.

    Args:
        lengths: `(B,)` long, tokens of each row.
    """
    whole = [torch.arange(len(lengths))]
    if len(lengths) < 2 * SMALLEST_GROUP:
        return whole
    order = lengths.argsort(stable=True)
    groups = list(order.chunk(len(order) // SMALLEST_GROUP))
    padded = sum(len(group) * int(lengths[group[-1]]) for group in groups)
    if padded > WORTH_SPLITTING * len(order) * int(lengths.max()):
        return whole
    return groups


def encode_in_groups(
    encoder: nn.Module, groups: list[Tensor], attention_mask: Tensor, **inputs: Tensor
) -> Tensor:
    """Last hidden states `(B, L, H)` of right-padded rows, group by group; zeros past a group's width.

    Args:
        encoder: Takes `inputs` and `attention_mask`, and returns a `ModelOutput`.
        groups: Of `length_groups`.
        attention_mask: `(B, L)`, 0 at padding, which stands on the right.
        **inputs: Further arguments of the encoder, `(B, L)` each.
    """
    width = attention_mask.shape[1]
    states = []
    for rows in groups:
        mask = attention_mask[rows]
        longest = int(mask.sum(1).max())
        cut: dict[str, Any] = {name: value[rows, :longest] for name, value in inputs.items()}
        hidden = encoder(attention_mask=mask[:, :longest], return_dict=True, **cut).last_hidden_state
        states.append(nn.functional.pad(hidden, (0, 0, 0, width - longest)))
    back = torch.cat(groups).argsort()
    return torch.cat(states)[back]
