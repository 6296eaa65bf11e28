"""Pairwise divergences between diagonal Gaussians, without an N×M×d tensor.

A set of N Gaussians is a pair `(mean, variance)` of `(..., N, d)` tensors. Divergences that are sums of
products are computed as one matrix product; the others in blocks of rows that are recomputed in the backward
pass, so that memory stays O(N·M).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Gaussians = tuple[Tensor, Tensor]

OF_MEANS = ("euclidean", "cosine")
"""The divergences that take no notice of variances."""

BLOCK_ELEMENTS = 1 << 22
"""Elements of the largest temporary tensor of a blocked divergence (16 MiB in fp32)."""
EXPORTED_COLUMNS = 8
"""Columns of a block in an exported graph."""


def pairwise_divergence(name: str, p: Gaussians, q: Gaussians) -> Tensor:
    """Divergence of every Gaussian in `p` to every one in `q`.

    Args:
        name: One of `jeffreys`, `geometric_js`, `moment_js`, `euclidean`, `cosine`.
        p: Mean and variance, each `(..., N, d)`.
        q: Mean and variance, each `(..., M, d)`.

    Returns:
        `(..., N, M)`, non-negative, in the dtype of `p`.
    """
    return _DIVERGENCES[name](p, q)


def jeffreys(p: Gaussians, q: Gaussians) -> Tensor:
    """½ (KL(p‖q) + KL(q‖p)): the divergence of CONTaiNER (Das et al., ACL 2022, eq. 5).

    For diagonal Gaussians it is ¼ Σ [v₁/v₂ + v₂/v₁ + (μ₁−μ₂)² (1/v₁ + 1/v₂) − 2], a sum of products.
    """
    (mean_p, var_p), (mean_q, var_q) = _centred(p, q)
    left = torch.cat([var_p + mean_p**2, 1 / var_p, mean_p, mean_p / var_p], dim=-1)
    right = torch.cat([1 / var_q, var_q + mean_q**2, -2 * mean_q / var_q, -2 * mean_q], dim=-1)
    row = (mean_p**2 / var_p).sum(-1, keepdim=True)
    column = (mean_q**2 / var_q).sum(-1).unsqueeze(-2)
    total = left @ right.transpose(-1, -2) + row + column - 2 * mean_p.shape[-1]
    return (total / 4).clamp_min(0)


def geometric_js(p: Gaussians, q: Gaussians) -> Tensor:
    """Geometric Jensen–Shannon divergence ½ KL(p‖g) + ½ KL(q‖g), g the normalised geometric mean √(p q).

    After Nielsen, "On the Jensen–Shannon symmetrization of distances relying on abstract means" (Entropy
    2019, corollary 1). For diagonal Gaussians g has the variance h = 2 v₁ v₂ / (v₁+v₂) and the mean
    (μ₁ v₂ + μ₂ v₁) / (v₁+v₂), by which the divergence becomes
    ¼ Σ [(v₁+v₂)/h + (μ₁−μ₂)² (v₁²+v₂²) / ((v₁+v₂)² h) − 2 + 2 log h − log v₁ − log v₂].
    """

    def terms(mean_p: Tensor, var_p: Tensor, mean_q: Tensor, var_q: Tensor) -> Tensor:
        total = var_p + var_q
        harmonic = 2 * var_p * var_q / total
        squared = (mean_p - mean_q) ** 2
        spread = (total + squared * (var_p**2 + var_q**2) / total**2) / harmonic
        return (spread - 2 + 2 * harmonic.log() - var_p.log() - var_q.log()).sum(-1) / 4

    return _blockwise(terms, p, q).clamp_min(0)


def moment_js(p: Gaussians, q: Gaussians) -> Tensor:
    """Jensen–Shannon divergence to the Gaussian that has the mixture's moments: ½ KL(p‖m) + ½ KL(q‖m).

    m has mean (μ₁+μ₂)/2 and variance (v₁+v₂)/2 + (μ₁−μ₂)²/4, by which the divergence becomes
    ½ Σ log v_m − ¼ Σ (log v₁ + log v₂). It grows with the logarithm of the distance.
    """

    def terms(mean_p: Tensor, var_p: Tensor, mean_q: Tensor, var_q: Tensor) -> Tensor:
        return ((var_p + var_q) / 2 + (mean_p - mean_q) ** 2 / 4).log().sum(-1) / 2

    log_p = p[1].log().sum(-1).unsqueeze(-1)
    log_q = q[1].log().sum(-1).unsqueeze(-2)
    return (_blockwise(terms, p, q) - (log_p + log_q) / 4).clamp_min(0)


def euclidean(p: Gaussians, q: Gaussians) -> Tensor:
    """Squared Euclidean distance of the means."""
    (mean_p, _), (mean_q, _) = _centred(p, q)
    row = (mean_p**2).sum(-1, keepdim=True)
    column = (mean_q**2).sum(-1).unsqueeze(-2)
    return (row + column - 2 * mean_p @ mean_q.transpose(-1, -2)).clamp_min(0)


def cosine(p: Gaussians, q: Gaussians) -> Tensor:
    """One minus the cosine of the means, in [0, 2]."""
    unit_p = torch.nn.functional.normalize(p[0], dim=-1)
    unit_q = torch.nn.functional.normalize(q[0], dim=-1)
    return (1 - unit_p @ unit_q.transpose(-1, -2)).clamp_min(0)


def _centred(p: Gaussians, q: Gaussians) -> tuple[Gaussians, Gaussians]:
    """Both sets moved by q's centre: divergences do not change, and less is lost to cancellation."""
    centre = q[0].detach().mean(-2, keepdim=True)
    return (p[0] - centre, p[1]), (q[0] - centre, q[1])


def _blockwise(
    terms: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], p: Gaussians, q: Gaussians
) -> Tensor:
    """Applies `terms`, which broadcasts `(..., n, 1, d)` against `(..., 1, M, d)`, to blocks of rows."""
    mean_q, var_q = (side.unsqueeze(-3) for side in q)
    elements_a_row = max(1, math.prod(p[0].shape[:-2]) * mean_q.shape[-2] * mean_q.shape[-1])
    rows = max(1, BLOCK_ELEMENTS // elements_a_row)

    if torch.onnx.is_in_onnx_export():
        # A graph for any number of rows can only be cut between columns, whose number it knows.
        mean_p, var_p = (side.unsqueeze(-2) for side in p)
        columns = zip(mean_q.split(EXPORTED_COLUMNS, -2), var_q.split(EXPORTED_COLUMNS, -2), strict=True)
        return torch.cat([terms(mean_p, var_p, *column) for column in columns], dim=-1)

    def block(mean: Tensor, variance: Tensor, mean_q: Tensor, var_q: Tensor) -> Tensor:
        return terms(mean.unsqueeze(-2), variance.unsqueeze(-2), mean_q, var_q)

    blocks = [
        checkpoint(block, mean, variance, mean_q, var_q, use_reentrant=False, preserve_rng_state=False)
        for mean, variance in zip(p[0].split(rows, dim=-2), p[1].split(rows, dim=-2), strict=True)
    ]
    return torch.cat(blocks, dim=-2)


_DIVERGENCES: dict[str, Callable[[Gaussians, Gaussians], Tensor]] = {
    "jeffreys": jeffreys,
    "geometric_js": geometric_js,
    "moment_js": moment_js,
    "euclidean": euclidean,
    "cosine": cosine,
}
