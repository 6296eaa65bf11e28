"""From hidden states to losses: the Gaussian head, divergences between Gaussians, and the two objectives.

A set of N Gaussians is a pair `(mean, variance)` of `(..., N, d)` tensors. Divergences are computed without
an N×M×d tensor: sums of products as one matrix product, and other terms in blocks that fit the cache of the
CPU. The blocks are recomputed in the backward pass, so that memory is O(N·M).

The objectives (arXiv 2404.17178, section 3), context–context and context–label, take similarities (minus a
divergence, divided by a temperature). The loss of an anchor has three variants, where P are its positives and
A all its candidates:

- `container`: −log( Σ_P eˢ / |P| / Σ_A eˢ ), the original of CONTaiNER (Das et al., ACL 2022, eq. 6);
- `supcon_out`: −(1/|P|) Σ_P log( eˢ / Σ_A eˢ ), the mean of logs (Khosla et al., NeurIPS 2020, eq. 2);
- `decoupled`: as `supcon_out`, without the positives in the denominator (Yeh et al., ECCV 2022).

In distributed training, the batches of all processes can form one contrastive batch: the anchors are the
tokens of the process, the candidates those of all. The loss of a process is its share of the sum over all
anchors, times the number of processes: the mean over the processes is the loss of the global batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .configuration_lacl import LaclConfig
from .decoding_lacl import OUTSIDE_ID


class GaussianProjection(nn.Module):
    """Projection of hidden states `(..., H)` to diagonal Gaussians: mean and variance, each `(..., d)`.

    For a model of spans, d is that of the three roles together.

    The variance is `ELU(x) + 1 + eps` (CONTaiNER, eq. 3–4; arXiv 2404.17178, section 3.2). With
    `relu_gaussian`, dropout and a ReLU come first, as in the code of CONTaiNER's and of the paper's authors.
    The output is fp32, or the dtype of the weights if that is wider.
    """

    def __init__(self, config: LaclConfig) -> None:
        super().__init__()
        self.mean = nn.Linear(config.hidden_size, config.gaussian_size)
        self.variance = nn.Linear(config.hidden_size, config.gaussian_size)
        self.epsilon = config.variance_epsilon
        self.rectified = config.projection == "relu_gaussian"
        self.dropout = nn.Dropout(getattr(config.encoder_config, "hidden_dropout_prob", 0.1))
        self.freeze_unused(config)

    def freeze_unused(self, config: Any) -> None:
        """Freeze the variance layer if the divergence does not use variances."""
        # Distributed training waits for the gradients of all weights that require one.
        self.variance.requires_grad_(config.divergence not in MEAN_DIVERGENCES)

    def forward(self, hidden_states: Tensor) -> Gaussians:
        if self.rectified:
            hidden_states = self.dropout(hidden_states).relu()
        # The weights are fp32 unless the whole model was cast; the output is at least fp32.
        # Those of a quantised layer are a method; its input is fp32.
        hidden_states = hidden_states.to(getattr(self.mean.weight, "dtype", torch.float32))
        wide = torch.promote_types(hidden_states.dtype, torch.float32)
        mean, variance = self.mean(hidden_states).to(wide), self.variance(hidden_states).to(wide)
        return mean, nn.functional.elu(variance) + 1 + self.epsilon


class HiddenStates(nn.Module):
    """Hidden states, optionally scaled to length 1, as means of Gaussians of variance 1."""

    def __init__(self, config: LaclConfig) -> None:
        super().__init__()
        self.unit = config.projection == "unit_hidden"

    def forward(self, hidden_states: Tensor) -> Gaussians:
        mean = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
        if self.unit:
            mean = nn.functional.normalize(mean, dim=-1)
        return mean, torch.ones_like(mean)


Gaussians = tuple[Tensor, Tensor]

MEAN_DIVERGENCES = ("euclidean", "cosine")
"""Divergences that do not depend on variances."""

BLOCK_ELEMENTS = 1 << 17
"""Elements of the largest temporary tensor of a blocked divergence on a CPU, half a MiB in fp32. Other
devices, which have more parallelism, take 32 times as many."""
BLOCK_DIMENSIONS = 8
"""Dimensions that are summed in one block."""
EXPORTED_COLUMNS = 8
"""Columns of a block in an exported graph."""


def pairwise_divergence(name: str, p: Gaussians, q: Gaussians) -> Tensor:
    """Return the divergence between every Gaussian in `p` and every Gaussian in `q`.

    Args:
        name: One of `jeffreys`, `geometric_js`, `moment_js`, `euclidean`, `cosine`.
        p: Mean and variance, each `(..., N, d)`.
        q: Mean and variance, each `(..., M, d)`.

    Returns:
        `(..., N, M)`, non-negative, in the dtype of `p`.
    """
    return _DIVERGENCES[name](p, q)


def jeffreys(p: Gaussians, q: Gaussians) -> Tensor:
    """Return ½ (KL(p‖q) + KL(q‖p)), the divergence of CONTaiNER (eq. 5) and of the paper's authors.

    For diagonal Gaussians it is ¼ Σ [v₁/v₂ + v₂/v₁ + (μ₁−μ₂)² (1/v₁ + 1/v₂) − 2], a sum of products.
    """
    return _jeffreys_sum(p, q).relu_()


def geometric_js(p: Gaussians, q: Gaussians) -> Tensor:
    """Return the geometric Jensen–Shannon divergence ½ KL(p‖g) + ½ KL(q‖g).

    g is the normalised geometric mean √(p q), see Nielsen, "On the Jensen–Shannon symmetrization of distances
    relying on abstract means" (Entropy 2019, corollary 1). For diagonal Gaussians g has the variance
    2 v₁ v₂ / (v₁+v₂) and the mean (μ₁ v₂ + μ₂ v₁) / (v₁+v₂), so that the divergence is half of [`jeffreys`]
    minus ½ Σ [½ (μ₁−μ₂)² / (v₁+v₂) + log (v₁+v₂) − log 2 − ½ log v₁ − ½ log v₂],
    which is twice the Bhattacharyya distance.
    """
    half = _jeffreys_sum(p, q).div_(2).add_(_blocked_sum(_GEOMETRIC, p, q))
    row = (p[1].log() + 2 * math.log(2)).sum(-1)
    return _plus(half, row / 4, q[1].log().sum(-1) / 4).relu_()


def moment_js(p: Gaussians, q: Gaussians) -> Tensor:
    """Return the Jensen–Shannon divergence ½ KL(p‖m) + ½ KL(q‖m), m the Gaussian with the mixture's moments.

    m has mean (μ₁+μ₂)/2 and variance (v₁+v₂)/2 + (μ₁−μ₂)²/4, so that the divergence is
    ½ Σ log v_m − ¼ Σ (log v₁ + log v₂). It grows with the logarithm of the distance.
    """
    return _plus(_blocked_sum(_MOMENT, p, q), p[1].log().sum(-1) / -4, q[1].log().sum(-1) / -4).relu_()


def euclidean(p: Gaussians, q: Gaussians) -> Tensor:
    """Return the squared Euclidean distance between the means."""
    (mean_p, _), (mean_q, _) = _centred(p, q)
    return _plus(_product(-2 * mean_p, mean_q), (mean_p**2).sum(-1), (mean_q**2).sum(-1)).relu_()


def cosine(p: Gaussians, q: Gaussians) -> Tensor:
    """Return one minus the cosine similarity of the means, in [0, 2]."""
    unit_p = torch.nn.functional.normalize(p[0], dim=-1)
    unit_q = torch.nn.functional.normalize(q[0], dim=-1)
    return _product(-unit_p, unit_q).add_(1).relu_()


def _centred(p: Gaussians, q: Gaussians) -> tuple[Gaussians, Gaussians]:
    """Shift both sets by the centre of q, which keeps divergences and reduces cancellation errors."""
    centre = q[0].detach().mean(-2, keepdim=True)
    return (p[0] - centre, p[1]), (q[0] - centre, q[1])


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return the `(..., N, M)` dot products of `(..., N, d)` and `(..., M, d)`."""
    return left @ right.transpose(-1, -2)


