"""Support and query sets of one task, or of E stacked ones, as functions of the network's parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from modicum.adaptation.gradient.networks import LinearNetwork, Passes
from modicum.adaptation.gradient.starts import Support
from modicum.adaptation.gradient.step_norms import StepNorms
from modicum.adaptation.gradient.tensors import Tensors
from modicum.adaptation.targets import hide_absent
from modicum.configs import BatchNorm
from modicum.errors import ConfigError

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""From outputs (*task, n, N) and targets (*task, n, N) to one loss per task (*task)."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum_ik t_ik log p_ik / sum_ik t_ik for logits and label weights t (*task, n, N): (*task). -inf does not count."""
    logs = logits.log_softmax(-1).clamp_min(torch.finfo(logits.dtype).min)  # 0 * -inf would be NaN
    return -(targets * logs).sum((-2, -1)) / targets.sum((-2, -1))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean of (output - target)^2 over items and outputs (*task, n, N): (*task)."""
    return (outputs - targets).square().mean((-2, -1))


class Data(NamedTuple):
    """Items x (*task, n, *item) with targets (*task, n, N): label weights, or values to regress."""

    x: Tensor
    targets: Tensor


@final
class TaskSupport(Support):
    """How a support set looks at parameters, and how queries do after it.

    mode: whose statistics batch norm uses, see `modicum.backbones.batch_norm`. training: `running` normalises by the call's
    own statistics, and what it finds is recorded in `found` for the outer loop.
    """

    def __init__(
        self,
        passes: Passes,
        function: LossFunction,
        data: Data,
        mode: BatchNorm,
        *,
        out_mask: Tensor | None = None,
        norms: StepNorms | None = None,
        training: bool = False,
    ) -> None:
        self.passes, self.function, self.data, self.mode, self.norms = passes, function, data, mode, norms
        self.lead, self.out_mask, self.training = passes.lead, out_mask, training
        self.targets: Tensor = data.targets
        self.found: list[Tensors] = []

    def loss(self, parameters: Tensors, step: int = 0) -> Tensor:
        """Support loss (*task) before step `step`."""
        record = self.training and self.transform != "func"  # what is made inside that transform ends with it
        return self.function(self.outputs(parameters, step, self.data.x, record), self.targets)

    @torch.no_grad()
    def record(self, path: Sequence[Tensors]) -> None:
        """Fill `found` from the parameters before step 0, 1, ..., where `loss` could not."""
        for step, parameters in enumerate(path):
            self.outputs(parameters, step, self.data.x, record=True)

    def outputs(self, parameters: Tensors, step: int, x: Tensor, record: bool = False) -> Tensor:
        """Outputs (*task, n, N) under the statistics of x, or under the running ones."""
        given = self.at_step(parameters, step)
        if self.mode == "running" and not self.training:
            outputs = self.passes.given(given, x, self._running(step))
        else:
            wanted = record and (step == 0 or self.norms is not None) and len(self.found) <= step
            outputs, found = self.passes.own(given, x, wanted)
            if wanted:
                self.found.append(found)
        return hide_absent(outputs, self.out_mask)

    def queries(self, parameters: Tensors, step: int, x: Tensor) -> Tensor:
        """Outputs (*task, Q, N) of queries after `step` steps."""
        if self.mode != "support":
            return self.outputs(parameters, step, x, record=self.training and self.norms is not None)
        given = self.at_step(parameters, step)
        used = self.passes.statistics(given, self.data.x)
        if self.training and self.norms is not None and len(self.found) == step:
            self.found.append({name: value.detach() for name, value in used.items()})
        return hide_absent(self.passes.given(given, x, used), self.out_mask)

    def statistics(self, parameters: Tensors, step: int) -> Tensors:
        """What batch norm uses for queries after `step` steps in the modes `support` and `running`."""
        if self.mode == "running":
            return self._running(step)
        return self.passes.statistics(self.at_step(parameters, step), self.data.x)

    def features(self, parameters: Tensors) -> Tensor:
        """Features (*task, S, D) that enter the last layer before the first step."""
        if not isinstance(self.passes.module, LinearNetwork):
            name = type(self.passes.module).__name__
            raise ConfigError(f"init: prototypes need an encoder with a linear layer on top, found {name}")
        prefix = "encoder."
        own = {k.removeprefix(prefix): v for k, v in self.at_step(parameters, 0).items() if k.startswith(prefix)}
        part = Passes(self.passes.module.encoder, self.lead)
        if self.mode == "running" and not self.training:
            running = {k.removeprefix(prefix): v for k, v in self._running(0).items()}
            return part.given(own, self.data.x, running)
        return part.own(own, self.data.x).outputs

    def at_step(self, parameters: Tensors, step: int) -> Tensors:
        """The parameters with the affine ones of batch norm that belong to this step."""
        return parameters if self.norms is None else self.norms.at(parameters, step, self.lead)

    def _running(self, step: int) -> Tensors:
        if self.norms is not None and step > 0:
            return self.norms.running(step)
        return {name: b for name, b in self.passes.module.named_buffers() if name.endswith(("running_mean", "running_var"))}
