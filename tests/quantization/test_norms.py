"""Foldable batch norms: the two operations by hand, torch's training, and all three modes of statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modicum.backbones.batch_norm import (
    copy_buffers,
    forward_batch,
    forward_frozen,
    forward_own,
    forward_training,
    normalise,
    support_buffers,
)
from modicum.errors import ConfigError
from modicum.quantization.norms import FoldableNorm1d, FoldableNorm2d, fold


def lively(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


def test_scale_and_shift_by_hand() -> None:
    """Variance 3 and eps 1: half the weight; mean 5 times that is taken from the bias."""
    one = torch.tensor([1.0])
    assert [v.item() for v in fold(5 * one, 3 * one, 4 * one, 7 * one, 1.0)] == [2, -3]
    assert [v.item() for v in fold(5 * one, 3 * one, None, None, 1.0)] == [0.5, -2.5]


def test_evaluation_is_a_product_and_a_sum_each_rounded_to_float32() -> None:
    """To the bit, whatever the layout; F.batch_norm is another rounding of the same number."""
    norm = FoldableNorm2d.of(lively(nn.BatchNorm2d(8))).eval()
    x = 30 * torch.randn(5, 8, 6, 6)
    scale, shift = (
        v.detach().numpy()[:, None, None] for v in fold(norm.running_mean, norm.running_var, norm.weight, norm.bias, 1e-5)
    )
    by_hand = np.add(np.multiply(x.numpy(), scale, dtype=np.float32), shift, dtype=np.float32)
    assert np.array_equal(norm(x).detach().numpy(), by_hand)
    assert np.array_equal(norm(x.contiguous(memory_format=torch.channels_last)).detach().numpy(), by_hand)
    usual = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x), usual, rtol=1e-5, atol=1e-5)


def test_training_is_torchs_and_the_tensors_are_the_very_same() -> None:
    plain = lively(nn.BatchNorm2d(4))
    twin = lively(nn.BatchNorm2d(4))
    twin.load_state_dict(plain.state_dict())
    norm = FoldableNorm2d.of(twin)
    assert norm.weight is twin.weight
    assert norm.running_var is twin.running_var
    assert norm.training
    x = torch.randn(6, 4, 3, 3)
    assert torch.equal(norm(x), plain(x))
    for key, value in plain.state_dict().items():
        assert torch.equal(norm.state_dict()[key], value), key


def test_one_dimension_and_layers_without_parameters() -> None:
    norm = FoldableNorm1d.of(nn.BatchNorm1d(3, eps=0.0, affine=False)).eval()
    norm.running_mean.fill_(1)  # type: ignore[union-attr]
    norm.running_var.fill_(4)  # type: ignore[union-attr]
    assert norm(torch.tensor([[1.0, 3.0, 9.0]])).tolist() == [[0, 1, 4]]
    assert norm(torch.ones(2, 3, 5)).shape == (2, 3, 5)
    with pytest.raises(ValueError, match="4D"):
        norm(torch.ones(2, 3, 5, 5))


@pytest.fixture
def pair() -> tuple[nn.Module, nn.Module]:
    """A network with torch's norms and the same one with foldable ones."""
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 3), lively(nn.BatchNorm2d(4)), nn.ReLU(), nn.Conv2d(4, 5, 3), lively(nn.BatchNorm2d(5))
    )
    folded = nn.Sequential(plain[0], FoldableNorm2d.of(plain[1]), plain[2], plain[3], FoldableNorm2d.of(plain[4]))  # type: ignore[arg-type]
    return plain.double(), folded.double()


def test_statistics_of_the_support_set_the_batch_and_training_are_used_as_with_torchs_norm(
    pair: tuple[nn.Module, nn.Module],
) -> None:
    plain, folded = pair
    support, query = torch.randn(6, 3, 8, 8).double(), torch.randn(4, 3, 8, 8).double()
    for run in (
        lambda m: (support_buffers(m, support)[0], forward_frozen(m, query, support_buffers(m, support)[1])),
        lambda m: (forward_batch(m, query), forward_frozen(m, query, copy_buffers(m))),
        lambda m: (forward_own(m, query, dict(m.named_parameters()))[0], query),
        lambda m: (forward_training(m, query, copy_buffers(m))[0], *forward_training(m, query, copy_buffers(m))[1].values()),
    ):
        for one, other in zip(run(folded), run(plain), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    frozen = forward_frozen(folded, query, copy_buffers(folded))
    assert not torch.allclose(forward_batch(folded, query), frozen, atol=1e-2)


def test_gradients_flow_through_a_support_sets_statistics(pair: tuple[nn.Module, nn.Module]) -> None:
    support, query = torch.randn(6, 3, 8, 8).double(), torch.randn(4, 3, 8, 8).double()
    found = []
    for module in reversed(pair):
        _, buffers = support_buffers(module, support)
        loss = forward_frozen(module, query, buffers).square().mean()
        found.append(torch.autograd.grad(loss, list(module.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_layer_that_runs_twice_has_no_one_set_of_statistics() -> None:
    norm = FoldableNorm2d.of(nn.BatchNorm2d(3))
    with pytest.raises(ConfigError, match="runs twice"):
        support_buffers(nn.Sequential(norm, norm), torch.randn(2, 3, 4, 4))


def test_the_gradient_of_evaluation_is_that_of_batch_norm() -> None:
    norm = FoldableNorm2d.of(lively(nn.BatchNorm2d(3))).double().eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)
    usual = normalise(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)  # type: ignore[arg-type]
    torch.testing.assert_close(norm(x), usual)