def _plus(pairs: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Add `(..., N)` and `(..., M)` to `(..., N, M)`, in place because `pairs` is large."""
    return pairs.add_(row.unsqueeze(-1)).add_(column.unsqueeze(-2))


def _jeffreys_sum(p: Gaussians, q: Gaussians) -> Tensor:
    """Return the Jeffreys divergence, which may be slightly negative from rounding."""
    (mean_p, var_p), (mean_q, var_q) = _centred(p, q)
    left = torch.cat([var_p + mean_p**2, 1 / var_p, mean_p, mean_p / var_p], dim=-1)
    right = torch.cat([1 / var_q, var_q + mean_q**2, -2 * mean_q / var_q, -2 * mean_q], dim=-1)
    row = (mean_p**2 / var_p).sum(-1) - 2 * mean_p.shape[-1]
    column = (mean_q**2 / var_q).sum(-1)
    return _plus(_product(left / 4, right), row / 4, column / 4)


class _Terms(NamedTuple):
    """A function of μ₁−μ₂ and v₁+v₂, summed over dimensions.

    `value` takes these two, `(dimensions, ..., n, M)` each, which it may overwrite. It returns `(..., n, M)`.
    `partials` takes the gradient of this result and the two, and returns the gradients of the two.
    """

    value: Callable[[Tensor, Tensor], Tensor]
    partials: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def _moment_value(difference: Tensor, variance: Tensor) -> Tensor:
    """Return ½ Σ log v_m."""
    spread = variance.addcmul_(difference, difference, value=0.5).div_(2)
    return spread.log_().sum(0).div_(2)


def _moment_partials(gradient: Tensor, difference: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    spread = variance.addcmul_(difference, difference, value=0.5)
    slope = torch.div(gradient / 2, spread, out=spread)
    return difference.mul_(slope), slope


def _geometric_value(difference: Tensor, variance: Tensor) -> Tensor:
    """Return −½ Σ [½ (μ₁−μ₂)² / (v₁+v₂) + log (v₁+v₂)]."""
    distance = difference.mul_(difference).div_(variance)
    return distance.add_(variance.log_(), alpha=2).sum(0).div_(-4)


def _geometric_partials(gradient: Tensor, difference: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    slope = (gradient / -2) / variance
    difference_gradient = slope * difference
    return difference_gradient, slope.addcdiv_(difference.mul_(difference_gradient), variance, value=-0.5)


_MOMENT = _Terms(_moment_value, _moment_partials)
_GEOMETRIC = _Terms(_geometric_value, _geometric_partials)


def _blocked_sum(terms: _Terms, p: Gaussians, q: Gaussians) -> Tensor:
    """Return `terms` of every pair, summed over all dimensions: `(..., N, M)`."""
    # Dimensions come first, so that sums over them add contiguous rows.
    rows = [part.movedim(-1, 0).contiguous().unsqueeze(-1) for part in p]
    columns = [part.movedim(-1, 0).contiguous().unsqueeze(-2) for part in q]
    if torch.onnx.is_in_onnx_export():
        # The number of rows is dynamic in an exported graph, so that only columns can be split into blocks.
        blocks = zip(*(part.split(EXPORTED_COLUMNS, -1) for part in columns), strict=True)
        return torch.cat([terms.value(rows[0] - mean, rows[1] + variance) for mean, variance in blocks], -1)
    return _BlockedSum.apply(terms, *rows, *columns)


class _BlockedSum(torch.autograd.Function):
    """Sum over rows `(d, ..., N, 1)` and columns `(d, ..., 1, M)`, in blocks both forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, terms: _Terms, mean_p: Tensor, var_p: Tensor, mean_q: Tensor, var_q: Tensor
    ) -> Tensor:
        ctx.terms = terms
        ctx.save_for_backward(mean_p, var_p, mean_q, var_q)
        result = mean_p.new_zeros(*mean_p.shape[1:-1], mean_q.shape[-1])
        for rows, dims in _blocks(mean_p, mean_q):
            difference = mean_p[dims, ..., rows, :] - mean_q[dims]
            result[..., rows, :] += terms.value(difference, var_p[dims, ..., rows, :] + var_q[dims])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        mean_p, var_p, mean_q, var_q = ctx.saved_tensors
        gradients = [torch.zeros_like(side) for side in ctx.saved_tensors]
        for rows, dims in _blocks(mean_p, mean_q):
            difference = mean_p[dims, ..., rows, :] - mean_q[dims]
            variance = var_p[dims, ..., rows, :] + var_q[dims]
            part = gradient[..., rows, :]
            mean_gradient, variance_gradient = ctx.terms.partials(part, difference, variance)
            gradients[0][dims, ..., rows, :] += mean_gradient.sum(-1, keepdim=True)
            gradients[1][dims, ..., rows, :] += variance_gradient.sum(-1, keepdim=True)
            gradients[2][dims] -= mean_gradient.sum(-2, keepdim=True)
            gradients[3][dims] += variance_gradient.sum(-2, keepdim=True)
        return None, *gradients


