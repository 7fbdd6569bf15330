"""MCT: Kye, Lee, Kim, Hwang, "Meta-Learned Confidence for Few-shot Learning", 2020, arXiv 2002.12017.

    phi(a)   = a / (||a|| sigma(a))                                       a feature or a prototype, length 1 / sigma
    d(z, c)  = ||phi(z) - phi(c)||^2                                      instance-wise metric, or
    d(z, c)  = || z / ||z|| - c / ||c|| ||^2 / sigma(z, c)^2              pair-wise metric
    q_jk     = softmax_k( -d(z_j, c_k) )                                  confidence of query j
    c_k      = (sum_i w_ik x_i + sum_j q_jk z_j) / (sum_i w_ik + sum_j q_jk)        q = 0 at first: the class mean
    sigma    = exp(alpha) sigmoid(g(.)) + exp(beta)

`mct`: d to the class means. `mct-transductive`: q and c_k in turn, T times, then d; c_k averages features as they are,
and phi is applied to that average, so ProtoNet on phi(x_i) is another rule.

| symbol | variable | shape |
|---|---|---|
| x_i, w_ik | features.x, label weights | (..., S, D), (..., S, N) |
| sum_i w_ik x_i, sum_i w_ik | sums, counts | (..., N, D), (..., N) |
| z_j, c_k, q_jk | z, prototypes, confidence | (..., Q, D), (..., N, D), (..., Q, N) |
| alpha, beta, g | log_spread, log_floor, the rest of `Scaling` | learned |
| T | train_iterations, iterations | 1 in train mode, 10 in eval mode |

The paper's: confidence from a learned, input-adaptive metric on features of length 1, soft k-means over the queries of a
task, more ways in training than in testing (15 for 5). Its full text was not at hand; the released code's
(github.com/seongmin-kye/MCT): sigma as above and dividing, T, the mean before phi. Under one sigma, confidence, prototypes
and outputs are those of that code to 1e-14 in float64, in both metrics.
Deviations (ours): their g is a convolutional network with batch norm on a feature map; here, for features of any encoder, a
layer norm without parameters, `hidden` ReLU units, one output (a batch statistic would tie a picture's sigma to others).
The output weights start at 0: a fresh head has sigma = 1 / sqrt(scale) everywhere and is a nearest mean by angle; alpha and
beta start equal, which keeps sigma within a third of that until they move (theirs at 0: scale = 4/9).
Left out: confidence averaged over block drop and horizontal flips, and the loss that classifies every place of the feature
map among all training classes: both need more than a feature vector. Soft and unequal support enters as weights w.
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.protonet import squared_distances
from modicum.adaptation.targets import hide_absent, label_weights, require_support
from modicum.episodes.interfaces import AbstractHead, Adapted
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


class Scaling(NamedTuple):
    """sigma as tensors. H hidden units; hidden_weight (H, D), or (H, 2 D) for pairs: query first, then prototype."""

    hidden_weight: Tensor
    hidden_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    log_spread: Tensor
    log_floor: Tensor

    def sigma(self, hidden: Tensor) -> Tensor:
        """sigma (...) > 0 of hidden units before their ReLU (..., H)."""
        g = torch.relu(hidden) @ self.out_weight + self.out_bias
        return self.log_spread.exp() * torch.sigmoid(g) + self.log_floor.exp()


def instance_sigma(z: Tensor, scaling: Scaling) -> Tensor:
    """sigma(z) (..., n) of features or prototypes z (..., n, D)."""
    return scaling.sigma(F.layer_norm(z, z.shape[-1:]) @ scaling.hidden_weight.mT + scaling.hidden_bias)


def pair_sigma(z: Tensor, prototypes: Tensor, scaling: Scaling) -> Tensor:
    """sigma(z, c) (..., Q, N) of z (..., Q, D) and prototypes (..., N, D); each goes through the hidden layer once."""
    of_query, of_prototype = scaling.hidden_weight.chunk(2, dim=-1)
    query = F.layer_norm(z, z.shape[-1:]) @ of_query.mT  # (..., Q, H)
    prototype = F.layer_norm(prototypes, z.shape[-1:]) @ of_prototype.mT  # (..., N, H)
    return scaling.sigma(query.unsqueeze(-2) + prototype.unsqueeze(-3) + scaling.hidden_bias)


def phi(z: Tensor, scaling: Scaling) -> Tensor:
    """z / (||z|| sigma(z)) of features or prototypes z (..., n, D), each row by itself; 0 stays 0.

    `mct` is linear after it: up to a term that all ways share, logits_k = 2 phi(z).phi(c_k) - ||phi(c_k)||^2.
    """
    return F.normalize(z, dim=-1) / instance_sigma(z, scaling).unsqueeze(-1)


def distances(z: Tensor, prototypes: Tensor, scaling: Scaling, pairwise: bool = False) -> Tensor:
    """d(z, c_k) (..., Q, N) of z (..., Q, D) and prototypes (..., N, D), in the instance-wise or the pair-wise metric."""
    if not pairwise:
        return squared_distances(phi(z, scaling), phi(prototypes, scaling))
    angular = squared_distances(F.normalize(z, dim=-1), F.normalize(prototypes, dim=-1))
    return angular / pair_sigma(z, prototypes, scaling).square()


def refined_prototypes(sums: Tensor, counts: Tensor, z: Tensor, confidence: Tensor) -> Tensor:
    """Prototypes (..., N, D) of support sums (..., N, D) and weights counts (..., N), queries z (..., Q, D) and their
    confidence (..., Q, N): one step of soft k-means in which the support keeps its labels. 0 for an empty class."""
    return weighted_mean(sums + confidence.mT @ z, counts + confidence.sum(-2))


def weighted_mean(sums: Tensor, counts: Tensor) -> Tensor:
    """sums (..., N, D) divided by counts (..., N); 0 where a count is 0."""
    return sums / torch.where(counts > 0, counts, torch.ones_like(counts)).unsqueeze(-1)


@final
class MCTClassifier(Adapted):
    """logits = -d(z, c_k) after `iterations` refinements of the prototypes by all queries of the call.

    With 0 iterations (`mct`) a query depends on no other; else every row of x counts, so queries are never padded.
    """

    def __init__(
        self,
        sums: Tensor,
        counts: Tensor,
        hidden_weight: Tensor,
        hidden_bias: Tensor,
        out_weight: Tensor,
        out_bias: Tensor,
        log_spread: Tensor,
        log_floor: Tensor,
        out_mask: Tensor | None = None,
        support_ids: Tensor | None = None,
        *,
        iterations: int = 0,
        pairwise: bool = False,
    ) -> None:
        super().__init__({"iterations": iterations, "pairwise": pairwise}, support_ids)
        scaling = Scaling(hidden_weight, hidden_bias, out_weight, out_bias, log_spread, log_floor)
        for name, value in {"sums": sums, "counts": counts, "out_mask": out_mask, **scaling._asdict()}.items():
            self.register_buffer(name, value)
        self.sums: Tensor
        self.counts: Tensor
        self.out_mask: Tensor | None

    @property
    def scaling(self) -> Scaling:
        """The learned sigma, for `phi` and `distances`."""
        return Scaling(*(getattr(self, name) for name in Scaling._fields))

    def prototypes(self, x: Tensor) -> Tensor:
        """c_k (..., N, D) as features x (..., Q, D) of all queries leave them."""
        prototypes = weighted_mean(self.sums, self.counts)
        for _ in range(self.config["iterations"]):
            confidence = torch.softmax(self._logits(x, prototypes), dim=-1)
            prototypes = refined_prototypes(self.sums, self.counts, x, confidence)
        return prototypes

    def _logits(self, x: Tensor, prototypes: Tensor) -> Tensor:
        return hide_absent(-distances(x, prototypes, self.scaling, self.config["pairwise"]), self.out_mask)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N) of features x (..., Q, D), the queries of a task all at once where it is transductive."""
        require_width(x, self.sums.shape[-1])
        return self._logits(x, self.prototypes(x))


