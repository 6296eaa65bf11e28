"""From hidden states to the diagonal Gaussians that are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .configuration_lacl import LaclConfig
from .divergences import OF_MEANS, Gaussians


class GaussianProjection(nn.Module):
    """Maps hidden states `(..., H)` to diagonal Gaussians: mean and variance, each `(..., d)`, fp32 or wider.

    The variance is `ELU(x) + 1 + eps` (CONTaiNER, eq. 3–4; arXiv 2404.17178, section 3.2). With
    `relu_gaussian` dropout and a ReLU come first, as in the program of CONTaiNER's authors.
    """

    def __init__(self, config: LaclConfig) -> None:
        super().__init__()
        self.mean = nn.Linear(config.hidden_size, config.projection_size)
        self.variance = nn.Linear(config.hidden_size, config.projection_size)
        self.epsilon = config.variance_epsilon
        self.rectified = config.projection == "relu_gaussian"
        self.dropout = nn.Dropout(getattr(config.encoder_config, "hidden_dropout_prob", 0.1))
        self.freeze_idle(config)

    def freeze_idle(self, config: Any) -> None:
        """Freezes the variance if it has no part in the divergence."""
        # Distributed training waits for the gradient of every weight that asks for one.
        self.variance.requires_grad_(config.divergence not in OF_MEANS)

    def forward(self, hidden_states: Tensor) -> Gaussians:
        if self.rectified:
            hidden_states = self.dropout(hidden_states).relu()
        # The weights are fp32 unless someone casts the whole model; what follows never is less.
        hidden_states = hidden_states.to(self.mean.weight.dtype)
        wide = torch.promote_types(hidden_states.dtype, torch.float32)
        mean, variance = self.mean(hidden_states).to(wide), self.variance(hidden_states).to(wide)
        return mean, nn.functional.elu(variance) + 1 + self.epsilon


class HiddenStates(nn.Module):
    """Hidden states as they are, or scaled to length 1, as means of Gaussians of variance 1."""

    def __init__(self, config: LaclConfig) -> None:
        super().__init__()
        self.unit = config.projection == "unit_hidden"

    def forward(self, hidden_states: Tensor) -> Gaussians:
        mean = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
        if self.unit:
            mean = nn.functional.normalize(mean, dim=-1)
        return mean, torch.ones_like(mean)
