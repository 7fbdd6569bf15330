"""Gradient adaptation of one task written out: plain loops over steps and tensors, torch.autograd, and nothing of ours.

Numbers that are learned are read from the objects under test; what is done with them is written here again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tensors = dict[str, Tensor]
Rule = Callable[[int, list[Tensor], list[Tensor]], list[Tensor]]
Start = Callable[["Task", Tensors], Tensors]
Statistics = list[tuple[Tensor, Tensor]]


class Task(NamedTuple):
    """One task. run: (parameters, x, statistics or None for those of x) -> (outputs, features, statistics of every layer).

    mode: whose statistics normalise queries, "own" or "support".
    """

    run: Callable[[Tensors, Tensor, Statistics | None], tuple[Tensor, Tensor, Statistics]]
    x: Tensor
    y: Tensor
    query_x: Tensor
    query_y: Tensor
    mode: str = "own"

    def loss(self, parameters: Tensors) -> Tensor:
        return error(self.run(parameters, self.x, None)[0], self.y)

    def query_loss(self, parameters: Tensors) -> Tensor:
        given = self.run(parameters, self.x, None)[2] if self.mode == "support" else None
        return error(self.run(parameters, self.query_x, given)[0], self.query_y)


def error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).square().mean() if y.is_floating_point() else F.cross_entropy(outputs, y)


def mlp(parameters: Tensors, x: Tensor, _: Statistics | None = None) -> tuple[Tensor, Tensor, Statistics]:
    values = list(parameters.values())
    for weight, bias in zip(values[:-2:2], values[1:-2:2], strict=True):
        x = (x @ weight.T + bias).relu()
    return x @ values[-2].T + values[-1], x, []


def conv(parameters: Tensors, x: Tensor, given: Statistics | None = None) -> tuple[Tensor, Tensor, Statistics]:
    """Four blocks and a linear layer, batch norm written out."""
    used: Statistics = []
    for i in range(4):
        block = f"encoder.backbone.blocks.{i}."
        x = F.conv2d(x, parameters[block + "conv.weight"], padding=1)
        if given is None:
            mean = x.mean((0, 2, 3))
            used.append((mean, ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))))
        else:
            used.append(given[i])
        mean, variance = (value[:, None, None] for value in used[-1])
        weight, bias = (parameters[block + f"norm.{kind}"][:, None, None] for kind in ("weight", "bias"))
        x = F.max_pool2d(((x - mean) / (variance + 1e-5).sqrt() * weight + bias).relu(), 2)
    x = x.flatten(1)
    return x @ parameters["linear.weight"].T + parameters["linear.bias"], x, used


def adapt(
    task: Task, theta: Tensors, moving: Sequence[str], rule: Rule, steps: int, second_order: bool,
    at_step: Callable[[Tensors, int], Tensors] = lambda parameters, step: parameters,
) -> list[Tensors]:  # fmt: skip
    """All tensors before every step and after the last one."""
    path = [theta]
    for step in range(steps):
        now = path[-1]
        # Gradients hold the other moving tensors fixed, whatever they were made of: each gets a node of its own.
        mine = {**now, **{name: now[name] * 1 for name in moving}}
        inputs = [mine[name] for name in moving]
        found = torch.autograd.grad(task.loss(at_step(mine, step)), inputs, create_graph=True)
        if not second_order:
            found = tuple(g.detach() for g in found)
        new = rule(step, inputs, list(found))
        path.append({**now, **dict(zip(moving, new, strict=True))})
    return path


def plain(rate: float) -> Rule:
    return lambda step, theta, g: [t - rate * d for t, d in zip(theta, g, strict=True)]


def layer_step(rates: Tensor) -> Rule:
    return lambda step, theta, g: [t - rates[step, i] * d for i, (t, d) in enumerate(zip(theta, g, strict=True))]


def per_parameter(rates: Sequence[Tensor]) -> Rule:
    return lambda step, theta, g: [t - r * d for t, r, d in zip(theta, rates, g, strict=True)]


def alfa(numbers: Any, **options: Any) -> Rule:
    """numbers: rates, decays, own, generator of the rule under test; options: those it was made with."""
    alpha, decay = options.get("alpha", "generated"), options.get("decay", "generated")
    direct, per = options.get("beta") == "direct", options.get("per", "step-layer")
    state, detach = options.get("state", "both"), options.get("detach", True)

    def multiplier(table: Tensor, step: int, i: int) -> Tensor:
        return table[step if "step" in per else 0, i if "layer" in per else 0]

    def step_of(step: int, theta: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        n, new = len(theta), []
        made: Tensor | None = None
        if "generated" in (alpha, decay):
            tau = [d.detach().mean() if detach else d.mean() for d in g] if state != "weights" else []
            tau += [t.mean() for t in theta] if state != "gradients" else []
            made = layers(numbers.generator, torch.stack(tau))
        columns = n if "layer" in per else 1
        for i in range(n):
            a, b = multiplier(numbers.rates, step, i), multiplier(numbers.decays, step, i)
            column = i if "layer" in per else 0
            if alpha == "generated":
                assert made is not None
                a = a * made[column]
            if decay == "generated":
                assert made is not None
                b = b * made[column + (columns if alpha == "generated" else 0)]
            own = numbers.own[i] if options.get("random_start") else None
            small = 1 if own is None else own
            kept = b if own is None else (1 - own) * b
            new.append((kept if direct else 1 - small * b) * theta[i] - a * g[i])
        return new

    return step_of


def layers(network: nn.Sequential, x: Tensor) -> Tensor:
    """Linear layers with ReLU between, by their weights."""
    linear = [part for part in network if isinstance(part, nn.Linear)]
    for i, layer in enumerate(linear):
        x = layer.weight @ x + layer.bias
        x = x.relu() if i < len(linear) - 1 else x
    return x


def shared(task: Task, theta: Tensors) -> Tensors:
    return theta


def attenuated(attenuator: nn.Sequential, moving: Sequence[str], second_order: bool) -> Start:
    def start(task: Task, theta: Tensors) -> Tensors:
        found = torch.autograd.grad(task.loss(theta), [theta[name] for name in moving], create_graph=True)
        means = torch.stack([g.mean() if second_order else g.mean().detach() for g in found])
        gamma = 1 / (1 + (-layers(attenuator, means)).exp())
        return {**theta, **{name: gamma[i] * theta[name] for i, name in enumerate(moving)}}

    return start


def prototypes(task: Task, theta: Tensors) -> Tensors:
    features = task.run(theta, task.x, None)[1]
    means = torch.stack([features[task.y == k].mean(0) for k in range(int(task.y.max()) + 1)])
    return {**theta, "linear.weight": 2 * means, "linear.bias": -(means**2).sum(1)}
