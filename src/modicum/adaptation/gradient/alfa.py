"""ALFA: an inner step whose learning rates and weight decays are generated for every task, step and tensor.

Baik, Choi, Choi, Kim, Lee: Meta-Learning with Adaptive Hyperparameters, NeurIPS 2020, arXiv 2011.00209, equations 3 to 7.

    theta_{j+1} = beta_j (.) theta_j - alpha_j (.) g_j                                   (4); plain descent has beta = 1
    (alpha1, beta1) = generator(tau_j),   tau_j = [means of g_j, means of theta_j]       (5), means over each tensor
    alpha_j = alpha0_j alpha1,   beta_j = beta0_j beta1                                  (7)

| symbol | variable | shape |
|---|---|---|
| theta, g | parameters, gradients | name -> (*task, ...), N tensors ("layers"; a weight and its bias are two) |
| tau | state | (*task, 2N), or (*task, N) with half a state (table 5) |
| alpha1, beta1 | outputs of `generator`: linear layers 2N x 2N, ReLU between | (*task, N) each |
| alpha0, beta0 | `rates`, `decays` | (S, N); one row or column with `per` (table 6) |
| | `own`: a decay of every parameter's own, with a random start | as theta |

Readings. `beta`: "one-minus" is beta = 1 - b0 b1 with b0 = weight decay x rate at the start, as released; "direct" is (7) as
printed, where b0 starts at 1 - weight decay x rate (equation 3) and b1 at 1, because (7) with an ordinary draw has beta
near 0 and wipes theta out at once. With a random start b0 starts at 1 and the own decay d = weight decay x rate multiplies
in: 1 - d b0 b1, or (1 - d) b0 b1. `layers`: three in the paper (12 N^2 weights), two in the released code (8 N^2).
`detach`: no gradient through the means of g, as released; the means of theta always have one.

Deviations: the outputs of the generator are bare, and but for "direct" its layers start at torch's draw, both as released:
alpha1 starts near 0 with either sign. Released: tau = [theta, g], a permutation of the first layer; S + 1 rows of
multipliers, of which the last is never used; the gradient taken twice. Where `per` has no "layer" the generator makes one
number for all tensors, and where it has no "step" the multipliers are shared and only tau tells steps apart: table 6 does
not say. "learned" there is its "fixed" (a constant after training); "fixed" here is one that is not trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.alfa_update import updated
from modicum.adaptation.gradient.rules import AbstractRule, Update, require_rate
from modicum.adaptation.gradient.tensors import Tensors, layer_means, spread
from modicum.backbones.batch_norm_kernels import plain
from modicum.configs.options import Adaptivity
from modicum.errors import ConfigError

State = Literal["both", "weights", "gradients"]
Beta = Literal["one-minus", "direct"]
Per = Literal["step-layer", "step", "layer", "none"]


def learning_state(parameters: Tensors, gradients: Tensors, lead: int, state: State = "both", detach: bool = True) -> Tensor:
    """tau, (*task, 2N): means of all gradients (*task, ...), then of all parameters; (*task, N) with half a state."""
    halves = []
    if state != "weights":
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
            halves.append(layer_means(gradients, lead))
    if state != "gradients":
        halves.append(layer_means(parameters, lead))
    return torch.cat(halves, -1)


def generator(inputs: int, width: int, outputs: int, layers: int = 3) -> nn.Sequential:
    """Linear layers (..., inputs) -> width -> ... -> (..., outputs) with ReLU between, at torch's usual draw."""
    sizes = [inputs, *[width] * (layers - 1), outputs]
    parts: list[nn.Module] = []
    for size, following in pairwise(sizes):
        parts += [nn.Linear(size, following), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def alfa_step(parameters: Tensors, gradients: Tensors, alpha: Tensor, beta: Mapping[str, Tensor], lead: int) -> Tensors:
    """Equation (4). alpha (*task, N); beta: name -> factors that broadcast against the tensor."""
    rates = spread(alpha, parameters, lead)
    return {
        name: torch.addcmul(beta[name] * value, rates[name], gradients[name], value=-1) for name, value in parameters.items()
    }


@final
class ALFARule(AbstractRule):
    """tensors: the moving ones, without task dimensions. steps: S. rate, weight_decay: where alpha0 and beta0 start.

    alpha, decay: "generated", "learned" (the multipliers alone) or "fixed" (these, not trained). The other options are the
    readings above. Record of a step: "alpha" and "beta" (*task, N), as they multiply (means over a tensor with own decays).
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        steps: int,
        rate: float = 0.01,
        *,
        weight_decay: float = 5e-4,
        layers: int = 3,
        state: State = "both",
        detach: bool = True,
        beta: Beta = "one-minus",
        alpha: Adaptivity = "generated",
        decay: Adaptivity = "generated",
        per: Per = "step-layer",
        random_start: bool = False,
    ) -> None:
        super().__init__()
        rate, small = require_rate(rate), _require_decay(weight_decay) * rate
        if layers < 1:
            raise ConfigError(f"alfa_layers: expected at least 1, found {layers}; the paper has 3, its code 2")
        self.state, self.detach, self.beta, self.n = state, detach, beta, len(tensors)
        self.alpha_generated, self.decay_generated = alpha == "generated", decay == "generated"
        rows, columns = (steps if "step" in per else 1), (self.n if "layer" in per else 1)
        first = 1.0 if random_start else small if beta == "one-minus" else 1 - small
        self.rates = nn.Parameter(torch.full((rows, columns), rate), requires_grad=alpha != "fixed")
        self.decays = nn.Parameter(torch.full((rows, columns), first), requires_grad=decay != "fixed")
        self.own = nn.ParameterList(
            nn.Parameter(torch.full_like(value, small)) for value in tensors.values() if random_start
        )
        self.generator = self._generator(columns, layers)
        self.needs_second_order = self.generator is not None and not detach and state != "weights"

    def forward(self, step: int, parameters: Tensors, gradients: Tensors, lead: int) -> Update:
        """One step; beyond the trained ones, the multipliers of the last."""
        alpha, factor = self.multipliers(step, parameters, gradients, lead)
        if not lead and not len(self.own) and plain(alpha, factor, *parameters.values(), *gradients.values()):
            beta = factor if self.beta == "direct" else 1 - factor
            return Update(updated(parameters, gradients, alpha, beta), {"alpha": alpha.detach(), "beta": beta.detach()})
        betas, means = self._betas(parameters, factor, lead)
        record = {"alpha": alpha.detach(), "beta": means.detach()}
        return Update(alfa_step(parameters, gradients, alpha, betas, lead), record)

    def multipliers(self, step: int, parameters: Tensors, gradients: Tensors, lead: int) -> tuple[Tensor, Tensor]:
        """alpha and b0 b1 of a step, (*task, N) each."""
        row = min(step, len(self.rates) - 1)
        task = next(iter(parameters.values())).shape[:lead]
        alpha, factor = self.rates[row], self.decays[row]
        if self.generator is not None:
            tau = learning_state(parameters, gradients, lead, self.state, self.detach)
            made = self.generator(tau).unflatten(-1, (-1, len(alpha)))  # (*task, 1 or 2, N or 1)
            alpha = alpha * made[..., 0, :] if self.alpha_generated else alpha
            factor = factor * made[..., -1, :] if self.decay_generated else factor
        return alpha.expand(*task, self.n), factor.expand(*task, self.n)

    def _generator(self, columns: int, layers: int) -> nn.Sequential | None:
        wanted = self.alpha_generated + self.decay_generated
        if not wanted:
            return None
        made = generator(self.n * (2 if self.state == "both" else 1), 2 * self.n, wanted * columns, layers)
        if self.beta == "direct" and self.decay_generated:
            last = made[-1]
            assert isinstance(last, nn.Linear)
            with torch.no_grad():
                last.weight[-columns:] = 0.0
                last.bias[-columns:] = 1.0
        return made

    def _betas(self, parameters: Tensors, factor: Tensor, lead: int) -> tuple[Tensors, Tensor]:
        """beta by name, broadcasting against the tensors, and its means (*task, N), from b0 b1 (*task, N)."""
        direct = self.beta == "direct"
        if not len(self.own):
            beta = factor if direct else 1 - factor
            return spread(beta, parameters, lead), beta
        factors = spread(factor, parameters, lead).values()
        betas = [(1 - d) * f if direct else 1 - d * f for d, f in zip(self.own, factors, strict=True)]
        mean = torch.stack([d.detach().mean() for d in self.own])
        return dict(zip(parameters, betas, strict=True)), (1 - mean) * factor if direct else 1 - mean * factor


def _require_decay(weight_decay: float) -> float:
    if not 0 <= weight_decay < float("inf"):
        raise ConfigError(f"weight_decay of ALFA: expected 0 or more, found {weight_decay}")
    return float(weight_decay)
