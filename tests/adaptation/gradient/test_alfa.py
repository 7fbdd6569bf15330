"""ALFA: its equations, the paper's form and the released one mapped onto each other, and every option."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.gradient.alfa import ALFARule, alfa_step, generator, learning_state
from modicum.adaptation.gradient.alfa_update import updated
from modicum.adaptation.gradient.l2f import AttenuatedStart
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import meta_gradients
from modicum.adaptation.gradient.methods import moving
from modicum.adaptation.gradient.rules import AbstractRule, PlainRule
from modicum.adaptation.gradient.starts import AbstractStart, SharedStart
from modicum.configs import Strategy
from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError

from .small import ALFA_OPTIONS, shaken

STEPS, RATE, DECAY = 3, 0.01, 5e-4


def tensors(*lead: int) -> dict[str, Tensor]:
    """Three tensors of different sizes, so N = 3."""
    shapes = {"conv": (2, 3, 3, 3), "weight": (4, 5), "bias": (4,)}
    return {name: torch.randn(*lead, *shape, dtype=torch.float64) for name, shape in shapes.items()}


def rule(**options: Any) -> ALFARule:
    return ALFARule(tensors(), STEPS, RATE, **options).double()


def numbers(of: ALFARule, step: int, theta: dict[str, Tensor], g: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """alpha and beta as they multiply, measured: the update is linear in theta and g taken one at a time."""
    record = of(step, theta, g, 0).record
    return record["alpha"], record["beta"]


def test_state_is_gradients_then_parameters() -> None:
    theta = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[4.0]])}
    g = {"a": torch.tensor([-1.0, 0.0]), "b": torch.tensor([[7.0]])}
    assert learning_state(theta, g, 0).tolist() == [-0.5, 7.0, 2.0, 4.0]
    assert learning_state(theta, g, 0, "weights").tolist() == [2.0, 4.0]
    assert learning_state(theta, g, 0, "gradients").tolist() == [-0.5, 7.0]


def test_equation_4_by_hand() -> None:
    """beta theta - alpha g: 0.5 (2, 4) - 0.125 (8, -8) = (0, 3)."""
    theta, g = {"w": torch.tensor([2.0, 4.0])}, {"w": torch.tensor([8.0, -8.0])}
    assert alfa_step(theta, g, torch.tensor([0.125]), {"w": torch.tensor(0.5)}, 0)["w"].tolist() == [0, 3]


def test_the_update_as_one_operation_equals_tensor_by_tensor_with_its_derivatives() -> None:
    theta, g = tensors(), tensors()
    alpha, beta = torch.rand(2, 3, dtype=torch.float64).unbind()
    assert updated(theta, g, torch.tensor([0.1, 0.2, 0.3]), torch.ones(3)).keys() == theta.keys()
    inputs = [alpha, beta, *theta.values(), *g.values()]
    asked = [value.requires_grad_() for value in inputs]

    def one(alpha: Tensor, beta: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            updated(dict(zip(theta, parts[:3], strict=True)), dict(zip(g, parts[3:], strict=True)), alpha, beta).values()
        )

    plain = alfa_step(theta, g, alpha, dict(zip(theta, beta.unbind(), strict=True)), 0)
    for ours, theirs in zip(one(*inputs), plain.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(one, asked)
    assert torch.autograd.gradgradcheck(one, asked)
    for frozen in range(2):  # multipliers that are not trained, and tensors that carry no gradient
        some = [value.detach().requires_grad_((place < 2) == bool(frozen)) for place, value in enumerate(inputs)]
        assert torch.autograd.gradcheck(one, some)


@pytest.mark.parametrize(("layers", "factor"), [(3, 12), (2, 8)])
def test_size_of_the_generator(layers: int, factor: int) -> None:
    """12 N^2 weights as in the paper, 8 N^2 as released; S N multipliers of either kind."""
    own = rule(layers=layers)
    linear = [part for part in own.generator if isinstance(part, nn.Linear)]
    assert sum(part.weight.numel() for part in linear) == factor * 3**2
    assert own.rates.numel() == own.decays.numel() == STEPS * 3


def test_starts_of_the_multipliers() -> None:
    assert rule().rates.unique().item() == pytest.approx(RATE)
    assert rule().decays.unique().item() == pytest.approx(DECAY * RATE)
    assert rule(beta="direct").decays.unique().item() == pytest.approx(1 - DECAY * RATE)
    random = rule(random_start=True)
    assert random.decays.unique().item() == 1
    assert [tuple(own.shape) for own in random.own] == [tuple(value.shape) for value in tensors().values()]
    assert torch.cat([own.flatten() for own in random.own]).unique().item() == pytest.approx(5e-6)


@pytest.mark.parametrize("random_start", [True, False])
def test_direct_reading_starts_at_the_beta_of_equation_3(random_start: bool) -> None:
    """beta = 1 - alpha lambda; an ordinary draw would give one near 0."""
    own = rule(beta="direct", random_start=random_start)
    _, beta = numbers(own, 0, tensors(), tensors())
    assert torch.allclose(beta, torch.full((3,), 1 - RATE * DECAY, dtype=torch.float64), atol=1e-8)


def released_step(table: ALFARule, network: nn.Sequential, step: int, theta: dict[str, Tensor], g: dict[str, Tensor]) -> Any:
    """The released update, written out: tau = [theta, g], two layers, (1 - b1 b0) theta - a1 a0 g."""
    tau = torch.stack([value.mean() for value in (*theta.values(), *g.values())])
    first, last = (part for part in network if isinstance(part, nn.Linear))
    made = last.weight @ (first.weight @ tau + first.bias).relu() + last.bias
    a1, b1 = made[:3], made[3:]
    return [
        (1 - b1[i] * table.decays[step, i]) * theta[name] - a1[i] * table.rates[step, i] * g[name]
        for i, name in enumerate(theta)
    ]


def paper_from_released(table: ALFARule, network: nn.Sequential) -> ALFARule:
    """The paper's form with the same updates: equation (7) as printed, three layers, tau = [g, theta].

    The middle layer is the identity, for what it gets is not negative. b1 of the paper is 1 - b0 b1 of the release, which
    the last layer can hold where b0 is the same at all steps; its own b0 is 1.
    """
    mine = rule(layers=3, beta="direct")
    first, last = (part for part in network if isinstance(part, nn.Linear))
    one, two, three = (part for part in mine.generator if isinstance(part, nn.Linear))
    with torch.no_grad():
        mine.rates.copy_(table.rates)
        mine.decays.fill_(1)
        one.weight.copy_(torch.cat([first.weight[:, 3:], first.weight[:, :3]], 1))
        one.bias.copy_(first.bias)
        two.weight.copy_(torch.eye(6))
        two.bias.zero_()
        three.weight.copy_(last.weight)
        three.bias.copy_(last.bias)
        b0 = table.decays[0]
        three.weight[3:] = -b0[:, None] * last.weight[3:]
        three.bias[3:] = 1 - b0 * last.bias[3:]
    return mine


def released_from_paper(mine: ALFARule) -> tuple[ALFARule, nn.Sequential]:
    """Back: multipliers and a two-layer network, from a paper's form whose middle layer is the identity."""
    table = rule(layers=2)
    network = generator(6, 6, 6, 2).double()
    first, last = (part for part in network if isinstance(part, nn.Linear))
    one, _, three = (part for part in mine.generator if isinstance(part, nn.Linear))
    with torch.no_grad():
        table.rates.copy_(mine.rates)
        table.decays.fill_(0.25)  # any number but 0: what it holds the network does not
        first.weight.copy_(torch.cat([one.weight[:, 3:], one.weight[:, :3]], 1))
        first.bias.copy_(one.bias)
        last.weight.copy_(three.weight)
        last.bias.copy_(three.bias)
        last.weight[3:] = -three.weight[3:] / 0.25
        last.bias[3:] = (1 - three.bias[3:]) / 0.25
    return table, network


