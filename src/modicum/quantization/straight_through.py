"""Steps that have no useful derivative, with the one that training uses instead: straight-through estimators.

Yoshua Bengio, Nicholas Leonard, Aaron Courville: Estimating or Propagating Gradients Through Stochastic Neurons, 2013,
arXiv 1308.3432; in the forms of Mohammad Rastegari et al.: XNOR-Net, ECCV 2016, arXiv 1603.05279 (sign) and Renkun Ni et
al.: WrapNet, ICLR 2021, arXiv 2007.13242 (round, sums that wrap). g: the gradient of the output.

| function | forward | backward |
|---|---|---|
| `round_through` | nearest integer, halves to the even one | g |
| `floor_through` | largest integer not above x | g |
| `sign_through` | 1 for w >= 0, else -1 | g where abs(w) <= 1, else 0 |
| `ternary_through` | sign(w) where abs(w) > threshold, else 0 | g where abs(w) <= 1, else 0; none to the threshold |
| `codes_through` | q = clamp(round(a i), low, top) | i g where low <= a i <= top, else 0; none to i |

All are elementwise, keep dtype and shape, and may stand in the transforms of torch.func. Their backward passes are linear in
g with constant factors, so second derivatives are those of these factors: 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Round(torch.autograd.Function):
    """x -> round(x)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Nearest integers, halves to even."""
        return torch.round(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """g."""
        return g


class _Floor(_Round):
    """x -> floor(x)."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Largest integers not above x."""
        return torch.floor(x)


class _Sign(torch.autograd.Function):
    """w -> 1 or -1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor) -> Tensor:
        """1 where w >= 0, else -1."""
        return torch.where(w >= 0, 1.0, -1.0).to(w.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The mask of the backward pass."""
        ctx.save_for_backward(inputs[0].abs() <= 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """g where abs(w) <= 1."""
        (inside,) = ctx.saved_tensors
        of_w: Tensor = g * inside
        return of_w


class _Ternary(torch.autograd.Function):
    """(w, threshold) -> -1, 0 or 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, threshold: Tensor) -> Tensor:
        """sign(w) where abs(w) > threshold."""
        kept: Tensor = torch.sign(w) * (w.abs() > threshold)
        return kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The mask of the backward pass."""
        ctx.save_for_backward(inputs[0].abs() <= 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        """g where abs(w) <= 1."""
        (inside,) = ctx.saved_tensors
        return g * inside, None


class _Codes(torch.autograd.Function):
    """(a, i, low, top) -> q."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, inverse: Tensor, low: int, top: int) -> tuple[Tensor, Tensor]:
        """The codes, and where a i lies in their range."""
        scaled = a * inverse
        inside = (scaled >= low) & (scaled <= top)
        return scaled.round_().clamp(low, top), inside  # clamp_ has no rule for vmap

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """The mask and i."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1], inputs[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor, of_mask: Tensor) -> tuple[Tensor, None, None, None]:
        """i g inside the range."""
        inside, inverse = ctx.saved_tensors
        return g * inverse * inside, None, None, None


def round_through(x: Tensor) -> Tensor:
    """Nearest integers of x (...), halves to even; backward: the identity."""
    out: Tensor = _Round.apply(x)
    return out


def floor_through(x: Tensor) -> Tensor:
    """Largest integers not above x (...); backward: the identity."""
    out: Tensor = _Floor.apply(x)
    return out


def sign_through(w: Tensor) -> Tensor:
    """1 where w (...) >= 0, else -1; backward: the identity where abs(w) <= 1, else 0."""
    out: Tensor = _Sign.apply(w)
    return out


def ternary_through(w: Tensor, threshold: Tensor) -> Tensor:
    """sign(w) where abs(w) > threshold, else 0, of w (...) and a threshold that broadcasts; backward as `sign_through`."""
    out: Tensor = _Ternary.apply(w, threshold)
    return out


def codes_through(a: Tensor, inverse: Tensor, low: int, top: int) -> Tensor:
    """Codes clamp(round(a inverse), low, top) of a (...), inverse (); backward: inverse inside the range, 0 outside."""
    if (torch.is_grad_enabled() and a.requires_grad) or torch._C._are_functorch_transforms_active():
        out: Tensor = _Codes.apply(a, inverse, low, top)[0]
        return out
    return (a * inverse).round_().clamp_(low, top)
