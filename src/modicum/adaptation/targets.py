"""Label weights of a support set: one-hot or soft, zero where an entry only pads the set. And what a set must not be."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError


def label_weights(features: LabelledSet, n_out: int) -> Tensor:
    """Weights (..., S, N) in the features' dtype: soft labels where given, else one-hot of y; masked rows are zero.

    Raises `ConfigError` for fewer than two classes, for a label outside 0..N-1 and for shapes that do not match;
    `DataError` for features that are not finite, soft labels below 0 and a picture that stands twice in a task's support.
    """
    z, y = features.x, features.y
    if n_out < 2:
        raise ConfigError(f"n_out: expected at least 2 classes, found {n_out}; one class leaves nothing to tell apart")
    _check_shapes(features)
    if not bool(torch.isfinite(z).all()):
        raise DataError(
            "support features: expected finite numbers, found NaN or infinity; look at the encoder's input and weights"
        )
    _check_ids(features)
    if features.soft is not None:
        targets = _soft_targets(features.soft, n_out).to(z.dtype)
    else:
        if y.numel() and (int(y.min()) < 0 or int(y.max()) >= n_out):
            raise ConfigError(f"labels: expected 0..{n_out - 1}, found {int(y.min())}..{int(y.max())}")
        targets = F.one_hot(y, n_out).to(z.dtype)
    if features.mask is not None:
        targets = targets * features.mask.unsqueeze(-1).to(z.dtype)
    return targets


def _check_shapes(features: LabelledSet) -> None:
    """Every part of a labelled set has the leading shape (..., S) of its features (..., S, D)."""
    expected = features.x.shape[:-1]
    parts = {"mask": features.mask, "ids": features.id}
    parts["labels"] = features.y if features.soft is None else None
    found = {name: part.shape for name, part in parts.items() if part is not None}
    if features.soft is not None:
        found["soft labels"] = features.soft.shape[:-1]
    for name, shape in found.items():
        if shape != expected:
            raise ConfigError(
                f"{name}: expected one for each of the support features, shape {tuple(expected)}, found {tuple(shape)}"
            )


def _soft_targets(soft: Tensor, n_out: int) -> Tensor:
    if soft.shape[-1] != n_out:
        raise ConfigError(f"soft labels: expected {n_out} columns, one per class, found {soft.shape[-1]}")
    if not bool((soft >= 0).all() & torch.isfinite(soft).all()):
        raise DataError(f"soft labels: expected finite weights of at least 0, found {float(soft.min()):g}")
    return soft


def _check_ids(features: LabelledSet) -> None:
    """Raise `DataError` that names a picture id which stands twice in a task; padding and ids below 0 do not count."""
    if features.id is None:
        return
    ids = features.id.reshape(-1, features.id.shape[-1])
    there = ids >= 0 if features.mask is None else (ids >= 0) & features.mask.reshape(ids.shape)
    order = ids.argsort(-1)
    order = order.gather(1, (~there.gather(1, order)).to(torch.uint8).argsort(dim=-1, stable=True))
    ids, there = ids.gather(1, order), there.gather(1, order)
    twice = (ids[:, 1:] == ids[:, :-1]) & there[:, 1:]
    if bool(twice.any()):
        task, place = (int(i) for i in twice.nonzero()[0])
        raise DataError(
            f"support set: picture {int(ids[task, place])} stands twice in task {task}; "
            "give it once, or pad the set with a mask"
        )


def require_width(x: Tensor, width: int) -> None:
    """Raise `ConfigError` where features x (..., D) are not as wide as those that a predictor was fitted to."""
    if x.shape[-1] != width:
        raise ConfigError(
            f"x: expected features of width {width}, which this predictor was fitted to, found {x.shape[-1]};"
            " use the encoder of its support set"
        )


def refuse_soft_labels(features: LabelledSet, method: str, instead: str) -> None:
    """Raise `ConfigError` where a method that reads hard labels only was given soft ones."""
    if features.soft is not None:
        raise ConfigError(f"soft labels: {method} takes one class for each picture, found class weights; use {instead}")


def require_support(targets: Tensor, out_mask: Tensor | None) -> None:
    """Raise `DataError` where a class that takes part has no support picture; targets (..., S, N), out_mask (..., N).

    Also where fewer than two classes take part in a task.
    """
    if out_mask is not None and bool((out_mask.sum(-1) < 2).any()):
        raise DataError("support set: a task has fewer than two classes; nothing is left to tell apart (see out_mask)")
    empty = targets.sum(-2) <= 0
    if out_mask is not None:
        empty = empty & out_mask
    if bool(empty.any()):
        way = int(empty.nonzero()[0, -1])
        raise DataError(f"support set: class {way} has no picture; give every class at least one, or mask it out (out_mask)")


def hide_absent(logits: Tensor, out_mask: Tensor | None) -> Tensor:
    """Logits (..., Q, N) with -inf at ways that out_mask (..., N) says are absent."""
    return logits if out_mask is None else logits.masked_fill(~out_mask.unsqueeze(-2), float("-inf"))
