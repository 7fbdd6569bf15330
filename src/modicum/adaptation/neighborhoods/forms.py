"""What all forms of the inner steps read, made once for all queries, and the choice between them.

`Problem` is the dictionary and the layer as tensors; `attended` adds what is a query's own; `after_steps` gives the logits
of a batch by explicit gradients, in closed form (one step) or by recurrence (more).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.adaptation.neighborhoods.cosine import SHORTEST, Layer, closed_logits, cosine_layer, moments
from modicum.adaptation.neighborhoods.dot import dot_one_step, dot_residual, with_one
from modicum.adaptation.neighborhoods.explicit import explicit_logits
from modicum.adaptation.neighborhoods.inference import across
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.adaptation.neighborhoods.steps import cosine_steps, dot_steps
from modicum.memory.dictionary import LearnedDictionary, attention


class Problem(NamedTuple):
    """keys, unit_keys (S, D); values (C, S); weight (C, D); bias (C,), tau () or None; rate () or (D,); bias_rate ().

    residual (C, S) of a dot layer and `cosine` of a cosine layer, where gradients are off: what no query changes.
    """

    keys: Tensor
    unit_keys: Tensor
    values: Tensor
    weight: Tensor
    bias: Tensor | None
    tau: Tensor | None
    rate: Tensor
    bias_rate: Tensor
    sharpness: Tensor
    residual: Tensor | None
    cosine: Layer | None


class Queries(NamedTuple):
    """Features z and unit_z (B, D), their cosines to the keys and the attention w (B, S)."""

    z: Tensor
    unit_z: Tensor
    cosines: Tensor
    w: Tensor


def make_problem(
    dictionary: LearnedDictionary, layer: OutputLayer, rate: Tensor, bias_rate: Tensor | None, index: Tensor | None = None
) -> Problem:
    """The tensors of a dictionary, of the entries `index` (S',) only where given, and of a layer."""
    keys: Tensor = dictionary.keys
    values = dictionary.values()
    if index is not None:
        keys, values = keys[index], values[index]
    values, weight, rate = values.mT.contiguous(), layer.weight.mT.contiguous(), rate.abs()
    unit_keys = F.normalize(keys, dim=-1)
    residual = cosine = None
    if layer.tau is None:
        residual = dot_residual(keys, values, layer.weight, layer.bias)
    elif not torch.is_grad_enabled():
        cosine = cosine_layer(unit_keys, values, weight, layer.tau, rate)
    bias_rate = rate if bias_rate is None else bias_rate.abs()
    sharpness = dictionary.sharpness.abs()
    return Problem(keys, unit_keys, values, weight, layer.bias, layer.tau, rate, bias_rate, sharpness, residual, cosine)


def attended(problem: Problem, z: Tensor, mask: Tensor | None) -> Queries:
    """Queries of features z (B, D), with a mask (B, S) of the entries that count or None for all of them."""
    unit_z = F.normalize(z, dim=-1)
    cosines = unit_z @ problem.unit_keys.mT
    return Queries(z, unit_z, cosines, attention(cosines, problem.sharpness, mask))


def before_steps(problem: Problem, z: Tensor) -> Tensor:
    """Logits (B, C) of features (B, D) under the layer as it is."""
    if problem.tau is not None:
        return problem.tau * (F.normalize(z, dim=-1) @ F.normalize(problem.weight, dim=-1).mT)
    out = z @ problem.weight.mT
    return out if problem.bias is None else out + problem.bias


def after_steps(problem: Problem, queries: Queries, steps: int, *, every: bool, explicit: bool) -> list[Tensor]:
    """Logits (B, C) after the last, or with `every` before the first and after each, of one or more steps."""
    p, q = problem, queries
    if explicit:
        weight, values = p.weight.mT, p.values.mT
        found = explicit_logits(q.z, p.keys, values, q.w, weight, p.bias, p.tau, p.rate, p.bias_rate, steps)
        return found if every else found[-1:]
    found = _cosine(p, q, steps) if p.tau is not None else _dot(p, q, steps, every)
    return [before_steps(p, q.z), *found] if every else found[-1:]


def _cosine(p: Problem, q: Queries, steps: int) -> list[Tensor]:
    if steps == 1 and p.cosine is not None:
        found = moments(p.cosine, q.unit_z, p.unit_keys, q.cosines, q.w)
        return [closed_logits(p.cosine, found, across(p.cosine, found, p.unit_keys, q.w))]
    assert p.tau is not None
    return cosine_steps(q.unit_z, p.unit_keys, p.values, q.w, p.weight, p.tau, p.rate, steps)


def _dot(p: Problem, q: Queries, steps: int, every: bool) -> list[Tensor]:
    if steps == 1:
        assert p.residual is not None
        before = before_steps(p, q.z)
        if p.rate.dim():
            products = (p.rate * q.z) @ p.keys.mT
        else:  # the attention's cosines with their lengths again: a pass, not a product
            lengths = (p.rate * _lengths(q.z)[:, None]) * _lengths(p.keys)
            products = q.cosines * lengths
        return [dot_one_step(before, q.w, products, 0.0 if p.bias is None else p.bias_rate, p.residual)]
    z, keys, weight, rate = q.z, p.keys, p.weight, p.rate
    if p.bias is not None:
        z, keys, weight = with_one(z), with_one(keys), torch.cat([weight, p.bias[:, None]], 1)
        rate = rate if rate.dim() == 0 else torch.cat([rate, p.bias_rate[None]])
    return dot_steps(z, keys, p.values, q.w, weight, rate, steps, every=every)


def _lengths(x: Tensor) -> Tensor:
    length: Tensor = x.norm(dim=-1)
    return length.clamp_min(SHORTEST)
