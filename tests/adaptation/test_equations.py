"""Hand-worked cases, each chosen so that the likely misreading gives another number."""

from __future__ import annotations

import math

import pytest
import torch

from modicum.adaptation.cosine import CosineHead
from modicum.adaptation.protonet import ProtoNetHead
from modicum.adaptation.r2d2 import R2D2Head
from modicum.adaptation.ridge import RidgeHead
from modicum.adaptation.solvers.ridge import ridge_weights
from modicum.episodes.types import LabelledSet

SUPPORT = LabelledSet(torch.tensor([[0.0, 0], [2, 0], [0, 3], [0, 5]]), torch.tensor([0, 0, 1, 1]))
QUERY = torch.tensor([[1.0, 0.0]])


def test_protonet_squares_the_distance() -> None:
    """Means (1, 0), (0, 4): squared distances 0 and 17; the plain distance would give -4.12."""
    logits = ProtoNetHead().fit(SUPPORT, 2)(QUERY)
    assert torch.allclose(logits, torch.tensor([[0.0, -17.0]]))


def test_protonet_scale_and_division_by_width() -> None:
    logits = ProtoNetHead(scale=3.0, normalize=True).fit(SUPPORT, 2)(QUERY)
    assert torch.allclose(logits, torch.tensor([[0.0, -17.0 * 3 / 2]]))


def test_protonet_soft_labels_weigh_the_mean() -> None:
    """Class 0 holds (0,0) whole and (2,0) by a third: mean (2/3)/(4/3) = 0.5; an unweighted sum over 2 gives 1/3."""
    soft = torch.tensor([[1.0, 0], [1 / 3, 2 / 3], [0, 1], [0, 1]])
    adapted = ProtoNetHead().fit(SUPPORT._replace(soft=soft), 2)
    assert torch.allclose(adapted.prototypes[0], torch.tensor([0.5, 0.0]))


def test_cosine_uses_the_mean_of_raw_features() -> None:
    """Features (3, 0), (0, 1): mean (1.5, .5), cosine with (1, 0) .9487; the mean of unit vectors would give .7071."""
    support = LabelledSet(torch.tensor([[3.0, 0], [0, 1], [-1, 0]]), torch.tensor([0, 0, 1]))
    logits = CosineHead(scale=1.0).fit(support, 2)(QUERY)
    assert torch.allclose(logits, torch.tensor([[1.5 / math.sqrt(2.5), -1.0]]), atol=1e-6)


def test_ridge_by_hand() -> None:
    """z = 2 (class 0), z = 1 (class 1), penalty 5: W = (4 + 1 + 5)^-1 (2, 1) = (.2, .1), not divided by S."""
    support = LabelledSet(torch.tensor([[2.0], [1.0]]), torch.tensor([0, 1]))
    logits = RidgeHead(penalty=5.0, scale=1.0).fit(support, 2)(torch.tensor([[3.0]]))
    assert torch.allclose(logits, torch.tensor([[0.6, 0.3]]))
    assert torch.allclose(R2D2Head(penalty=5.0, scale=2.0, bias=1.0).fit(support, 2)(torch.tensor([[3.0]])), 1 + 2 * logits)


@pytest.mark.parametrize(("support", "width"), [(4, 9), (9, 4)])
def test_ridge_primal_and_dual_solve_the_normal_equations(support: int, width: int) -> None:
    z, y = torch.randn(3, support, width, dtype=torch.float64), torch.randn(3, support, 2, dtype=torch.float64)
    s = torch.rand(3, support, dtype=torch.float64)
    w = ridge_weights(z, y, 0.7, s)
    gradient = z.mT @ (s.unsqueeze(-1) * (z @ w - y)) + 0.7 * w
    assert gradient.abs().max() < 1e-12


def test_ridge_gradient_by_finite_differences() -> None:
    z = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    tall = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    penalty = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, p: ridge_weights(a, y, p), (z, penalty))
    y = torch.randn(2, 6, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, p: ridge_weights(a, y, p), (tall, penalty))
