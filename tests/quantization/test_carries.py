"""Carries: Algorithm 1 by hand and the closed form against it, counts by convolution against loops, and the surrogates."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.quantization.carries import carries_of_sums, carry_variance, count_carries, count_negatives


@pytest.mark.parametrize(
    ("v", "count"),
    [
        ([0, 0, 0], 0),
        ([7, 7], 0),  # u = 14
        ([-1], 0),  # u = 15 fits: nothing was added to it
        ([-1, 1], 1),  # u = 16: one carry, and with it 1 remains
        ([-1, -1], 1),  # u = 30 = 16 + 14, and 14 + 1 = 15 fits
        ([-1, -1, 1], 2),  # u = 31 = 16 + 15, and 15 + 1 = 16 carries again
        ([7, 7, 7], 1),  # u = 21
        ([-8, -8, -8], 1),  # u = 24
        ([-1] * 17, 16),  # u = 255 = 15 * 16 + 15: 15 carries, 15 + 15 = 30: another, 14 + 1 fits
    ],
)
def test_algorithm_one_by_hand_for_four_bits(v: list[int], count: int) -> None:
    summands = torch.tensor(v)
    assert count_carries(summands, 4).item() == count
    z, n = summands.sum().float(), (summands < 0).sum().float()
    assert carries_of_sums(z, n, 4).item() == count


def test_the_closed_form_is_algorithm_one_for_all_pairs_and_triples() -> None:
    """Also that the sum with its carries is what end-around addition leaves: u - (B - 1) count."""
    for length in (1, 2, 3):
        v = torch.tensor(list(itertools.product(range(-8, 8), repeat=length)))
        count = count_carries(v, 4)
        n = (v < 0).sum(1)
        assert torch.equal(carries_of_sums(v.sum(1).float(), n.float(), 4).long(), count)
        rest = v.sum(1) + 16 * n - 15 * count
        assert bool(((rest >= 0) & (rest <= 15)).all())


@pytest.mark.parametrize("bits", [4, 7, 8, 12, 16])
@pytest.mark.parametrize("length", [30, 1000, 5000])
def test_the_closed_form_is_algorithm_one_for_long_sums(bits: int, length: int) -> None:
    top = min(255, 2 ** (bits - 1) - 1)
    v = torch.randint(-top, top + 1, (300, length))
    n = (v < 0).sum(1)
    found = carries_of_sums(v.sum(1).float(), n.float(), bits)
    assert torch.equal(found.long(), count_carries(v, bits))


def products(q: Tensor, w: Tensor) -> Tensor:
    return F.conv2d(q, w, None, 2, 1, 1, 2)


def summands(q: Tensor, w: Tensor) -> Tensor:
    """v (B, O, H', W', L) of that convolution, by unfolding: two groups, stride 2, padding 1."""
    parts = []
    for group in range(2):
        patches = F.unfold(q.chunk(2, 1)[group], 3, padding=1, stride=2)  # (B, L, P)
        filters = w.chunk(2)[group].flatten(1)  # (O / 2, L)
        parts.append(filters[None, :, :, None] * patches[:, None])
    v = torch.cat(parts, 1)
    return v.movedim(2, -1).reshape(len(q), len(w), 3, 3, -1)


def layer(signed: bool, ternary: bool) -> tuple[Tensor, Tensor]:
    q = torch.randint(-4 if signed else 0, 5, (3, 4, 5, 5)).double()
    w = torch.randint(-1, 2, (6, 2, 3, 3)).double() if ternary else torch.randint(0, 2, (6, 2, 3, 3)).double() * 2 - 1
    return q, w


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("ternary", [False, True])
def test_negative_summands_are_counted_by_convolution(signed: bool, ternary: bool) -> None:
    q, w = layer(signed, ternary)
    v = summands(q, w)
    assert torch.equal(v.sum(-1), products(q, w))
    n = count_negatives(q, w, products, signed=signed, ternary=ternary)
    assert torch.equal(n, (v < 0).sum(-1).double())
    assert torch.equal(carries_of_sums(products(q, w), n, 4).long(), count_carries(v, 4))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("ternary", [False, True])
def test_the_surrogate_of_the_count_has_tanh_for_sign(signed: bool, ternary: bool) -> None:
    """Gradients by codes and weights are those of sum (1 - tanh(w q)) / 2, written out over the summands."""
    q, w = (tensor.requires_grad_() for tensor in layer(signed, ternary))
    n = count_negatives(q, w, products, signed=signed, ternary=ternary)
    g = torch.randn_like(n)
    found = torch.autograd.grad((g * n).sum(), (q, w))
    expected = torch.autograd.grad((g * ((1 - torch.tanh(summands(q, w))) / 2).sum(-1)).sum(), (q, w))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_rounds_of_algorithm_one_passed_straight_through_add_up_to_the_closed_forms_derivative() -> None:
    """d count / d u = 1 / 16 + 1 / 256 + .. = 1 / 15, and u = z + 16 n."""
    z, n = torch.tensor(-37.0, requires_grad=True), torch.tensor(20.0, requires_grad=True)
    carries_of_sums(z, n, 4).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert n.grad is not None
    assert z.grad.item() == pytest.approx(sum(16.0**-i for i in range(1, 20)))
    assert n.grad.item() == pytest.approx(16 / 15)


def test_carry_variance_by_hand() -> None:
    """Neuron one: counts 1, 3, 5 of mean 3, variance 8/3 (biased); neuron two: 4, 4, 4. Their mean."""
    counts = torch.tensor([[1.0, 4.0], [3.0, 4.0], [5.0, 4.0]])
    assert carry_variance(counts).item() == pytest.approx(8 / 6)
