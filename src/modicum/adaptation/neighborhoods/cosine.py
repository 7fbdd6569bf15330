"""One step of a cosine layer in closed form, its bounds, and the step itself.

Shan, Li, Oliva, NeurIPS 2020, arXiv 1909.09140; the derivation is ours. Hats are normalised vectors, n_c = |W_c|,
kappa_c = tau / n_c, E = softmax(tau K^ W^) - V, g_c = sum_j w_j E_jc k^_j. A step moves W_c along its own tangent:

    W'_c = W_c - kappa_c y_c,     y_c = a (.) (g_c - (W^_c . g_c) W^_c)                                (step)

With u = z^ . y, v = W^ . y and P = |y|^2 - v^2, the part of y across W^,

    logit_c = tau (n_c s_c - kappa_c u_c) / sqrt((n_c - kappa_c v_c)^2 + kappa_c^2 P_c),   s_c = z^ . W^_c    (closed)

u and v need no g: with r = w (C^ (.) E), C^ = K^ W^, p_c = sum_d a_d W^_dc^2 and z_a = a (.) z^, W_a = a (.) W^,

    u = (w (.) (z_a K^T)) E - r (z_a W^),     v = w ((K^ W_a) (.) E) - r p;     one rate: u = a (x - s r), v = 0.

Only P needs every g, B S D C, and lies between bounds that cost nothing, with m = w |E| and the largest rate A:

    (u - s v)^2 / (1 - s^2) <= P <= A^2 (m^2 - r^2) - v^2

The lower is Bessel's inequality for y in the plane of z^ and W^; the upper is |y| <= A |g - r W^| and |g| <= m.

| symbol | variable | shape |
|---|---|---|
| z^, K^ | unit_z, unit_keys | (B, D), (S, D) |
| w, E | w, residual | (B, S), (C, S): classes first |
| W | weight | (C, D) here, or (B, C, D) after a step |
| n, kappa | length, kappa | (C,) |
| s, r, u, v, m | Moments | (B, C) |
| P | across | (B, C) |

Exact, but for vectors shorter than 1e-12: they are divided by 1e-12, as torch's normalize does, which is exact at 0.
The denominator is a sum of two squares, so it is not negative however it is rounded; P is a square by construction.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SHORTEST = 1e-12
"""Length that shorter vectors count as."""
SLACK = 1 << 10
"""Roundings that a bound allows for: of the sums over entries and features that it is made from."""


class Layer(NamedTuple):
    """A cosine layer with what a step makes of it: unit (C, D), length, kappa, rate () or (D,), along and along_a (C, S).

    along: C^ (.) E. along_a, p: of a rate per feature, None with one rate.
    """

    unit: Tensor
    length: Tensor
    kappa: Tensor
    tau: Tensor
    rate: Tensor
    residual: Tensor
    along: Tensor
    along_a: Tensor | None
    p: Tensor | None


class Moments(NamedTuple):
    """s, r, u, v, m (B, C), as above."""

    s: Tensor
    r: Tensor
    u: Tensor
    v: Tensor
    m: Tensor


def cosine_residual(unit_keys: Tensor, values: Tensor, weight: Tensor, tau: Tensor) -> Tensor:
    """softmax(tau K^ W^) - V, (C, S), of unit_keys (S, D), values (C, S), weight (C, D), tau ()."""
    residual: Tensor = (tau * (F.normalize(weight, dim=-1) @ unit_keys.mT)).softmax(0) - values
    return residual


def cosine_step(weight: Tensor, g: Tensor, tau: Tensor, rate: Tensor) -> Tensor:
    """Weights (B, C, D) after a step from weight (C, D) or (B, C, D), the sums g (B, C, D), tau () and rate () or (D,)."""
    length = weight.norm(dim=-1, keepdim=True).clamp_min(SHORTEST)
    unit = weight / length
    moved: Tensor = rate * (tau / length) * (g - (unit * g).sum(-1, keepdim=True) * unit)
    return weight - moved


def cosine_layer(unit_keys: Tensor, values: Tensor, weight: Tensor, tau: Tensor, rate: Tensor) -> Layer:
    """What the closed form needs of a layer: unit_keys (S, D), values (C, S), weight (C, D), tau (), rate () or (D,)."""
    length = weight.norm(dim=-1)
    unit = F.normalize(weight, dim=-1)
    cosines = unit @ unit_keys.mT
    residual = (tau * cosines).softmax(0) - values
    along_a = p = None
    if rate.dim():
        along_a = ((rate * unit) @ unit_keys.mT) * residual
        p = (rate * unit.square()).sum(-1)
    kappa = tau / length.clamp_min(SHORTEST)
    return Layer(unit, length, kappa, tau, rate, residual, cosines * residual, along_a, p)


def moments(layer: Layer, unit_z: Tensor, unit_keys: Tensor, cosines: Tensor, w: Tensor) -> Moments:
    """s, r, u, v, m of queries unit_z (B, D) with cosines (B, S) to the keys and attention w (B, S)."""
    s, r = unit_z @ layer.unit.mT, w @ layer.along.mT
    m = w @ layer.residual.abs().mT
    if layer.along_a is None or layer.p is None:
        x = (w * cosines) @ layer.residual.mT
        return Moments(s, r, layer.rate * (x - s * r), torch.zeros_like(s), m)
    z_a = layer.rate * unit_z
    u = (w * (z_a @ unit_keys.mT)) @ layer.residual.mT - r * (z_a @ layer.unit.mT)
    return Moments(s, r, u, w @ layer.along_a.mT - r * layer.p, m)


def closed_logits(layer: Layer, found: Moments, across: Tensor) -> Tensor:
    """Logits (B, C) after a step from the moments and P (B, C)."""
    rest = (layer.length - layer.kappa * found.v).square()
    below = (rest + layer.kappa.square() * across).sqrt().clamp_min(SHORTEST)
    return layer.tau * (layer.length * found.s - layer.kappa * found.u) / below


def across_of(layer: Layer, g: Tensor, unit: Tensor) -> Tensor:
    """P (...) of sums g (..., D) of the classes whose unit weights are unit (..., D)."""
    y = layer.rate * (g - (g * unit).sum(-1, keepdim=True) * unit)
    return (y - (y * unit).sum(-1, keepdim=True) * unit).square().sum(-1)


def across_bounds(layer: Layer, found: Moments) -> tuple[Tensor, Tensor]:
    """The bounds (B, C) on P, widened by what rounding may have moved them."""
    slack = SLACK * torch.finfo(found.s.dtype).eps
    largest = layer.rate.max()
    size = largest * found.m
    inner = ((found.u - found.s * found.v).abs() - slack * size).clamp_min(0)
    low = inner.square() / ((1 - found.s.square()).clamp_min(0) + slack)
    high = (1 + slack) * size.square() - (largest * found.r).square() - found.v.square()
    return low, torch.maximum(high + slack * size.square(), low)


def logit_bounds(layer: Layer, found: Moments, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds (B, C) on the logits for P between low and high (B, C), widened by rounding."""
    ends = closed_logits(layer, found, low), closed_logits(layer, found, high)
    shortest = ((layer.length - layer.kappa * found.v).square() + layer.kappa.square() * low).sqrt().clamp_min(SHORTEST)
    slack = SLACK * torch.finfo(found.s.dtype).eps
    margin = slack * layer.tau.abs() * (1 + layer.kappa.abs() * layer.rate.max() * found.m / shortest)
    return torch.minimum(*ends) - margin, torch.maximum(*ends) + margin
