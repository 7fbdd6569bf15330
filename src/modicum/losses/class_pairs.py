"""Pairs of classes with two pictures each: what the regularisers of features are measured on.

`draw_class_pairs` draws them from labels, `two_of_each` orders a training batch that holds (at least) two pictures of
each of its classes, `safe_ratio` divides where a collapsed network would give 0 / 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.errors import DataError


def draw_class_pairs(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (P, 2, 2) into labels (n,): pair, class, picture.

    Each pair is two different classes, all as likely, of those with at least two pictures; of each class two different
    pictures, all as likely. Pairs repeat. `generator` lives on the CPU. `DataError` for fewer than two such classes.
    """
    found, inverse, counts = torch.unique(labels.cpu(), return_inverse=True, return_counts=True)
    start, usable = counts.cumsum(0) - counts, (counts >= 2).nonzero()[:, 0]
    classes = len(usable)
    if classes < 2:
        raise DataError(f"labels: expected at least 2 classes with 2 pictures or more, found {classes} of {len(found)}")
    first = torch.randint(classes, (count,), generator=generator)
    second = (first + 1 + torch.randint(classes - 1, (count,), generator=generator)) % classes
    chosen = usable[torch.stack([first, second], 1)]  # (P, 2)
    n = counts[chosen]
    draw = torch.rand(2, count, 2, dtype=torch.float64, generator=generator)
    one = (draw[0] * n).long()
    other = (one + 1 + (draw[1] * (n - 1)).long()) % n
    order = inverse.argsort(stable=True)  # pictures by class
    pairs: Tensor = order[start[chosen].unsqueeze(-1) + torch.stack([one, other], -1)].to(labels.device)
    return pairs


def two_of_each(features: Tensor, labels: Tensor) -> Tensor:
    """Features (C, 2, D), classes in rising order, of a batch (n, D) with labels (n,): the first two rows of each class.

    `DataError` for a class with a single row.
    """
    found, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    if bool((counts < 2).any()):
        lonely = found[counts < 2][0].item()
        raise DataError(f"labels: expected at least 2 pictures of every class in the batch, found 1 of class {lonely}")
    start = counts.cumsum(0) - counts
    return features[inverse.argsort(stable=True)[torch.stack([start, start + 1], 1)]]


def safe_ratio(top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom of numbers >= 0, elementwise; 0 / 0 is 0 with gradient 0, and anything else over 0 is infinity."""
    there = bottom > 0
    empty = torch.where(top > 0, torch.full_like(top, float("inf")), torch.zeros_like(top))
    return torch.where(there, top / torch.where(there, bottom, torch.ones_like(bottom)), empty)
