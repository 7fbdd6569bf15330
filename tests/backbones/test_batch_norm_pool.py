"""The fused operation against torch's layers one by one, in values and both derivatives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.backbones.batch_norm_kernels import kernels
from modicum.backbones.batch_norm_pool import batch_norm_pool

needs_kernels = pytest.mark.skipif(kernels() is None, reason="this installation was made without a compiler")
SHAPES = [(3, 5, 6, 4), (2, 3, 7, 5), (2, 17, 2, 3), (1, 70, 5, 5)]


def layers(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor, Tensor, Tensor]:
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    shape = (1, -1, 1, 1)
    normal = (x - mean.view(shape)) / (variance.view(shape) + eps).sqrt() * weight.view(shape) + bias.view(shape)
    return F.leaky_relu(F.max_pool2d(normal, 2), slope), mean, variance


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 3
    weight, bias = torch.randn(2, shape[1], generator=generator, dtype=torch.float64)
    return tuple(value.to(dtype).requires_grad_() for value in (x, weight, bias))


@needs_kernels
def test_two_windows_by_hand():
    """1 2 | 7 6 over 3 4 | 5 8, mean 4.5, variance 5.25: a negative weight takes the smallest of each window, 1 and 5."""
    x = torch.tensor([[[[1.0, 2.0, 7.0, 6.0], [3.0, 4.0, 5.0, 8.0]]]], dtype=torch.float64)
    weight, bias = torch.tensor([-2.0], dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64)
    found = batch_norm_pool(x, weight, bias, 0.0, 0.5)
    assert (found.mean.item(), found.variance.item()) == (4.5, 5.25)
    expected = torch.tensor([2 * 3.5 / 5.25**0.5 + 0.1, (-2 * 0.5 / 5.25**0.5 + 0.1) * 0.5], dtype=torch.float64)
    torch.testing.assert_close(found.y.flatten(), expected)


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("used", [1, 2, 3])
def test_value_and_both_derivatives_are_those_of_the_layers(shape: tuple[int, ...], slope: float, used: int):
    """The first `used` of y, mean and variance take part, and the second derivative reads every first one."""
    own = inputs(shape)
    results = []
    for function in (batch_norm_pool, layers):
        torch.manual_seed(0)
        outputs = function(*own, 1e-3, slope)[:used]
        loss = sum((torch.randn(out.shape, dtype=torch.float64) * out * out).sum() for out in outputs)
        first = torch.autograd.grad(loss, own, create_graph=True)
        pulled = sum((torch.randn(gradient.shape, dtype=torch.float64) * gradient * gradient).sum() for gradient in first)
        second = torch.autograd.grad(pulled, own)
        results.append([*outputs, *first, *second])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-10, atol=1e-10)


@needs_kernels
@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (3, 1, 5, 2)])
def test_finite_differences(shape: tuple[int, ...]):
    own = inputs(shape)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(batch_norm_pool(*tensors, 1e-3, 0.2))

    assert torch.autograd.gradcheck(function, own)
    assert torch.autograd.gradgradcheck(function, own)


@needs_kernels
@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_depend_on_threads(threads: int):
    own, before = inputs((7, 40, 26, 25), torch.float32), torch.get_num_threads()
    found = []
    for number in (1, threads):
        torch.set_num_threads(number)
        try:
            y, mean, variance = batch_norm_pool(*own, 1e-5, 0.1)
            loss = (y * y.detach().cos()).sum() + mean.square().sum() + variance.square().sum()
            first = torch.autograd.grad(loss, own, create_graph=True)
            found.append([y, mean, variance, *first, *torch.autograd.grad([g.square().mul(0.5) for g in first], own, first)])
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@needs_kernels
def test_large_means_cost_no_digits():
    """Values around 10,000 that differ by 1: sums of squares in float32 would lose the variance."""
    x = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    shifted = x + 10_000
    found = batch_norm_pool(shifted, torch.ones(3), torch.zeros(3), 0.0, 0.0)
    expected = layers(shifted.double(), torch.ones(3), torch.zeros(3), 0.0, 0.0)
    for ours, reference in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(ours.double(), reference, rtol=1e-6, atol=0)


@needs_kernels
def test_equal_values_take_the_first_place_and_no_number_stays_none():
    """As torch's pool: the gradient of four equal pixels goes to the first, and a NaN is seen."""
    x = torch.tensor([[[[2.0, 2.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0]]]], dtype=torch.float64, requires_grad=True)
    pull = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    found = [torch.autograd.grad(f(x, one, zero, 1e-3, 0.5)[0], x, pull)[0] for f in (batch_norm_pool, layers)]
    torch.testing.assert_close(*found)
    assert found[0][0, 0, 0, 0] != found[0][0, 0, 0, 1]
    with torch.no_grad():
        x[0, 0, 1, 3] = float("nan")
    assert batch_norm_pool(x, one, zero, 1e-3, 0.5).y.isnan().all()
