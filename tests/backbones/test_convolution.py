"""Convolutions with their own second derivative against torch's, and against finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modicum.backbones.batch_norm import forward_own
from modicum.backbones.convolution import _Convolution, convolve
from modicum.backbones.encoder import ImageSpec, build_encoder

FORMS: list[dict[str, Any]] = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": (1, 0)},
    {"stride": (1, 2), "dilation": 2, "padding": 2},
    {"groups": 2, "padding": 1},
    {"padding": "same"},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_both_derivatives_are_torchs(form: dict[str, Any], bias: bool):
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    own = [random(2, 4, 7, 6), random(6, 4 // form.get("groups", 1), 3, 3), *([random(6)] if bias else [])]
    results = []
    for function in (convolve, F.conv2d):
        torch.manual_seed(1)
        out = function(*own, **form)
        first = torch.autograd.grad((out * torch.randn(out.shape, dtype=out.dtype) * out).sum(), own, create_graph=True)
        pulled = sum((g * g * torch.randn(g.shape, dtype=g.dtype)).sum() for g in first)
        results.append([out, *first, *torch.autograd.grad(pulled, own)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradgradcheck(lambda *tensors: convolve(*tensors, **form), own)


def test_a_first_layer_asks_for_no_gradient_of_pictures():
    """Second derivative with pictures that need none: the same as torch's."""
    x = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for function in (convolve, F.conv2d):
        (first,) = torch.autograd.grad(function(x, weight).pow(3).sum(), weight, create_graph=True)
        found.append(torch.autograd.grad(first.pow(2).sum(), weight)[0])
    torch.testing.assert_close(*found)


def test_every_convolution_of_a_backbone_is_one_under_its_own_statistics():
    """Also of backbones from elsewhere; without gradients, and in other modes, torch's run."""
    for name in ("conv4-32", "timm/test_resnet"):
        module: nn.Module = build_encoder(name, ImageSpec(32, 3))
        several = sum(isinstance(part, nn.Conv2d) for part in module.modules())
        nodes, seen = [forward_own(module, torch.rand(4, 3, 32, 32), dict(module.named_parameters()))[0].grad_fn], set()
        while nodes:
            node = nodes.pop()
            if node is not None and node not in seen:
                seen.add(node)
                nodes += [after for after, _ in node.next_functions]
        assert sum(node.name() == f"{_Convolution.__name__}Backward" for node in seen) == several
