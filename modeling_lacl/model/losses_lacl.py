"""From hidden states to losses: the Gaussian head, divergences between Gaussians, and the two objectives.

A set of N Gaussians is a pair `(mean, variance)` of `(..., N, d)` tensors. Divergences are computed without
an N×M×d tensor: those that are sums of products as one matrix product; what is no such sum is added up in
blocks small enough for the processor's cache, which are computed again in the backward pass, so that memory
stays O(N·M).

The objectives (arXiv 2404.17178, section 3), context–context and context–label, take similarities, which are
minus a divergence over a temperature, and come in three variants of the per-anchor loss, with P the anchor's
positives and A all its candidates:

- `container`: −log( Σ_P eˢ / |P| / Σ_A eˢ ), the original of CONTaiNER (Das et al., ACL 2022, eq. 6);
- `supcon_out`: −(1/|P|) Σ_P log( eˢ / Σ_A eˢ ), the mean of logs (Khosla et al., NeurIPS 2020, eq. 2);
- `decoupled`: as `supcon_out` with the positives left out of the denominator (Yeh et al., ECCV 2022).

The batches of several processes are one contrastive batch: every process takes its own tokens as anchors and
the tokens of all as candidates. What it calls its loss is its share of the sum over all anchors, times the
number of processes. So the mean over the processes, which is what distributed training takes of their
gradients, is the loss of the whole batch on one process.
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

from .configuration_lacl import OUTSIDE_ID, LaclConfig


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


def context_context_loss(
    similarity: Tensor,
    labels: Tensor,
    loss_type: str = "supcon_out",
    class_weight_power: float = 0.0,
    whole: WholeBatch | None = None,
    outside_attracts: bool = True,
) -> Tensor:
    """Tokens of one class attract each other, others repel.

    Args:
        similarity: `(N, N)`, of each valid token to each; `(N, M)` to each of `whole`.
        labels: `(N,)` long, class of each token.
        loss_type: `container`, `supcon_out` or `decoupled`.
        class_weight_power: A token of a class with n tokens weighs `n ** -class_weight_power`.
        whole: The M tokens of the batch over all processes, of which the N tokens here are a part.
        outside_attracts: Tokens outside of entities (label 0) are a class like others. Without, they are only
            what the tokens of entities repel.

    Returns:
        Scalar: the weighted mean over the tokens that have another of their class; zero where none has. With
        `whole`, it is the mean over the processes of what each returns.
    """
    candidates = labels if whole is None else whole.labels
    place = torch.arange(len(labels), device=labels.device) + (0 if whole is None else whole.first)
    own = place.unsqueeze(1)
    counts = torch.bincount(candidates, minlength=1)
    number = counts[labels] - 1
    others = similarity.scatter(1, own, torch.finfo(similarity.dtype).min)
    if loss_type == "container":
        same = candidates.unsqueeze(0) == labels.unsqueeze(1)
        attraction = _masked_logsumexp(others, same) - number.clamp_min(1).log()
    else:
        # Sums over classes are a product with their indicators, which spares masks of the size of all pairs.
        sums = similarity @ torch.nn.functional.one_hot(candidates, len(counts)).to(similarity.dtype)
        of_class = sums.gather(1, labels.unsqueeze(1)) - similarity.gather(1, own)
        attraction = of_class.squeeze(1) / number.clamp_min(1)
    counted = number > 0
    if not outside_attracts:
        counted = counted & (labels != OUTSIDE_ID)
    if loss_type == "decoupled":
        different = candidates.unsqueeze(0) != labels.unsqueeze(1)
        counted = counted & (number + 1 < len(candidates))
        repulsion = _masked_logsumexp(similarity, different)
    else:
        repulsion = others.logsumexp(1)
    weights = class_weights(labels, class_weight_power, whole)
    return _weighted_mean(repulsion - attraction, counted, weights, whole)


def context_label_loss(
    similarity: Tensor,
    labels: Tensor,
    present: Tensor,
    loss_type: str = "supcon_out",
    class_weight_power: float = 0.0,
    whole: WholeBatch | None = None,
) -> Tensor:
    """A token attracts the representation of its label in its own prompt, and repels the other labels'.

    Args:
        similarity: `(N, K)`, of each valid token to each label.
        labels: `(N,)` long.
        present: `(N, K)` bool, whether the label stands in the token's prompt.
        loss_type: As above; with its one positive, `container` and `supcon_out` are the same cross-entropy.
        class_weight_power: As above.
        whole: As above.

    Returns:
        Scalar: the weighted mean over the tokens whose label is in their prompt; zero where none is. With
        `whole` as above.
    """
    own = torch.nn.functional.one_hot(labels, similarity.shape[1]).bool()
    counted = (own & present).any(1)
    if loss_type == "decoupled":
        present = present & ~own
        counted = counted & present.any(1)
    attraction = similarity.gather(1, labels.unsqueeze(1)).squeeze(1)
    weights = class_weights(labels, class_weight_power, whole)
    return _weighted_mean(_masked_logsumexp(similarity, present) - attraction, counted, weights, whole)


def class_weights(labels: Tensor, power: float, whole: WholeBatch | None = None) -> Tensor:
    """`(N,)` float weights `n ** -power`, n the number of the class's tokens here, or in `whole` if given."""
    counts = torch.bincount(labels if whole is None else whole.labels)
    return counts[labels].float() ** -power