def test_the_papers_form_and_the_released_one_map_onto_each_other() -> None:
    table = rule(layers=2)
    shaken(table)
    with torch.no_grad():
        table.decays.copy_(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64).expand(STEPS, 3))
    network = copy.deepcopy(table.generator)
    mine = paper_from_released(table, network)
    back_table, back_network = released_from_paper(mine)
    for step in range(STEPS):
        theta, g = tensors(), tensors()
        expected = released_step(table, network, step, theta, g)
        ours = mine(step, theta, g, 0).parameters
        back = released_step(back_table, back_network, step, theta, g)
        for i, name in enumerate(theta):
            torch.testing.assert_close(ours[name], expected[i])
            torch.testing.assert_close(back[i], expected[i])


def test_our_released_reading_is_the_released_update() -> None:
    """layers 2, one-minus: only the order of the state differs, a permutation of the first layer's columns."""
    mine = rule(layers=2)
    shaken(mine)
    network = copy.deepcopy(mine.generator)
    first = network[0]
    first.weight.data = torch.cat([first.weight[:, 3:], first.weight[:, :3]], 1)
    theta, g = tensors(), tensors()
    for i, value in enumerate(mine(1, theta, g, 0).parameters.values()):
        torch.testing.assert_close(value, released_step(mine, network, 1, theta, g)[i])