def _blocks(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and dimensions of each block."""
    limit = BLOCK_ELEMENTS * (1 if rows.device.type == "cpu" else 32)
    row_elements = max(1, columns[0].numel())
    dimensions = max(1, min(BLOCK_DIMENSIONS, limit // row_elements))
    number = max(1, limit // (row_elements * dimensions))
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


def context_context_loss(
    similarity: Tensor,
    labels: Tensor,
    loss_type: str = "supcon_out",
    class_weight_power: float = 0.0,
    global_batch: GlobalBatch | None = None,
    outside_attracts: bool = True,
) -> Tensor:
    """Return the contrastive loss between tokens: those of one class attract each other, others repel.

    Args:
        similarity: `(N, N)`, of each labelled token to each; with `global_batch` `(N, M)`.
        labels: `(N,)` long, class of each token.
        loss_type: `container`, `supcon_out` or `decoupled`.
        class_weight_power: A token of a class with n tokens has the weight `n ** -class_weight_power`.
        global_batch: The M labelled tokens of all processes, which include the N tokens of this one.
        outside_attracts: Whether outside (label 0) is a class like any other. If False, outside tokens serve
            only as negatives of entity tokens.

    Returns:
        Scalar: the weighted mean over the tokens with another token of their class; 0 if there are none. With
        `global_batch`, the mean of this value over the processes is the loss of the global batch.
    """
    candidates = labels if global_batch is None else global_batch.labels
    first = 0 if global_batch is None else global_batch.first
    position = (torch.arange(len(labels), device=labels.device) + first).unsqueeze(1)
    counts = torch.bincount(candidates, minlength=1)
    number = counts[labels] - 1
    others = similarity.scatter(1, position, torch.finfo(similarity.dtype).min)
    if loss_type == "container":
        same = candidates.unsqueeze(0) == labels.unsqueeze(1)
        attraction = _masked_logsumexp(others, same) - number.clamp_min(1).log()
    else:
        # Sums over classes are a product with class indicators, which avoids masks over all pairs.
        sums = similarity @ torch.nn.functional.one_hot(candidates, len(counts)).to(similarity.dtype)
        class_sum = sums.gather(1, labels.unsqueeze(1)) - similarity.gather(1, position)
        attraction = class_sum.squeeze(1) / number.clamp_min(1)
    counted = number > 0
    if not outside_attracts:
        counted = counted & (labels != OUTSIDE_ID)
    if loss_type == "decoupled":
        different = candidates.unsqueeze(0) != labels.unsqueeze(1)
        counted = counted & (number + 1 < len(candidates))
        repulsion = _masked_logsumexp(similarity, different)
    else:
        repulsion = others.logsumexp(1)
    weights = class_weights(labels, class_weight_power, global_batch)
    return _weighted_mean(repulsion - attraction, counted, weights, global_batch)


def context_label_loss(
    similarity: Tensor,
    labels: Tensor,
    present: Tensor,
    loss_type: str = "supcon_out",
    class_weight_power: float = 0.0,
    global_batch: GlobalBatch | None = None,
) -> Tensor:
    """Return the contrastive loss between tokens and labels: a token attracts its label and repels others.

    Args:
        similarity: `(N, K)`, of each labelled token to each label in its prompt.
        labels: `(N,)` long.
        present: `(N, K)` bool, whether the prompt of the token contains the label.
        loss_type: As in `context_context_loss`. With one positive, `container` and `supcon_out` are the same
            cross-entropy.
        class_weight_power, global_batch: As in `context_context_loss`.

    Returns:
        Scalar: the weighted mean over the tokens whose label is in their prompt; 0 if there are none. With
        `global_batch` as in `context_context_loss`.
    """
    positive = torch.nn.functional.one_hot(labels, similarity.shape[1]).bool()
    counted = (positive & present).any(1)
    if loss_type == "decoupled":
        present = present & ~positive
        counted = counted & present.any(1)
    attraction = similarity.gather(1, labels.unsqueeze(1)).squeeze(1)
    weights = class_weights(labels, class_weight_power, global_batch)
    return _weighted_mean(_masked_logsumexp(similarity, present) - attraction, counted, weights, global_batch)


def class_weights(labels: Tensor, power: float, global_batch: GlobalBatch | None = None) -> Tensor:
    """Return `(N,)` float weights `n ** -power`, n the tokens of the class in the (global) batch."""
    counts = torch.bincount(labels if global_batch is None else global_batch.labels)
    return counts[labels].float() ** -power


def _weighted_mean(
    losses: Tensor, counted: Tensor, weights: Tensor, global_batch: GlobalBatch | None
) -> Tensor:
    """Return the weighted mean of the counted losses, 0 without any; total weight as in the global batch."""
    weights = weights * counted
    total = weights.sum() if global_batch is None else mean_over_processes(weights.sum())
    tiny = torch.finfo(weights.dtype).tiny
    return (losses.masked_fill(~counted, 0) * weights).sum() / total.clamp_min(tiny)


def _masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    # The lowest finite number instead of −inf keeps a row without candidates finite, with zero gradients.
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(1)


@dataclass(frozen=True)
class GlobalBatch:
    """The labelled tokens of all processes, in the order of the processes.

    Attributes:
        tokens: Mean and variance, each `(M, d)`; gradients flow back to the process of each token.
        labels: `(M,)` long.
        first: Position of the first token of this process. Its other tokens follow.
    """

    tokens: Gaussians
    labels: Tensor
    first: int


def gather_batch(tokens: Gaussians, labels: Tensor) -> GlobalBatch:
    """Gather the tokens of all processes. Every process must call it, forward and backward.

    Args:
        tokens: Mean and variance of this process, each `(N, d)`. N may differ between processes and be 0.
        labels: `(N,)` long, label ids, which must mean the same on every process.

    Raises:
        ValueError: If torch.distributed is not initialised.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise ValueError(
            "across_processes=True, but torch.distributed is not set up: start the program with "
            "`accelerate launch`, or leave across_processes out"
        )
    mean, variance = tokens
    number = torch.tensor([len(labels)], device=labels.device)
    numbers = [torch.empty_like(number) for _ in range(dist.get_world_size())]
    dist.all_gather(numbers, number)
    counts = [int(each) for each in numbers]
    # Collectives need the same length on every process.
    missing = max(counts) - len(labels)
    padded_labels = torch.nn.functional.pad(labels, (0, missing))
    padded = torch.nn.functional.pad(torch.cat([mean, variance], dim=1), (0, 0, 0, missing))
    all_labels = [torch.empty_like(padded_labels) for _ in counts]
    dist.all_gather(all_labels, padded_labels)
    gathered = _Gather.apply(padded)
    tokens_of_all = torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])
    means, variances = tokens_of_all.split([mean.shape[1], variance.shape[1]], dim=1)
    return GlobalBatch(
        tokens=(means, variances),
        labels=torch.cat([part[:count] for part, count in zip(all_labels, counts, strict=True)]),
        first=sum(counts[: dist.get_rank()]),
    )


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a scalar over the processes, without gradient."""
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


class _Gather(torch.autograd.Function):
    """Gather `(N, d)` of every process as `(processes, N, d)`; gradients are summed over the processes.

    `torch.distributed.nn.functional.all_gather` is deprecated since torch 2.13, its successor not public.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


def full_precision(like: Tensor) -> Any:
    """Return a context without autocast, because divergences are too inaccurate in half precision."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
