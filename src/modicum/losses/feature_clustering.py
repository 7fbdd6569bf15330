"""Feature clustering R_FC: variance within classes over variance between them.

Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein, "Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks", ICML 2020, arXiv 2002.06753, sec. 4.

    R_FC = (C / N) sum_ij ||f_ij - mu_i||^2 / sum_i ||mu_i - mu||^2

| symbol | variable | is |
|---|---|---|
| f_ij | features (n, D), or pairs (..., 2, 2, D) | feature j of class i |
| mu_i, mu | means, centre | mean of class i; mean of ALL features, not of class means |
| C, N | | classes, pictures per class |

Two estimators, which must not be compared with each other:

- `feature_clustering(features, labels)`: one ratio over the whole batch or data set. It grows with C (for features that
  know nothing of the classes it is C^2 (N - 1) / (C - 1)), so it compares models on the SAME classes only.
  The loss of a batch with two pictures of each class: cross-entropy + coefficient * feature_clustering(features, labels).
- `feature_clustering_pairs(features, labels, count, generator)`: mean over random class PAIRS with two pictures each,
  C = N = 2 and class means of the two pictures: R_FC = (||x1 - x2||^2 + ||y1 - y2||^2) / ||mean x - mean y||^2. What the
  published tables print: about 4 for wide features that know nothing of the classes, 0 for classes that are points.

  `feature_clustering_all_pairs(features)` is the same over all class pairs of a training batch, for the loss
  cross-entropy + coefficient * feature_clustering_all_pairs(two_of_each(features, labels)).

Deviations: the published coefficients (0.02, 0.05) belong to the pairs, as the released code trains with them (on disjoint
pairs; its functions for R_FC and R_HV bear each other's names); the paper's text reads as if the whole batch entered one
ratio. Unequal counts n_i are not in the paper; every class then counts alike in the sum (1 / n_i in place of
1 / N), mu stays the mean of all features. Features that are all equal give 0 / 0, which is 0 with gradient 0 here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.errors import DataError
from modicum.losses.class_pairs import draw_class_pairs, safe_ratio


def feature_clustering(features: Tensor, labels: Tensor) -> Tensor:
    """R_FC, a scalar >= 0 without unit, of features (n, D) with labels (n,): the estimator over the whole batch.

    Differentiable. `DataError` for one class, or where no class has two pictures.
    """
    found, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    if len(found) < 2 or int(counts.max()) < 2:
        raise DataError(
            f"labels: expected 2 classes or more, one with 2 pictures or more; found counts {counts.tolist()[:9]}"
        )
    x = features.to(torch.promote_types(features.dtype, torch.float32))
    x = x - x[:1].detach()  # R_FC does not see a shift; without the offset equal features have a spread of exactly 0
    share = F.one_hot(inverse, len(found)).to(x.dtype) / counts.to(x.dtype)  # (n, C)
    means = share.mT @ x  # (C, D)
    within = (share.sum(1) * (x - means[inverse]).square().sum(1)).sum()
    between = (means - x.mean(0)).square().sum()
    return len(found) * safe_ratio(within, between)


def pair_clustering(pairs: Tensor) -> Tensor:
    """R_FC (...) of each pair of classes with two pictures, features (..., 2, 2, D): class, picture, feature."""
    x = pairs.to(torch.promote_types(pairs.dtype, torch.float32))
    within = (x[..., 0, :] - x[..., 1, :]).square().sum((-2, -1))  # twice the sum of squares about both means
    means = x.mean(-2)
    between = (means[..., 0, :] - means[..., 1, :]).square().sum(-1)  # twice the sum of squares about their mean
    return safe_ratio(within, between)


def feature_clustering_all_pairs(features: Tensor) -> Tensor:
    """Mean R_FC, a scalar, over all pairs of classes of features (C, 2, D), C >= 2; differentiable.

    The tables' estimator on a training batch: their coefficients belong to it. No pair x D tensor is made.
    """
    if features.ndim != 3 or features.shape[1] != 2 or len(features) < 2:
        raise DataError(f"features: expected (classes, 2, D) with 2 classes or more, found {tuple(features.shape)}")
    x = features.to(torch.promote_types(features.dtype, torch.float32))
    within = (x[:, 0] - x[:, 1]).square().sum(-1)  # (C,), twice the sum of squares about the mean
    means = x.mean(1)
    between = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist").square()
    first, second = torch.triu_indices(len(x), len(x), 1, device=x.device)
    return safe_ratio(within[first] + within[second], between[first, second]).mean()


def feature_clustering_pairs(features: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Mean R_FC, a scalar, over `count` random class pairs of features (n, D) with labels (n,): the tables' estimator.

    Differentiable. Pairs are drawn by `class_pairs.draw_class_pairs`, whose errors it raises.
    """
    return pair_clustering(features[draw_class_pairs(labels, count, generator)]).mean()
