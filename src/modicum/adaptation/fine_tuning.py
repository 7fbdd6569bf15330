"""Fine-tuning of the whole network on each task's support set, at test time only.

The column MAML of tables 5.1 and 5.7 of "Unraveling Meta-Learning" (Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein,
ICML 2020, arXiv 2002.06753): encoders trained otherwise are adapted by gradient steps on all parameters, as MAML adapts
(Finn, Abbeel, Levine, ICML 2017, arXiv 1703.03400). As a baseline of its own: Dhillon, Chaudhari, Ravichandran, Soatto, "A
Baseline for Few-Shot Image Classification", ICLR 2020, arXiv 1909.02729, whose support-based start is used here.

    u = f_theta(x) / r,     logits = u W + b,     L = sum_i CE(t_i, logits_i) / sum_ik t_ik
    (theta, W, b) <- (theta, W, b) - eta * dL/d(theta, W, b),     all support pictures at once, T times
    start: theta of the encoder;  w_k = 2 c_k,  b_k = -||c_k||^2  (c_k the class mean of u), or W = 0, b = 0

| symbol | variable | shape |
|---|---|---|
| T, eta | steps, learning_rate | 10, 0.01 |
| r | size: root mean square norm of the support features at the start, then constant | scalar for each task |
| t_i | label weights | (S, N) |
| W, b | weight, bias | (D, N), (N,) |

With 0 steps this is ProtoNet on u: ||u - c_k||^2 = ||u||^2 - (u w_k + b_k) (Triantafillou et al., "Meta-Dataset", ICLR 2020,
arXiv 1903.03096). Chen et al., "A Closer Look at Few-shot Classification", ICLR 2019, arXiv 1904.04232, train a new layer on
frozen features instead: that is the head `linear`.

Deviations: neither the dissertation nor its released code says how the column was made. 10 steps at rate 0.01 are those of
MAML's test on mini-ImageNet; start and r are ours. r makes one rate serve encoders whose features differ a hundredfold in
norm. Dhillon et al. take class means of normalised features, Adam and an entropy term on the queries, which would be
transductive. No augmentation, dropout or weight decay: the result is a function of encoder and support set alone. Batch
norm: `running` trains with the stored statistics, `support` with those of the support set, recomputed at each step and
frozen after the last; `batch` trains as `support` and normalises queries by themselves.

Not differentiable, and so not for meta-training: gradients through these steps are MAML's business.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor

from modicum.adaptation.learner import PictureClassifier
from modicum.adaptation.protonet import class_means
from modicum.adaptation.ridge import LinearClassifier
from modicum.adaptation.targets import hide_absent, label_weights, require_support
from modicum.backbones.batch_norm import copy_buffers, forward_batch, forward_frozen, support_buffers
from modicum.backbones.encoder import Encoder
from modicum.configs import BatchNorm
from modicum.episodes.interfaces import AbstractLearner, Adapted
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError

Start = Literal["means", "zero"]
Tensors = dict[str, Tensor]


class Network(NamedTuple):
    """One task's network: the encoder's parameters and buffers by name, the layer on top, the size r of its inputs."""

    parameters: Tensors
    buffers: Tensors
    weight: Tensor
    bias: Tensor
    size: Tensor

    def logits(self, z: Tensor) -> Tensor:
        """Logits (n, N) of features z (n, D)."""
        return z / self.size @ self.weight + self.bias


def first_layer(u: Tensor, targets: Tensor, start: Start) -> tuple[Tensor, Tensor]:
    """W (D, N) and b (N,) from features u (S, D) and label weights (S, N): ProtoNet as a linear layer, or zeros."""
    means = class_means(u, targets)
    if start == "zero":
        means = torch.zeros_like(means)
    return 2 * means.mT, -means.square().sum(-1)


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """sum_ik -t_ik log p_ik / sum_ik t_ik for logits and label weights (S, N); ways of -inf have no weight."""
    logs = logits.log_softmax(-1).masked_fill(logits == float("-inf"), 0.0)
    return -(targets * logs).sum() / targets.sum()


@final
class FineTunedClassifier(Adapted):
    """A network for each task; x (..., Q, C, H, W) -> logits (..., Q, N), the leading dimensions being those of the support.

    Its parts are saved, not the whole: `single` gives one task's encoder and linear classifier.
    """

    def __init__(
        self,
        encoder: Encoder,
        networks: list[Network],
        batch_norm: BatchNorm,
        out_mask: Tensor | None = None,
        support_ids: Tensor | None = None,
    ) -> None:
        super().__init__({"batch_norm": batch_norm}, support_ids)
        self.encoder, self.networks, self.out_mask = encoder, networks, out_mask

    def _features(self, x: Tensor, network: Network) -> Tensor:
        if self.config["batch_norm"] == "batch":
            return forward_batch(self.encoder, x, network.parameters)
        return forward_frozen(self.encoder, x, {**network.parameters, **network.buffers})

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N)."""
        tasks, lead = x.flatten(0, -5) if x.ndim > 4 else x.unsqueeze(0), x.shape[:-3]
        if len(tasks) != len(self.networks):
            raise ConfigError(f"x: expected pictures of {len(self.networks)} tasks, as the support had, found {len(tasks)}")
        out = [network.logits(self._features(task, network)) for task, network in zip(tasks, self.networks, strict=True)]
        return hide_absent(torch.stack(out).reshape(*lead, -1), self.out_mask)

    def single(self, task: int = 0) -> PictureClassifier:
        """One task's classifier with an encoder of its own: save `.encoder` as an encoder, `.predictor` as a predictor.

        Where batch norm was `support`, its frozen statistics become the encoder's running ones.
        """
        network = self.networks[task]
        encoder = copy.deepcopy(self.encoder)
        encoder.load_state_dict({**network.parameters, **network.buffers}, strict=False)
        masks = None if self.out_mask is None else self.out_mask.reshape(len(self.networks), -1)[task]
        ids = None if self.support_ids is None else self.support_ids.reshape(len(self.networks), -1)[task]
        one = torch.ones((), dtype=network.weight.dtype, device=network.weight.device)
        linear = LinearClassifier(network.weight / network.size, one, network.bias, masks, ids)
        mode: BatchNorm = "batch" if self.config["batch_norm"] == "batch" else "running"
        return PictureClassifier(encoder, linear, mode, None)


