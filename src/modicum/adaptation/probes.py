"""Linear probes: a classifier of frozen features, fitted to the support set of each task to the end.

`linear`, multinomial logistic regression (as in Tian, Wang, Krishnan, Tenenbaum, Isola, "Rethinking Few-Shot Image
Classification: a Good Embedding Is All You Need?", ECCV 2020, arXiv 2003.11539):

    W, b = argmin  1/2 (||W||^2 + |b|^2) + c * sum_i CE(t_i, x_i W + b)

`svm`, one-versus-rest linear SVM with squared hinge (Fan et al., "LIBLINEAR", JMLR 2008, its L2-loss SVC):

    w_k, b_k = argmin  1/2 (|w|^2 + b^2) + c * sum_i max(0, 1 - s_ik (x_i w + b))^2,      s_ik = +1 or -1

    logits = a (Z W + b)

| symbol | variable | shape |
|---|---|---|
| c | probe_c | scalar, 1 (scikit-learn's C: the smaller, the flatter) |
| x_i, t_i | features.x, label weights | (..., S, D), (..., S, N) |
| a | scale | learned scalar, 1 at the start |
| W, b | weight, bias | (..., D, N), (..., 1, N) |

Deviations: the intercept b is the weight of a constant feature 1 and is penalised with the others, LIBLINEAR's rule
(scikit-learn's LinearSVC as it stands; its LogisticRegression leaves b free unless a constant column replaces it), so that
the problem is strictly convex and has one solution whatever the support. Two classes have a weight vector each, as more
have; scikit-learn fits their difference, so that its C is 2 c there. Features are taken as they are: Tian et al. divide
them by their norm first, which is the encoder's or the caller's business. a is ours, for training with these heads: a
softmax over margins near +-1 is flat. Solved in float64, to a gradient of 1e-9 relative to that at W = 0.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.ridge import LinearClassifier
from modicum.adaptation.solvers.logistic import logistic_weights
from modicum.adaptation.solvers.squared_hinge import squared_hinge_weights
from modicum.adaptation.targets import label_weights, refuse_soft_labels, require_support
from modicum.episodes.interfaces import AbstractHead
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


def with_constant(features: LabelledSet) -> Tensor:
    """Features (..., S, D + 1) in float64 with a last column of ones; rows that only pad the set are zero."""
    z = F.pad(features.x.double(), (0, 1), value=1.0)
    return z if features.mask is None else torch.where(features.mask.unsqueeze(-1), z, 0.0)


def class_signs(targets: Tensor, out_mask: Tensor | None) -> Tensor:
    """+1 at an entry's class, -1 at the others (..., S, N) of one-hot targets; 0 for padding and for absent ways."""
    signs = 2 * targets - targets.sum(-1, keepdim=True)
    return signs if out_mask is None else signs * out_mask.unsqueeze(-2).to(signs.dtype)


def _classifier(solution: Tensor, scale: Tensor, features: LabelledSet, out_mask: Tensor | None) -> LinearClassifier:
    """The predictor of weights (..., D + 1, N), the last row being the intercept."""
    solution = solution.to(features.x.dtype)
    return LinearClassifier(solution[..., :-1, :], scale, scale * solution[..., -1:, :], out_mask, features.id)


def _require_probe_c(probe_c: float) -> float:
    if not 0 < probe_c < float("inf"):
        raise ConfigError(f"probe_c: expected a number above 0, found {probe_c}")
    return float(probe_c)


@final
class LinearProbeHead(AbstractHead):
    """Multinomial logistic regression, cross-entropy weight probe_c > 0; soft labels enter as they are."""

    traits = Traits()

    def __init__(self, probe_c: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        self.probe_c = _require_probe_c(probe_c)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> LinearClassifier:
        """The probe of features x (..., S, D)."""
        targets = label_weights(features, n_out)
        require_support(targets, out_mask)
        solution = logistic_weights(with_constant(features), targets, self.probe_c, out_mask)
        return _classifier(solution, self.scale, features, out_mask)


@final
class SVMProbeHead(AbstractHead):
    """One linear SVM with squared hinge for each class against the rest, hinge weight probe_c > 0; hard labels only."""

    traits = Traits(soft_labels=False)

    def __init__(self, probe_c: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        self.probe_c = _require_probe_c(probe_c)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> LinearClassifier:
        """The probe of features x (..., S, D); `ConfigError` for soft labels."""
        refuse_soft_labels(features, "svm", "linear")
        targets = label_weights(features, n_out)
        require_support(targets, out_mask)
        signs = class_signs(targets.double(), out_mask)
        return _classifier(
            squared_hinge_weights(with_constant(features), signs, self.probe_c), self.scale, features, out_mask
        )
