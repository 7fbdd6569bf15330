"""MetaOptNet: Lee, Maji, Ravichandran, Soatto, "Meta-Learning with Differentiable Convex Optimization", CVPR 2019,
arXiv 1904.03758. Two convex base learners, each solved through its dual; w_k = sum_i alpha_ik x_i, logits = gamma w_k . z.

    SVM:    min_alpha 1/2 sum_k ||w_k||^2 - sum_i alpha_{i,y_i}          s.t. alpha_ik <= C Y_ik, sum_k alpha_ik = 0
    ridge:  min_alpha 1/2 sum_k alpha_k^T (X X^T + lambda I) alpha_k - 2 sum_i alpha_{i,y_i}
            alpha = 2 (X X^T + lambda I)^-1 Y

| symbol | variable | shape |
|---|---|---|
| x_i, Y | features.x, label weights | (..., S, D), (..., S, N) |
| alpha | alpha | (..., S, N) |
| w_k | weight | (..., D, N) |
| gamma | scale | learned scalar |
| C, lambda | C, penalty | 0.1, 50 |

Deviations: the released code adds 1.0 to the diagonal of X X^T for the SVM and stops after 15 iterations; the paper has
neither, so `ridge` is 0 here and the dual is solved to the end (ridge = 1.0 gives the released problem). gamma starts at 1
there; here at 10 (SVM) and 5 (ridge), because scores lie near [0, 1] and a softmax over them is flat otherwise. The ridge
dual as released is twice ridge regression, so `metaoptnet-rr` of scale gamma is `ridge` of scale 2 gamma without bias.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from modicum.adaptation.ridge import LinearClassifier, fit_ridge
from modicum.adaptation.solvers.crammer_singer import DualSolution, solve_dual
from modicum.adaptation.targets import label_weights, refuse_soft_labels, require_support
from modicum.episodes.interfaces import AbstractHead
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


def support_vector_dual(
    z: Tensor, labels: Tensor, C: float, ridge: float = 0.0, present: Tensor | None = None
) -> DualSolution:
    """The SVM's dual on features z (..., S, D) and one-hot labels (..., S, N), with z z^T + ridge I as its kernel.

    Kernel and alpha are float64 whatever the features' dtype: rounded in float32 the kernel can have negative eigenvalues,
    and alpha lose what large entries of identical pictures cancel to. Round W = z^T alpha, not alpha.
    """
    exact = z.double()
    kernel = exact @ exact.mT
    if ridge:
        kernel = kernel + ridge * torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    return solve_dual(kernel, labels, C, present)


@final
class MetaOptNetSVMHead(AbstractHead):
    """Multi-class SVM of Crammer and Singer, C > 0, solved in its dual; learned scale. ridge >= 0: see Deviations."""

    traits = Traits(soft_labels=False)

    def __init__(self, C: float = 0.1, scale: float = 10.0, ridge: float = 0.0) -> None:
        super().__init__()
        if not 0 < C < float("inf"):
            raise ConfigError(f"C: expected a finite number more than 0, found {C}")
        if not 0 <= ridge < float("inf"):
            raise ConfigError(f"ridge: expected a finite number, 0 or more, found {ridge}")
        if not scale > 0:
            raise ConfigError(f"scale: expected more than 0, found {scale}")
        self.C, self.ridge = float(C), float(ridge)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> LinearClassifier:
        """Support vector weights of features x (..., S, D), with the KKT residual of the dual that they come from."""
        refuse_soft_labels(features, "metaoptnet-svm", "ridge or protonet")
        labels = label_weights(features, n_out)
        require_support(labels, out_mask)
        present = None
        if features.mask is not None or out_mask is not None:
            rows = labels.new_ones(labels.shape[:-1], dtype=torch.bool) if features.mask is None else features.mask
            present = rows.unsqueeze(-1) if out_mask is None else rows.unsqueeze(-1) & out_mask.unsqueeze(-2)
        solution = support_vector_dual(features.x, labels, self.C, self.ridge, present)
        weight = (features.x.double().mT @ solution.alpha).to(features.x.dtype)
        bias = torch.zeros_like(self.scale)
        return LinearClassifier(weight, self.scale, bias, out_mask, features.id, solution.residual)


@final
class MetaOptNetRRHead(AbstractHead):
    """Ridge regression as MetaOptNet's dual states it, fixed penalty > 0, learned scale."""

    traits = Traits()

    def __init__(self, penalty: float = 50.0, scale: float = 5.0) -> None:
        super().__init__()
        if not penalty > 0:
            raise ConfigError(f"penalty: expected more than 0, found {penalty}")
        if not scale > 0:
            raise ConfigError(f"scale: expected more than 0, found {scale}")
        self.penalty = float(penalty)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> LinearClassifier:
        """Weights X^T alpha of features x (..., S, D), by Cholesky."""
        weight = 2 * fit_ridge(features, n_out, self.penalty, out_mask)
        return LinearClassifier(weight, self.scale, torch.zeros_like(self.scale), out_mask, features.id)