@final
class FineTuningLearner(AbstractLearner):
    """Encoder and a linear layer, all trained on each task's support set by full-batch gradient descent.

    steps >= 0; learning_rate > 0, of the mean loss. `adapt` is pure and has no randomness. It keeps a copy of the encoder's
    parameters for each task: `adapt` few tasks at once where the encoder is large.
    """

    def __init__(
        self,
        encoder: Encoder,
        steps: int = 10,
        learning_rate: float = 0.01,
        start: Start = "means",
        batch_norm: BatchNorm = "running",
    ) -> None:
        super().__init__()
        if steps < 0:
            raise ConfigError(f"steps: expected at least 0, found {steps}")
        if not 0 < learning_rate < float("inf"):
            raise ConfigError(f"learning_rate: expected a number above 0, found {learning_rate}")
        if start not in ("means", "zero"):
            raise ConfigError(f"start: expected 'means' or 'zero', found {start!r}")
        self.encoder, self.batch_norm, self.start = encoder, batch_norm, start
        self.steps, self.learning_rate = steps, float(learning_rate)
        self.traits = Traits(transductive=batch_norm == "batch", differentiable=False)

    def adapt(
        self, support: LabelledSet, n_out: int, out_mask: Tensor | None = None, *, trace: bool = False
    ) -> FineTunedClassifier:
        """A network for each task of support pictures x (..., S, C, H, W), uint8 or float in [0, 1].

        trace is accepted for the interface. `ConfigError` where the loss stops being finite: learning_rate is too high.
        """
        lead = support.x.shape[:-3]
        places = support._replace(x=self.encoder.mean.new_zeros((*lead, 1)))
        targets = label_weights(places, n_out)
        require_support(targets, out_mask)
        pictures = support.x.flatten(0, -5) if support.x.ndim > 4 else support.x.unsqueeze(0)
        targets = targets.reshape(len(pictures), -1, n_out)
        masks = [None] * len(pictures) if out_mask is None else out_mask.reshape(len(pictures), 1, n_out)
        keeps = [None] * len(pictures) if support.mask is None else support.mask.reshape(len(pictures), -1)
        networks = []
        for x, t, keep, mask in zip(pictures, targets, keeps, masks, strict=True):
            x, t = (x, t) if keep is None else (x[keep], t[keep])
            networks.append(self._tuned(x, t, mask))
        return FineTunedClassifier(self.encoder, networks, self.batch_norm, out_mask, support.id)

    def _features(self, x: Tensor, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensors]:
        """Support features (S, D) under these parameters, and the buffers they came from."""
        if self.batch_norm == "running":
            buffers = copy_buffers(self.encoder)
            return forward_frozen(self.encoder, x, {**parameters, **buffers}), buffers
        return support_buffers(self.encoder, x, parameters)

    def _start(self, x: Tensor, targets: Tensor) -> Network:
        """The network before the first step, of pictures x (S, C, H, W) and label weights (S, N)."""
        parameters = {name: value.detach().clone() for name, value in self.encoder.named_parameters()}
        z, buffers = self._features(x, parameters)
        size = z.square().sum(-1).mean().sqrt()
        size = torch.where(size > 0, size, 1.0)
        return Network(parameters, buffers, *first_layer(z / size, targets, self.start), size)

    def _tuned(self, x: Tensor, targets: Tensor, out_mask: Tensor | None) -> Network:
        """The network after the last step; out_mask (1, N)."""
        with torch.no_grad():
            network = self._start(x, targets)
        for step in range(self.steps):
            with torch.enable_grad():
                network = self._step(network, x, targets, out_mask, step)
        if self.steps and self.batch_norm != "running":
            with torch.no_grad():
                network = network._replace(buffers=self._features(x, network.parameters)[1])
        return network

    def _step(self, network: Network, x: Tensor, targets: Tensor, out_mask: Tensor | None, step: int) -> Network:
        moved = {**network.parameters, "": network.weight, ".": network.bias}  # no parameter of a module has such a name
        moved = {name: value.detach().requires_grad_() for name, value in moved.items()}
        weight, bias = moved[""], moved["."]
        z, _ = self._features(x, {name: moved[name] for name in network.parameters})
        logits = network._replace(weight=weight, bias=bias).logits(z)
        loss = mean_cross_entropy(hide_absent(logits, None if out_mask is None else out_mask[0]), targets)
        if not bool(torch.isfinite(loss)):
            raise ConfigError(
                f"learning_rate: {self.learning_rate} is too high, the loss is {loss.item()} at step {step}; lower it"
            )
        gradients = torch.autograd.grad(loss, list(moved.values()), allow_unused=True)
        with torch.no_grad():
            new = {
                name: value if gradient is None else value - self.learning_rate * gradient
                for (name, value), gradient in zip(moved.items(), gradients, strict=True)
            }
        new = {name: value.detach() for name, value in new.items()}
        weight, bias = new.pop(""), new.pop(".")
        return network._replace(parameters=new, weight=weight, bias=bias)
