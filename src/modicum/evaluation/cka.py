"""Linear CKA: how alike two networks arrange the same pictures, whatever the rotation and scale of their features.

Kornblith, Norouzi, Lee, Hinton, "Similarity of Neural Network Representations Revisited", ICML 2019, arXiv 1905.00414.

    CKA(X, Y) = ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)                    feature form, columns centred
              = <K, L> / sqrt(<K, K> <L, L>),  K = X X^T, L = Y Y^T           Gram form, the same number

| symbol | variable | is |
|---|---|---|
| X, Y | first, second | features (n, D1), (n, D2) of the same n pictures, row by row |
| <K, L> / (n - 1)^2 | | HSIC with linear kernels |

The smaller of both forms is computed, in float64, in chunks. With few pictures for many features this CKA is too high:
two networks that share nothing come near 1 once D is far above n. `debiased_cka` puts the unbiased estimator of HSIC in
its place (Song, Smola, Gretton, Bedo, Borgwardt, "Feature selection via dependence maximization", JMLR 2012, eq. 5; used so
by Nguyen, Raghu, Kornblith, ICLR 2021, arXiv 2010.15327); it is near 0 for such networks and can be slightly negative.

    HSIC_1(K, L) = (tr(K L) + 1^T K 1 1^T L 1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1^T K L 1) / (n (n - 3)),  diagonals set to 0

Table 5.4 of the thesis prints CKA; whether it was debiased is not said there, so both are given.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from modicum.errors import DataError
from modicum.evaluation.class_separation import chunks

NUMBERS = 2**22
"""Numbers that one chunk brings to float64 at once (32 MiB)."""


def _pair(first: Tensor | npt.NDArray[Any], second: Tensor | npt.NDArray[Any], least: int) -> tuple[Tensor, Tensor]:
    x, y = torch.as_tensor(first).detach(), torch.as_tensor(second).detach()
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < least:
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise DataError(f"first, second: expected (n, D1) and (n, D2) of the same n >= {least} pictures, found {shapes}")
    return x, y


def _gram(x: Tensor) -> Tensor:
    """Gram matrix (n, n) of centred features (n, D), float64, summed over blocks of columns."""
    gram = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device)
    for columns in chunks(x.mT, max(1, NUMBERS // len(x))):
        centred = columns.double() - columns.double().mean(1, keepdim=True)
        gram += centred.mT @ centred
    return gram


def _cross(x: Tensor, y: Tensor) -> Tensor:
    """Y^T X (D2, D1) of centred features, float64, summed over blocks of rows."""
    mean_x, mean_y = x.mean(0, dtype=torch.float64), y.mean(0, dtype=torch.float64)
    total = torch.zeros(y.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for a, b in zip(*(chunks(z, max(1, NUMBERS // (x.shape[1] + y.shape[1]))) for z in (x, y)), strict=True):
        total += (b.double() - mean_y).mT @ (a.double() - mean_x)
    return total


def _ratio(both: Tensor, one: Tensor, other: Tensor) -> float:
    if not (float(one) > 0 and float(other) > 0):
        raise DataError("features: all rows are equal (or, debiased, nothing is left of their spread); CKA is not defined")
    return float(both / (one.sqrt() * other.sqrt()))


def linear_cka(first: Tensor | npt.NDArray[Any], second: Tensor | npt.NDArray[Any]) -> float:
    """CKA in 0..1 of features (n, D1) and (n, D2) of the same pictures, n >= 2.

    1 for features that are alike up to rotation, scale and shift. `DataError` for other shapes or features all equal.
    """
    x, y = _pair(first, second, 2)
    if max(x.shape[1], y.shape[1]) < len(x):
        both, one, other = (_cross(a, b).square().sum() for a, b in ((x, y), (x, x), (y, y)))
    else:
        k, m = _gram(x), _gram(y)
        both, one, other = (k * m).sum(), k.square().sum(), m.square().sum()
    return _ratio(both, one, other)


def _hsic(k: Tensor, m: Tensor) -> Tensor:
    """Unbiased estimator of HSIC from Gram matrices (n, n) with zero diagonals."""
    n = len(k)
    rows_k, rows_m = k.sum(1), m.sum(1)
    total = (k * m).sum() + rows_k.sum() * rows_m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows_k @ rows_m)
    return total / (n * (n - 3))


def debiased_cka(first: Tensor | npt.NDArray[Any], second: Tensor | npt.NDArray[Any]) -> float:
    """CKA from unbiased estimators of HSIC, at most 1, of features (n, D1) and (n, D2) of the same pictures, n >= 4.

    `DataError` for other shapes, or features that are all equal.
    """
    x, y = _pair(first, second, 4)
    k, m = (_gram(z).fill_diagonal_(0) for z in (x, y))
    return _ratio(_hsic(k, m), _hsic(k, k), _hsic(m, m))
