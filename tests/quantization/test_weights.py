"""Low-bit weights by hand, against a slow loop, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.quantization.weights import Kind, integer_weights, largest_weight, low_bit_weights, weight_bits

KINDS: tuple[Kind, ...] = ("binary", "ternary", "3", "4", "5", "8")


def test_binary_by_hand() -> None:
    """Means of absolute values 0.375 and 0.5; the sign of 0 is 1."""
    integers, scale = low_bit_weights(torch.tensor([[0.5, -0.25], [0.0, -1.0]]), "binary")
    assert integers.tolist() == [[1, -1], [1, -1]]
    assert scale.tolist() == [0.375, 0.5]


def test_ternary_by_hand() -> None:
    """mean 0.4625, threshold 0.32375; 1 and 0.6 remain, with mean 0.8. At the threshold itself a weight is 0."""
    integers, scale = low_bit_weights(torch.tensor([[1.0, -0.2, -0.6, 0.05], [0.7, 1.3, 1.0, -1.0]]).double(), "ternary")
    assert integers.tolist() == [[1, 0, -1, 0], [0, 1, 1, -1]]
    assert scale.tolist() == pytest.approx([0.8, 1.1])


def test_three_bits_by_hand() -> None:
    """The largest, 1.5, is 3 steps of 0.5; 0.25 lies halfway and goes to the even 0, 0.75 to 2."""
    integers, scale = low_bit_weights(torch.tensor([[1.5, -0.25, 0.75, -0.5, -1.3]]), "3")
    assert integers.tolist() == [[3, 0, 2, -1, -3]]
    assert scale.tolist() == [0.5]


def slow(row: list[float], kind: Kind) -> tuple[list[int], float]:
    sizes = [abs(w) for w in row]
    mean = sum(sizes) / len(row)
    if kind == "binary":
        return [1 if w >= 0 else -1 for w in row], mean
    if kind == "ternary":
        kept = [size for size in sizes if size > 0.7 * mean]
        return [(w > 0) - (w < 0) if abs(w) > 0.7 * mean else 0 for w in row], sum(kept) / len(kept)
    step = max(sizes) / (2 ** (int(kind) - 1) - 1)
    return [round(w / step) for w in row], step


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3, 3), (6, 1, 1, 1)])
def test_against_a_loop(kind: Kind, shape: tuple[int, ...]) -> None:
    w = torch.randn(shape, dtype=torch.float64)
    integers, scale = low_bit_weights(w, kind)
    assert integers.shape == shape
    for row, found, s in zip(w.flatten(1).tolist(), integers.flatten(1).tolist(), scale.tolist(), strict=True):
        assert (found, s) == (slow(row, kind)[0], pytest.approx(slow(row, kind)[1], rel=1e-12))
    small, same = integer_weights(w, kind)
    assert small.dtype == torch.int8
    assert torch.equal(small.double(), integers)
    assert torch.equal(same, scale)
    assert int(integers.abs().max()) <= largest_weight(kind) < 2 ** weight_bits(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_of_zeros_has_scale_zero_and_finite_gradients(kind: Kind) -> None:
    w = torch.zeros(2, 3, requires_grad=True)
    integers, scale = low_bit_weights(w, kind)
    assert scale.tolist() == [0, 0]
    (integers * scale[:, None] + integers).sum().backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    assert torch.isfinite(w.grad).all()
    assert set(integers.flatten().tolist()) == ({1} if kind == "binary" else {0})


def gradient(w: list[float], kind: Kind, g: list[float]) -> Tensor:
    """Of sum g_i s_w w_q,i."""
    given = torch.tensor([w], dtype=torch.float64, requires_grad=True)
    integers, scale = low_bit_weights(given, kind)
    (torch.tensor(g) * scale[:, None] * integers).sum().backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    return given.grad[0]


def test_gradient_of_binary_weights_by_hand() -> None:
    """s = 1, sum g w_q = 10 - 20 + 30 = 20, a third of it with each sign; beyond 1 the straight-through part is 0."""
    found = gradient([0.5, -0.9, 1.6], "binary", [10, 20, 30])
    assert found.tolist() == pytest.approx([10 + 20 / 3, 20 - 20 / 3, 0 + 20 / 3])


def test_gradient_of_ternary_weights_by_hand() -> None:
    """The mean of the two kept weights is 0.7; sum g w_q = 10 - 20 = -10, half of it to each with its sign, none to 0.1."""
    found = gradient([0.5, -0.9, 0.1], "ternary", [10, 20, 30])
    assert found.tolist() == pytest.approx([0.7 * 10 - 5, 0.7 * 20 + 5, 0.7 * 30])


def test_gradient_of_uniform_weights_by_hand() -> None:
    """Steps of 0.3: w / s = 3, -1.5, 2.1 -> 3, -2, 2. Straight through g; and the largest weight moves the step:
    sum g (w_q - w / s) / 3 = (0 - 0.5 * 20 - 0.1 * 30) / 3."""
    found = gradient([0.9, -0.45, 0.63], "3", [10, 20, 30])
    assert found.tolist() == pytest.approx([10 - 13 / 3, 20, 30])
