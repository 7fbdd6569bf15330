"""GradientLearner: a network that gradient steps on the support set turn into a classifier, or into a regressor.

What is learned, what moves and how are parts: `starts`, `rules`, the names in `moves`. `modicum.adaptation.gradient.methods`
puts the published methods together.

| strategy | tasks | gradients | good for |
|---|---|---|---|
| loop | one after the other | autograd | convolutions on a CPU; the only one for uneven support sets; checkpointed steps |
| grouped | all in one call: grouped convolutions, batched products | autograd | small networks, GPUs; checkpointed steps |
| vmap | all, each a function under `torch.func.vmap` | torch.func | comparison |
| compiled | as `together` says, the meta-gradient as one compiled function (`compiled.py`) | autograd | long trainings |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.adapted import AdaptedNetworks, TaskNetwork
from modicum.adaptation.gradient.inner_loop import Trajectory, Transform, inner_loop
from modicum.adaptation.gradient.networks import LinearNetwork, Passes
from modicum.adaptation.gradient.rules import AbstractRule
from modicum.adaptation.gradient.starts import AbstractStart
from modicum.adaptation.gradient.step_norms import StepNorms
from modicum.adaptation.gradient.support import Data, LossFunction, TaskSupport, cross_entropy
from modicum.adaptation.gradient.tensors import Tensors
from modicum.adaptation.targets import label_weights, require_support
from modicum.backbones.batch_norm import has_batch_norm
from modicum.backbones.encoder import Encoder
from modicum.configs import BatchNorm, Strategy
from modicum.episodes.interfaces import AbstractLearner
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


class Part(NamedTuple):
    """One task (lead 0), or all tasks of a call stacked (lead 1), ready for the inner loop. queries None at test time."""

    lead: int
    support: Data
    out_mask: Tensor | None
    queries: Tensor | None


class Adaptation(NamedTuple):
    """One part adapted: its support set with what batch norm found, the path, and the start's record for the report."""

    support: TaskSupport
    trajectory: Trajectory
    began: Tensors


