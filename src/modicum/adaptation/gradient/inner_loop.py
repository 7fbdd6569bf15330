"""The inner loop of gradient adaptation, one for all methods.

Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017, arXiv 1703.03400.

    theta_0 = start,   g_j = d L(theta_j) / d theta_j[moving],   theta_{j+1}[moving] = rule(j, theta_j[moving], g_j)

| symbol | variable | shape |
|---|---|---|
| theta_j | `Trajectory.parameters` | name -> (*task, ...) |
| g_j | `Trajectory.gradients`, on request | name -> (*task, ...), moving ones only |
| L | `loss(parameters, step)` | (*task), one number for each task |
| S | steps | >= 1 |

Tasks are independent, so the gradient of the sum over tasks holds every task's own gradient. Second order: g_j carries a
graph, and the outer loss is differentiated through all steps. First order: g_j is a constant.

The gradient is taken by `torch.autograd.grad`, or by `torch.func.grad` where the caller stands inside transforms. With
`checkpoint`, a step's graph is thrown away and made again in the backward pass: memory for one step instead of S, for one
more evaluation of each; only by autograd, and bit for bit the same gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from modicum.adaptation.gradient.checkpointing import made_again
from modicum.adaptation.gradient.rules import AbstractRule, Update
from modicum.adaptation.gradient.tensors import Tensors
from modicum.errors import ConfigError, TrainingError

Loss = Callable[[Tensors, int], Tensor]
Transform = Literal["autograd", "func", "traced"]
"""traced: by autograd, while `compiled` records the operations; values cannot be looked at."""


class Trajectory(NamedTuple):
    """What an inner loop left. parameters: all tensors after each step (S + 1 entries), or only the last where not kept.

    gradients: of each step's moving tensors, and outputs: the rule's record of each step; both empty where not kept.
    losses: the support loss before each step, each (*task), detached.
    """

    parameters: list[Tensors]
    gradients: list[Tensors]
    outputs: list[Tensors]
    losses: list[Tensor]

    @property
    def last(self) -> Tensors:
        """All tensors after the last step."""
        return self.parameters[-1]


def check_loop(
    steps: int, parameters: Mapping[str, Tensor], moving: tuple[str, ...], rule: AbstractRule, second: bool
) -> None:
    """Raise `ConfigError` for a loop that makes no sense."""
    if steps < 1:
        raise ConfigError(f"inner_steps: expected at least 1 step, found {steps}; without steps nothing adapts")
    if not moving:
        raise ConfigError("moves: no parameter would move; choose all, head or body")
    unknown = [name for name in moving if name not in parameters]
    if unknown:
        raise ConfigError(f"moves: unknown parameter {unknown[0]!r}; known: {', '.join(parameters)}")
    kinds = {value.dtype for value in parameters.values()}
    if len(kinds) > 1:
        listed = ", ".join(sorted(str(kind) for kind in kinds))
        raise ConfigError(f"parameters: expected one dtype in the inner loop, found {listed}; convert the model by .float()")
    if rule.needs_second_order and not second:
        raise ConfigError(
            f"first_order: {type(rule).__name__} reads gradients that are differentiated themselves, which takes second "
            "order; detach its state (alfa_detach), or leave first_order out"
        )


def inner_loop(
    loss: Loss,
    init: Tensors,
    rule: AbstractRule,
    steps: int,
    moves: tuple[str, ...],
    *,
    lead: int = 0,
    second_order: bool = True,
    checkpoint: bool = False,
    transform: Transform = "autograd",
    keep: bool = False,
    first: int = 0,
    reads: Sequence[Tensor] = (),
) -> Trajectory:
    """Adapt `init` (name -> (*task, ...)) by `steps` gradient steps of `loss` on the tensors named in `moves`.

    lead: number of task dimensions. keep: keep all that happened instead of the last parameters only. first: number of the
    first step, where a loop is run in pieces. reads: tensors beside `init` and the rule's own that the loss depends on and
    that gradients should reach with `checkpoint`.

    Raises `ConfigError` for a loop that makes no sense and for a moving parameter that the loss ignores; `TrainingError`
    that names step and tensor where a loss or the last parameters are not finite (only by autograd, where it can be seen).
    """
    check_loop(steps, init, moves, rule, second_order)
    still = {name: value for name, value in init.items() if name not in moves}
    moved = {name: init[name].view_as(init[name]) for name in moves}  # no gradient through a start that made one of another
    held = Trajectory([], [], [], [])
    for step in range(first, first + steps):
        one = _Step(loss, rule, step, still, lead, second_order)
        if keep or not held.parameters:
            held.parameters.append({**still, **moved})
        before = moved
        if transform == "func":
            moved, gradients, update, value = one.by_func(moved)
        elif checkpoint and torch.is_grad_enabled() and second_order:
            moved, gradients, update, value = one.checkpointed(moved, reads)
        else:
            moved, gradients, update, value = one.by_autograd(moved)
        if transform == "autograd":
            require_finite(step, value, before)
        held.losses.append(value.detach())
        if keep:
            held.gradients.append(gradients)
            held.outputs.append(update)
    if transform == "autograd":
        require_finite_end(first + steps - 1, moved)
    last = {**still, **moved}
    return held._replace(parameters=[*held.parameters, last] if keep else [last])


class _Step(NamedTuple):
    """One inner step as a function of the moving tensors; each form gives (moved, gradients, record, loss)."""

    loss: Loss
    rule: AbstractRule
    step: int
    still: Tensors
    lead: int
    second_order: bool

    def by_autograd(self, moved: Tensors) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        """By `torch.autograd.grad`; leaves of the graph where the tensors have none."""
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            # A step's own views: their gradients are summed within the step first, as with `checkpoint`.
            inputs = {
                name: value.view_as(value) if wanted and value.requires_grad else value.detach().requires_grad_()
                for name, value in moved.items()
            }
            still = {name: value.view_as(value) for name, value in self.still.items()} if wanted else self.still
            value = self.loss({**still, **inputs}, self.step)
            found = torch.autograd.grad(
                value.sum(), list(inputs.values()), create_graph=self.second_order and wanted, allow_unused=True
            )
        gradients = _used(inputs, found)
        update: Update = self.rule(self.step, inputs if wanted else moved, gradients, self.lead)
        return update.parameters, gradients, update.record, value

    def by_func(self, moved: Tensors) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        """By `torch.func.grad`, which may stand inside vmap, grad and torch.compile."""

        def summed(inputs: Tensors) -> tuple[Tensor, Tensor]:
            value = self.loss({**self.still, **inputs}, self.step)
            return value.sum(), value

        gradients, value = torch.func.grad(summed, has_aux=True)(moved)
        if not self.second_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        update: Update = self.rule(self.step, moved, gradients, self.lead)
        return update.parameters, gradients, update.record, value

    def checkpointed(self, moved: Tensors, reads: Sequence[Tensor]) -> tuple[Tensors, Tensors, Tensors, Tensor]:
        """As `by_autograd`, its graph made again in the backward pass; gradients, record and loss are constants."""
        names = list(moved)
        seen: list[tuple[Tensors, Tensors, Tensor]] = []

        def again(tensors: Sequence[Tensor]) -> list[Tensor]:
            """The moving tensors after the step; what its first run saw is kept."""
            new, gradients, record, value = self.by_autograd(dict(zip(names, tensors, strict=True)))
            if not seen:
                seen.append((gradients, record, value.detach()))
            return list(new.values())

        new = made_again(again, list(moved.values()), [*self.still.values(), *self.rule.parameters(), *reads])
        return dict(zip(names, new, strict=True)), *seen[0]


def _used(inputs: Mapping[str, Tensor], gradients: tuple[Tensor | None, ...]) -> Tensors:
    found = dict(zip(inputs, gradients, strict=True))
    ignored = [name for name, gradient in found.items() if gradient is None]
    if ignored:
        raise ConfigError(
            f"moves: the loss does not depend on parameter {ignored[0]!r} ({len(ignored)} of {len(found)} moving ones), so "
            "no gradient can move it; leave it out of the moving parameters"
        )
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def require_finite(step: int, loss: Tensor, parameters: Mapping[str, Tensor]) -> None:
    """Raise `TrainingError` that names step and tensor where a loss is not finite; one look where all is well."""
    if bool(torch.isfinite(loss.detach()).all()):
        return
    bad = _not_finite(parameters)
    if bad is not None and step == 0:
        raise TrainingError(
            f"parameter {bad!r} is not finite before the first inner step: what came before diverged; lower --learning_rate"
        )
    cause = f"parameter {bad!r} is not finite before it"
    if bad is None:
        sizes = {name: float(value.detach().abs().max()) for name, value in parameters.items()}
        largest = max(sizes, key=sizes.__getitem__)
        cause = f"its logits overflowed, and of the parameters {largest!r} is the largest ({sizes[largest]:.3g})"
    raise TrainingError(
        f"the inner loop diverged: the support loss is {float(loss.detach().sum())} at inner step {step}: {cause}; lower "
        "--inner_rate"
    )


def require_finite_end(step: int, parameters: Mapping[str, Tensor]) -> None:
    """Raise `TrainingError` that names step and tensor where the last step left what no later loss will show."""
    largest = torch.stack([value.detach().abs().amax() for value in parameters.values()])
    if not bool(torch.isfinite(largest).all()):
        raise TrainingError(
            f"the inner loop diverged: parameter {_not_finite(parameters)!r} is not finite after inner step {step}; lower "
            "--inner_rate"
        )


def _not_finite(parameters: Mapping[str, Tensor]) -> str | None:
    return next((name for name, value in parameters.items() if not bool(torch.isfinite(value).all())), None)
