"""How far apart classes lie in features: the figures of tables 5.2 and 5.5 of the thesis behind the feature regularisers.

Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein, "Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks", ICML 2020, arXiv 2002.06753, sec. 4. Equations: `modicum.losses.feature_clustering`,
`modicum.losses.hyperplane_variation`.

| figure | is | comparable with the published tables |
|---|---|---|
| `clustering_whole` | R_FC of all features at once, in float64 | no: grows with classes and pictures per class |
| `clustering` | R_FC of random class pairs, two pictures each | yes |
| `variation` | R_HV as printed, of the same pairs, in 0..1 | no |
| `variation_squared` | 4 R_HV^2, in 0..4 | yes |

All are lower where classes lie further apart. Wide features that know nothing of the classes give about 4, 0.7 and 2.
Intervals are over random pairs from the given pictures: more pairs make them narrower, other classes may lie elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor

from modicum.errors import DataError
from modicum.evaluation.intervals import MeanInterval, mean_interval
from modicum.losses.class_pairs import draw_class_pairs
from modicum.losses.feature_clustering import pair_clustering
from modicum.losses.hyperplane_variation import pair_variation
from modicum.runtime import torch_generator

NUMBERS = 2**22
"""Numbers that one chunk brings to float64 at once (32 MiB), so that 10,000 x 16,000 features cost no second copy."""


class ClassSeparation(NamedTuple):
    """The four figures of the module docstring, without unit."""

    clustering_whole: float
    clustering: MeanInterval
    variation: MeanInterval
    variation_squared: MeanInterval


def checked(features: Tensor | npt.NDArray[Any], labels: Tensor | npt.NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Features (n, D) and labels (n,) as tensors without gradient; `DataError` for other shapes or numbers not finite."""
    x, y = torch.as_tensor(features).detach(), torch.as_tensor(labels)
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(x):
        raise DataError(f"features, labels: expected (n, D) and (n,), found {tuple(x.shape)} and {tuple(y.shape)}")
    if not all(bool(torch.isfinite(chunk).all()) for chunk in chunks(x, _rows(x))):
        raise DataError("features: expected finite numbers, found NaN or infinity; look at the encoder's weights")
    return x, y


def chunks(rows: Tensor, count: int) -> list[Tensor]:
    """`rows` in blocks of `count`, the last shorter."""
    return [rows[start : start + count] for start in range(0, len(rows), count)]


def _rows(x: Tensor) -> int:
    return max(1, NUMBERS // max(1, x.shape[1]))


class Spreads(NamedTuple):
    """counts (C,) pictures, means (C, D), variances (C,): mean squared distance from the mean; all float64."""

    counts: Tensor
    means: Tensor
    variances: Tensor


def class_spreads(features: Tensor, labels: Tensor) -> Spreads:
    """Count, mean and variance (trace of the covariance over n, not n - 1) of each class; classes in rising order."""
    _, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    inverse = inverse.to(features.device)
    origin = features[0].double()  # a shift changes no figure, and keeps equal features exactly equal
    sums = torch.zeros(len(counts), features.shape[1], dtype=torch.float64, device=features.device)
    parts = list(zip(*(chunks(part, _rows(features)) for part in (features, inverse)), strict=True))
    for x, y in parts:
        sums.index_add_(0, y, x.double() - origin)
    n = counts.to(sums)
    means, spread = sums / n[:, None], torch.zeros_like(n)
    for x, y in parts:
        spread.index_add_(0, y, (x.double() - origin - means[y]).square().sum(1))
    return Spreads(n, means + origin, spread / n)


def clustering_whole(features: Tensor, labels: Tensor) -> float:
    """R_FC >= 0 of features (n, D) with labels (n,) at once: `losses.feature_clustering` in chunks and float64.

    `DataError` for one class, classes of one picture only, or features that are all equal.
    """
    spreads = class_spreads(features, labels)
    if len(spreads.counts) < 2 or float(spreads.counts.max()) < 2:
        raise DataError(
            f"labels: expected 2 classes or more, one with 2 pictures or more; found {len(spreads.counts)} classes"
        )
    means = spreads.means - spreads.means[0]  # equal means stay equal to the bit
    centre = (spreads.counts[:, None] * means).sum(0) / spreads.counts.sum()
    within, between = float(spreads.variances.sum()), float((means - centre).square().sum())
    if between == 0:
        raise DataError("features: all classes have the same mean; the network answers the same for every picture")
    return len(spreads.counts) * within / between


def class_separation(
    features: Tensor | npt.NDArray[Any], labels: Tensor | npt.NDArray[Any], *, pairs: int = 2_000, seed: int = 0
) -> ClassSeparation:
    """The four figures of features (n, D) with labels (n,), the last three over `pairs` >= 2 random class pairs.

    `DataError` for fewer than two classes with two pictures, features not finite, or features that are all equal.
    """
    x, y = checked(features, labels)
    index = draw_class_pairs(y, pairs, torch_generator(seed, "class-pairs")).to(x.device)
    found = [_of_pairs(x[chunk].double()) for chunk in chunks(index, max(1, _rows(x) // 4))]
    clustering, variation = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    over = f"draws of {pairs} random class pairs, two pictures each, from these {len(torch.unique(y))} classes"
    return ClassSeparation(
        clustering_whole(x, y),
        mean_interval(clustering, over),
        mean_interval(variation, over),
        mean_interval(4 * variation**2, over),
    )


def _of_pairs(pairs: Tensor) -> tuple[Tensor, Tensor]:
    return pair_clustering(pairs), pair_variation(pairs)