@final
class GradientLearner(AbstractLearner):
    """Adapts `model` to a support set by `steps` inner steps.

    moves: names of the model's parameters that move. n_out: outputs of the model; another number is refused unless the
    start makes the last layer itself. test_steps: steps of `adapt`, as many as in training where None. function: the loss,
    of outputs and targets. second_order: gradients flow through the inner gradients. batch_norm: statistics of queries at
    test time, and of training (`TaskSupport`). checkpoint: memory for one inner step only (loop and grouped). norms: batch
    norm of its own for each step.
    """

    def __init__(
        self,
        model: nn.Module,
        start: AbstractStart,
        rule: AbstractRule,
        moves: Sequence[str],
        n_out: int,
        *,
        steps: int = 5,
        test_steps: int | None = None,
        function: LossFunction = cross_entropy,
        second_order: bool = True,
        batch_norm: BatchNorm = "support",
        checkpoint: bool = False,
        strategy: Strategy = "auto",
        norms: StepNorms | None = None,
    ) -> None:
        super().__init__()
        for name, number in (("inner_steps", steps), ("test_steps", steps if test_steps is None else test_steps)):
            if number < 1:
                raise ConfigError(f"{name}: expected at least 1 step, found {number}; without steps nothing adapts")
        if checkpoint and strategy in ("vmap", "compiled"):
            raise ConfigError(f"checkpoint_inner: works with the strategies loop and grouped, found {strategy}")
        if norms is not None and set(norms.affine) & set(moves):
            raise ConfigError(
                "norm_moves: batch norm of its own for each step is learned outside and cannot move inside too"
            )
        self.model, self.start, self.rule, self.norms = model, start, rule, norms
        self.moves, self.n_out, self.function = tuple(moves), n_out, function
        self.steps, self.test_steps = steps, steps if test_steps is None else test_steps
        self.second_order, self.batch_norm, self.checkpoint, self.strategy = second_order, batch_norm, checkpoint, strategy
        self.traits = Traits(transductive=batch_norm == "batch", any_n_out=start.any_n_out and not rule.sized)

    @property
    def encoder(self) -> Encoder:
        """The encoder inside the model; `ConfigError` for models without one."""
        if isinstance(self.model, LinearNetwork):
            return self.model.encoder
        raise ConfigError(f"encoder: {type(self.model).__name__} has none; only learners of pictures have")

    def adapt(
        self, support: LabelledSet, n_out: int, out_mask: Tensor | None = None, *, trace: bool = False
    ) -> AdaptedNetworks:
        """A network for each task of support items x (..., S, *item). trace: keep every task's path (`paths`)."""
        with torch.no_grad():
            networks, paths = [], []
            for part in self.parts(support, None, n_out, out_mask):
                done = self.adapted(part, training=False, keep=trace)
                last, steps = done.trajectory.last, self.test_steps
                statistics = {} if self.batch_norm == "batch" else done.support.statistics(last, steps)
                networks += _unstacked(TaskNetwork(done.support.at_step(last, steps), statistics), part.lead)
                paths.append(done)
        lead = support.x.shape[: support.x.dim() - self._item_dims(support) - 1]
        found = AdaptedNetworks(self.model, networks, self.batch_norm, lead, out_mask, support.id)
        found.paths = tuple((done.began, done.trajectory) for done in paths) if trace else ()
        return found

    def adapted(self, part: Part, *, training: bool, keep: bool = False, transform: Transform = "autograd") -> Adaptation:
        """Start and inner loop of one part. Differentiable where gradients are on."""
        task = TaskSupport(
            Passes(self.model, part.lead), self.function, part.support, self.batch_norm,
            out_mask=part.out_mask, norms=self.norms, training=training,
        )  # fmt: skip
        task.transform, task.second_order = transform, self.second_order
        own = self.model.named_parameters()
        shared: Tensors = {name: value if torch.is_grad_enabled() else value.detach() for name, value in own}
        if part.lead:
            tasks = len(part.support.x)
            shared = {name: value.expand(tasks, *value.shape) for name, value in shared.items()}
        began = self.start(shared, self.moves, task)
        task.found.clear()  # statistics of the first step are recorded there, not where the start looked
        several = transform == "func" and self.norms is not None
        trajectory = inner_loop(
            task.loss, began.parameters, self.rule, self.steps if training else self.test_steps, self.moves, lead=part.lead,
            second_order=self.second_order, checkpoint=self.checkpoint, transform=transform, keep=keep or several,
            reads=() if self.norms is None else tuple(self.norms.parameters()),
        )  # fmt: skip
        if transform == "func" and training:
            task.record(trajectory.parameters[:-1] if several else [began.parameters])
        return Adaptation(task, trajectory, began.record)

    def parts(
        self, support: LabelledSet, query: LabelledSet | None, n_out: int, out_mask: Tensor | None = None
    ) -> Iterator[Part]:
        """The tasks as the strategy takes them: one by one, or all of one call at once. Errors as `adapt`'s."""
        item = self._item_dims(support)
        self._check(n_out)
        targets = self._targets(support, n_out, item)
        if self.function is cross_entropy:
            require_support(targets, out_mask)
        x = support.x.reshape(-1, *support.x.shape[-item - 1 :])
        targets = targets.reshape(len(x), *targets.shape[-2:])
        queries = None if query is None else query.x.reshape(len(x), *query.x.shape[-item - 1 :])
        masks = None if out_mask is None else out_mask.reshape(len(x), -1)
        keeps = None if support.mask is None else support.mask.reshape(len(x), -1)
        if self.together(x.device) and keeps is None:
            yield Part(1, Data(x, targets), masks, queries)
            return
        for e in range(len(x)):
            own = (x[e], targets[e]) if keeps is None else (x[e][keeps[e]], targets[e][keeps[e]])
            yield Part(0, Data(*own), None if masks is None else masks[e], None if queries is None else queries[e])

    def together(self, device: torch.device) -> bool:
        """Whether tasks are stacked: as the strategy says; auto, compiled: on a GPU and for networks without batch norm."""
        if self.strategy in ("auto", "compiled"):
            return device.type == "cuda" or not has_batch_norm(self.model)
        return self.strategy != "loop"

    @property
    def transform(self) -> Transform:
        """How inner gradients are taken in training."""
        return "func" if self.strategy == "vmap" else "traced" if self.strategy == "compiled" else "autograd"

    def _check(self, n_out: int) -> None:
        if n_out != self.n_out and not self.traits.any_n_out:
            raise ConfigError(
                f"n_out: this learner's last layer was made for {self.n_out} classes, found {n_out}; take tasks of that "
                "size, or train with --method proto-maml, which takes any number"
            )

    def _item_dims(self, data: LabelledSet) -> int:
        """Dimensions of one item: what y does not have, or for values to regress, all but the last."""
        return data.x.dim() - data.y.dim() if self.function is cross_entropy else data.x.dim() - data.y.dim() + 1

    def _targets(self, support: LabelledSet, n_out: int, item: int) -> Tensor:
        if self.function is not cross_entropy:
            return support.y
        dtype = next(self.model.parameters()).dtype
        lead = support.x.shape[: support.x.dim() - item]
        return label_weights(support._replace(x=torch.zeros(*lead, 1, dtype=dtype, device=support.x.device)), n_out)


def _unstacked(network: TaskNetwork, lead: int) -> list[TaskNetwork]:
    """The networks of E stacked tasks."""
    if not lead:
        return [network]
    tasks = len(next(iter(network.parameters.values())))

    def statistics(e: int) -> Tensors:
        return {name: value[e] if value.dim() > 1 else value for name, value in network.statistics.items()}

    return [TaskNetwork({name: value[e] for name, value in network.parameters.items()}, statistics(e)) for e in range(tasks)]


@contextmanager
def first_order(learner: GradientLearner, on: bool = True) -> Iterator[None]:
    """Gradients of the inner steps are constants inside the block (MAML++'s annealing of the derivative's order)."""
    before = learner.second_order
    learner.second_order = before and not on
    try:
        yield
    finally:
        learner.second_order = before