@pytest.mark.parametrize("name", ALFA_OPTIONS)
def test_stacked_tasks_equal_single_ones_in_every_transform(name: str) -> None:
    mine = rule(**ALFA_OPTIONS[name])
    shaken(mine)
    theta, g = tensors(4), tensors(4)
    together = mine(1, theta, g, 1)
    mapped, record = torch.func.vmap(lambda t, d: tuple(mine(1, t, d, 0)))(theta, g)
    for e in range(4):
        alone = mine(1, {k: v[e] for k, v in theta.items()}, {k: v[e] for k, v in g.items()}, 0)
        for key, value in alone.parameters.items():
            torch.testing.assert_close(together.parameters[key][e], value)
            torch.testing.assert_close(mapped[key][e], value)
        for key, value in alone.record.items():
            torch.testing.assert_close(together.record[key][e], value)
            torch.testing.assert_close(record[key][e], value)


@pytest.mark.parametrize("name", ALFA_OPTIONS)
def test_the_record_is_what_multiplies(name: str) -> None:
    """Means over each tensor of d new / d theta and of -d new / d g, with alpha and beta held fixed."""
    options = ALFA_OPTIONS[name]
    mine = rule(**options)
    shaken(mine)
    theta, g = tensors(), tensors()
    update = mine(2, theta, g, 0)
    alpha, factor = mine.multipliers(2, theta, g, 0)
    for i, key in enumerate(theta):
        own = mine.own[i] if options.get("random_start") else 1.0
        if options.get("beta") == "direct":
            beta = (1 - own) * factor[i] if options.get("random_start") else factor[i]
        else:
            beta = 1 - own * factor[i]
        torch.testing.assert_close(update.parameters[key], beta * theta[key] - alpha[i] * g[key])
        mean = torch.as_tensor(beta, dtype=torch.float64).mean()
        torch.testing.assert_close(update.record["beta"][i], mean.detach())
        torch.testing.assert_close(update.record["alpha"][i], alpha[i].detach())
    assert not any(value.requires_grad for value in update.record.values())


@pytest.mark.parametrize(("per", "shape"), [("step-layer", (3, 3)), ("step", (3, 1)), ("layer", (1, 3)), ("none", (1, 1))])
def test_which_multipliers_differ(per: Any, shape: tuple[int, int]) -> None:
    """Table 6: without "layer" one number serves all tensors, without "step" one row all steps."""
    mine = rule(per=per, alpha="learned")
    shaken(mine)
    assert mine.rates.shape == mine.decays.shape == shape
    theta, g = tensors(), tensors()
    rows = [numbers(mine, step, theta, g) for step in range(STEPS)]
    for kind in (0, 1):
        values = torch.stack([row[kind] for row in rows])
        assert (values[:, 0] != values[:, 1]).all() == ("layer" in per)
        assert (values[0] != values[1]).all() == ("step" in per)


def test_learned_is_a_constant_and_fixed_is_not_trained() -> None:
    """Table 6: "learned" does not look at the task; "fixed" has no gradient either."""
    mine = rule(alpha="learned", decay="fixed")
    assert mine.generator is None
    assert (mine.rates.requires_grad, mine.decays.requires_grad) == (True, False)
    several = [numbers(mine, 0, tensors(), tensors()) for _ in range(2)]
    assert torch.equal(several[0][0], several[1][0])
    assert several[0][1].unique().item() == pytest.approx(1 - RATE * DECAY)
    assert rule(alpha="fixed").generator[-1].out_features == 3


