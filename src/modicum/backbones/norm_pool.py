"""Batch norm, 2x2 max-pool and (leaky) ReLU of a convolution block, by whichever way is the fastest where it stands.

    y_P = act(max over i in P of u_i),   u_i = scale x_i + shift,   scale = w (var + eps)^(-1/2),   shift = b - mean scale

| statistics | way | derivatives |
|---|---|---|
| the call's own | `batch_norm_pool.batch_norm_pool` | two, of its own |
| given | `given_norm_pool`: one pass, and one over the pooled size back | one of its own, the second by the layers |
| either, where the kernels are not usable | the layers one by one | torch's |

The three agree to rounding; the first two to the bit where the same statistics enter.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from modicum.backbones.batch_norm_kernels import channels_last, empty, kernels_for, usable
from modicum.backbones.batch_norm_pool import batch_norm_pool


def pool_activate(x: Tensor, slope: float) -> Tensor:
    """act(max_pool_2x2(x)) of x (B, C, H, W): (B, C, H // 2, W // 2)."""
    pooled = F.max_pool2d(x, 2)
    # In place: the pool's backward reads its input and the indices, so its output may be overwritten.
    return F.leaky_relu(pooled, slope, inplace=True) if slope else F.relu(pooled, inplace=True)


def norm_pool_activate(x: Tensor, norm: nn.Module, slope: float) -> Tensor:
    """act(max_pool_2x2(norm(x))) of x (B, C, H, W): (B, C, H // 2, W // 2). A `TorchFunctionMode` may answer it."""
    if not fusable(x, norm):
        return pool_activate(norm(x), slope)
    if has_torch_function((x,)):
        answered: Tensor = handle_torch_function(norm_pool_activate, (x,), x, norm, slope)
        return answered
    assert isinstance(norm, nn.BatchNorm2d)
    return _trained(x, norm, slope) if norm.training else given_norm_pool(x, *_buffers(norm), norm, slope)


def fusable(x: Tensor, norm: nn.Module) -> bool:
    """Whether this layer's batch norm is torch's own, watched by nobody, and the kernels are usable."""
    return (
        type(norm) is nn.BatchNorm2d
        and norm.running_mean is not None
        and norm.running_var is not None
        and norm.running_mean.dtype == x.dtype
        and not (norm._forward_hooks or norm._forward_pre_hooks or norm._backward_hooks)
        and usable(x, norm.weight, norm.bias)
    )


def _buffers(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def _trained(x: Tensor, norm: nn.BatchNorm2d, slope: float) -> Tensor:
    """By the batch's statistics; moves the running ones with the unbiased variance, as torch does."""
    found = batch_norm_pool(x, norm.weight, norm.bias, norm.eps, slope)
    with torch.no_grad():
        count, rate = x.numel() / x.shape[1], norm.momentum
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            rate = 1 / float(norm.num_batches_tracked) if rate is None else rate
        for running, value, factor in zip(_buffers(norm), found[1:], (1.0, count / (count - 1)), strict=True):
            running.mul_(1 - (rate or 0.0)).add_(value, alpha=(rate or 0.0) * factor)
    return found.y


def given_norm_pool(x: Tensor, mean: Tensor, variance: Tensor, norm: nn.BatchNorm2d, slope: float) -> Tensor:
    """By given statistics (C,), differentiable in them too. Only where `fusable` says so."""
    tensors = [value.contiguous() for value in (mean, variance, norm.weight, norm.bias)]
    if torch.is_grad_enabled() and any(value.requires_grad for value in (x, *tensors)):
        y: Tensor = _Given.apply(channels_last(x), *tensors, norm.eps, slope)
        return y
    y = empty(x, x.shape[2] // 2, x.shape[3] // 2)
    last = channels_last(x)
    kernels, shape = kernels_for(x.dtype), (0, len(x), *x.shape[2:], x.shape[1])
    scale, shift = _affine(torch.stack(tensors[:2]), tensors[2], tensors[3], norm.eps)
    kernels["pool_values"](last, *shape, scale, shift, slope, y)
    return y


def _affine(moments: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Scale and shift (2, C) of moments (2, C)."""
    affine = torch.empty_like(moments)
    kernel = kernels_for(moments.dtype)["affine"]
    kernel(moments, weight, bias, len(weight), eps, affine)
    return affine


class _Given(torch.autograd.Function):
    """(x, mean, variance, weight, bias) -> y."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float
    ) -> Tensor:
        """One pass over x."""
        height, width = x.shape[2] // 2, x.shape[3] // 2
        y, chosen, code = empty(x, height, width), empty(x, height, width), empty(x, height, width, torch.uint8)
        moments, kernels, shape = torch.stack((mean, variance)), kernels_for(x.dtype), (0, len(x), *x.shape[2:], x.shape[1])
        scale, shift = _affine(moments, weight, bias, eps)
        kernels["pool"](x, *shape, scale, shift, slope, y, chosen, code)
        ctx.save_for_backward(x, mean, variance, weight, bias, chosen, code, moments, scale)
        ctx.constants = eps, slope
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """dx = scale s; from S1 = sum s and S = sum s (x - mean): db = S1, dmean = -scale S1, dw = r S, dvar by r."""
        *tensors, chosen, code, moments, scale = ctx.saved_tensors
        eps, slope = ctx.constants
        if torch.is_grad_enabled():
            return *_by_layers(g, tensors, eps, slope), None, None
        x, _, variance, weight, _ = tensors
        g, (b, c, h, w) = channels_last(g), x.shape
        kernels, partial = kernels_for(x.dtype), torch.empty(b, 2, c, dtype=torch.float64)
        pooled = (0, b, h // 2, w // 2, c)
        kernels["pooled_sums"](g, chosen, code, *pooled, moments, slope, partial)
        s1, s = partial.sum(0)
        r = (variance.double() + eps).rsqrt()
        of_variance, of_weight = -0.5 * r**3 * weight * s, r * s
        dx = None
        if ctx.needs_input_grad[0]:
            dx = empty(x, h, w)
            kernels["place"](g, code, 0, b, h, w, c, scale, slope, dx)
        found = (-r * weight * s1, of_variance, of_weight, s1)
        return dx, *(value.to(x.dtype) for value in found), None, None


def _by_layers(g: Tensor, tensors: list[Tensor], eps: float, slope: float) -> list[Tensor | None]:
    """The same gradients from torch's own layers, differentiable as often as one likes."""
    x, mean, variance, weight, bias = tensors
    shape = (1, -1, 1, 1)
    scale = (variance + eps).rsqrt() * weight
    u = (x - mean.view(shape)) * scale.view(shape) + bias.view(shape)
    wanted = [value for value in tensors if value.requires_grad]
    found = iter(torch.autograd.grad(F.leaky_relu(F.max_pool2d(u, 2), slope), wanted, g, create_graph=True))
    return [next(found) if value.requires_grad else None for value in tensors]