def _weighted_mean(losses: Tensor, counted: Tensor, weights: Tensor, whole: WholeBatch | None) -> Tensor:
    """Of the losses that count, zero where none does; with `whole`, the total of weights is that of all."""
    weights = weights * counted
    total = weights.sum() if whole is None else mean_over_processes(weights.sum())
    return (losses.masked_fill(~counted, 0) * weights).sum() / total.clamp_min(
        torch.finfo(weights.dtype).tiny
    )


def _masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    # The lowest finite number, not −inf: a row without a candidate is finite and its gradients are zero.
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).logsumexp(1)


@dataclass(frozen=True)
class WholeBatch:
    """The valid tokens of all processes, in the order of the processes.

    Attributes:
        tokens: mean and variance, each `(M, d)`; gradients flow back to the process that a token lies on.
        labels: `(M,)` long.
        first: the place of this process's first token among them; the others follow it.
    """

    tokens: Gaussians
    labels: Tensor
    first: int


def gather_batch(tokens: Gaussians, labels: Tensor) -> WholeBatch:
    """Gathers the tokens of all processes; every process must call it, forward and backward.

    Args:
        tokens: this process's mean and variance, each `(N, d)`; N may differ between processes and be 0.
        labels: `(N,)` long; an id must mean the same on every process.

    Raises:
        ValueError: there are no processes to gather from.
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
    # Of one length on every process, as collectives need it.
    missing = max(counts) - len(labels)
    padded_labels = torch.nn.functional.pad(labels, (0, missing))
    padded = torch.nn.functional.pad(torch.cat([mean, variance], dim=1), (0, 0, 0, missing))
    all_labels = [torch.empty_like(padded_labels) for _ in counts]
    dist.all_gather(all_labels, padded_labels)
    everyone = _Gather.apply(padded)
    whole = torch.cat([part[:count] for part, count in zip(everyone, counts, strict=True)])
    means, variances = whole.split([mean.shape[1], variance.shape[1]], dim=1)
    return WholeBatch(
        tokens=(means, variances),
        labels=torch.cat([part[:count] for part, count in zip(all_labels, counts, strict=True)]),
        first=sum(counts[: dist.get_rank()]),
    )


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of a scalar over the processes, without gradient."""
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


class _Gather(torch.autograd.Function):
    """`(N, d)` of every process -> `(processes, N, d)` on each; the gradient of a part is summed over them.

    `torch.distributed.nn.functional.all_gather` does the same, but is deprecated since torch 2.13, and its
    successor is neither public nor there in the oldest torch that is supported.
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
    """Context without autocast: divergences between Gaussians lose too much in half precision."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
