"""Update rules of the inner loop: from parameters and their gradients to the next parameters.

| rule | update at step j | learned | source |
|---|---|---|---|
| `PlainRule` | theta <- theta - a g | nothing | Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning", ICML 2017, arXiv 1703.03400 |
| `LayerStepRule` | theta_i <- theta_i - a_ji g_i | a_ji, one per step j and tensor i | Antoniou, Edwards, Storkey, "How to train your MAML", ICLR 2019, arXiv 1810.09502 |
| `ParameterRule` | theta <- theta - a (.) g | a, one per parameter | Li, Zhou, Chen, Li, "Meta-SGD", 2017, arXiv 1707.09835 |

Shapes: a parameter tensor is (*task, ...), with `lead` task dimensions. Steps beyond the trained ones use the rates of the
last trained step.

Deviations: Meta-SGD draws its rates from [0.005, 0.1]; ours start at one value, as MAML's.
"""  # noqa: E501

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.tensors import Tensors
from modicum.errors import ConfigError


class Update(NamedTuple):
    """parameters: the moving tensors after the step. record: what a report shows of it, name -> (*task, N)."""

    parameters: Tensors
    record: Tensors


class AbstractRule(nn.Module, ABC):
    """One inner step. `forward` sees only the tensors that move, always under the same names in the same order.

    needs_second_order: the rule reads gradients that must carry a graph of their own, so first order is refused.
    sized: it has numbers of the tensors' shapes, so a last layer of another size does not fit it.
    """

    needs_second_order: bool = False
    sized: bool = False

    @abstractmethod
    def forward(self, step: int, parameters: Tensors, gradients: Tensors, lead: int) -> Update:
        """The moving tensors (*task, ...) after step `step` (from 0), `lead` task dimensions; pure."""


def require_rate(rate: float) -> float:
    """The inner learning rate, if it is one; else `ConfigError`."""
    if not 0 < rate < float("inf"):
        raise ConfigError(f"inner_rate: expected a number above 0, found {rate}")
    return float(rate)


@final
class PlainRule(AbstractRule):
    """theta <- theta - rate * g."""

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = require_rate(rate)

    def forward(self, step: int, parameters: Tensors, gradients: Tensors, lead: int) -> Update:
        """One step of gradient descent."""
        return Update({name: value - self.rate * gradients[name] for name, value in parameters.items()}, {})


@final
class LayerStepRule(AbstractRule):
    """A learned rate for every step and tensor. rates: (S, N) parameter, `rate` at the start."""

    def __init__(self, tensors: Mapping[str, Tensor], steps: int, rate: float = 0.01) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.full((steps, len(tensors)), require_rate(rate)))

    def forward(self, step: int, parameters: Tensors, gradients: Tensors, lead: int) -> Update:
        """One step; record "alpha" (*task, N): the rates."""
        rates = self.rates[min(step, len(self.rates) - 1)]
        new = {name: value - rates[i] * gradients[name] for i, (name, value) in enumerate(parameters.items())}
        first = next(iter(parameters.values()))
        return Update(new, {"alpha": rates.detach().expand(*first.shape[:lead], -1)})


@final
class ParameterRule(AbstractRule):
    """A learned rate for every parameter, the same at all steps. tensors: the moving ones, without task dimensions."""

    sized = True

    def __init__(self, tensors: Mapping[str, Tensor], rate: float = 0.01) -> None:
        super().__init__()
        rate = require_rate(rate)
        self.rates = nn.ParameterList(nn.Parameter(torch.full_like(value, rate)) for value in tensors.values())

    def forward(self, step: int, parameters: Tensors, gradients: Tensors, lead: int) -> Update:
        """One step; record "alpha" (*task, N): the mean rate of each tensor."""
        rates = dict(zip(parameters, self.rates, strict=True))
        new = {name: value - rates[name] * gradients[name] for name, value in parameters.items()}
        means = torch.stack([rate.detach().mean() for rate in self.rates])
        first = next(iter(parameters.values()))
        return Update(new, {"alpha": means.expand(*first.shape[:lead], -1)})