def test_fixed_without_decay_is_maml() -> None:
    """alpha constant and beta = 1."""
    mine, plain = rule(alpha="fixed", decay="fixed", weight_decay=0.0), PlainRule(RATE)
    theta, g = tensors(), tensors()
    for name, value in plain(0, theta, g, 0).parameters.items():
        torch.testing.assert_close(mine(0, theta, g, 0).parameters[name], value, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("state", "width"), [("both", 6), ("weights", 3), ("gradients", 3)])
def test_half_a_state_ignores_the_other(state: Any, width: int) -> None:
    """Table 5."""
    mine = rule(state=state)
    shaken(mine)
    assert mine.generator[0].in_features == width
    theta, g = tensors(), tensors()
    before = numbers(mine, 0, theta, g)[0]
    assert torch.equal(before, numbers(mine, 0, tensors(), g)[0]) is (state == "gradients")
    assert torch.equal(before, numbers(mine, 0, theta, tensors())[0]) is (state == "weights")


def test_detached_state_passes_gradients_through_weights_only() -> None:
    for detach in (True, False):
        mine = rule(detach=detach)
        theta = {name: value.requires_grad_() for name, value in tensors().items()}
        g = {name: value.requires_grad_() for name, value in tensors().items()}
        alpha, _ = mine.multipliers(0, theta, g, 0)
        found = torch.autograd.grad(alpha.sum(), [theta["bias"], g["bias"]], allow_unused=True)
        assert found[0].abs().min() > 0
        assert (found[1] is None) is detach


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({}, False),
        ({"detach": False}, True),
        ({"detach": False, "state": "weights"}, False),
        ({"detach": False, "alpha": "learned", "decay": "fixed"}, False),
    ],
)
def test_what_needs_second_order(options: dict[str, Any], needed: bool) -> None:
    assert rule(**options).needs_second_order is needed


def test_steps_beyond_the_trained_ones_are_the_last() -> None:
    mine = rule()
    shaken(mine)
    theta, g = tensors(), tensors()
    late, last = mine(7, theta, g, 0), mine(STEPS - 1, theta, g, 0)
    assert all(torch.equal(late.parameters[key], last.parameters[key]) for key in theta)


@pytest.mark.parametrize("options", [{}, {"detach": False}, {"beta": "direct"}, {"layers": 2}, {"random_start": True}])
def test_gradients_of_the_generator(options: dict[str, Any]) -> None:
    """gradcheck and gradgradcheck, of the update in theta, g and every learned number."""
    mine = rule(**options)
    shaken(mine, 0.5)
    names = [name for name, _ in mine.named_parameters()]
    theta, g = tensors(), tensors()

    def update(weight: Tensor, bias: Tensor, d: Tensor, *learned: Tensor) -> tuple[Tensor, ...]:
        given = {**theta, "weight": weight, "bias": bias}
        own = dict(zip(names, learned, strict=True))
        out = torch.func.functional_call(mine, own, (0, given, {**g, "weight": d}, 0))
        return tuple(out.parameters.values())

    inputs = [value.detach().clone().requires_grad_() for value in (theta["weight"], theta["bias"], g["weight"])]
    learned = [value.detach().clone().requires_grad_() for value in mine.parameters()]
    if options.get("detach", True):
        inputs[2].requires_grad_(False)  # a detached state has no derivative in g that differences could find
    assert torch.autograd.gradcheck(update, (*inputs, *learned), fast_mode=True)
    assert torch.autograd.gradgradcheck(update, (*inputs, *learned), fast_mode=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "alfa_layers"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"weight_decay": float("nan")}, "0 or more"),
    ],
)
def test_bad_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule(**options)
    with pytest.raises(ConfigError, match="inner_rate"):
        ALFARule(tensors(), STEPS, 0.0)


RELEASED: dict[str, tuple[dict[str, Any], bool, list[float]]] = {
    "maml": ({"alfa": False}, True, [1.05464123168, 3.45423174759]),
    "maml+l2f": ({"alfa": False, "l2f": True}, True, [1.20113442778, 2.81253521006, 0.46821677917]),
    "alfa+maml": ({}, True, [1.27373402473, 5.13659965386, 4.2487925584, 0.457923598762, 1.26054471113]),
    "alfa+maml, first order": ({}, False, [1.27373402473, 3.7064596831, 3.83248061812, 0.436141018881, 1.27737318367]),
    "alfa+random": (
        {"random": True}, True, [1.27373402473, 5.13659965386, 4.2487925584, 0.0137377079629, 1.26054471113, 1.94542002802],
    ),
    "alfa+maml+l2f": (
        {"l2f": True}, True, [1.08268538765, 1.89352464103, 2.27396269617, 0.211534892638, 0.41767005829, 0.813380751747],
    ),
}  # fmt: skip
"""(parts, second order, numbers) of the released code (github.com/baiksung/ALFA at 25cd381) in float64 on the tasks below.

Outer loss, then norms of the meta-gradients of: network, rates, decays, generator, own decays, attenuator, where there.
"""


