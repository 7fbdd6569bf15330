"""MetaOptNet's heads: the paper's problem against the released code's, precision, bad input."""

from __future__ import annotations

import pytest
import torch

from modicum.adaptation.metaoptnet import MetaOptNetRRHead, MetaOptNetSVMHead
from modicum.adaptation.ridge import RidgeHead
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError

LINE = LabelledSet(torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1]))
QUERY = torch.tensor([[3.0]])


def noise(shots: int = 5, width: int = 40, dtype: torch.dtype = torch.float32) -> LabelledSet:
    return LabelledSet(torch.randn(2, 5 * shots, width, dtype=dtype), torch.arange(5).repeat_interleave(shots).expand(2, -1))


@pytest.mark.parametrize(("C", "weight"), [(1.0, 0.5), (0.1, 0.2)])
def test_svm_by_hand(C: float, weight: float) -> None:
    """x = 1, -1: w = (2p, -2p), p = min(1/4, C); margin w_0 x - w_1 x = 1 where the box does not hold it back."""
    logits = MetaOptNetSVMHead(C=C, scale=2.0).fit(LINE, 2)(QUERY)
    assert torch.allclose(logits, 2 * 3 * weight * torch.tensor([[1.0, -1.0]]), atol=1e-6)


def test_the_released_diagonal_shrinks_the_weights() -> None:
    """With 1 on the kernel's diagonal the objective is 6 p^2 - 2 p instead of 4 p^2 - 2 p: w = 1/3, a margin of 2/3."""
    paper, released = (MetaOptNetSVMHead(C=1.0, scale=1.0, ridge=ridge).fit(LINE, 2)(QUERY) for ridge in (0.0, 1.0))
    assert torch.allclose(paper, torch.tensor([[1.5, -1.5]]), atol=1e-6)
    assert torch.allclose(released, torch.tensor([[1.0, -1.0]]), atol=1e-6)


def test_ridge_dual_is_twice_ridge_regression() -> None:
    """z = 2, 1, penalty 5: ridge gives W = (.2, .1); the dual's linear term is -2 Y, so (.4, .2)."""
    support = LabelledSet(torch.tensor([[2.0], [1.0]]), torch.tensor([0, 1]))
    logits = MetaOptNetRRHead(penalty=5.0, scale=1.0).fit(support, 2)(QUERY)
    assert torch.allclose(logits, torch.tensor([[1.2, 0.6]]))
    many, query = noise(), torch.randn(2, 3, 40)
    same = RidgeHead(penalty=7.0, scale=3.0).fit(many, 5)(query)
    assert torch.allclose(MetaOptNetRRHead(penalty=7.0, scale=1.5).fit(many, 5)(query), same, atol=1e-5)


def test_residual_is_reported_and_small() -> None:
    for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        adapted = MetaOptNetSVMHead().to(dtype).fit(noise(dtype=dtype), 5)
        assert adapted.weight.dtype == dtype
        assert adapted.residual.shape == (2,)
        assert adapted.residual.max() < bound


@pytest.mark.parametrize("copies", [1, 2])
def test_residual_in_single_precision_as_documented(copies: int) -> None:
    """C max |x|^2 up to 1e5, also where classes share a picture: alpha is not rounded before W is."""
    support = noise()
    x = support.x[:, torch.arange(25) % (25 // copies)]
    size = 1e5 / 0.1
    x = x * (size / x.square().sum(-1).amax()).sqrt()
    assert MetaOptNetSVMHead(C=0.1).fit(support._replace(x=x), 5).residual.max() < 1e-4


def test_single_precision_is_the_double_one_rounded() -> None:
    """150 pictures in 40 dimensions: a kernel rounded to float32 would be indefinite."""
    support = noise(shots=30)
    low = MetaOptNetSVMHead().fit(support, 5).weight
    high = MetaOptNetSVMHead().double().fit(support._replace(x=support.x.double()), 5).weight
    assert torch.allclose(low.double(), high, atol=1e-5)


def test_unequal_shots_by_mask() -> None:
    support = noise(dtype=torch.float64)
    keep = torch.arange(25).expand(2, -1) % 5 <= support.y
    head = MetaOptNetSVMHead(C=0.5).double()
    masked = head.fit(support._replace(mask=keep), 5)
    for e in range(2):
        bare = head.fit(LabelledSet(support.x[e, keep[e]], support.y[e, keep[e]]), 5)
        assert torch.allclose(masked.weight[e], bare.weight, atol=1e-10)


def test_clear_errors() -> None:
    for C in (0, -1.0, float("inf")):
        with pytest.raises(ConfigError, match="C: expected a finite number more than 0, found"):
            MetaOptNetSVMHead(C=C)
    with pytest.raises(ConfigError, match="ridge: expected a finite number, 0 or more, found -1"):
        MetaOptNetSVMHead(ridge=-1)
    with pytest.raises(ConfigError, match="penalty: expected more than 0, found 0"):
        MetaOptNetRRHead(penalty=0)
    for head in (MetaOptNetSVMHead, MetaOptNetRRHead):
        with pytest.raises(ConfigError, match="scale: expected more than 0, found 0"):
            head(scale=0)
    with pytest.raises(ConfigError, match="soft labels: metaoptnet-svm takes one class"):
        MetaOptNetSVMHead().fit(LINE._replace(soft=torch.eye(2)), 2)
    with pytest.raises(ConfigError, match="at least 2"):
        MetaOptNetSVMHead().fit(LINE._replace(y=torch.zeros(2, dtype=torch.long)), 1)
    with pytest.raises(DataError, match="kernel: expected finite numbers"):
        MetaOptNetSVMHead().double().fit(LINE._replace(x=LINE.x.double() * 1e200), 2)
