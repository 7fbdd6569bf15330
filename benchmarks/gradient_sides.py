"""One meta-gradient by Modicum and by its peers: the same network, the same tasks, the same start.

A side is a function without arguments that gives the meta-gradients as a list, conv biases left out: before batch norm they
do nothing, and our convolutions have none. Peers get plain torch modules and the loop over tasks of their own documents:
`higher` its inner-loop context, `torchopt` MetaSGD with states taken and put back, `learn2learn` clone and adapt.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATE = 0.01
PEERS = ("higher", "torchopt", "learn2learn")
STRATEGIES = ("loop", "grouped", "vmap", "compiled")
Side = Callable[[], list[Tensor]]


class Problem(NamedTuple):
    """Tasks with the network that peers take. kind: "sinusoid", or "conv" with its numbers; x (E, n, *item)."""

    kind: str
    network: nn.Sequential
    support: tuple[Tensor, Tensor]
    query: tuple[Tensor, Tensor]
    steps: int
    ways: int

    @property
    def tasks(self) -> int:
        """E."""
        return len(self.support[0])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What peers minimise."""
        return F.mse_loss(outputs, targets) if self.kind == "sinusoid" else F.cross_entropy(outputs, targets)


def sinusoids(tasks: int = 25, steps: int = 5, shots: int = 10, queries: int = 10, dtype: Any = torch.float32) -> Problem:
    """A sin(x + p) by a network 1-40-40-1."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    amplitude, phase = 0.1 + 4.9 * torch.rand(tasks, 1, 1), 3.1416 * torch.rand(tasks, 1, 1)
    x = 10 * torch.rand(tasks, shots + queries, 1) - 5
    x, y = x.to(dtype), (amplitude * (x + phase).sin()).to(dtype)
    return Problem("sinusoid", network.to(dtype), (x[:, :shots], y[:, :shots]), (x[:, shots:], y[:, shots:]), steps, 1)


def pictures(
    size: int, filters: int, shots: int, *, queries: int = 15, tasks: int = 4, steps: int = 5, dtype: Any = torch.float32
) -> Problem:
    """5-way tasks of noise, by four blocks and a linear layer; 1 channel below 32 pixels a side, else 3."""
    torch.manual_seed(0)
    ways, channels = 5, 1 if size < 32 else 3
    blocks: list[nn.Module] = []
    for i in range(4):
        convolution = nn.Conv2d(filters if i else channels, filters, 3, padding=1)
        blocks += [convolution, nn.BatchNorm2d(filters, track_running_stats=False), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(filters * (size // 16) ** 2, ways)).to(dtype)

    def labelled(count: int) -> tuple[Tensor, Tensor]:
        x = torch.rand(tasks, ways * count, channels, size, size, dtype=dtype)
        return x, torch.arange(ways).repeat_interleave(count).expand(tasks, -1)

    return Problem("conv", network, labelled(shots), labelled(queries), steps, ways)


def ours(problem: Problem, strategy: str) -> Side:
    """`meta_gradients` of a MAML learner with the peers' parameters."""
    from modicum.adaptation.gradient.learner import GradientLearner
    from modicum.adaptation.gradient.meta import meta_gradients
    from modicum.adaptation.gradient.networks import LinearNetwork
    from modicum.adaptation.gradient.rules import PlainRule
    from modicum.adaptation.gradient.starts import SharedStart
    from modicum.adaptation.gradient.support import squared_error
    from modicum.backbones.conv4 import Conv4
    from modicum.backbones.encoder import Encoder, ImageSpec
    from modicum.backbones.mlp import MLP
    from modicum.episodes.types import Episode, LabelledSet

    options: dict[str, Any] = {"steps": problem.steps, "batch_norm": "batch", "strategy": strategy}
    if problem.kind == "sinusoid":
        model: nn.Module = MLP(1, (40, 40), 1)
        options["function"] = squared_error
    else:
        first = problem.network[0]
        assert isinstance(first, nn.Conv2d)
        size = problem.support[0].shape[-1]
        backbone, spec = Conv4(first.in_channels, first.out_channels), ImageSpec(size, first.in_channels)
        model = LinearNetwork(Encoder(backbone, spec, backbone.n_features(size), "conv4", {}), problem.ways)
    model.to(problem.support[0])
    with torch.no_grad():
        for own, given in zip(model.parameters(), shared(problem.network), strict=True):
            own.copy_(given)
    names = [name for name, _ in model.named_parameters()]
    learner = GradientLearner(model, SharedStart(), PlainRule(RATE), names, problem.ways, **options)
    episode = Episode(LabelledSet(*problem.support), LabelledSet(*problem.query), problem.ways)

    def side() -> list[Tensor]:
        learner.zero_grad()
        meta_gradients(learner, episode)
        return [value.grad for value in model.parameters() if value.grad is not None]

    return side


def shared(network: nn.Sequential) -> list[nn.Parameter]:
    """Parameters of the peers' network but for the biases of convolutions."""
    skipped = {id(part.bias) for part in network if isinstance(part, nn.Conv2d)}
    return [value for value in network.parameters() if id(value) not in skipped]


def peer(problem: Problem, name: str) -> Side:
    """A peer's loop over tasks. `SystemExit` where it is not installed."""
    if importlib.util.find_spec(name) is None:
        raise SystemExit(f"{name} is not installed in this environment; leave it out of --peers, or pip install {name}")
    one = {"higher": _higher, "torchopt": _torchopt, "learn2learn": _learn2learn}[name](problem)
    network = problem.network

    def side() -> list[Tensor]:
        network.zero_grad()
        for task in range(problem.tasks):
            one(task)
        return [value.grad for value in shared(network) if value.grad is not None]

    return side


def _higher(problem: Problem) -> Callable[[int], None]:
    import higher

    optimizer = torch.optim.SGD(problem.network.parameters(), RATE)

    def one(task: int) -> None:
        with higher.innerloop_ctx(problem.network, optimizer, copy_initial_weights=False) as (network, inner):
            for _ in range(problem.steps):
                inner.step(problem.loss(network(problem.support[0][task]), problem.support[1][task]))
            (problem.loss(network(problem.query[0][task]), problem.query[1][task]) / problem.tasks).backward()

    return one


def _torchopt(problem: Problem) -> Callable[[int], None]:
    import torchopt

    network, inner = problem.network, torchopt.MetaSGD(problem.network, lr=RATE)
    states = [torchopt.extract_state_dict(part, by="reference", detach_buffers=True) for part in (network, inner)]

    def one(task: int) -> None:
        for _ in range(problem.steps):
            inner.step(problem.loss(network(problem.support[0][task]), problem.support[1][task]))
        loss = problem.loss(network(problem.query[0][task]), problem.query[1][task]) / problem.tasks
        for part, state in zip((network, inner), states, strict=True):
            torchopt.recover_state_dict(part, state)
        loss.backward()

    return one


def _learn2learn(problem: Problem) -> Callable[[int], None]:
    from learn2learn.algorithms import MAML

    outer = MAML(problem.network, lr=RATE, first_order=False)

    def one(task: int) -> None:
        network = outer.clone()
        for _ in range(problem.steps):
            network.adapt(problem.loss(network(problem.support[0][task]), problem.support[1][task]))
        (problem.loss(network(problem.query[0][task]), problem.query[1][task]) / problem.tasks).backward()

    return one
