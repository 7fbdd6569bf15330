"""Convolutions that are cheap to differentiate twice on a CPU.

    out = I * W,   of I: G *^T W,   of W: I *~ G           (G the gradient of out; *^T and *~: the two backward passes)

For cotangents A of the gradient of I and B of that of W, the second derivative is made of the same three operations:

    of G: A * W + I * B,   of I: G *^T B,   of W: A *~ G

torch writes the last two as convolutions whose kernels are as large as a picture, computes the one of I even where nobody
wants it (the pictures of a first layer), and takes longer: a third more at 42x42, twice as long for a first layer, hardly
any more from 14x14 on (one core; over a whole step the gain is within noise).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from modicum.backbones.batch_norm_kernels import plain

Sizes = tuple[int, int]


class _Form(NamedTuple):
    """What a convolution is besides its tensors."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution of x (B, C, H, W) by weight, without bias."""
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def backward(
        self, g: Tensor, x: Tensor, weight: Tensor, of_x: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients by x and by weight where asked for, else None; g is that of the output."""
        found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            g,
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            (0, 0),
            self.groups,
            (of_x, of_weight, False),
        )
        return found[0], found[1]


def _pair(value: int | tuple[int, ...]) -> Sizes:
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return (sizes[0], sizes[-1])


def convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`, the same values and derivatives; third ones are refused by torch."""
    wanted = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    if isinstance(padding, str) or input.dim() != 4 or not wanted or not plain(input, weight):
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    form = _Form(_pair(stride), _pair(padding), _pair(dilation), groups)
    out: Tensor = _Convolution.apply(input, weight, form)
    return out if bias is None else out + bias.view(1, -1, 1, 1)


class _Convolution(torch.autograd.Function):
    """(x, weight) -> out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, form: _Form) -> Tensor:
        """I * W."""
        ctx.save_for_backward(x, weight)
        ctx.form = form
        return form.forward(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and weight, differentiable once more."""
        x, weight = ctx.saved_tensors
        found: tuple[Tensor | None, ...] = _Backward.apply(g, x, weight, ctx.form, *ctx.needs_input_grad[:2])
        return *found, None


class _Backward(torch.autograd.Function):
    """(G, I, W) -> gradients of I and W."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, form: _Form, of_x: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """torch's backward pass."""
        ctx.save_for_backward(g, x, weight)
        ctx.form = form
        ctx.set_materialize_grads(False)
        return form.backward(g, x, weight, of_x, of_weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, A: Tensor | None, B: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of G, I and W."""
        g, x, weight = ctx.saved_tensors
        form, (of_g, of_x, of_weight) = ctx.form, ctx.needs_input_grad[:3]
        parts = [form.forward(A, weight)] if A is not None and of_g else []
        parts += [form.forward(x, B)] if B is not None and of_g else []
        total = parts[0].add_(parts[1]) if len(parts) == 2 else (parts[0] if parts else None)
        dx = form.backward(g, x, B, True, False)[0] if B is not None and of_x else None
        dw = form.backward(g, A, weight, False, True)[1] if A is not None and of_weight else None
        return total, dx, dw, None, None, None
