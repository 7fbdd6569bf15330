"""Wrapping and the cyclic functions at the edges, over all integers, and their derivatives."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from modicum.configs.low_bit import Cyclic
from modicum.quantization.cyclic import cyclic, wrap


def c(z: int, bits: int, kind: Cyclic, slope: float) -> float:
    """As the layers do it, in float32."""
    return float(cyclic(wrap(torch.tensor(float(z)), bits), bits, kind, slope))


@pytest.mark.parametrize(
    ("bits", "z", "m"),
    [
        (8, -129, 127), (8, -128, -128), (8, 127, 127), (8, 128, -128), (8, 0, 0), (8, 384, -128), (8, -385, 127),
        (4, -9, 7), (4, -8, -8), (4, 7, 7), (4, 8, -8), (4, 24, -8), (4, 23, 7),
        (12, -2049, 2047), (12, -2048, -2048), (12, 2047, 2047), (12, 2048, -2048), (12, 8191, -1),
    ],
)  # fmt: skip
def test_a_sum_that_wraps_by_hand(bits: int, z: int, m: int) -> None:
    assert wrap(torch.tensor(z), bits).item() == m
    assert wrap(torch.tensor(float(z)), bits).item() == m


def test_a_real_sum_wraps_as_the_integers_beside_it() -> None:
    z = torch.tensor([127.75, 128.0, 128.25, -128.25, -128.0, 383.5])
    assert wrap(z, 8).tolist() == [127.75, -128.0, -127.75, 127.75, -128.0, 127.5]


BY_HAND = [  # 8 bits: the border k h / (k + 1) is 64, 85 1/3, 102.4
    (8, 1.0, {64: 64, 65: 63, 127: 1, 128: 0, -128: 0, -129: 1, -64: -64, -65: -63, 0: 0, 256: 0, 192: -64}),
    (8, 2.0, {85: 85, 86: 84, 127: 2, 128: 0, -128: 0, -129: 2, -85: -85, -86: -84, 171: -85, 170: -84}),
    (8, 4.0, {102: 102, 103: 100, 127: 4, 128: 0, -128: 0, -129: 4, -102: -102, -103: -100}),
    # 4 bits: 4, 5 1/3, 6.4
    (4, 1.0, {4: 4, 5: 3, 7: 1, 8: 0, -8: 0, -9: 1, -4: -4, -5: -3}),
    (4, 2.0, {5: 5, 6: 4, 7: 2, 8: 0, -8: 0, -9: 2, -5: -5, -6: -4}),
    (4, 4.0, {6: 6, 7: 4, 8: 0, -8: 0, -9: 4, -6: -6, -7: -4}),
    # 12 bits: 1024, 1365 1/3, 1638.4
    (12, 1.0, {1024: 1024, 1025: 1023, 2047: 1, 2048: 0, -2048: 0, -2049: 1, -1024: -1024, -1025: -1023}),
    (12, 2.0, {1365: 1365, 1366: 1364, 2047: 2, 2048: 0, -2048: 0, -2049: 2, -1365: -1365, -1366: -1364}),
    (12, 4.0, {1638: 1638, 1639: 1636, 2047: 4, 2048: 0, -2048: 0, -2049: 4, -1638: -1638, -1639: -1636}),
]


@pytest.mark.parametrize(("bits", "slope", "values"), BY_HAND)
def test_the_cyclic_function_by_hand_at_its_edges(bits: int, slope: float, values: dict[int, int]) -> None:
    assert {z: c(z, bits, "smooth", slope) for z in values} == values
    assert {z: c(z, bits, "relu", slope) for z in values} == {z: max(f, 0) for z, f in values.items()}
    ends = {z: abs((z + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)) for z in values}
    assert {z: c(z, bits, "absolute", slope) for z in values} == ends


def exact(m: int, bits: int, slope: Fraction) -> Fraction:
    """f as the paper writes it."""
    h = 2 ** (bits - 1)
    border = slope / (slope + 1) * h
    value: Fraction = Fraction(m) if abs(m) <= border else (slope * h if m > 0 else -slope * h) - slope * m
    return value


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
@pytest.mark.parametrize("slope", ["1", "1.5", "2", "3", "4", "10", "2.3", "1.1", "100", "17.7"])
def test_all_integers_of_an_accumulator_against_exact_fractions(bits: int, slope: str) -> None:
    """Rounded once to float32, for slopes that no binary fraction is too."""
    h = 2 ** (bits - 1)
    m = torch.arange(-h, h, max(1, h // 1024))
    by_hand = torch.tensor([float(exact(int(one), bits, Fraction(slope))) for one in m], dtype=torch.float64)
    for given in (m.float(), m):
        found = cyclic(given, bits, "smooth", float(slope))
        assert torch.equal(found.float(), by_hand.float())
        assert torch.equal(cyclic(given, bits, "relu", float(slope)).float(), by_hand.float().clamp(min=0))


@pytest.mark.parametrize("kind", ["smooth", "relu", "absolute"])
@pytest.mark.parametrize("slope", [1.0, 2.0, 4.0])
def test_it_is_continuous_and_periodic(kind: Cyclic, slope: float) -> None:
    """No two neighbours differ by more than the slope, over three periods; modulo jumps by 255."""
    z = torch.arange(-400.0, 400.0)
    values = cyclic(wrap(z, 8), 8, kind, slope)
    assert values.diff().abs().max() <= slope
    assert torch.equal(values[256:512], values[:256])
    assert cyclic(wrap(z, 8), 8, "modulo").diff().abs().max() == 255


@pytest.mark.parametrize(
    ("kind", "derivative"),
    [
        ("smooth", [-2, 1, 1, 1, -2, -2]),
        ("relu", [0, 0, 0, 1, -2, 0]),
        ("absolute", [-1, -1, 0, 1, 1, -1]),
        ("modulo", [1] * 6),
        ("none", [1] * 6),
    ],
)
def test_derivatives_by_hand(kind: Cyclic, derivative: list[int]) -> None:
    """m = -100, -50, 0, 50, 100 and the sum 140, which is -116: f rises with 1 and falls with k = 2 beyond 85 1/3."""
    z = torch.tensor([-100.0, -50.0, 0.0, 50.0, 100.0, 140.0], requires_grad=True)
    cyclic(wrap(z, 8), 8, kind, 2.0).backward(torch.full((6,), 3.0))  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.tolist() == [3 * d for d in derivative]


@pytest.mark.parametrize("kind", ["smooth", "relu", "absolute"])
@pytest.mark.parametrize("slope", [1.0, 2.0, 2.3])
def test_derivatives_against_differences(kind: Cyclic, slope: float) -> None:
    """Where there is no kink within reach; wrapping too, for the whole is continuous."""
    h, border = 128, slope / (slope + 1) * 128
    kinks = [n * h + s for n in range(-3, 4) for s in (0, border, -border)]
    z = torch.linspace(-300, 300, 157, dtype=torch.float64)
    z = torch.stack([one for one in z if min(abs(float(one) - kink) for kink in kinks) > 0.01]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cyclic(wrap(x, 8), 8, kind, slope), z, eps=1e-4)


def test_transforms_give_what_a_loop_gives() -> None:
    def both(z: Tensor) -> Tensor:
        return cyclic(wrap(z, 8), 8, "smooth", 2.0)

    z = torch.linspace(-300, 300, 60).view(4, 15)
    assert torch.equal(vmap(both)(z), both(z))
    slopes = vmap(grad(lambda row: both(row).sum()))(z)
    assert set(slopes.flatten().tolist()) == {1.0, -2.0}
    given = z.clone().requires_grad_()
    both(given).sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    assert torch.equal(slopes, given.grad)


def test_large_sums_wrap_exactly_in_float32() -> None:
    z = torch.randint(-(2**23), 2**23, (10_000,))
    for bits in (4, 8, 12, 16):
        assert torch.equal(wrap(z.float(), bits).long(), wrap(z, bits))
    assert math.isclose(float(wrap(torch.tensor(1e6 + 0.25, dtype=torch.float64), 8)), 64.25)
