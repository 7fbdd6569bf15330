"""GradientLearner: the promises of a learner, and how it refuses what it cannot do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.inner_loop import inner_loop
from modicum.adaptation.gradient.learner import GradientLearner, first_order
from modicum.adaptation.gradient.meta import meta_gradients
from modicum.adaptation.gradient.methods import moving
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.backbones.probe import probe
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError, TrainingError

from .small import STEPS, E, K, N, curves, make, pictures

METHODS: dict[str, dict[str, Any]] = {
    "maml": {}, "fomaml": {"second_order": False}, "maml++": {"rule": "layer-step"}, "meta-sgd": {"rule": "parameter"},
    "anil": {"moves": "head"}, "boil": {"moves": "body"}, "proto-maml": {"start": "prototypes"},
    "l2f": {"start": "l2f"}, "alfa": {"rule": "alfa-both"}, "alfa-random": {"rule": "alfa-random"},
    "alfa-l2f": {"rule": "alfa-both", "start": "l2f"},
}  # fmt: skip
MODES = ("running", "support", "batch")


@pytest.fixture(params=METHODS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return METHODS[request.param]


@pytest.mark.parametrize("mode", MODES)
def test_adapt_changes_nothing_and_knows_its_support(options: dict[str, Any], mode: str) -> None:
    learner, _, _ = make(**options, batch_norm=mode)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    episode = pictures()
    adapted = learner.adapt(episode.support, N)
    adapted(episode.query.x)
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
    assert all(value.grad is None for value in learner.parameters())
    assert torch.equal(adapted.support_ids, episode.support.id)
    assert not any(value.requires_grad for network in adapted.networks for value in network.parameters.values())


@pytest.mark.parametrize("mode", MODES)
def test_adapted_outputs_equal_the_plain_loop(options: dict[str, Any], mode: str) -> None:
    """In the mode running, with the stored statistics of an untrained network, queries do not see each other."""
    learner, path, task = make(**options, batch_norm=mode)
    episode = pictures()
    if mode == "running":
        found = learner.adapt(episode.support, N)(episode.query.x)
        assert not torch.allclose(found, make_mode(learner, "support").adapt(episode.support, N)(episode.query.x))
        alone = torch.cat([learner.adapt(episode.support, N)(episode.query.x[:, i : i + 1]) for i in range(4)], 1)
        torch.testing.assert_close(found, alone)
        return
    outputs = learner.adapt(episode.support, N)(episode.query.x)
    for e in range(E):
        last, one = path(episode, e)[-1], task(episode, e)
        given = one.run(last, one.x, None)[2] if mode == "support" else None
        torch.testing.assert_close(outputs[e], one.run(last, one.query_x, given)[0].detach(), rtol=1e-9, atol=1e-9)


def make_mode(learner: GradientLearner, mode: str) -> GradientLearner:
    return GradientLearner(
        learner.model, learner.start, learner.rule, learner.moves, N, steps=STEPS, second_order=learner.second_order,
        batch_norm=mode,
    )  # fmt: skip


def test_support_order_does_not_matter(options: dict[str, Any]) -> None:
    learner, _, _ = make(**options)
    episode, order = pictures(), torch.randperm(N * K)
    shuffled = LabelledSet(episode.support.x[:, order], episode.support.y[:, order])
    found = [learner.adapt(support, N)(episode.query.x) for support in (episode.support, shuffled)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-10)


def test_batch_of_tasks_equals_the_loop(options: dict[str, Any]) -> None:
    """Any leading dimensions; stacked and one by one."""
    learner, _, _ = make(**options, strategy="grouped")
    episode = pictures()
    x, y = (value.reshape(1, E, *value.shape[1:]) for value in episode.support[:2])
    together = learner.adapt(LabelledSet(x, y), N)(episode.query.x.unsqueeze(0))[0]
    for e in range(E):
        alone = learner.adapt(LabelledSet(episode.support.x[e], episode.support.y[e]), N)(episode.query.x[e])
        torch.testing.assert_close(together[e], alone, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("start", "equivariant"), [("prototypes", True), ("shared", False)])
def test_renaming_labels_renames_logits_of_prototypes(start: str, equivariant: bool) -> None:
    """The others have a last layer whose rows were learned, so a class is not any class."""
    learner, _, _ = make(start=start)
    episode, new = pictures(), torch.tensor([1, 0])
    found = learner.adapt(episode.support, N)(episode.query.x)
    renamed = learner.adapt(episode.support._replace(y=new[episode.support.y]), N)(episode.query.x)
    assert torch.allclose(renamed[..., new], found, atol=1e-10) is equivariant


@pytest.mark.parametrize("mode", MODES)
def test_other_queries_change_a_query_only_where_transductive(mode: str) -> None:
    learner, _, _ = make(rule="alfa-both", batch_norm=mode)
    episode = pictures()
    adapted = learner.adapt(episode.support, N)
    some = adapted(episode.query.x[:, :2])
    assert learner.traits.transductive is (mode == "batch")
    assert torch.allclose(some, adapted(episode.query.x)[:, :2], atol=1e-10) is not learner.traits.transductive


def test_padding_is_as_if_absent() -> None:
    learner, _, _ = make(strategy="grouped")
    episode = pictures()
    keep = torch.ones(E, N * K, dtype=torch.bool)
    keep[0, -1] = keep[1, 0] = False
    masked = learner.adapt(episode.support._replace(mask=keep), N)(episode.query.x)
    for e in range(E):
        bare = LabelledSet(episode.support.x[e][keep[e]], episode.support.y[e][keep[e]])
        torch.testing.assert_close(masked[e], learner.adapt(bare, N)(episode.query.x[e]), rtol=1e-9, atol=1e-10)


def test_absent_ways_get_no_probability_and_no_gradient() -> None:
    learner, _, _ = make(start="prototypes")
    episode = pictures(ways=3)
    present = torch.tensor([True, True, False]).expand(E, -1)
    keep = present.gather(1, episode.support.y)
    logits = learner.adapt(episode.support._replace(mask=keep), 3, present)(episode.query.x)
    assert (logits[..., 2] == float("-inf")).all()
    for e in range(E):
        bare = LabelledSet(episode.support.x[e][keep[e]], episode.support.y[e][keep[e]])
        alone = learner.adapt(bare, 2)(episode.query.x[e])
        torch.testing.assert_close(logits[e, :, :2], alone, rtol=1e-9, atol=1e-9)


def test_prototypes_take_any_number_of_ways() -> None:
    learner, _, _ = make(start="prototypes")
    episode = pictures(ways=4)
    assert learner.traits.any_n_out
    assert learner.adapt(episode.support, 4)(episode.query.x).shape == (E, 4, 4)


def test_other_numbers_of_ways_are_refused() -> None:
    learner, _, _ = make()
    with pytest.raises(ConfigError, match=r"n_out.*2 classes, found 3.*proto-maml"):
        learner.adapt(pictures(ways=3).support, 3)


def test_classes_without_pictures_are_refused() -> None:
    learner, _, _ = make()
    support = pictures().support
    with pytest.raises(DataError, match="class 1 has no picture"):
        learner.adapt(support._replace(y=torch.zeros_like(support.y)), N)


def test_test_steps_may_be_more() -> None:
    """As a loop of so many steps; with learned rates, the later ones go on with the last."""
    learner, _, _ = make("mlp", "layer-step")
    longer = GradientLearner(
        learner.model, learner.start, learner.rule, learner.moves, 1, steps=STEPS, test_steps=STEPS + 2,
        function=learner.function,
    )  # fmt: skip
    support = curves().support
    path = longer.adapt(support, 1, trace=True).paths[0][1]
    assert len(path.losses) == STEPS + 2
    direct = learner.adapt(support, 1).networks[0].parameters
    assert all(torch.equal(value[0], direct[name]) for name, value in path.parameters[STEPS].items())


def test_trace_keeps_the_path_of_every_task() -> None:
    learner, path, _ = make(rule="alfa-both", start="l2f")
    episode = pictures()
    traced = learner.adapt(episode.support, N, trace=True)
    assert learner.adapt(episode.support, N).paths == ()
    for e, (began, trajectory) in enumerate(traced.paths):
        expected = path(episode, e)
        assert began["gamma"].shape == (len(learner.moves),)
        assert trajectory.outputs[0]["alpha"].shape == (len(learner.moves),)
        for step, parameters in enumerate(trajectory.parameters):
            for name, value in parameters.items():
                torch.testing.assert_close(value, expected[step][name].detach(), rtol=1e-9, atol=1e-9)


def test_one_task_becomes_a_classifier_of_pictures() -> None:
    """`single`: an encoder and a linear layer that give the same logits without the meta-learner, in every mode."""
    for mode in MODES:
        learner, _, _ = make(rule="alfa-both", batch_norm=mode)
        episode = pictures()
        adapted = learner.adapt(episode.support, N)
        for e in range(E):
            torch.testing.assert_close(adapted.single(e)(episode.query.x[e]), adapted(episode.query.x)[e])


def test_first_order_inside_a_block_only() -> None:
    learner, _, _ = make()
    with first_order(learner):
        assert not learner.second_order
    with first_order(learner, on=False):
        assert learner.second_order
    assert learner.second_order


class Counting(nn.Module):
    """A backbone that counts its calls in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(256, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.layer(x.flatten(1))
        return out


def test_backbone_with_state_of_its_own_is_refused_by_name() -> None:
    network = LinearNetwork(Encoder(Counting(), ImageSpec(16, 1), 3, "counting", {}), N)
    with pytest.raises(ConfigError, match=r"'encoder.backbone' changes 'calls'"):
        probe(network, torch.rand(2, 1, 16, 16))


def test_diverging_inner_rate_names_step_and_tensor() -> None:
    learner, _, _ = make("mlp")
    wild = GradientLearner(learner.model, SharedStart(), PlainRule(1e80), learner.moves, 1, function=learner.function)
    with pytest.raises(TrainingError, match=r"inner step \d.*'layers\.\d\.(weight|bias)'.*inner_rate"):
        wild.adapt(curves().support, 1)


def test_divergence_in_the_last_step_is_told_too() -> None:
    """No loss comes after it that could show it."""
    learner, _, _ = make("mlp")
    wild = GradientLearner(
        learner.model, SharedStart(), PlainRule(1e308), learner.moves, 1, steps=1, function=learner.function
    )
    support = curves().support
    with pytest.raises(TrainingError, match=r"'layers\.\d\.(weight|bias)' is not finite after inner step 0.*inner_rate"):
        wild.adapt(support._replace(y=1e3 * support.y), 1)


def test_parameters_broken_before_are_not_the_inner_loops_fault() -> None:
    learner, _, _ = make("mlp")
    with torch.no_grad():
        learner.model.layers[1].bias[0] = float("nan")
    with pytest.raises(TrainingError, match=r"'layers.1.bias' is not finite before the first inner step.*learning_rate"):
        learner.adapt(curves().support, 1)


@pytest.mark.parametrize("strategy", ["loop", "grouped", "vmap"])
def test_dropout_is_off_without_batch_norm_too(strategy: str) -> None:
    like = make("mlp")[0]
    model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 1)).double().train()
    learner = GradientLearner(
        model, SharedStart(), PlainRule(), moving(model, "all"), 1, function=like.function, strategy=strategy
    )
    episode, losses = curves(), []
    for _ in range(2):
        losses.append(meta_gradients(learner, episode).losses)
    assert torch.equal(*losses)
    assert all(part.training for part in model.modules())


