"""A dictionary that is learned: S keys with what they stand for, read by attention over all of them.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, eq. 5 and appendix A.2. For a
query z the weight of entry j is

    w_j = softmax_j(cos(z, k_j) / T),     v_j = softmax(10 u_j) (classes),  or a free vector (regression)

| symbol | variable | shape |
|---|---|---|
| k_j | keys | (S, D) |
| u_j | value_logits | (S, C); absent where values are fixed |
| v_j | values() | (S, C), rows sum to 1; regression: (S, O) |
| 1 / T | sharpness | () a buffer, a parameter where T is learned |
| w | attend(z) | (..., S), rows sum to 1 |

Deviations. Keys start at deviation 0.05 as in the authors' code; the paper says N(0, 0.01) for keys and values, and the
code has 0.01 (cut off at two deviations; not here) for values and the factor 10 in their softmax, which the paper lacks.
A row of zeros has cosine 0 with everything, so a query of zeros attends evenly; lengths below 1e-12 count as 1e-12, where
TensorFlow's normalisation takes 1e-6. T is fixed as published; learned, 1/T = |sharpness| grows until few entries count.
"""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.configs.neighborhoods import entries_left
from modicum.errors import ConfigError

Values = Literal["learned", "one-hot", "targets"]
Draw = Literal["query", "shared"]

KEY_DEVIATION, VALUE_DEVIATION, VALUE_SHARPNESS = 0.05, 0.01, 10.0


def one_hot_values(entries: int, classes: int) -> Tensor:
    """Fixed values (S, C): entry j stands for class floor(j C / S) alone, so every class has as many entries."""
    return F.one_hot(torch.arange(entries) * classes // entries, classes).to(torch.get_default_dtype())


def kept_entries(entries: int, share: float) -> int:
    """How many of S entries a draw keeps: int((1 - share) S); `ConfigError` where that is none."""
    if not 0 <= share < 1 or (kept := entries_left(entries, share)) < 1:
        raise ConfigError(f"share: expected 0 or more and below 1 with at least one entry left, found {share} of {entries}")
    return kept


def drop_entries(
    entries: int, share: float, how: Draw = "query", n: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Which entries n queries keep, exactly int((1 - share) S) each, drawn without replacement.

    how "query": a draw for each, as in the authors' code, bool (n, S), True where kept. "shared": one for all of them, the
    indices int64 (S',) in rising order, which costs half. `ConfigError`: share out of [0, 1), or nothing left.
    """
    kept = kept_entries(entries, share)
    device = None if generator is None else generator.device
    if how == "shared":
        return torch.randperm(entries, generator=generator, device=device)[:kept].sort().values
    if how != "query":
        raise ConfigError(f"how: expected {' or '.join(get_args(Draw))}, found {how!r}")
    draw = torch.rand(n, entries, generator=generator, device=device)
    chosen = draw.topk(kept, largest=False, sorted=False).indices  # a fifth of what sorting costs
    return torch.zeros(n, entries, dtype=torch.bool, device=device).scatter_(1, chosen, True)


@final
class LearnedDictionary(nn.Module):
    """S entries for queries of D features; parameters are drawn by torch's generator.

    n_out: classes C, or O numbers with values="targets". values: "learned" distributions, "one-hot" fixed ones, "targets" of
    regression, from target_range (two numbers, or two tensors (O,)) evenly at the start. `ConfigError`: S, D or C below 1,
    T not above 0, a range missing or empty.
    """

    fixed: Tensor
    sharpness: Tensor

    def __init__(
        self,
        entries: int,
        n_features: int,
        n_out: int,
        *,
        temperature: float = 0.2,
        learn_temperature: bool = False,
        values: Values = "learned",
        target_range: tuple[Tensor | float, Tensor | float] | None = None,
    ) -> None:
        super().__init__()
        if entries < 1:
            raise ConfigError(f"entries: expected at least 1 entry in the dictionary, found {entries}")
        if n_features < 1 or n_out < 1:
            raise ConfigError(f"n_features, n_out: expected at least 1 each, found {n_features} and {n_out}")
        if not 0 < temperature < float("inf"):
            raise ConfigError(f"temperature: expected more than 0, found {temperature}")
        if values not in get_args(Values):
            raise ConfigError(f"values: expected one of {', '.join(get_args(Values))}; found {values!r}")
        self.keys = nn.Parameter(torch.randn(entries, n_features) * KEY_DEVIATION)
        self.kind = values
        if values == "learned":
            self.value_logits = nn.Parameter(torch.randn(entries, n_out) * VALUE_DEVIATION)
        elif values == "one-hot":
            self.register_buffer("fixed", one_hot_values(entries, n_out))
        else:
            low, high = (torch.as_tensor(end) for end in _checked_range(target_range))
            self.targets = nn.Parameter(low + (high - low) * torch.rand(entries, n_out))
        sharpness = torch.tensor(1 / temperature)
        if learn_temperature:
            self.sharpness = nn.Parameter(sharpness)
        else:
            self.register_buffer("sharpness", sharpness)

    @property
    def entries(self) -> int:
        """S."""
        return self.keys.shape[0]

    def values(self) -> Tensor:
        """What entries stand for: distributions (S, C), or targets (S, O)."""
        if self.kind == "learned":
            return (VALUE_SHARPNESS * self.value_logits).softmax(-1)
        found: Tensor = self.fixed if self.kind == "one-hot" else self.targets
        return found

    def attend(self, query: Tensor, keep: Tensor | None = None) -> Tensor:
        """Attention (..., S) of queries (..., D), rows sum to 1.

        keep: bool (..., S), True where an entry is kept, the others weigh 0; or the indices (S',) of a shared draw, and the
        result is (..., S') in that order. `ConfigError`: shapes that do not fit.
        """
        keys: Tensor = self.keys
        if query.shape[-1:] != keys.shape[1:]:
            raise ConfigError(f"query: expected (..., {keys.shape[1]}), found {tuple(query.shape)}")
        mask = None
        if keep is not None and keep.dtype == torch.bool:
            mask = keep
            if keep.shape[-1:] != keys.shape[:1]:
                raise ConfigError(f"keep: expected a mask (..., {self.entries}), found {tuple(keep.shape)}")
        elif keep is not None:
            keys = keys[keep]
        return attention(F.normalize(query, dim=-1) @ F.normalize(keys, dim=-1).mT, self.sharpness.abs(), mask)


def attention(cosines: Tensor, sharpness: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax over entries of cosines (..., S) times sharpness (); entries that a mask (..., S) does not keep weigh 0."""
    scores = cosines * sharpness
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)


def _checked_range(
    target_range: tuple[Tensor | float, Tensor | float] | None,
) -> tuple[Tensor | float, Tensor | float]:
    if target_range is None:
        raise ConfigError("target_range: values 'targets' need the lowest and highest target, found None")
    low, high = target_range
    if not bool((torch.as_tensor(low) < torch.as_tensor(high)).all()):
        raise ConfigError(f"target_range: expected two different numbers, lower first, found {low} and {high}")
    return low, high
