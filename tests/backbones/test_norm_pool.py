"""conv4's fused block in every mode of batch norm against torch's layers, which run where the kernels cannot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from modicum.backbones import norm_pool
from modicum.backbones.batch_norm import copy_buffers, forward_frozen, forward_own, forward_training, support_buffers
from modicum.backbones.batch_norm_kernels import kernels
from modicum.backbones.conv4 import Conv4
from modicum.backbones.norm_pool import fusable, norm_pool_activate

needs_kernels = pytest.mark.skipif(kernels() is None, reason="this installation was made without a compiler")
Outputs = dict[str, Tensor]


def network() -> Conv4:
    torch.manual_seed(0)
    model = Conv4(2, 5, slope=0.1).double()
    for block in model.blocks:
        nn.init.normal_(block.norm.weight)
        nn.init.normal_(block.norm.bias)
        nn.init.normal_(block.norm.running_mean)
        nn.init.uniform_(block.norm.running_var, 0.5, 2.0)
        block.norm.momentum = 0.3
    return model


X = torch.rand(6, 2, 19, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def trained(model: Conv4) -> Outputs:
    features, buffers = forward_training(model, X, copy_buffers(model))
    return {"features": features, **buffers}


def cumulative(model: Conv4) -> Outputs:
    """momentum=None: the running statistics are means over all batches."""
    for block in model.blocks:
        block.norm.momentum = None
        block.norm.num_batches_tracked += 3
    return trained(model)


def own(model: Conv4) -> Outputs:
    features, found = forward_own(model, X, dict(model.named_parameters()), record=True)
    assert not any(value.requires_grad for value in found.values())
    return {"features": features, **found}


def supported(model: Conv4) -> Outputs:
    features, buffers = support_buffers(model, X[:4])
    return {"features": features, "query": forward_frozen(model, X[3:], buffers), **buffers}


def evaluated(model: Conv4) -> Outputs:
    return {"features": forward_frozen(model, X, copy_buffers(model))}


@needs_kernels
@pytest.mark.parametrize("mode", [trained, cumulative, own, supported, evaluated])
def test_values_and_gradients_of_every_mode_are_those_of_the_layers(mode: Callable[[Conv4], Outputs]):
    """Second derivatives too: also through given statistics, where the fused block goes back to the layers."""
    results = []
    for fused in (True, False):
        model = network()
        with nullcontext() if fused else mock.patch.object(norm_pool, "usable", return_value=False):
            outputs = mode(model)
            parameters = list(model.parameters())
            loss = sum(value.cos().sum() for value in outputs.values() if value.requires_grad)
            first = torch.autograd.grad(loss, parameters, create_graph=True)
            second = torch.autograd.grad(sum(g.square().sum() for g in first), parameters)
            with torch.no_grad():
                again = mode(network())
        results.append([*outputs.values(), *first, *second, *again.values()])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-8, atol=1e-8)


@needs_kernels
def test_the_kernels_step_aside():
    """Half precision, another class of norm, a hook, vmap, a picture of one row: the layers run, and give the same."""
    norm, x = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    assert fusable(x, norm)
    assert not fusable(x.bfloat16(), norm)
    assert not fusable(x, nn.SyncBatchNorm(3))
    assert not fusable(x, nn.BatchNorm2d(3, affine=False))
    assert not fusable(x, nn.BatchNorm2d(3, track_running_stats=False))
    expected = norm_pool_activate(x, norm, 0.1)
    stacked = torch.func.vmap(lambda one: norm_pool_activate(one, norm, 0.1))(x.unsqueeze(0))
    torch.testing.assert_close(stacked[0], expected)
    handle = norm.register_forward_hook(lambda module, inputs, output: output + 1)
    assert not fusable(x, norm)
    handle.remove()
    assert fusable(x, norm)
