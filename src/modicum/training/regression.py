"""Meta-training on regression tasks: sinusoids, tables of tasks, or any distribution of (x, y) tasks that a user writes.

The outer loop is the one for pictures (`trainer`); the loss is the mean squared error of a task's queries after the inner
steps, Chelsea Finn et al., ICML 2017, arXiv 1703.03400, section 5.1; Baik et al. 2020, arXiv 2011.00209, table 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modicum.adaptation.gradient.learner import GradientLearner, first_order
from modicum.adaptation.gradient.meta import meta_gradients, moved_buffers, multi_step_weights
from modicum.adaptation.gradient.methods import gradient_learner
from modicum.adaptation.gradient.support import squared_error
from modicum.backbones.mlp import build_mlp
from modicum.configs import Train
from modicum.configs.gradient import REPTILES
from modicum.configs.regression import SINUSOIDS
from modicum.data.task_tables import read_tasks
from modicum.episodes.regression import AbstractTaskDistribution, Sinusoids, TableTasks, Values
from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError
from modicum.evaluation.intervals import MeanInterval, mean_interval
from modicum.runtime import Ranks
from modicum.training.gradient import annealing
from modicum.training.objectives import AbstractObjective, Part
from modicum.training.processes import summed
from modicum.training.reptile import reptile_optimizer, reptile_step
from modicum.training.subjects import AbstractSubject

QUERIES = 100
"""Query points at validation and test where there are so many ("100 sampled points", table 8)."""
TASKS_PER_CALL = 100


class RegressionTasks(NamedTuple):
    """Tasks to train on, to validate on and to test on; val and test may be None where there are none.

    splits: split -> names of its tasks, {} where every number makes a new task. digest: changes where the tasks do.
    """

    name: str
    train: AbstractTaskDistribution
    val: AbstractTaskDistribution | None
    test: AbstractTaskDistribution | None
    splits: Mapping[str, tuple[str, ...]] = {}
    split_rule: str = ""
    digest: str = ""

    def part(self, split: str) -> AbstractTaskDistribution:
        """The tasks of a split; `ConfigError` where there are none."""
        found: AbstractTaskDistribution | None = {"train": self.train, "val": self.val, "test": self.test}.get(split)
        if found is None:
            raise ConfigError(f"split: {self.name} has no tasks for {split!r}; take train, val or test")
        return found


def open_tasks(config: Train, seed: int | None = None) -> RegressionTasks:
    """The tasks that `config.data` names; seed: of the draws (default: the configuration's), never of a table's split.

    `ConfigError` for data that is no table, `DataError` for a table that cannot be used.
    """
    drawn = config.seed if seed is None else seed
    if config.data == SINUSOIDS:
        train, val, test = (Sinusoids(drawn, stream) for stream in ("train", "val", "test"))
        return RegressionTasks(SINUSOIDS, train, val, test, digest=f"{SINUSOIDS} 1")
    path = Path(config.data)
    if path.suffix.lower() not in (".csv", ".npz") or config.target is None:
        raise ConfigError(f"data: expected {SINUSOIDS}, or a .csv or .npz of tasks for --target, found {config.data!r}")
    table = read_tasks(path, config.target, config.seed)
    splits = [split for split, names in table.splits.items() if names]
    parts = {split: TableTasks(Values(*table.part(split)), table.name, drawn, split) for split in splits}
    if "train" not in parts:
        raise ConfigError(f"data: {path.name} has no tasks to train on ({table.split_rule})")
    parts["train"].require_rows(config.shots, config.queries)
    for part in parts.values():
        part.require_rows(config.shots, 1)
    return RegressionTasks(
        table.name, parts["train"], parts.get("val"), parts.get("test"), table.splits, table.split_rule, table.digest()
    )


def build_regressor(config: Train, inputs: int, outputs: int) -> GradientLearner:
    """A fresh learner from x (n, inputs) to y (n, outputs); a function of config.seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return gradient_learner(config, build_mlp(config.backbone, inputs, outputs), outputs, squared_error)


def on_device(episode: Episode, device: torch.device) -> Episode:
    """The episode's tensors on a device."""
    support, query = (LabelledSet(part.x.to(device), part.y.to(device)) for part in (episode.support, episode.query))
    return Episode(support, query, episode.n_out)


def predictions(learner: GradientLearner, episode: Episode) -> Tensor:
    """Outputs (E, S + 1, Q, N) of the queries before the first inner step and after each."""
    found = []
    with torch.no_grad():
        for part in learner.parts(episode.support, episode.query, episode.n_out):
            assert part.queries is not None
            done = learner.adapted(part, training=False, keep=True)
            path = [done.support.queries(given, step, part.queries) for step, given in enumerate(done.trajectory.parameters)]
            found.append(torch.stack(path, part.lead) if part.lead else torch.stack(path).unsqueeze(0))
    return torch.cat(found)


def score_regression(
    learner: GradientLearner,
    tasks: AbstractTaskDistribution,
    count: int,
    shots: int,
    queries: int,
    device: torch.device,
    here: Ranks = Ranks(),  # noqa: B008
) -> NDArray[np.float64]:
    """Mean squared error (count, S + 1) of tasks 0..count-1 before the first inner step and after each.

    Of several processes each takes the tasks t = r mod R, and all return the errors of all.
    """
    errors = torch.zeros(count, learner.test_steps + 1, dtype=torch.float64)
    mine = list(range(here.rank, count, here.size))
    for start in range(0, len(mine), TASKS_PER_CALL):
        numbers = mine[start : start + TASKS_PER_CALL]
        episode = on_device(tasks.episode(numbers, shots, queries), device)
        outputs = predictions(learner, episode)
        errors[numbers] = (outputs - episode.query.y.unsqueeze(1)).double().square().mean((-2, -1)).cpu()
    return summed(errors.to(device)).cpu().numpy() if here.size > 1 else errors.numpy()


@final
class RegressionObjective(AbstractObjective):
    """Mean squared error of the queries of a step's tasks after their inner steps. Gradients are left in the parameters."""

    learner: GradientLearner

    def __init__(self, config: Train, tasks: AbstractTaskDistribution, device: torch.device) -> None:
        self.config, self.tasks, self.device = config, tasks, device
        self.module = self.learner = build_regressor(config, tasks.inputs, tasks.outputs).to(device)
        self.fading, self.first_order_until = annealing(config)
        self.optimizer = reptile_optimizer(config, self.module) if config.method in REPTILES else None

    @property
    def buffered(self) -> nn.Module:
        """The learner."""
        return self.module

    def example(self) -> Tensor:
        """Two support items of the first task."""
        return self.tasks.episode([0], 2, 1).support.x[0]

    def part(self, step: int, here: Ranks) -> Part:
        """Loss of the tasks t = r mod R of the step's `batch` tasks; `accuracy` is their mean squared error."""
        config = self.config
        first = step * config.batch
        numbers = [t for t in range(first, first + config.batch) if t % here.size == here.rank]
        share = len(numbers) / config.batch
        if not numbers:
            zero = torch.zeros((), device=self.device)
            return Part(zero, zero, {}, 0.0)
        episode = on_device(self.tasks.episode(numbers, config.shots, config.queries), self.device)
        if config.method in REPTILES:
            outcome = reptile_step(config, self.learner, episode, numbers, share)
        else:
            weights = multi_step_weights(config.inner_steps, step, self.fading) if step < self.fading else None
            with first_order(self.learner, step < self.first_order_until):
                outcome = meta_gradients(self.learner, episode, weights, share)
        error = squared_error(outcome.outputs, episode.query.y).mean()
        return Part(share * outcome.losses.mean(), share * error, moved_buffers(self.learner, outcome.found), share)


@final
class RegressionSubject(AbstractSubject):
    """Regression tasks; validated by the mean squared error of tasks of their own."""

    measure = "mse"

    def __init__(self, config: Train, tasks: RegressionTasks, device: torch.device) -> None:
        self.config, self.tasks, self.device, self.digest = config, tasks, device, tasks.digest
        self.objective: RegressionObjective = RegressionObjective(config, tasks.train, device)
        self.validated = tasks.val is not None
        self.note = "" if self.validated else "no validation tasks: the last weights count as the best"

    def validate(self, here: Ranks) -> MeanInterval:
        """Mean squared error after the last inner step, over `validation_tasks` tasks."""
        config = self.config
        tasks, learner = self.tasks.part("val"), self.objective.learner
        queries = query_points(tasks, config.shots)
        errors = score_regression(learner, tasks, config.validation_tasks, config.shots, queries, self.device, here)
        return mean_interval(errors[:, -1], "draws of validation tasks")

    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """Nothing: the checkpoint holds it all."""

    def record(self) -> dict[str, Any]:
        """The network's sizes, and name, splits and digest of the tasks."""
        tasks = self.tasks
        data = {
            "name": tasks.name,
            "tasks": tasks.train.size,
            "splits": {split: list(names) for split, names in tasks.splits.items()},
            "digest": self.digest,
        }
        network = {"backbone": self.config.backbone, "inputs": tasks.train.inputs, "outputs": tasks.train.outputs}
        return {"network": network, "data": data, "split_rule": tasks.split_rule, "note": self.note}


def query_points(tasks: AbstractTaskDistribution, shots: int, asked: int = QUERIES) -> int:
    """Query points of a task at validation and test: as asked for, or all that every task of a table has left."""
    if not isinstance(tasks, TableTasks):
        return asked
    tasks.require_rows(shots, 1)
    return min(asked, tasks.fewest() - shots)
