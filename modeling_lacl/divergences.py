"""Pairwise divergences between diagonal Gaussians, without an N×M×d tensor.

A set of N Gaussians is a pair `(mean, variance)` of `(..., N, d)` tensors. Divergences that are sums of
products are computed as one matrix product; what is no such sum is added up in blocks small enough for the
processor's cache, which are computed again in the backward pass, so that memory stays O(N·M).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Gaussians = tuple[Tensor, Tensor]

OF_MEANS = ("euclidean", "cosine")
"""The divergences that take no notice of variances."""

BLOCK_ELEMENTS = 1 << 17
"""Elements of the largest temporary tensor of a blocked divergence on a CPU, half a MiB in fp32. Other
devices, which do more at once, take 32 times as many."""
BLOCK_DIMENSIONS = 8
"""Dimensions that are added up in one block."""
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
    return _jeffreys_sum(p, q).relu_()


def geometric_js(p: Gaussians, q: Gaussians) -> Tensor:
    """Geometric Jensen–Shannon divergence ½ KL(p‖g) + ½ KL(q‖g), g the normalised geometric mean √(p q).

    After Nielsen, "On the Jensen–Shannon symmetrization of distances relying on abstract means" (Entropy
    2019, corollary 1). For diagonal Gaussians g has the variance 2 v₁ v₂ / (v₁+v₂) and the mean
    (μ₁ v₂ + μ₂ v₁) / (v₁+v₂), by which the divergence becomes half of [`jeffreys`] less
    ½ Σ [½ (μ₁−μ₂)² / (v₁+v₂) + log (v₁+v₂) − log 2 − ½ log v₁ − ½ log v₂],
    the Bhattacharyya distance twice.
    """
    half = _jeffreys_sum(p, q).div_(2).add_(_add_up(_GEOMETRIC, p, q))
    row = (p[1].log() + 2 * math.log(2)).sum(-1)
    return _plus(half, row / 4, q[1].log().sum(-1) / 4).relu_()


def moment_js(p: Gaussians, q: Gaussians) -> Tensor:
    """Jensen–Shannon divergence to the Gaussian that has the mixture's moments: ½ KL(p‖m) + ½ KL(q‖m).

    m has mean (μ₁+μ₂)/2 and variance (v₁+v₂)/2 + (μ₁−μ₂)²/4, by which the divergence becomes
    ½ Σ log v_m − ¼ Σ (log v₁ + log v₂). It grows with the logarithm of the distance.
    """
    return _plus(_add_up(_MOMENT, p, q), p[1].log().sum(-1) / -4, q[1].log().sum(-1) / -4).relu_()


def euclidean(p: Gaussians, q: Gaussians) -> Tensor:
    """Squared Euclidean distance of the means."""
    (mean_p, _), (mean_q, _) = _centred(p, q)
    return _plus(_product(-2 * mean_p, mean_q), (mean_p**2).sum(-1), (mean_q**2).sum(-1)).relu_()


def cosine(p: Gaussians, q: Gaussians) -> Tensor:
    """One minus the cosine of the means, in [0, 2]."""
    unit_p = torch.nn.functional.normalize(p[0], dim=-1)
    unit_q = torch.nn.functional.normalize(q[0], dim=-1)
    return _product(-unit_p, unit_q).add_(1).relu_()


def _centred(p: Gaussians, q: Gaussians) -> tuple[Gaussians, Gaussians]:
    """Both sets moved by q's centre: divergences do not change, and less is lost to cancellation."""
    centre = q[0].detach().mean(-2, keepdim=True)
    return (p[0] - centre, p[1]), (q[0] - centre, q[1])


def _product(left: Tensor, right: Tensor) -> Tensor:
    """`(..., N, d)` and `(..., M, d)` -> `(..., N, M)`."""
    return left @ right.transpose(-1, -2)


