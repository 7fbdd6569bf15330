"""A cosine layer's step without gradients: what of P is below rounding is left out, and an argmax needs little of it.

`cosine` gives logits in closed form of cheap moments and P, which costs B S D C. Two things save most of it:

Logits. An entry with a small |E_jc| moves nothing that float32 could show. Leaving out of class c's g all entries with
|E_jc| <= theta changes |y| by A theta at most, because w sums to 1, so sqrt(P) by no more, and a logit by a factor within
1 +- kappa^2 (2 M A theta + (A theta)^2) / (2 d^2), with M >= sqrt(P) and d <= |n - kappa v| over the batch. Setting that to
half a unit in the last place, h = eps / 2,

    A theta_c = sqrt(M_c^2 + 2 h d_c^2 / kappa_c^2) - M_c,      M_c = A max_b m_bc,     d_c = min_b |n_c - kappa_c v_bc|

u and v keep all entries. So logits differ from the complete sums by half a rounding at most (tested), in float64 too. The
better the network fits the dictionary, the more is left out; a fresh one leaves out nothing. On an accelerator nothing is
left out: gathering costs more than it saves there.

Argmax. P's bounds give an interval for every logit; classes whose interval lies below another's can not win. P is computed
for the pairs (query, class) that are left, and where two classes are still closer than rounding the query's logits decide,
as they are computed for the whole batch: so ties fall as `logits(z).argmax(-1)` has them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modicum.adaptation.neighborhoods.cosine import Layer, Moments, across_bounds, across_of, logit_bounds
from modicum.adaptation.neighborhoods.sums import BLOCK, WIDE, shared_sums

DENSE = 0.6
"""Share of the entries kept above which gathering them does not pay."""


def thresholds(layer: Layer, found: Moments) -> Tensor:
    """theta (C,): entries with |E_jc| up to it change no logit by more than half a unit in the last place."""
    largest = layer.rate.max()
    size = largest * found.m.amax(0)
    rest = (layer.length - layer.kappa * found.v).abs().amin(0)
    h = torch.finfo(size.dtype).eps / 2
    gain = 2 * h * (rest / layer.kappa).square()
    # sqrt(M^2 + t) - M without its cancellation
    moved = gain / ((size.square() + gain).sqrt() + size).clamp_min(torch.finfo(size.dtype).tiny)
    return (moved / largest).nan_to_num(0.0, 0.0, 0.0)


def across(layer: Layer, found: Moments, unit_keys: Tensor, w: Tensor) -> Tensor:
    """P (B, C) of all queries and classes, less what is below rounding."""
    n_classes = len(layer.residual)
    dense = list(range(n_classes))
    out = torch.empty_like(found.s)
    if w.device.type == "cpu":
        kept = layer.residual.abs() > thresholds(layer, found)[:, None]
        few = (kept.sum(1) < DENSE * kept.shape[1]).tolist()
        dense = [c for c in dense if not few[c]]
        for c in (c for c in range(n_classes) if few[c]):
            j = kept[c].nonzero()[:, 0]
            g = (w[:, j] * layer.residual[c, j]) @ unit_keys[j]
            out[:, c] = across_of(layer, g, layer.unit[c])
    group = max(1, (BLOCK if w.device.type == "cpu" else WIDE) // unit_keys.shape[1] // len(w))
    for start in range(0, len(dense), group):
        some = torch.tensor(dense[start : start + group], device=w.device)
        out[:, some] = across_of(layer, shared_sums(w, layer.residual[some], unit_keys), layer.unit[some])
    return out


def across_of_pairs(layer: Layer, unit_keys: Tensor, w: Tensor, query: Tensor, klass: Tensor) -> Tensor:
    """P (n,) of n pairs of a query and a class, both int64 (n,)."""
    span = max(1, (BLOCK if w.device.type == "cpu" else WIDE) // w.shape[1])
    parts = [
        across_of(layer, (w[b] * layer.residual[c]) @ unit_keys, layer.unit[c])
        for b, c in zip(torch.split(query, span), torch.split(klass, span), strict=True)
    ]
    return torch.cat(parts)


def _still(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Which classes (B, C) can be the largest, and which queries (B,) have one such class only."""
    can = high >= low.amax(-1, keepdim=True)
    return can, can.sum(-1) == 1


def argmax(layer: Layer, found: Moments, unit_keys: Tensor, w: Tensor, logits: Callable[[], Tensor]) -> Tensor:
    """Classes (B,) with the largest logit. logits: gives all of them (B, C), asked where rounding decides."""
    low_p, high_p = across_bounds(layer, found)
    low, high = logit_bounds(layer, found, low_p, high_p)
    can, settled = _still(low, high)
    query, klass = (can & ~settled[:, None]).nonzero(as_tuple=True)
    if 2 * len(query) > can.numel():  # hardly anything is settled: all of them at once are faster
        return logits().argmax(-1)
    if len(query):
        low_p, high_p = low_p.clone(), high_p.clone()
        low_p[query, klass] = high_p[query, klass] = across_of_pairs(layer, unit_keys, w, query, klass)
        low, high = logit_bounds(layer, found, low_p, high_p)
        can, settled = _still(low, high)
    winner = can.to(torch.uint8).argmax(-1)
    return winner if bool(settled.all()) else torch.where(settled, winner, logits().argmax(-1))
