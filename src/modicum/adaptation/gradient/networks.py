"""A network as a function of its parameters and of the way its batch norm gets statistics; for one task or for many.

`LinearNetwork` is an encoder with a linear layer on top: pictures in, logits out. Any other module serves too, for instance
an MLP for regression: `Passes` runs it functionally and leaves it as it is.

| statistics | batch norm normalises by | used for |
|---|---|---|
| own | mean and biased variance of the very pictures of the call | the support set at every step; queries in mode `batch` |
| given | tensors that come with the parameters | mode `running`; queries in mode `support` |

Dropout is off in all of them: adaptation has no randomness.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.tensors import Tensors
from modicum.backbones.batch_norm import forward_frozen, forward_own, has_batch_norm
from modicum.backbones.encoder import Encoder


@final
class LinearNetwork(nn.Module):
    """Encoder and linear layer: pictures (n, C, H, W) -> logits (n, N). The layer starts at torch's usual random draw."""

    def __init__(self, encoder: Encoder, n_out: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.linear = nn.Linear(encoder.n_features, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, N)."""
        logits: Tensor = self.linear(self.encoder(x))
        return logits


class Pass(NamedTuple):
    """Outputs (*task, n, N) and the statistics that batch norm used, buffer name -> (*task, C); detached if not asked."""

    outputs: Tensor
    statistics: Tensors


class Passes:
    """Runs a module as a function of its parameters, with `lead` task dimensions in parameters and data: none or one.

    Tasks in one call become grouped convolutions and batched matrix products. A module with an attribute `batched = True`
    takes parameters with a task dimension itself (`modicum.backbones.mlp`), which saves the transform.
    """

    def __init__(self, module: nn.Module, lead: int = 0) -> None:
        self.module, self.lead = module, lead
        self.normed = has_batch_norm(module)
        self.itself = bool(getattr(module, "batched", False))

    def own(self, parameters: Tensors, x: Tensor, record: bool = False) -> Pass:
        """Under the statistics of x (*task, n, *item), which come back detached with `record`."""
        if not self.normed:
            return Pass(self._plain(parameters, x), {})
        if not self.lead:
            return Pass(*forward_own(self.module, x, parameters, record))
        return Pass(*torch.func.vmap(lambda p, one: forward_own(self.module, one, p, record))(parameters, x))

    def given(self, parameters: Tensors, x: Tensor, statistics: Tensors) -> Tensor:
        """Under given statistics, one for each task, (*task, C), or one for all, (C,), where `shared`."""
        if not self.normed:
            return self._plain(parameters, x)
        traced = torch.is_grad_enabled()
        if not self.lead:
            return forward_frozen(self.module, x, {**parameters, **statistics}, traced)
        own = {name: value.dim() > self.module.get_buffer(name).dim() for name, value in statistics.items()}
        axes = {name: 0 if several else None for name, several in own.items()}
        found: Tensor = torch.func.vmap(
            lambda p, s, one: forward_frozen(self.module, one, {**p, **s}, traced), in_dims=(0, axes, 0)
        )(parameters, statistics, x)
        return found

    def statistics(self, parameters: Tensors, x: Tensor) -> Tensors:
        """The statistics of x at every layer, differentiable in the parameters."""
        if not self.normed:
            return {}
        if not self.lead:
            return forward_own(self.module, x, parameters, differentiable=True)[1]
        found: Tensors = torch.func.vmap(lambda p, one: forward_own(self.module, one, p, differentiable=True)[1])(
            parameters, x
        )
        return found

    def _plain(self, parameters: Tensors, x: Tensor) -> Tensor:
        if not self.lead or self.itself:
            return forward_frozen(self.module, x, parameters, traced=False)
        found: Tensor = torch.func.vmap(lambda p, one: forward_frozen(self.module, one, p, traced=False))(parameters, x)
        return found
