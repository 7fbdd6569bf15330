"""The two sums over all entries that cost something, with derivatives written by hand so that their memory is bounded.

    shared:     O_bc = sum_j y_bj E_cj a_j                                     one residual E for all queries: the first step
    own:        O_bc = sum_j y_bj (softmax_c(U_b k_j) - v_j)_c a_j             a layer U_b for each query: later steps

| symbol | variable | shape |
|---|---|---|
| y | y | (B, S) |
| E, v | residual, values | (C, S): classes first |
| k, a | keys, outer | (S, D), (S, O): a is k for the gradient of a layer, 1 (O = 1) for a sum of residuals alone |
| U | layers | (B, C, D) |
| O | the result | (B, C, O) |

The tensor to avoid is (B, C, S). It is made in blocks of `block` numbers and made again in the derivative, which costs one
more product: with M_bcj = a_j . dO_bc and L = dloss/dlogits at entry j,

    dy = sum_c E M,   dE = sum_b y M,   da = (y E)^T dO,   L = E_p (.) (y M - sum_c E_p y M)  with E_p = softmax,
    dU = L k,   dk = L^T U,   dv = -sum_b y M.

Products forward and backward, each B S D C: shared 1 and 2, own 2 and 5. Derived once, not twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1 << 20
"""Numbers of a block on the CPU, where what stays in the cache is fast; on an accelerator `WIDE`."""
WIDE = 1 << 26
ROWS = 256
"""Rows of a product that are enough to be fast."""


def blocks(queries: int, classes: int, entries: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Slices of queries and of entries whose (queries, C, entries) stays below `block` numbers, one of each at least.

    As many queries as give `ROWS` rows come before all entries: a product of few rows is slow.
    """
    few = min(queries, max(1, -(-ROWS // classes)))
    span = max(1, min(entries, block // (few * classes)))
    rows = max(1, min(queries, block // (span * classes)))
    for start in range(0, queries, rows):
        for first in range(0, entries, span):
            yield slice(start, min(start + rows, queries)), slice(first, min(first + span, entries))


def block_of(x: Tensor) -> int:
    """Numbers of a block on the device of x."""
    return BLOCK if x.device.type == "cpu" else WIDE


class _Shared(torch.autograd.Function):
    """`shared_sums`, block by block."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, residual: Tensor, outer: Tensor) -> Tensor:
        """`shared_sums` of its arguments."""
        ctx.save_for_backward(y, residual, outer)
        out = y.new_zeros(len(y), len(residual), outer.shape[1])
        for b, j in blocks(len(y), len(residual), len(outer), block_of(y)):
            part = out[b].flatten(0, 1)
            part.addmm_((y[b, None, j] * residual[:, j]).flatten(0, 1), outer[j])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of y, residual and outer, once."""
        y, residual, outer = ctx.saved_tensors
        dy, dresidual = torch.zeros_like(y), torch.zeros_like(residual)
        douter = torch.zeros_like(outer) if ctx.needs_input_grad[2] else None
        grad = grad.contiguous()
        for b, j in blocks(len(y), len(residual), len(outer), block_of(y)):
            rows = grad[b].flatten(0, 1)
            m = (rows @ outer[j].mT).unflatten(0, (-1, len(residual)))
            if douter is not None:
                douter[j].addmm_((y[b, None, j] * residual[:, j]).flatten(0, 1).mT, rows)
            dy[b, j] = (m * residual[:, j]).sum(1)
            dresidual[:, j] += m.mul_(y[b, None, j]).sum(0)
        return dy, dresidual, douter


class _Own(torch.autograd.Function):
    """`own_sums`, block by block; probabilities are computed again backward."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, layers: Tensor, keys: Tensor, values: Tensor, outer: Tensor) -> Tensor:
        """`own_sums` of its arguments."""
        ctx.save_for_backward(y, layers, keys, values, outer)
        out = y.new_zeros(len(y), len(values), outer.shape[1])
        for b, j in blocks(len(y), len(values), len(keys), block_of(y)):
            residual = _probabilities(layers[b], keys[j]).sub_(values[:, j])
            out[b].flatten(0, 1).addmm_(residual.mul_(y[b, None, j]).flatten(0, 1), outer[j])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of y, layers, keys, values and outer, once."""
        y, layers, keys, values, outer = ctx.saved_tensors
        dy, dlayers, dkeys, dvalues = (torch.zeros_like(t) for t in (y, layers, keys, values))
        douter = torch.zeros_like(outer) if ctx.needs_input_grad[4] else None
        grad = grad.contiguous()
        for b, j in blocks(len(y), len(values), len(keys), block_of(y)):
            p, rows, own = _probabilities(layers[b], keys[j]), grad[b].flatten(0, 1), layers[b].flatten(0, 1)
            m = (rows @ outer[j].mT).unflatten(0, (-1, len(values)))
            residual = p - values[:, j]
            dy[b, j] = (m * residual).sum(1)
            if douter is not None:
                douter[j].addmm_(residual.mul_(y[b, None, j]).flatten(0, 1).mT, rows)
            m.mul_(y[b, None, j])
            dvalues[:, j] -= m.sum(0)
            m.mul_(p)
            m.sub_(p.mul_(m.sum(1, keepdim=True)))
            dlayers[b].flatten(0, 1).addmm_(m.flatten(0, 1), keys[j])
            dkeys[j].addmm_(m.flatten(0, 1).mT, own)
        return dy, dlayers, dkeys, dvalues, douter


def _probabilities(layers: Tensor, keys: Tensor) -> Tensor:
    """softmax over classes (b, C, s) of the logits of keys (s, D) under layers (b, C, D)."""
    logits: Tensor = (layers.flatten(0, 1) @ keys.mT).reshape(*layers.shape[:2], len(keys))
    logits.sub_(logits.amax(1, keepdim=True)).exp_()
    return logits.div_(logits.sum(1, keepdim=True))


def shared_sums(y: Tensor, residual: Tensor, outer: Tensor) -> Tensor:
    """sum_j y_bj E_cj a_j, (B, C, O), of y (B, S), residual (C, S) and outer (S, O)."""
    out: Tensor = _Shared.apply(y, residual, outer)
    return out


def own_sums(y: Tensor, layers: Tensor, keys: Tensor, values: Tensor, outer: Tensor) -> Tensor:
    """sum_j y_bj (softmax_c(U_b k_j) - v_cj) a_j, (B, C, O).

    y (B, S), layers (B, C, D) times tau where there is one, keys (S, D), values (C, S), outer (S, O).
    """
    out: Tensor = _Own.apply(y, layers.contiguous(), keys, values, outer)
    return out
