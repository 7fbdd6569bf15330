"""A step whose graph is thrown away and made again when its gradient is asked for.

    y = f(x) without a graph;   backward: y = f(x) with one, then its gradients by x and by all else that f reads

torch's own checkpoint hands out tensors again at the first look at one, and a step that takes a gradient inside looks at
once: nothing would be saved. Here the step itself runs without a graph, and its graph lives while its backward pass runs.
The two runs make the same operations in the same order, so the gradients are those of a kept graph, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class _Again(torch.autograd.Function):
    """(f, number of arguments, arguments and what f reads besides) -> f(arguments)."""

    @staticmethod
    def forward(ctx: Any, function: Function, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Without a graph."""
        ctx.function, ctx.read = function, tensors[count:]
        ctx.save_for_backward(*tensors[:count])
        return tuple(function(tensors[:count]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With a graph that ends here."""
        arguments = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        with torch.enable_grad():
            found = ctx.function(arguments)
        own = torch.autograd.grad(found, [*arguments, *ctx.read], gradients, allow_unused=True)
        return None, None, *own


def made_again(function: Function, arguments: Sequence[Tensor], reads: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """function(arguments), its graph made again in the backward pass; differentiable once.

    function: pure, from tensors to tensors, the same whether gradients are on or off. reads: every other tensor that it
    depends on and that a gradient should reach.
    """
    wanted = [value for value in reads if value.requires_grad]
    found: tuple[Tensor, ...] = _Again.apply(function, len(arguments), *arguments, *wanted)
    return found
