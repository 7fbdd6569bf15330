"""Several steps by recurrence: a layer (C, D) per query is kept, logits of entries (S, C) per query are not.

Shan, Li, Oliva, NeurIPS 2020, arXiv 1909.09140. With U the layer of a query, starting at W for all of them,

    dot:     U <- U - a (.) sum_j w_j E_j(U) k_j,                      E_j(U) = softmax(U k_j) - v_j
    cosine:  U_c <- U_c - a (.) (tau / |U_c|) (g - (U^_c . g) U^_c),   g_c = sum_j w_j E_jc(tau U^) k^_j

The first E is the same for all queries. The last step of a dot layer needs no new layer: its logits are those before the
step less sum_j w_j (z . (a (.) k_j)) E_j(U). A bias is the weight of a feature that is always 1 (`dot.with_one`), with a
rate of its own. Products of B S D C multiplications forward, for 1 / 2 / 3 steps: cosine 1 / 3 / 5, dot 0 / 2 / 4, against
2 / 4 / 6 where gradients are taken step by step; backward, by `sums`: cosine 2 / 7 / 12, dot 0 / 6 / 11.

| symbol | variable | shape |
|---|---|---|
| U | layers | (B, C, D) |
| k, v | keys (cosine: unit keys), values | (S, D), (C, S): classes first |
| w | w | (B, S) |
| a | rate | () or (D,) |

Exact, and so are the derivatives; float64 agrees with gradients per query to 1e-12 or so of the logits' size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.adaptation.neighborhoods.cosine import cosine_residual, cosine_step
from modicum.adaptation.neighborhoods.sums import own_sums, shared_sums


def own_logits(z: Tensor, layers: Tensor) -> Tensor:
    """Logits (B, C) of z (B, D), each under its own layer (B, C, D)."""
    out: Tensor = (layers @ z[..., None])[..., 0]
    return out


def cosine_steps(
    unit_z: Tensor, unit_keys: Tensor, values: Tensor, w: Tensor, weight: Tensor, tau: Tensor, rate: Tensor, steps: int
) -> list[Tensor]:
    """Logits (B, C) after each of the steps of a cosine layer weight (C, D); unit_z (B, D), the others as in the table."""
    residual = cosine_residual(unit_keys, values, weight, tau)
    layers = cosine_step(weight, shared_sums(w, residual, unit_keys), tau, rate)
    out = []
    for step in range(steps):
        unit = F.normalize(layers, dim=-1)
        out.append(tau * own_logits(unit_z, unit))
        if step + 1 < steps:
            layers = cosine_step(layers, own_sums(w, tau * unit, unit_keys, values, unit_keys), tau, rate)
    return out


def dot_steps(
    z: Tensor, keys: Tensor, values: Tensor, w: Tensor, weight: Tensor, rate: Tensor, steps: int, *, every: bool = False
) -> list[Tensor]:
    """Logits (B, C) after the last, or with `every` after each, of two or more steps of a dot layer weight (C, D).

    With a bias, z, keys and weight carry it as `dot.with_one` does, and rate is (D + 1,).
    """
    residual = (weight @ keys.mT).softmax(0) - values
    layers = weight - rate * shared_sums(w, residual, keys)
    out = [own_logits(z, layers)] if every else []
    for _ in range(steps - 2):
        layers = layers - rate * own_sums(w, layers, keys, values, keys)
        if every:
            out.append(own_logits(z, layers))
    moved = own_sums(w * ((rate * z) @ keys.mT), layers, keys, values, torch.ones_like(keys[:, :1]))
    return [*out, own_logits(z, layers) - moved[..., 0]]
