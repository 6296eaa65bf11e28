"""Benchmark pairwise divergences against an N×N×d expansion: forward and backward time, and peak memory.

    python benchmarks/divergences.py

The expansion is CONTaiNER's symmetric Kullback–Leibler divergence, ½ KL(p‖q) + ½ KL(q‖p), implemented
literally, with all pairs of Gaussians in tensors of N×N×d elements. For N = 4,096 and d = 128, each of these
tensors has 8 GiB, so it is run on some of the N rows, and time and memory are scaled up, as both are
proportional to the number of rows. Peak memory is measured in a separate process, minus the memory in use
before.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence

import torch
from measuring import arguments, in_child, interleaved, machine_line, peak_mib, ratio, table
from torch import Tensor

from modeling_lacl.model.losses_lacl import Gaussians, pairwise_divergence

EXPANSION = "expansion"
DIVERGENCES = ("cosine", "euclidean", "jeffreys", "geometric_js", "moment_js")


def main() -> None:
    options = arguments(
        __doc__,
        ("--number", {"type": int, "default": 4096, "help": "N (default: 4096)"}),
        ("--size", {"type": int, "default": 128, "help": "d (default: 128)"}),
        ("--rows", {"type": int, "default": 32, "help": "rows of the expansion (default: 32)"}),
        ("--large", {"type": int, "default": 16384, "help": "N of the second table (default: 16384)"}),
    )
    if options.quick:
        options.number, options.size, options.rows, options.large = 128, 16, 32, 256
    names = DIVERGENCES[-1:] if options.quick else DIVERGENCES
    if options.child:
        task = json.loads(options.child)
        before = peak_mib()
        took = timed(task["name"], task["rows"], task["number"], task["size"], options.clock)
        print(json.dumps({"mib": peak_mib() - before, "seconds": took}))
        return
    print(ratio_table(names, options), end="\n\n")
    print(large_table(names, options), end="\n\n")
    print(machine_line(options))


def expansion(p: Gaussians, q: Gaussians) -> Tensor:
    """Return ½ KL(p‖q) + ½ KL(q‖p) of all pairs, computed with tensors `(N, M, d)`."""

    def kl(one: Gaussians, other: Gaussians) -> Tensor:
        squared = (one[0] - other[0]) ** 2
        ratio = one[1] / other[1]
        return (ratio + squared / other[1] - 1 - torch.log(ratio)).sum(-1) / 2

    shape = (p[0].shape[0], q[0].shape[0], p[0].shape[1])
    rows = (p[0].unsqueeze(1).expand(shape), p[1].unsqueeze(1).expand(shape))
    columns = (q[0].unsqueeze(0).expand(shape), q[1].unsqueeze(0).expand(shape))
    return (kl(rows, columns) + kl(columns, rows)) / 2


def forward_backward(
    name: str, rows: int, number: int, size: int, device: torch.device | str = "cpu"
) -> Callable[[], None]:
    """Return a function that computes the divergences of some rows to all, and the gradients of their sum."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(number, size, generator=generator).to(device).requires_grad_()
    variance = torch.empty(number, size).uniform_(0.2, 2, generator=generator).to(device).requires_grad_()

    def run() -> None:
        p, q = (mean[:rows], variance[:rows]), (mean, variance)
        result = expansion(p, q) if name == EXPANSION else pairwise_divergence(name, p, q)
        result.backward(result.new_ones(()).expand_as(result))
        mean.grad = variance.grad = None

    return run


def timed(name: str, rows: int, number: int, size: int, clock: Callable[[], float]) -> float:
    run = forward_backward(name, rows, number, size)
    start = clock()
    run()
    return clock() - start


def ratio_table(names: Sequence[str], options: argparse.Namespace) -> str:
    number, size, part = options.number, options.size, options.rows
    functions = {name: forward_backward(name, number, number, size) for name in names}
    functions[EXPANSION] = forward_backward(EXPANSION, part, number, size)
    times = interleaved(functions, options.rounds, options.clock)
    times[EXPANSION] = [one * number / part for one in times[EXPANSION]]
    pairs = number * number * 4 / 2**20  # in fp32
    rows = [["divergence", "seconds", "expansion / it", "peak MiB", "in N×N fp32 matrices", "wanted"]]
    for name in (EXPANSION, *names):
        here = part if name == EXPANSION else number
        task = {"name": name, "rows": here, "number": number, "size": size}
        mib = in_child(task, f"--threads={options.threads}")["mib"] * number / here
        faster = ratio(times, EXPANSION, name)
        label = f"{EXPANSION} ({part} rows, scaled)" if name == EXPANSION else f"`{name}`"
        rows.append([label, f"{statistics.median(times[name]):.2f}", f"{faster:.0f} ×"])
        rows[-1] += [f"{mib:.0f}", f"{mib / pairs:.1f}", "" if name == EXPANSION else "at least 10 ×"]
    return f"N = {number}, d = {size}, forward and backward:\n\n{table(rows)}"


def large_table(names: Sequence[str], options: argparse.Namespace) -> str:
    rows = [["divergence", "seconds", "peak MiB", "wanted"]]
    for name in names:
        task = {"name": name, "rows": options.large, "number": options.large, "size": options.size}
        got = in_child(task, f"--threads={options.threads}")
        rows.append([f"`{name}`", f"{got['seconds']:.1f}", f"{math.ceil(got['mib'])}", "at most 4096"])
    return f"N = {options.large}, d = {options.size}, forward and backward, once:\n\n{table(rows)}"


if __name__ == "__main__":
    main()
