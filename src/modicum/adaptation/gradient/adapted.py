"""What gradient adaptation leaves: a network for each task."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.inner_loop import Trajectory
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.tensors import Tensors
from modicum.adaptation.learner import PictureClassifier
from modicum.adaptation.ridge import LinearClassifier
from modicum.adaptation.targets import hide_absent
from modicum.backbones.batch_norm import forward_frozen, forward_own
from modicum.configs import BatchNorm
from modicum.episodes.interfaces import Adapted
from modicum.errors import ConfigError


class TaskNetwork(NamedTuple):
    """One task's parameters, and the statistics its queries are normalised by ({} in the mode `batch`), by name."""

    parameters: Tensors
    statistics: Tensors


@final
class AdaptedNetworks(Adapted):
    """A network for each task; x (..., Q, *item) -> outputs (..., Q, N), the leading dimensions being those of the support.

    paths: (record of the start, trajectory) of every call that `adapt` made, where it was asked to trace. Its parts are
    saved, not the whole: `single` gives one task's encoder and linear classifier.
    """

    paths: tuple[tuple[Tensors, Trajectory], ...] = ()

    def __init__(
        self,
        model: nn.Module,
        networks: Sequence[TaskNetwork],
        batch_norm: BatchNorm,
        lead: Sequence[int],
        out_mask: Tensor | None = None,
        support_ids: Tensor | None = None,
    ) -> None:
        super().__init__({"batch_norm": batch_norm}, support_ids)
        self.model, self.networks, self.lead, self.out_mask = model, list(networks), tuple(lead), out_mask

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., Q, N); ways of out_mask that are absent get -inf."""
        if x.shape[: len(self.lead)] != self.lead:
            raise ConfigError(f"x: expected items of tasks {self.lead}, as the support had, found shape {tuple(x.shape)}")
        tasks = x.flatten(0, len(self.lead) - 1) if self.lead else x.unsqueeze(0)
        out = torch.stack([self._outputs(task, network) for task, network in zip(tasks, self.networks, strict=True)])
        return hide_absent(out.reshape(*self.lead, *out.shape[1:]), self.out_mask)

    def _outputs(self, x: Tensor, network: TaskNetwork) -> Tensor:
        if self.config["batch_norm"] == "batch":
            return forward_own(self.model, x, network.parameters)[0]
        return forward_frozen(self.model, x, {**network.parameters, **network.statistics})

    def single(self, task: int = 0) -> PictureClassifier:
        """One task's classifier with an encoder of its own: save `.encoder` as an encoder, `.predictor` as a predictor.

        Where batch norm was `support`, its frozen statistics become the encoder's running ones.
        """
        if not isinstance(self.model, LinearNetwork):
            raise ConfigError(f"single: {type(self.model).__name__} is no encoder with a linear layer")
        model, network = copy.deepcopy(self.model), self.networks[task]
        weight, bias = network.parameters["linear.weight"], network.parameters["linear.bias"]
        own = {**network.parameters, **network.statistics}
        encoder = model.encoder
        encoder.load_state_dict(
            {name.removeprefix("encoder."): v for name, v in own.items() if name.startswith("encoder.")}, strict=False
        )
        masks = None if self.out_mask is None else self.out_mask.reshape(len(self.networks), -1)[task]
        ids = None if self.support_ids is None else self.support_ids.reshape(len(self.networks), -1)[task]
        one = torch.ones((), dtype=weight.dtype, device=weight.device)
        linear = LinearClassifier(weight.mT, one, bias, masks, ids)
        mode: BatchNorm = "batch" if self.config["batch_norm"] == "batch" else "running"
        return PictureClassifier(encoder, linear, mode, None)
