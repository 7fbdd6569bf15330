"""Batch norms that evaluate as two rounded operations, so that integer inference can do the very same.

Sergey Ioffe, Christian Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167. In evaluation

    v = (x scale) + shift,   scale = weight / sqrt(var + eps),   shift = bias - mean scale

with scale and shift made once a call, in the precision of the statistics, and every element multiplied, rounded, added and
rounded. `torch.nn.functional.batch_norm` rounds differently with the layout of its input. Training is torch's.

`folded_norm` asks a `TorchFunctionMode` first, as `F.batch_norm` does: whoever runs a module under other statistics than its
buffers answers it.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function


class Affine(NamedTuple):
    """scale (C,) and shift (C,)."""

    scale: Tensor
    shift: Tensor


def fold(mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Affine:
    """Scale and shift (C,) that a batch norm with these statistics and parameters (C,) amounts to."""
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = weight * scale
    moved = mean * scale
    return Affine(scale, -moved if bias is None else bias - moved)


def folded_norm(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """v of x (B, C, ...) by statistics (C,), differentiable in all; see the module's equations."""
    if has_torch_function((x, mean, variance)):
        answered: Tensor = handle_torch_function(folded_norm, (x, mean, variance), x, mean, variance, weight, bias, eps)
        return answered
    return apply_folded(x, mean, variance, weight, bias, eps)


def apply_folded(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """`folded_norm` for who answers it."""
    shape = (1, -1, *(1,) * (x.dim() - 2))
    scale, shift = fold(mean, variance, weight, bias, eps)
    return (x * scale.view(shape) + shift.view(shape)).to(x.dtype)


def _forward(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm._check_input_dim(x)  # type: ignore[no-untyped-call]
    return folded_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)


def _take(made: nn.modules.batchnorm._BatchNorm, norm: nn.modules.batchnorm._BatchNorm) -> None:
    made._parameters.update(norm._parameters)
    made._buffers.update(norm._buffers)
    made.train(norm.training)


@final
class FoldableNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` for x (B, C) or (B, C, L) whose evaluation is `folded_norm`."""

    @classmethod
    def of(cls, norm: nn.BatchNorm1d) -> FoldableNorm1d:
        """With the parameters and buffers of `norm`, which keeps running statistics."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, device="meta")
        _take(made, norm)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Training: torch's; evaluation: `folded_norm`."""
        return super().forward(input) if self.training else _forward(self, input)


@final
class FoldableNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` for x (B, C, H, W) whose evaluation is `folded_norm`."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> FoldableNorm2d:
        """With the parameters and buffers of `norm`, which keeps running statistics."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, device="meta")
        _take(made, norm)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Training: torch's; evaluation: `folded_norm`."""
        return super().forward(input) if self.training else _forward(self, input)
