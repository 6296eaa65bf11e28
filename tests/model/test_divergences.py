"""Divergences against torch.distributions, SciPy, numerical integration and sampling."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from scipy.stats import norm
from torch.distributions import Independent, Normal, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from modeling_lacl.model import losses_lacl as divergences
from modeling_lacl.model.configuration_lacl import DIVERGENCES
from modeling_lacl.model.losses_lacl import pairwise_divergence

OF_GAUSSIANS = ("jeffreys", "geometric_js", "moment_js")
BLOCKED = ("geometric_js", "moment_js")


def gaussians(*shape, seed=0, spread=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mean = spread * torch.randn(*shape, generator=generator, dtype=dtype)
    variance = torch.empty(*shape, dtype=dtype).uniform_(0.1, 3, generator=generator)
    return mean, variance


def crossed(p, q):
    """Every pair of `p` and `q` as two batches of torch distributions, `(N, M)` with event size d."""
    (mean_p, var_p), (mean_q, var_q) = p, q
    shape = torch.broadcast_shapes(mean_p.unsqueeze(-2).shape, mean_q.unsqueeze(-3).shape)
    sides = [mean_p.unsqueeze(-2), var_p.unsqueeze(-2), mean_q.unsqueeze(-3), var_q.unsqueeze(-3)]
    return [side.expand(shape) for side in sides]


def kl(mean_a, var_a, mean_b, var_b):
    a, b = Normal(mean_a, var_a.sqrt()), Normal(mean_b, var_b.sqrt())
    return kl_divergence(Independent(a, 1), Independent(b, 1))


def reference(name, p, q):
    """The divergence by its definition over an N×M×d expansion."""
    mean_p, var_p, mean_q, var_q = crossed(p, q)
    if name == "euclidean":
        return ((mean_p - mean_q) ** 2).sum(-1)
    if name == "cosine":
        return 1 - torch.nn.functional.cosine_similarity(mean_p, mean_q, dim=-1)
    if name == "jeffreys":
        return (kl(mean_p, var_p, mean_q, var_q) + kl(mean_q, var_q, mean_p, var_p)) / 2
    if name == "geometric_js":  # the product √p √q adds up halves of the precisions
        variance = 1 / (0.5 / var_p + 0.5 / var_q)
        mean = variance * (0.5 * mean_p / var_p + 0.5 * mean_q / var_q)
    else:  # the mixture's second moment less its squared mean
        mean = (mean_p + mean_q) / 2
        variance = (var_p + mean_p**2 + var_q + mean_q**2) / 2 - mean**2
    return (kl(mean_p, var_p, mean, variance) + kl(mean_q, var_q, mean, variance)) / 2


@pytest.mark.parametrize("name", DIVERGENCES)
def test_against_the_definition(name):
    p, q = gaussians(7, 5, seed=1), gaussians(4, 5, seed=2)
    result = pairwise_divergence(name, p, q)
    assert result.shape == (7, 4)
    torch.testing.assert_close(result, reference(name, p, q))


@pytest.mark.parametrize(("name", "metric"), [("euclidean", "sqeuclidean"), ("cosine", "cosine")])
def test_against_scipy(name, metric):
    p, q = gaussians(9, 6, seed=3), gaussians(5, 6, seed=4)
    expected = torch.from_numpy(cdist(p[0].numpy(), q[0].numpy(), metric))
    torch.testing.assert_close(pairwise_divergence(name, p, q), expected)


def integrate(function):
    return quad(function, -60, 60, points=[-5, 0, 5], limit=500, epsabs=1e-11)[0]


@pytest.mark.parametrize("parameters", [(0, 1, 1, 1), (-1.5, 0.4, 2.0, 1.7), (0.3, 2.5, 0.3, 0.6)])
def test_against_integration_in_one_dimension(parameters):
    """Against densities only: no closed form of a KL or of a mean Gaussian takes part."""
    mean_p, sd_p, mean_q, sd_q = parameters
    p, q = norm(mean_p, sd_p), norm(mean_q, sd_q)

    def kl_to(density):
        def divergence(side):
            return integrate(lambda x: side.pdf(x) * (side.logpdf(x) - density(x)))

        return (divergence(p) + divergence(q)) / 2

    log_mass = math.log(integrate(lambda x: math.sqrt(p.pdf(x) * q.pdf(x))))
    mean = integrate(lambda x: x * (p.pdf(x) + q.pdf(x)) / 2)
    variance = integrate(lambda x: (x - mean) ** 2 * (p.pdf(x) + q.pdf(x)) / 2)
    expected = {
        "jeffreys": (kl_to(q.logpdf) * 2 + kl_to(p.logpdf) * 2) / 2,
        "geometric_js": kl_to(lambda x: (p.logpdf(x) + q.logpdf(x)) / 2 - log_mass),
        "moment_js": kl_to(norm(mean, math.sqrt(variance)).logpdf),
    }
    sides = [
        (torch.tensor([[m]], dtype=torch.float64), torch.tensor([[s**2]], dtype=torch.float64))
        for m, s in ((mean_p, sd_p), (mean_q, sd_q))
    ]
    for name, value in expected.items():
        assert pairwise_divergence(name, *sides).item() == pytest.approx(value, rel=1e-7, abs=1e-9), name


def sampled_js(p, q, samples=40_000):
    """Jensen–Shannon divergence to the mixture itself, which has no closed form: estimate, standard error."""
    generator = torch.Generator().manual_seed(0)
    halves = []
    for (mean, variance), (other_mean, other_variance) in ((p, q), (q, p)):
        noise = torch.randn(samples, mean.shape[-1], generator=generator, dtype=mean.dtype)
        x = mean + noise * variance.sqrt()
        own = Independent(Normal(mean, variance.sqrt()), 1).log_prob(x)
        other = Independent(Normal(other_mean, other_variance.sqrt()), 1).log_prob(x)
        halves.append(own - torch.logaddexp(own, other) + math.log(2))
    error = math.sqrt(sum(half.var().item() / samples for half in halves)) / 2
    return sum(half.mean().item() for half in halves) / 2, error


@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0, 8.0])
def test_order_of_the_variants(spread):
    """JS to the mixture ≤ moment ≤ geometric ≤ ½ Jeffreys.

    For every r, ½KL(p‖r) + ½KL(q‖r) = JS + KL(mixture‖r), which the moment-matched Gaussian makes least among
    Gaussians, of which the geometric mean is one; and that one's is ½ Jeffreys + log ∫√(pq).
    """
    p, q = gaussians(1, 4, seed=5, spread=spread), gaussians(1, 4, seed=6, spread=spread)
    js, error = sampled_js((p[0][0], p[1][0]), (q[0][0], q[1][0]))
    jeffreys, geometric, moment = (pairwise_divergence(name, p, q).item() for name in OF_GAUSSIANS)
    assert -4 * error <= js <= math.log(2) + 1e-9
    assert js <= moment + 4 * error
    assert moment <= geometric <= jeffreys / 2


def test_moment_js_is_js_where_the_gaussians_are_close():
    """To second order all Jensen–Shannon variants are Δ²/8v, and Jeffreys is four times that."""
    p = (torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 2.0, dtype=torch.float64))
    q = (torch.full((1, 1), 1e-3, dtype=torch.float64), p[1])
    expected = 1e-6 / 16
    assert pairwise_divergence("moment_js", p, q).item() == pytest.approx(expected, rel=1e-5)
    assert pairwise_divergence("geometric_js", p, q).item() == pytest.approx(expected, rel=1e-5)
    assert pairwise_divergence("jeffreys", p, q).item() == pytest.approx(4 * expected, rel=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_leading_dimensions(name):
    p, q = gaussians(2, 3, 6, 4, seed=7), gaussians(2, 3, 5, 4, seed=8)
    result = pairwise_divergence(name, p, q)
    assert result.shape == (2, 3, 6, 5)
    for i in range(2):
        for j in range(3):
            alone = pairwise_divergence(name, (p[0][i, j], p[1][i, j]), (q[0][i, j], q[1][i, j]))
            torch.testing.assert_close(result[i, j], alone)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (1, 1)])
def test_few_or_no_gaussians(name, rows, columns):
    p, q = gaussians(rows, 4), gaussians(columns, 4)
    assert pairwise_divergence(name, p, q).shape == (rows, columns)


scales = st.floats(-3, 3).map(lambda power: 10**power)


@pytest.mark.parametrize("name", DIVERGENCES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), mean_scale=scales, variance_scale=scales, size=st.integers(1, 6))
def test_divergence_properties(name, seed, mean_scale, variance_scale, size):
    """Symmetric, not negative, zero between equals, and as defined, at any scale."""
    (mean_p, var_p), (mean_q, var_q) = gaussians(3, size, seed=seed), gaussians(4, size, seed=seed + 1)
    p = (mean_p * mean_scale, var_p * variance_scale)
    q = (mean_q * mean_scale, var_q * variance_scale)
    result = pairwise_divergence(name, p, q)
    scale = max(1.0, result.max().item())
    assert (result >= 0).all()
    torch.testing.assert_close(result, pairwise_divergence(name, q, p).T, rtol=1e-9, atol=1e-12 * scale)
    torch.testing.assert_close(result, reference(name, p, q), rtol=1e-7, atol=1e-9 * scale)
    own = pairwise_divergence(name, p, p)
    torch.testing.assert_close(own.diagonal(), torch.zeros(3, dtype=own.dtype), rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_single_precision(name):
    """fp32 keeps four digits of every divergence of projections far from the origin."""
    p, q = gaussians(30, 128, seed=9, dtype=torch.float32), gaussians(20, 128, seed=10, dtype=torch.float32)
    if name != "cosine":
        p, q = (p[0] + 20, p[1]), (q[0] + 20, q[1])
    exact = pairwise_divergence(name, *[tuple(part.double() for part in side) for side in (p, q)])
    torch.testing.assert_close(pairwise_divergence(name, p, q).double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradient_against_finite_differences(name):
    def function(*parts):
        return pairwise_divergence(name, (parts[0], parts[1]), (parts[2], parts[3]))

    parts = [part.requires_grad_() for part in (*gaussians(3, 2, seed=11), *gaussians(2, 2, seed=12))]
    assert torch.autograd.gradcheck(function, parts)


def value_and_gradients(function, parts):
    leaves = [part.clone().requires_grad_() for part in parts]
    value = function((leaves[0], leaves[1]), (leaves[2], leaves[3]))
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
    (value * weights).sum().backward()
    return [value.detach(), *[torch.zeros(()) if leaf.grad is None else leaf.grad for leaf in leaves]]


@pytest.mark.parametrize("name", BLOCKED)
@pytest.mark.parametrize("elements", [1, 2 * 7 * 3, 1000])
def test_blocks_change_nothing(name, elements, monkeypatch):
    parts = (*gaussians(2, 11, 3, seed=13), *gaussians(2, 7, 3, seed=14))
    expected = value_and_gradients(lambda p, q: reference(name, p, q), parts)
    monkeypatch.setattr(divergences, "BLOCK_ELEMENTS", elements)
    blocked = value_and_gradients(lambda p, q: pairwise_divergence(name, p, q), parts)
    for one, other in zip(blocked, expected, strict=True):
        torch.testing.assert_close(one, other)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        # A view (as of `expand`) takes no memory of its own: count what is stored.
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                stored = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.elements = max(self.elements, stored)
        return result


@pytest.mark.parametrize("name", DIVERGENCES)
def test_memory(name, monkeypatch):
    """Neither pass makes a tensor of N×M×d elements, nor is that much kept for the backward pass."""
    rows, columns, size = 96, 80, 32
    monkeypatch.setattr(divergences, "BLOCK_ELEMENTS", 4 * columns * size)
    parts = (*gaussians(rows, size, seed=15), *gaussians(columns, size, seed=16))
    saved = {}

    def save(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor), LargestTensor() as largest:
        value_and_gradients(lambda p, q: pairwise_divergence(name, p, q), parts)
    bound = max(divergences.BLOCK_ELEMENTS, rows * columns, 4 * rows * size)
    assert largest.elements <= bound < rows * columns * size / 10
    assert sum(saved.values()) < rows * columns * size / 3


def test_the_memory_test_sees_an_expansion():
    """The instrument of `test_memory` reports what it should on the naive computation."""
    with LargestTensor() as largest:
        reference("moment_js", gaussians(96, 32), gaussians(80, 32))
    assert largest.elements >= 96 * 80 * 32


@pytest.mark.parametrize("name", DIVERGENCES)
def test_large_activations_keep_gradients_finite(name):
    """As of hidden states scaled by 10³: means of thousands, variances at their floor beside huge ones."""
    mean, _ = gaussians(6, 8, seed=17, spread=1e3, dtype=torch.float32)
    variance = torch.tensor([1e-6, 1.0, 1e3], dtype=torch.float32).repeat_interleave(16).view(6, 8)
    parts = (mean, variance, mean.flip(0), variance.flip(0))
    for tensor in value_and_gradients(lambda p, q: pairwise_divergence(name, p, q), parts):
        assert tensor.isfinite().all()


def test_cosine_of_a_zero_vector_is_finite():
    p = (torch.zeros(1, 3), torch.ones(1, 3))
    for tensor in value_and_gradients(divergences.cosine, (*p, *gaussians(2, 3, dtype=torch.float32))):
        assert tensor.isfinite().all()


def test_unknown_divergence():
    with pytest.raises(KeyError):
        pairwise_divergence("manhattan", gaussians(1, 1), gaussians(1, 1))
