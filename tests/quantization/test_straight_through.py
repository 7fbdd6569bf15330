"""Both directions of every straight-through step by hand, and that torch.func's transforms take them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from modicum.quantization.straight_through import (
    codes_through,
    floor_through,
    round_through,
    sign_through,
    ternary_through,
)

CASES: dict[str, tuple[Callable[[Tensor], Tensor], list[float], list[float], list[float]]] = {
    "round": (round_through, [-1.5, -0.5, 0.4, 0.5, 1.5, 2.5, 7.0], [-2, 0, 0, 0, 2, 2, 7], [1] * 7),
    "floor": (floor_through, [-1.5, -1.0, -0.1, 0.9, 1.0], [-2, -1, -1, 0, 1], [1] * 5),
    "sign": (sign_through, [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.1], [-1, -1, -1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 0]),
    "ternary": (
        lambda w: ternary_through(w, torch.tensor(0.25)),
        [-1.5, -0.5, -0.25, 0.0, 0.2, 0.3, 1.0],
        [-1, -1, 0, 0, 0, 1, 1],
        [0, 1, 1, 1, 1, 1, 1],
    ),
    "codes 0..3 of steps 1/2": (
        lambda a: codes_through(a, torch.tensor(2.0), 0, 3),
        [-0.1, 0.0, 0.2, 0.25, 0.3, 0.75, 1.5, 1.6, 9.0],
        [0, 0, 0, 0, 1, 2, 3, 3, 3],
        [0, 2, 2, 2, 2, 2, 2, 0, 0],
    ),
    "codes -4..3 of steps 1/2": (
        lambda a: codes_through(a, torch.tensor(2.0), -4, 3),
        [-9.0, -2.1, -2.0, -0.3, 1.5, 1.6],
        [-4, -4, -4, -1, 3, 3],
        [0, 0, 2, 2, 2, 0],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_both_directions_by_hand(name: str) -> None:
    """The backward pass is the table's factor times the gradient that comes in, here 3."""
    function, given, forward, factor = CASES[name]
    x = torch.tensor(given, requires_grad=True)
    out = function(x)
    assert out.tolist() == forward
    assert out.dtype == x.dtype
    out.backward(torch.full_like(out, 3.0))  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [3 * f for f in factor]


@pytest.mark.parametrize("name", CASES)
def test_without_a_gradient_the_values_are_the_same_and_the_input_stays(name: str) -> None:
    function, given, forward, _ = CASES[name]
    x = torch.tensor(given)
    assert function(x).tolist() == forward
    assert x.tolist() == torch.tensor(given).tolist()


@pytest.mark.parametrize("name", CASES)
def test_transforms_give_what_a_loop_gives(name: str) -> None:
    function, given, _, factor = CASES[name]
    x = torch.tensor(given)
    weights = torch.arange(1.0, len(given) + 1)
    assert grad(lambda v: (weights * function(v)).sum())(x).tolist() == (weights * torch.tensor(factor)).tolist()
    rows = torch.stack([x, x.flip(0)])
    assert torch.equal(vmap(function)(rows), torch.stack([function(row) for row in rows]))
    each = vmap(grad(lambda v: function(v).sum()))(rows)
    assert each[1].tolist() == [float(f) for f in factor][::-1]


@pytest.mark.parametrize("name", CASES)
def test_a_second_derivative_sees_constant_factors(name: str) -> None:
    """Of (sum of outputs)^2 / 2 the gradient is f S, and that of its sum by x again f times the sum of factors."""
    function, given, _, factor = CASES[name]
    x = torch.tensor(given, requires_grad=True)
    (first,) = torch.autograd.grad(function(x).sum() ** 2 / 2, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert second.tolist() == pytest.approx([f * sum(factor) for f in factor])


def test_rounding_to_integers_is_exact_where_a_difference_would_not_be() -> None:
    """x + (round(x) - x) is the textbook's way to write it; the values here are integers without such a sum."""
    x = torch.linspace(-300, 300, 100_001, requires_grad=True)
    assert torch.equal(round_through(x), x.detach().round())
