"""The inner steps as they are written down: a copy of the output layer for every query, moved by automatic gradients.

Shan, Li, Oliva, NeurIPS 2020, arXiv 1909.09140. For a query z with attention w over the entries (k_j, v_j)

    L(phi) = sum_j w_j CE(softmax(f_phi(k_j)), v_j),     phi <- phi - |a| (.) dL/dphi,     w and tau as they were

and the logits are f_phi(z). Memory grows with B (S + D) C per step: this is the reference that the other forms are compared
with, and what a benchmark calls "explicit".
"""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.adaptation.neighborhoods.layers import cosine_logits


def layer_logits(x: Tensor, weight: Tensor, bias: Tensor | None, tau: Tensor | None) -> Tensor:
    """Logits (B, n, C) of rows x (B, n, D) or (n, D) by a layer for each query: weight (B, D, C), bias (B, C) or None."""
    if tau is not None:
        return cosine_logits(x, weight, tau)
    out = x @ weight
    return out if bias is None else out + bias[:, None]


def dictionary_loss(logits: Tensor, values: Tensor, w: Tensor) -> Tensor:
    """sum over queries and entries of w_j CE(logits_j, v_j), (); logits (B, S, C), values (S, C), w (B, S)."""
    entropy = logits.logsumexp(-1) - (logits * values).sum(-1)
    return (w * entropy).sum()


def explicit_logits(
    z: Tensor,
    keys: Tensor,
    values: Tensor,
    w: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tau: Tensor | None,
    rate: Tensor,
    bias_rate: Tensor,
    steps: int,
) -> list[Tensor]:
    """Logits (B, C) before and after each of `steps` steps.

    z (B, D); keys (S, D); values (S, C), rows sum to 1; w (B, S); weight (D, C); bias (C,) or None; tau () for a cosine
    layer; rate () or (D,), not negative; bias_rate (). Differentiable in all of them where gradients are on.
    """
    meta = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        z, keys, values, w, weight = (t.clone() if t.is_inference() else t for t in (z, keys, values, w, weight))
        tau = tau.clone() if tau is not None and tau.is_inference() else tau
        fast = weight.expand(len(z), *weight.shape)
        fast_bias = None if bias is None else bias.expand(len(z), *bias.shape)
        scale = rate if rate.dim() == 0 else rate[:, None]
        out = [layer_logits(z[:, None], fast, fast_bias, tau)[:, 0]]
        for _ in range(steps):
            if not meta:
                fast = fast.detach().requires_grad_()
                fast_bias = None if fast_bias is None else fast_bias.detach().requires_grad_()
            elif not fast.requires_grad:  # nothing to learn, but a gradient to take
                fast = fast.requires_grad_()
                fast_bias = None if fast_bias is None else fast_bias.requires_grad_()
            moving = [fast] if fast_bias is None else [fast, fast_bias]
            loss = dictionary_loss(layer_logits(keys, fast, fast_bias, tau), values, w)
            grads = torch.autograd.grad(loss, moving, create_graph=meta)
            fast = fast - scale * grads[0]
            if fast_bias is not None:
                fast_bias = fast_bias - bias_rate * grads[1]
            out.append(layer_logits(z[:, None], fast, fast_bias, tau)[:, 0])
    return out if meta else [logits.detach() for logits in out]
