"""Where the inner loop begins: a task's fast weights from the shared parameters and, if wished, its support set.

| start | theta_0 | source |
|---|---|---|
| `SharedStart` | theta, the same for every task: meta-learned, or random and never trained | Finn et al. 2017 (MAML); Baik et al. 2020 (ALFA + random init) |
| `l2f.AttenuatedStart` | gamma (.) theta | Baik, Hong, Lee, CVPR 2020, arXiv 1906.05895 |
| `PrototypeStart` | theta, but w_k = 2 c_k, b_k = -||c_k||^2 in the last layer | Triantafillou et al., "Meta-Dataset", ICLR 2020, arXiv 1903.03096 |

c_k is the mean support feature of class k under theta. Gradients flow through c_k into the encoder in second order
(Proto-MAML) and in first order alike (fo-Proto-MAML drops only those through the inner steps).
"""  # noqa: E501

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, final

from torch import Tensor, nn

from modicum.adaptation.gradient.inner_loop import Transform
from modicum.adaptation.gradient.tensors import Tensors


class Began(NamedTuple):
    """parameters: all tensors before the first step. record: what a report shows, name -> (*task, N)."""

    parameters: Tensors
    record: Tensors


class Support(ABC):
    """A support set as functions of the parameters; what a start may look at. Leading dimensions (*task), `lead` of them."""

    lead: int
    targets: Tensor | None
    """Label weights (*task, S, N) of a classification task, else None."""
    transform: Transform = "autograd"
    """How the inner loop takes gradients, and so a start that needs some."""
    second_order: bool = True
    """Whether such gradients are differentiated in their turn."""

    @abstractmethod
    def loss(self, parameters: Tensors) -> Tensor:
        """Support loss (*task)."""

    @abstractmethod
    def features(self, parameters: Tensors) -> Tensor:
        """What enters the last layer, (*task, S, D)."""


class AbstractStart(nn.Module, ABC):
    """From shared parameters to a task's first ones. any_n_out: makes a last layer for any number of ways."""

    any_n_out: bool = False

    @abstractmethod
    def forward(self, parameters: Tensors, moving: tuple[str, ...], support: Support) -> Began:
        """All tensors (*task, ...) of the first step, from shared ones that already have their task dimensions; pure.

        moving: the names of those that the inner loop will move.
        """


@final
class SharedStart(AbstractStart):
    """theta as it is."""

    def forward(self, parameters: Tensors, moving: tuple[str, ...], support: Support) -> Began:
        """The parameters themselves."""
        return Began(parameters, {})


def prototype_layer(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (*task, N, D) and bias (*task, N) from features (*task, S, D) and label weights (*task, S, N).

    With them the layer's logits are those of ProtoNet but for a constant: -||z - c_k||^2 = 2 c_k z - ||c_k||^2 - ||z||^2.
    """
    totals = targets.sum(-2).clamp_min(1e-12)
    means = targets.mT @ features / totals.unsqueeze(-1)
    return 2 * means, -means.square().sum(-1)


@final
class PrototypeStart(AbstractStart):
    """The last layer, named `layer` in the model, from the class means of the support set."""

    any_n_out = True

    def __init__(self, layer: str = "linear") -> None:
        super().__init__()
        self.layer = layer

    def forward(self, parameters: Tensors, moving: tuple[str, ...], support: Support) -> Began:
        """theta with a last layer that is ProtoNet's."""
        assert support.targets is not None
        weight, bias = prototype_layer(support.features(parameters), support.targets)
        return Began({**parameters, f"{self.layer}.weight": weight, f"{self.layer}.bias": bias}, {})
