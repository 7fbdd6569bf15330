"""Label weights of a support set: one-hot or soft, zero where an entry only pads the set."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError


def label_weights(features: LabelledSet, n_out: int) -> Tensor:
    """Weights (..., S, N) in the features' dtype: soft labels where given, else one-hot of y; masked rows are zero.

    Raises `ConfigError` for a label outside 0..N-1 and `DataError` for features that are not finite.
    """
    z, y = features.x, features.y
    if not bool(torch.isfinite(z).all()):
        raise DataError(
            "support features: expected finite numbers, found NaN or infinity; look at the encoder's input and weights"
        )
    if features.soft is not None:
        if features.soft.shape[-1] != n_out:
            raise ConfigError(f"soft labels: expected {n_out} columns, one per class, found {features.soft.shape[-1]}")
        targets = features.soft.to(z.dtype)
    else:
        if y.numel() and (int(y.min()) < 0 or int(y.max()) >= n_out):
            raise ConfigError(f"labels: expected 0..{n_out - 1}, found {int(y.min())}..{int(y.max())}")
        targets = F.one_hot(y, n_out).to(z.dtype)
    if features.mask is not None:
        targets = targets * features.mask.unsqueeze(-1).to(z.dtype)
    return targets


def require_support(targets: Tensor, out_mask: Tensor | None) -> None:
    """Raise `DataError` where a class that takes part has no support picture; targets (..., S, N), out_mask (..., N)."""
    empty = targets.sum(-2) <= 0
    if out_mask is not None:
        empty = empty & out_mask
    if bool(empty.any()):
        way = int(empty.nonzero()[0, -1])
        raise DataError(f"support set: class {way} has no picture; give every class at least one, or mask it out (out_mask)")


def hide_absent(logits: Tensor, out_mask: Tensor | None) -> Tensor:
    """Logits (..., Q, N) with -inf at ways that out_mask (..., N) says are absent."""
    return logits if out_mask is None else logits.masked_fill(~out_mask.unsqueeze(-2), float("-inf"))