def test_a_network_that_ignores_a_parameter_is_refused_by_name() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.used(x)
            return out

    model, like = Partly().double(), make("mlp")[0]
    for strategy in ("loop", "grouped"):
        learner = GradientLearner(
            model, SharedStart(), PlainRule(), moving(model, "all"), 1, function=like.function, strategy=strategy
        )
        with pytest.raises(ConfigError, match=r"'idle\.weight' \(2 of 4"):
            learner.adapt(curves().support, 1)


def test_bad_settings_are_refused() -> None:
    learner, _, _ = make()
    parts = (learner.model, learner.start, learner.rule, learner.moves, N)
    with pytest.raises(ConfigError, match="inner_steps: expected at least 1"):
        GradientLearner(*parts, steps=0)
    with pytest.raises(ConfigError, match="test_steps: expected at least 1"):
        GradientLearner(*parts, test_steps=0)
    with pytest.raises(ConfigError, match="checkpoint_inner"):
        GradientLearner(*parts, checkpoint=True, strategy="vmap")
    with pytest.raises(ConfigError, match="expected items of tasks"):
        learner.adapt(pictures().support, N)(torch.rand(3, 4, 1, 16, 16).double())


def test_mixed_dtypes_are_refused() -> None:
    learner, _, _ = make()
    learner.model.linear.float()
    with pytest.raises(ConfigError, match="one dtype in the inner loop"):
        learner.adapt(pictures().support, N)


def test_inner_loop_in_pieces_is_the_whole() -> None:
    """Steps 0 to 2 at once, and one by one with `first`."""
    learner, _, _ = make("mlp", "layer-step")
    episode = curves()
    part = next(learner.parts(episode.support, None, 1))
    done = learner.adapted(part, training=True)
    theta = {name: value.expand(E, *value.shape) for name, value in learner.model.named_parameters()}
    for step in range(STEPS):
        theta = inner_loop(done.support.loss, theta, learner.rule, 1, learner.moves, lead=1, first=step).last
    assert all(torch.equal(value, done.trajectory.last[name]) for name, value in theta.items())