def _plus(pairs: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Adds `(..., N)` and `(..., M)` to `(..., N, M)`, in place: such tensors are large."""
    return pairs.add_(row.unsqueeze(-1)).add_(column.unsqueeze(-2))


def _jeffreys_sum(p: Gaussians, q: Gaussians) -> Tensor:
    """Jeffreys, which rounding may have taken below zero."""
    (mean_p, var_p), (mean_q, var_q) = _centred(p, q)
    left = torch.cat([var_p + mean_p**2, 1 / var_p, mean_p, mean_p / var_p], dim=-1)
    right = torch.cat([1 / var_q, var_q + mean_q**2, -2 * mean_q / var_q, -2 * mean_q], dim=-1)
    row = (mean_p**2 / var_p).sum(-1) - 2 * mean_p.shape[-1]
    column = (mean_q**2 / var_q).sum(-1)
    return _plus(_product(left / 4, right), row / 4, column / 4)


class _Terms(NamedTuple):
    """A function of μ₁−μ₂ and v₁+v₂, summed over dimensions.

    `value` takes these two, `(dimensions, ..., n, M)` each, which it may overwrite, and gives `(..., n, M)`;
    `partials` takes the gradient of that before them, and gives the gradients of both.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    partials: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _moment_value(difference: Tensor, variance: Tensor) -> Tensor:
    """½ Σ log v_m"""
    spread = variance.addcmul_(difference, difference, value=0.5).div_(2)
    return spread.log_().sum(0).div_(2)


def _moment_partials(gradient: Tensor, difference: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    spread = variance.addcmul_(difference, difference, value=0.5)
    slope = torch.div(gradient / 2, spread, out=spread)
    return difference.mul_(slope), slope


def _geometric_value(difference: Tensor, variance: Tensor) -> Tensor:
    """−½ Σ [½ (μ₁−μ₂)² / (v₁+v₂) + log (v₁+v₂)]"""
    distance = difference.mul_(difference).div_(variance)
    return distance.add_(variance.log_(), alpha=2).sum(0).div_(-4)


def _geometric_partials(gradient: Tensor, difference: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    slope = (gradient / -2) / variance
    of_difference = slope * difference
    return of_difference, slope.addcdiv_(difference.mul_(of_difference), variance, value=-0.5)


_MOMENT = _Terms(_moment_value, _moment_partials)
_GEOMETRIC = _Terms(_geometric_value, _geometric_partials)


def _add_up(terms: _Terms, p: Gaussians, q: Gaussians) -> Tensor:
    """`terms` of every pair, summed over all dimensions: `(..., N, M)`."""
    # Dimensions first: sums over them add whole rows, and a row meets all columns at once.
    rows = [part.movedim(-1, 0).contiguous().unsqueeze(-1) for part in p]
    columns = [part.movedim(-1, 0).contiguous().unsqueeze(-2) for part in q]
    if torch.onnx.is_in_onnx_export():
        # A graph for any number of rows can only be cut between columns, whose number it knows.
        blocks = zip(*(part.split(EXPORTED_COLUMNS, -1) for part in columns), strict=True)
        return torch.cat([terms.value(rows[0] - mean, rows[1] + variance) for mean, variance in blocks], -1)
    result: Tensor = _AddUp.apply(terms, *rows, *columns)
    return result


class _AddUp(torch.autograd.Function):
    """Takes rows `(d, ..., N, 1)` and columns `(d, ..., 1, M)`, in blocks both forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, terms: _Terms, mean_p: Tensor, var_p: Tensor, mean_q: Tensor, var_q: Tensor
    ) -> Tensor:
        ctx.terms = terms
        ctx.save_for_backward(mean_p, var_p, mean_q, var_q)
        result = mean_p.new_zeros(*mean_p.shape[1:-1], mean_q.shape[-1])
        for rows, of in _blocks(mean_p, mean_q):
            difference = mean_p[of, ..., rows, :] - mean_q[of]
            result[..., rows, :] += terms.value(difference, var_p[of, ..., rows, :] + var_q[of])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        mean_p, var_p, mean_q, var_q = ctx.saved_tensors
        gradients = [torch.zeros_like(side) for side in ctx.saved_tensors]
        for rows, of in _blocks(mean_p, mean_q):
            difference = mean_p[of, ..., rows, :] - mean_q[of]
            variance = var_p[of, ..., rows, :] + var_q[of]
            of_mean, of_variance = ctx.terms.partials(gradient[..., rows, :], difference, variance)
            gradients[0][of, ..., rows, :] += of_mean.sum(-1, keepdim=True)
            gradients[1][of, ..., rows, :] += of_variance.sum(-1, keepdim=True)
            gradients[2][of] -= of_mean.sum(-2, keepdim=True)
            gradients[3][of] += of_variance.sum(-2, keepdim=True)
        return None, *gradients


def _blocks(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows and dimensions of each block."""
    most = BLOCK_ELEMENTS * (1 if rows.device.type == "cpu" else 32)
    a_row = max(1, columns[0].numel())
    dimensions = max(1, min(BLOCK_DIMENSIONS, most // a_row))
    number = max(1, most // (a_row * dimensions))
    for first in range(0, rows.shape[-2], number):
        for dimension in range(0, len(rows), dimensions):
            yield slice(first, first + number), slice(dimension, dimension + dimensions)


_DIVERGENCES: dict[str, Callable[[Gaussians, Gaussians], Tensor]] = {
    "jeffreys": jeffreys,
    "geometric_js": geometric_js,
    "moment_js": moment_js,
    "euclidean": euclidean,
    "cosine": cosine,
}