def require_width(x: Tensor, n_features: int) -> None:
    """Raise `ConfigError` where features x (..., D) are not of the width the head was made for."""
    if x.shape[-1] != n_features:
        raise ConfigError(
            f"n_features: expected features of width {n_features}, which this head was made for, found {x.shape[-1]};"
            " make a head for this encoder (its weights depend on the width)"
        )


class MCTScale(nn.Module):
    """The learned sigma of `width` inputs; constant 1 / sqrt(scale) at the start."""

    def __init__(self, width: int, hidden: int, scale: float) -> None:
        super().__init__()
        for name, value in (("n_features", width), ("hidden", hidden)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, found {value}")
        if not scale > 0:
            raise ConfigError(f"scale: expected more than 0, found {scale}")
        start = -0.5 * math.log(scale) - math.log(1.5)  # sigmoid(0) exp(start) + exp(start) = 1 / sqrt(scale)
        bound = math.sqrt(3 / width)
        generator = torch.Generator().manual_seed(0)  # a fresh head is the same head in every process
        self.hidden_weight = nn.Parameter(torch.empty(hidden, width).uniform_(-bound, bound, generator=generator))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.out_weight = nn.Parameter(torch.zeros(hidden))
        self.out_bias = nn.Parameter(torch.zeros(()))
        self.log_spread = nn.Parameter(torch.tensor(start))
        self.log_floor = nn.Parameter(torch.tensor(start))

    def tensors(self) -> Scaling:
        """The parameters for the pure functions."""
        return Scaling(*(getattr(self, name) for name in Scaling._fields))


def support_sums(features: LabelledSet, n_out: int, out_mask: Tensor | None, n_features: int) -> tuple[Tensor, Tensor]:
    """Sums (..., N, D) and weights (..., N) per class of labelled features x (..., S, D), checked."""
    require_width(features.x, n_features)
    targets = label_weights(features, n_out)
    require_support(targets, out_mask)
    return targets.mT @ features.x, targets.sum(-2)


@final
class MCTHead(AbstractHead):
    """Nearest class mean under the instance-wise metric: inductive. A fresh head is a nearest mean by angle."""

    traits = Traits()

    def __init__(self, n_features: int, hidden: int = 32, scale: float = 10.0) -> None:
        """n_features D of the encoder; scale > 0 multiplies squared distances of unit vectors at the start."""
        super().__init__()
        self.n_features = n_features
        self.metric = MCTScale(n_features, hidden, scale)

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> MCTClassifier:
        """Class means of features x (..., S, D); `ConfigError` where D is not n_features."""
        sums, counts = support_sums(features, n_out, out_mask, self.n_features)
        return MCTClassifier(sums, counts, *self.metric.tensors(), out_mask, features.id)


@final
class MCTTransductiveHead(AbstractHead):
    """Prototypes refined by the queries of a call, `train_iterations` times in train mode and `iterations` in eval mode.

    pairwise: the pair-wise metric instead of the instance-wise one. Each task is refined by all of its own queries.
    """

    traits = Traits(transductive=True)

    def __init__(
        self,
        n_features: int,
        hidden: int = 32,
        scale: float = 10.0,
        iterations: int = 10,
        train_iterations: int = 1,
        pairwise: bool = False,
    ) -> None:
        """As `MCTHead`, and iterations >= 0."""
        super().__init__()
        for name, value in (("iterations", iterations), ("train_iterations", train_iterations)):
            if value < 0:
                raise ConfigError(f"{name}: expected at least 0, found {value}")
        self.n_features, self.pairwise = n_features, pairwise
        self.iterations, self.train_iterations = iterations, train_iterations
        self.metric = MCTScale(2 * n_features if pairwise else n_features, hidden, scale)

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> MCTClassifier:
        """Support sums of features x (..., S, D); the queries come with the predictor's call."""
        n = self.train_iterations if self.training else self.iterations
        sums, counts = support_sums(features, n_out, out_mask, self.n_features)
        scaling = self.metric.tensors()
        return MCTClassifier(sums, counts, *scaling, out_mask, features.id, iterations=n, pairwise=self.pairwise)
