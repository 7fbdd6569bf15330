"""The filter-normalised distance against cases worked by hand, a plain loop, and what it must not see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from modicum.errors import DataError
from modicum.losses.filter_distance import (
    filter_distance,
    filter_distance_squared,
    filter_squares,
    layer_distances,
    layer_squares,
)


def networks(tasks: int = 3) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters of some tasks and a reference: convolution, bias, batch norm's weight, linear layer."""
    shapes = {"conv.weight": (4, 2, 3, 3), "conv.bias": (4,), "norm.weight": (4,), "linear.weight": (5, 8)}
    here = {name: torch.randn(tasks, *shape, dtype=torch.float64) for name, shape in shapes.items()}
    return here, {name: torch.randn(*shape, dtype=torch.float64) for name, shape in shapes.items()}


def test_two_rows_by_hand() -> None:
    """Reference rows (3,4) and (0,2), lengths 5 and 2; differences (0,5) and (-1,0): 25/25 + 1/4.

    Relative to the whole tensor's length it would be 26/29, to theta's own rows 25/90 + 1/5, as a mean over filters 5/8.
    The bias, moved by 100, does not count.
    """
    theta = {"weight": torch.tensor([[3.0, 9.0], [-1.0, 2.0]]), "bias": torch.tensor([100.0, 0.0])}
    centre = {"weight": torch.tensor([[3.0, 4.0], [0.0, 2.0]]), "bias": torch.zeros(2)}
    assert filter_squares(theta["weight"], centre["weight"]).tolist() == [1.0, 0.25]
    assert filter_distance_squared(theta, centre).item() == 1.25
    assert filter_distance(theta, centre).item() == pytest.approx(math.sqrt(1.25))


def test_filters_are_output_channels_and_rows_as_a_plain_loop_takes_them() -> None:
    here, centre = networks()
    expected = []
    for task in range(3):
        total = 0.0
        for name in ("conv.weight", "linear.weight"):
            for theta_f, c_f in zip(here[name][task], centre[name], strict=True):
                total += float((theta_f - c_f).norm()) ** 2 / float(c_f.norm()) ** 2
        expected.append(math.sqrt(total))
    assert filter_distance(here, centre, lead=1).tolist() == pytest.approx(expected, rel=1e-12)
    single = [filter_distance({name: value[task] for name, value in here.items()}, centre).item() for task in range(3)]
    assert single == pytest.approx(expected, rel=1e-12)
    several = {name: value.expand(3, *value.shape) for name, value in centre.items()}
    assert filter_distance(here, several, lead=1).tolist() == pytest.approx(expected, rel=1e-12)


def test_layers_add_up_to_the_whole() -> None:
    here, centre = networks()
    layers = layer_distances(here, centre, lead=1)
    assert list(layers) == ["conv.weight", "linear.weight"]
    whole = filter_distance(here, centre, lead=1)
    assert torch.allclose(sum(d.square() for d in layers.values()).sqrt(), whole, rtol=1e-12)  # type: ignore[union-attr]


def test_the_length_of_a_filter_is_not_seen() -> None:
    here, centre = networks()
    before = filter_distance(here, centre, lead=1)
    factors = torch.rand(4, 1, 1, 1, dtype=torch.float64) + 0.5
    scaled = {**here, "conv.weight": here["conv.weight"] * factors}
    assert torch.allclose(
        filter_distance(scaled, {**centre, "conv.weight": centre["conv.weight"] * factors}, lead=1), before, rtol=1e-12
    )


def test_gradient_by_hand_and_gradcheck_in_both_arguments() -> None:
    """With the reference held, the gradient of d^2 is 2 (theta_f - c_f) / ||c_f||^2: the 2 is in published coefficients."""
    here, centre = networks()
    theta = here["conv.weight"].requires_grad_()
    reference = centre["conv.weight"].requires_grad_()
    (slope,) = torch.autograd.grad(filter_distance_squared({"w": theta}, {"w": reference.detach()}, 1).sum(), theta)
    expected = 2 * (theta - reference) / reference.square().sum((1, 2, 3), keepdim=True)
    assert torch.allclose(slope, expected, rtol=1e-12)
    for function in (filter_distance_squared, filter_distance):
        assert torch.autograd.gradcheck(lambda a, b, f=function: f({"w": a}, {"w": b}, 1), (theta, reference))


def test_short_filters_are_measured_by_a_tenth_of_the_layers_length() -> None:
    """Lengths 5, 0 and 0.1 have the mean square 25.01 / 3, a hundredth of which takes the place of 0 and 0.01."""
    reference = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.1, 0.0]], dtype=torch.float64)
    theta = reference + torch.tensor([[0.0, 5.0], [1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    assert filter_squares(theta, reference).tolist() == pytest.approx([1, 300 / 25.01, 1200 / 25.01])


def test_no_distance_and_layers_of_zeros_have_finite_gradients() -> None:
    """At theta = c the distance is 0 with gradient 0; a layer of zeros is measured by 1."""
    theta = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    distance = filter_distance({"w": theta}, {"w": theta.detach().clone()})
    assert distance.item() == 0
    assert torch.autograd.grad(distance, theta)[0].tolist() == [[0, 0], [0, 0]]
    reference = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    square = filter_distance_squared({"w": theta}, {"w": reference})
    assert square.item() == 5
    assert torch.autograd.grad(square, theta)[0].tolist() == [[2, 4], [0, 0]]


def test_memory_format_changes_nothing() -> None:
    here, centre = networks()
    other = {"conv.weight": centre["conv.weight"].contiguous(memory_format=torch.channels_last)}
    mine = {"conv.weight": here["conv.weight"]}
    assert torch.allclose(filter_distance(mine, other, 1), filter_distance(mine, centre, 1), rtol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    here, centre = networks()
    with pytest.raises(DataError, match=r"reference: has no 'linear\.weight'"):
        layer_squares(here, {"conv.weight": centre["conv.weight"]}, 1)
    with pytest.raises(DataError, match=r"expected filters of the shape \(4, 2, 3, 3\).*found \(5, 8\)"):
        filter_squares(here["conv.weight"], centre["linear.weight"], 1)
    with pytest.raises(DataError, match="none has filters"):
        filter_distance({"bias": torch.zeros(3)}, {"bias": torch.zeros(3)})