class ReleasedNetwork(nn.Module):
    """The released 4-CONV with 2 filters: convolutions have biases, so N = 10."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(1 if i == 0 else 2, 2, 3, padding=1) for i in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(2) for _ in range(4))
        self.linear = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.max_pool2d(F.leaky_relu(norm(convolution(x))), 2)
        out: Tensor = self.linear(x.flatten(1))
        return out


class Waves:
    """Parameters without a random generator: number k of a model is a sine wave of its own."""

    def __init__(self) -> None:
        self.k = 0

    def fill(self, parameter: nn.Parameter, scale: float, offset: float = 0.0) -> None:
        places = torch.arange(parameter.numel(), dtype=torch.float64)
        parameter.data = (offset + scale * torch.sin(1.7 * places + 0.9 * self.k)).reshape(parameter.shape)
        self.k += 1


def released_learner(alfa: bool, random: bool, l2f: bool, second_order: bool, strategy: Strategy) -> GradientLearner:
    waves, network = Waves(), ReleasedNetwork().double()
    for convolution, norm in zip(network.convolutions, network.norms, strict=True):
        for parameter, scale, offset in (
            (convolution.weight, 0.5, 0), (convolution.bias, 0.1, 0), (norm.weight, 0.2, 1), (norm.bias, 0.2, 0),
        ):  # fmt: skip
            waves.fill(parameter, scale, offset)
    waves.fill(network.linear.weight, 0.5)
    waves.fill(network.linear.bias, 0.5)
    names = moving(network, "all")
    own = {name: value.detach() for name, value in network.named_parameters() if name in names}
    mine: AbstractRule = PlainRule(0.1)
    if alfa:
        mine = ALFARule(own, 3, 0.1, weight_decay=0.3, layers=2, random_start=random).double()
        mine.rates.data.fill_(0.1)  # again, for they were made in float32
        mine.decays.data.fill_(1 if random else 0.03)
        for value in mine.own:
            value.data.fill_(0.03)
        for parameter in mine.generator.parameters():
            waves.fill(parameter, 0.4)
        first = mine.generator[0].weight
        first.data = torch.cat([first[:, 10:], first[:, :10]], 1)  # the released state is [theta, g]
    start: AbstractStart = AttenuatedStart(own).double() if l2f else SharedStart()
    for parameter in start.parameters():
        waves.fill(parameter, 0.9)
    return GradientLearner(
        network, start, mine, names, 3, steps=3, second_order=second_order, batch_norm="batch", strategy=strategy
    )


@pytest.mark.parametrize("strategy", ["loop", "grouped"])
@pytest.mark.parametrize("name", RELEASED)
def test_numbers_of_the_released_code(name: str, strategy: Strategy) -> None:
    parts, second_order, expected = RELEASED[name]
    learner = released_learner(
        parts.get("alfa", True), parts.get("random", False), parts.get("l2f", False), second_order, strategy
    )
    places = torch.arange(2 * 6 * 256, dtype=torch.float64) ** 1.1
    x, query_x = (
        (wave * 0.5 + 0.5).reshape(2, 6, 1, 16, 16) for wave in (torch.sin(0.37 * places), torch.cos(0.53 * places))
    )
    y = torch.arange(3).repeat_interleave(2).expand(2, -1)
    outcome = meta_gradients(learner, Episode(LabelledSet(x, y), LabelledSet(query_x, y), 3))
    mine, start = learner.rule, learner.start
    groups = [list(learner.model.parameters())]
    if isinstance(mine, ALFARule):
        groups += [[mine.rates], [mine.decays], list(mine.generator.parameters()), list(mine.own), list(start.parameters())]
    else:
        groups += [list(start.parameters())]
    norms = [float(torch.stack([p.grad.square().sum() for p in group]).sum().sqrt()) for group in groups if group]
    assert [float(outcome.losses.mean()), *norms] == pytest.approx(expected, rel=1e-9)
