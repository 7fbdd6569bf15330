"""Theorem 1: how sure one labelled picture of each of two classes is to name a third, from the spread of the features.

Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein, "Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks", ICML 2020, arXiv 2002.06753, theorem 1.

    (Var X + Var Y) / Var U < eps   =>   P(rule(z; x, y) names class 1) >= 1 - 32 eps / (1 - eps)      x, z ~ X,  y ~ Y
    rule: class 1 where z.(x - y) - ||x||^2 / 2 + ||y||^2 / 2 >= 0, that is where z lies at least as near to x as to y

| symbol | variable | is |
|---|---|---|
| X, Y | | features of class 1 and of class 2 |
| Var | variances | trace of the covariance |
| U | | X or Y with probability 1/2 each, so Var U = (Var X + Var Y) / 2 + ||E X - E Y||^2 / 4 |
| eps | ratio | in 0..2; NOT R_FC |

The bound says nothing (is at most 0) from eps = 1/33 on, so it is a statement about features far better than today's.

Deviations: the paper's proof puts Var X + Var Y + ||E X - E Y||^2 for Var U, which is not the variance of the mixture
(for X = Y = a point apart by d it gives d^2, not d^2 / 4). We use the mixture's. Its ratio is the larger of the two, so the
bound computed here is the weaker one and holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor

from modicum.evaluation.class_separation import checked, chunks, class_spreads
from modicum.evaluation.intervals import MeanInterval, mean_interval
from modicum.losses.class_pairs import draw_class_pairs, safe_ratio
from modicum.runtime import torch_generator

VACUOUS = 1 / 33
"""eps from which on the bound says nothing."""
CHUNK = 64


def mixture_variance(first: Tensor, second: Tensor, squared_distance: Tensor) -> Tensor:
    """Var U (...) from Var X (...), Var Y (...) and ||E X - E Y||^2 (...)."""
    return (first + second) / 2 + squared_distance / 4


def variance_ratio(first: Tensor, second: Tensor, squared_distance: Tensor) -> Tensor:
    """eps (...) in 0..2 from Var X (...), Var Y (...) and ||E X - E Y||^2 (...); two equal points give 0 / 0, which is 0."""
    return safe_ratio(first + second, mixture_variance(first, second, squared_distance))


def accuracy_bound(ratio: Tensor) -> Tensor:
    """Least accuracy (...) in 0..1 for eps (...) >= 0; 0 where the theorem says nothing."""
    bound = 1 - 32 * ratio / (1 - ratio).clamp_min(0.5)  # from 1/33 on it is negative anyway
    return bound.clamp_min(0)


def names_first(z: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether (...) the rule gives z (..., D) the class of x (..., D) and not that of y (..., D)."""
    return (z * (x - y)).sum(-1) - x.square().sum(-1) / 2 + y.square().sum(-1) / 2 >= 0


class OneShot(NamedTuple):
    """Over random class pairs: eps and bound (means over the pairs), the least eps, the share of pairs whose bound is
    above 0, and the measured accuracy of the rule, all fractions."""

    ratio: float
    least_ratio: float
    bound: float
    share_bounded: float
    accuracy: MeanInterval


def one_shot_accuracy(
    features: Tensor | npt.NDArray[Any], labels: Tensor | npt.NDArray[Any], *, draws: int = 10_000, seed: int = 0
) -> OneShot:
    """Theorem 1 beside what the rule does, for features (n, D) with labels (n,), over `draws` random (x, y, z).

    Each draw is a random ordered pair of classes, a picture x and another picture z of the first, a picture y of the
    second; eps is that of the pair's classes, from all their pictures. Errors as of `class_separation`.
    """
    data, y = checked(features, labels)
    index = draw_class_pairs(y, draws, torch_generator(seed, "one-shot")).to(data.device)
    spreads = class_spreads(data, y)
    place = torch.unique(y, return_inverse=True)[1].to(data.device)[index[:, :, 0]]  # (draws, 2): which classes
    ratios, right = [], []
    for pair, classes in zip(chunks(index, CHUNK), chunks(place, CHUNK), strict=True):
        apart = (spreads.means[classes[:, 0]] - spreads.means[classes[:, 1]]).square().sum(-1)
        ratios.append(variance_ratio(spreads.variances[classes[:, 0]], spreads.variances[classes[:, 1]], apart))
        x, z, other = (data[pair[:, i, j]].double() for i, j in ((0, 0), (0, 1), (1, 0)))
        right.append(names_first(z, x, other))
    ratio, bound = torch.cat(ratios), accuracy_bound(torch.cat(ratios))
    over = f"draws of {draws} pairs of these {len(spreads.counts)} classes with one labelled picture each"
    return OneShot(
        float(ratio.mean()),
        float(ratio.min()),
        float(bound.mean()),
        float((bound > 0).double().mean()),
        mean_interval(torch.cat(right).double().cpu().numpy(), over),
    )
