"""One contrastive batch out of the batches of several processes.

Every process takes its own tokens as anchors and the tokens of all as candidates. What it calls its loss is
its share of the sum over all anchors, times the number of processes. So the mean over the processes, which is
what distributed training takes of their gradients, is the loss of the whole batch on one process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .divergences import Gaussians


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
