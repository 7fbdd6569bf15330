"""One step of a dot layer in closed form: no weights per query, no product more than the attention needs.

Shan, Li, Oliva, NeurIPS 2020, arXiv 1909.09140. The step's gradient in W is sum_j w_j k_j E_j with E = softmax(K W + b) - V,
because rows of V sum to 1, and that in b is sum_j w_j E_j. Applied to z both meet the entries in z . k_j only:

    logits = z W + b - ((w (.) (G_a + a_b)) E),        G_a = (a (.) z) K^T

| symbol | variable | shape |
|---|---|---|
| w | w | (B, S) |
| G_a | products: a G for one rate, one more product for a rate per feature | (B, S) |
| a_b | bias_rate, 0 without a bias; the rate itself where there is one | () |
| E | residual | (C, S): classes first |

Exact, and so are its derivatives. Without the a_b the bias would not move. Cost B S (D + C); G is the attention's.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dot_residual(keys: Tensor, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(K W + b) - V, (C, S), of keys (S, D), values (C, S), weight (D, C) and bias (C,) or None."""
    logits = weight.mT @ keys.mT
    return (logits if bias is None else logits + bias[:, None]).softmax(0) - values


def dot_one_step(before: Tensor, w: Tensor, products: Tensor, bias_rate: Tensor | float, residual: Tensor) -> Tensor:
    """Logits (B, C) after a step from those before it (B, C); the others as in the table above."""
    moved: Tensor = (w * (products + bias_rate)) @ residual.mT
    return before - moved


def with_one(x: Tensor) -> Tensor:
    """Rows (n, D) with a feature that is always 1, (n, D + 1): its weight is the bias, which then needs no formula."""
    return torch.cat([x, x.new_ones(len(x), 1)], 1)
