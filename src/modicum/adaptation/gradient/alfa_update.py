"""ALFA's update of all tensors of one task as one operation of the graph.

    theta_i <- beta_i theta_i - alpha_i g_i

The same numbers as tensor by tensor; but a task with one picture a class has tensors so small that what a graph of some ten
operations a tensor costs, forward and backward, was a seventh of the whole step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from modicum.adaptation.gradient.tensors import Tensors


class _Update(torch.autograd.Function):
    """(alpha (N,), beta (N,), theta_1..theta_N, g_1..g_N) -> the N tensors after the step."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor, beta: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """A multiplication, and an addition of a multiple, for each tensor."""
        ctx.save_for_backward(alpha, beta, *tensors)
        n = len(alpha)
        new = torch._foreach_mul(tensors[:n], beta.tolist())
        for value, gradient, rate in zip(new, tensors[n:], alpha.tolist(), strict=True):
            value.add_(gradient, alpha=-rate)
        return tuple(new)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """Inner products for alpha and beta, multiples for theta and g; differentiable in its turn where wanted."""
        alpha, beta, *tensors = ctx.saved_tensors
        n, wanted = len(alpha), ctx.needs_input_grad
        rates = _dots(outer, tensors[n:]).neg() if wanted[0] else None
        decays = _dots(outer, tensors[:n]) if wanted[1] else None
        old = _multiples(outer, beta) if any(wanted[2 : 2 + n]) else [None] * n
        gradients = _multiples(outer, -alpha) if any(wanted[2 + n :]) else [None] * n
        return rates, decays, *old, *gradients


def _dots(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.dot(x.reshape(-1), y.reshape(-1)) for x, y in zip(a, b, strict=True)])


def _multiples(tensors: tuple[Tensor, ...], factors: Tensor) -> tuple[Tensor, ...]:
    if torch.is_grad_enabled():
        return tuple(factor * value for factor, value in zip(factors.unbind(), tensors, strict=True))
    return torch._foreach_mul(tensors, factors.tolist())


def updated(parameters: Tensors, gradients: Mapping[str, Tensor], alpha: Tensor, beta: Tensor) -> Tensors:
    """The moving tensors of one task (no task dimensions) after a step; alpha and beta (N,) in their order."""
    new = _Update.apply(alpha, beta, *parameters.values(), *(gradients[name] for name in parameters))
    return dict(zip(parameters, new, strict=True))
