"""L2F: each task forgets a part of the shared start, tensor by tensor, before its first step.

Baik, Hong, Lee: Learning to Forget for Meta-Learning, CVPR 2020, arXiv 1906.05895.

    gamma = sigmoid(MLP(tau)),   tau_i = mean of d L(theta) / d theta_i,   theta_{0,i} = gamma_i theta_i

| symbol | variable | shape |
|---|---|---|
| theta_i | parameters[name] of the N moving tensors; others stay whole | (*task, ...) |
| L | `support.loss` | (*task) |
| tau, gamma | means, gamma | (*task, N), gamma in (0, 1) |
| MLP | attenuator: N -> N -> N, ReLU between | two linear layers at torch's draw, so that gamma starts near 1/2 |

The gradients in tau are differentiated in their turn in second order, and constants in first order.

Deviations: two releases disagree on that. The code of this paper takes tau as constant, the code of ALFA, whose tables print
"MAML + L2F" and "ALFA + MAML + L2F", differentiates it in second order. Ours is the latter; `detach` is the former, and
spares the backward pass through one more gradient of the support loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.starts import AbstractStart, Began, Support
from modicum.adaptation.gradient.tensors import Tensors, layer_means, spread


def attenuated(parameters: Tensors, moving: tuple[str, ...], gamma: Tensor, lead: int) -> Tensors:
    """All tensors (*task, ...), the moving ones times their gamma (*task, N)."""
    own = spread(gamma, {name: parameters[name] for name in moving}, lead)
    return {**parameters, **{name: factor * parameters[name] for name, factor in own.items()}}


@final
class AttenuatedStart(AbstractStart):
    """gamma (.) theta. tensors: the moving ones, without task dimensions; only their number N matters.

    detach: gamma sees the gradients as constants in second order too.
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, detach: bool = False) -> None:
        super().__init__()
        n = len(tensors)
        self.attenuator = nn.Sequential(nn.Linear(n, n), nn.ReLU(), nn.Linear(n, n))
        self.detach = detach

    def forward(self, parameters: Tensors, moving: tuple[str, ...], support: Support) -> Began:
        """The attenuated parameters; record "gamma" (*task, N)."""
        means = layer_means(self._gradients(parameters, moving, support), support.lead)
        gamma = self.attenuator(means).sigmoid()
        return Began(attenuated(parameters, moving, gamma, support.lead), {"gamma": gamma.detach()})

    def _gradients(self, parameters: Tensors, moving: tuple[str, ...], support: Support) -> Tensors:
        moved = {name: parameters[name] for name in moving}
        constant = self.detach or not support.second_order
        if support.transform == "func":
            gradients: Tensors = torch.func.grad(lambda own: support.loss({**parameters, **own}).sum())(moved)
            return {name: gradient.detach() for name, gradient in gradients.items()} if constant else gradients
        wanted = torch.is_grad_enabled() and not constant
        with torch.enable_grad():
            inputs = {n: v if wanted and v.requires_grad else v.detach().requires_grad_() for n, v in moved.items()}
            loss = support.loss({**parameters, **inputs}).sum()
            found = torch.autograd.grad(loss, list(inputs.values()), create_graph=wanted, materialize_grads=True)
        return dict(zip(moving, found, strict=True))  # 0 for what the loss ignores, which the inner loop refuses by name
