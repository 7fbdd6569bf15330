"""Batch norm by the call's own statistics, 2x2 max-pool and (leaky) ReLU as one operation with its own two derivatives.

Sergey Ioffe, Christian Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167. For each channel with values x_1..x_m
(all pictures and pixels of the call), windows P of 2x2 pixels, stride 2, the last odd row and column in none:

    mean = sum_i x_i / m,   var = sum_i (x_i - mean)^2 / m,   r = (var + eps)^(-1/2),   xhat_i = (x_i - mean) r
    y_P = act(max over i in P of u_i),   u_i = w xhat_i + b,   act(u) = u for u > 0, else slope * u

Maximum and act are piecewise linear: which pixel was chosen and whether the slope acted are constants of both derivatives.
With s_i = the gradient of y_P times act', at the chosen pixel i of P, else 0, and S1 = sum_i s_i, S2 = sum_i s_i xhat_i,

    db = S1,   dw = S2,   dx_i = w r (s_i - S1/m - xhat_i S2/m) + dmean/m + 2 dvar (x_i - mean)/m

where dmean and dvar are gradients of the statistics, where somebody uses these. For cotangents A_i of dx_i, alpha of dw,
beta of db, with bars for means over i, a1 = mean(A), a2 = mean(A xhat), q = sum_i A_i s_i - S1 a1 - S2 a2,
h_i = s_i (alpha - w r a2) - A_i w r S2/m:

    of s_i:   w r (A_i - a1 - xhat_i a2) + alpha xhat_i + beta            of w:   r q
    of x_i:   r (h_i - mean(h) - xhat_i (mean(h xhat) + w r q/m)) + 2 dvar (A_i - a1)/m
    of dmean: a1            of dvar: 2 a2 / r

| symbol | variable | shape |
|---|---|---|
| x | `x`, channels last | (B, C, H, W) |
| y, gradient of y | `y`, `g` | (B, C, H // 2, W // 2) |
| chosen pixel, act' | `code`: 0..3, + 4 where the slope acts; `chosen`: x there | as y |
| mean, var | `moments` | (2, C) |
| w, b | `weight`, `bias` | (C,) |

torch takes five kernels forward and some thirty for the second derivative, each over all of x; `csrc/batch_norm_pool.c`
goes over it twice in each of the three and keeps nothing of its size but x. Sums run within a picture and then over
pictures, so the bits do not depend on threads. Without kernels, on a GPU, under vmap and the other transforms of
torch.func, compiled or traced, `usable` says no, and the caller runs the same layers one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from modicum.backbones.batch_norm_kernels import channels_last, empty, kernels_for


class Pooled(NamedTuple):
    """y (B, C, H // 2, W // 2) with mean and biased variance (C,) of x; gradients flow through all three."""

    y: Tensor
    mean: Tensor
    variance: Tensor


def batch_norm_pool(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Pooled:
    """See the module's equations; x (B, C, H, W), weight and bias (C,), 0 <= slope < 1. Where `usable` says so."""
    y, mean, variance = _Forward.apply(channels_last(x), weight.contiguous(), bias.contiguous(), eps, slope)
    return Pooled(y, mean, variance)


class _Call(NamedTuple):
    """What the three derivatives of one call have in common."""

    x: Tensor
    weight: Tensor
    chosen: Tensor
    code: Tensor
    moments: Tensor
    eps: float
    slope: float

    @property
    def kernels(self) -> dict[str, Any]:
        return kernels_for(self.x.dtype)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """B, H, W, C."""
        b, c, h, w = self.x.shape
        return b, h, w, c

    @property
    def values(self) -> float:
        return self.x.numel() / self.x.shape[1]


class _Forward(torch.autograd.Function):
    """(x, weight, bias) -> (y, mean, variance)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor, ...]:
        """Two passes over x: sums, then pool and activation."""
        b, c, h, w = x.shape
        y, chosen = empty(x, h // 2, w // 2), empty(x, h // 2, w // 2)
        call = _Call(x, weight, chosen, empty(y, h // 2, w // 2, torch.uint8), x.new_empty(2, c), eps, slope)
        kernels, partial, affine = call.kernels, torch.empty(b, 2, c, dtype=torch.float64), x.new_empty(2, c)
        kernels["statistics"](x, 0, *call.shape, partial)
        kernels["moments"](partial, b, c, call.values, call.moments)
        kernels["affine"](call.moments, weight, bias, c, eps, affine)
        scale, shift = affine
        kernels["pool"](x, 0, *call.shape, scale, shift, slope, y, chosen, call.code)
        ctx.save_for_backward(*call[:5])
        ctx.constants = eps, slope
        ctx.set_materialize_grads(False)
        mean, variance = call.moments.clone()
        return y, mean.clone(), variance.clone()

    @staticmethod
    def backward(
        ctx: Any, g: Tensor | None, of_mean: Tensor | None, of_variance: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias, differentiable once more."""
        call = _Call(*ctx.saved_tensors, *ctx.constants)
        g = torch.zeros_like(call.chosen) if g is None else g
        given = tuple(None if value is None else value.contiguous() for value in (of_mean, of_variance))
        found: tuple[Tensor, ...] = _Backward.apply(channels_last(g), *given, *call)
        return *found, None, None


class _Backward(torch.autograd.Function):
    """(gradients of y, mean and variance, x, weight; the call's constants) -> gradients of x, weight and bias."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, of_mean: Tensor | None, of_variance: Tensor | None, *rest: Any) -> tuple[Tensor, ...]:
        """One pass over the pooled size for the sums, one over x."""
        call = _Call(*rest)
        b, h, w, c = call.shape
        kernels, dx = call.kernels, empty(call.x, h, w)
        gradients, coefficients = call.x.new_empty(2, c), call.x.new_empty(3, c)
        partial, sums = torch.empty(b, 2, c, dtype=torch.float64), torch.empty(2, c, dtype=torch.float64)
        mean, pooled = call.moments, (0, b, h // 2, w // 2, c)
        kernels["pooled_sums"](g, call.chosen, call.code, *pooled, mean, call.slope, partial)
        kernels["first"](
            partial, b, c, call.values, mean, call.weight, call.eps, of_mean, of_variance, sums, gradients, coefficients
        )
        kernels["scatter"](call.x, g, call.code, 0, *call.shape, mean, coefficients, call.slope, dx)
        ctx.save_for_backward(g, of_variance, sums, *call[:5])
        ctx.constants = call.eps, call.slope
        ctx.set_materialize_grads(False)
        weight, bias = gradients
        return dx, weight.clone(), bias.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, A: Tensor | None, alpha: Tensor | None, beta: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of g, of_mean, of_variance, x and weight: two passes over A and x."""
        g, of_variance, sums, *rest = ctx.saved_tensors
        call = _Call(*rest, *ctx.constants)
        A = torch.zeros_like(call.x) if A is None else channels_last(A)
        alpha, beta = (None if value is None else value.contiguous() for value in (alpha, beta))
        b, h, w, c = call.shape
        kernels, pooled, dx = call.kernels, empty(g, h // 2, w // 2), empty(A, h, w)
        partial, gradients = torch.empty(b, 3, c, dtype=torch.float64), A.new_empty(3, c)
        coefficients, mean = A.new_empty(6, c), call.moments
        kernels["second_sums"](A, call.x, g, call.code, 0, *call.shape, mean, call.slope, partial)
        kernels["second_coefficients"](
            partial, b, c, call.values, mean, call.weight, call.eps, sums, alpha, beta, of_variance, gradients, coefficients
        )
        kernels["second"](A, call.x, g, call.chosen, call.code, 0, *call.shape, mean, coefficients, call.slope, pooled, dx)
        weight, *statistics = gradients
        given = (value if needed else None for value, needed in zip(statistics, ctx.needs_input_grad[1:3], strict=True))
        return pooled, *given, dx, weight, None, None, None, None, None
