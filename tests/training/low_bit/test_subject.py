"""Penalties on the loss of any objective, against sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from modicum.quantization.watching import Record, watching
from modicum.runtime import Ranks
from modicum.training.low_bit.beginning import put_weights
from modicum.training.low_bit.subject import LowBitObjective, Penalties, penalty_of
from modicum.training.objectives import Part


def record(name: str, penalty: float, variance: float | None = None) -> Record:
    return Record(name, torch.tensor(penalty), carry_variance=None if variance is None else torch.tensor(variance))


def test_penalties_are_summed_over_layers_and_averaged_over_passes():
    """Two layers, two passes: 0.1 (1 + 2 + 3 + 4) / 2 + 0.5 (10 + 20 + 30) / 2."""
    found = [record("a", 1, 10), record("b", 2, 20), record("a", 3, 30), record("b", 4)]
    assert float(penalty_of(found, Penalties(0.1, 0.5))) == pytest.approx(0.1 * 5 + 0.5 * 30)


def test_only_the_chosen_layers_carries_are_penalised():
    found = [record("a", 1, 10), record("b", 2, 20)]
    assert float(penalty_of(found, Penalties(0.0, 0.5, frozenset("b")))) == pytest.approx(10)
    assert penalty_of([], Penalties(1.0, 1.0)) == 0.0


class Toy:
    """An objective whose step runs a layer that somebody may watch."""

    note, optimizer = "toy", None

    def __init__(self, low_bit: nn.Module) -> None:
        self.module = self.encoder = low_bit
        self.x = torch.rand(3, 4)

    def part(self, step: int, here: Ranks) -> Part:
        out = self.module(self.x)
        return Part(out.sum(), torch.zeros(()), {}, 0.5)


@pytest.fixture
def low_bit() -> nn.Module:
    """A linear layer in float and one of 4 bits whose sums overflow."""
    from modicum.configs.low_bit import LowBit
    from modicum.quantization.conversion import convert
    from modicum.quantization.layers import CODES, low_bit_layers, set_stage

    module = nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.Linear(40, 6))
    convert(module, LowBit(accumulator=4), torch.zeros(1, 4))
    low_bit_layers(module)["2"].set_codes(0.01, 255, False)
    set_stage(module, CODES)
    return module


def test_a_part_has_its_share_of_the_penalty_and_its_gradient(low_bit: nn.Module):
    toy = Toy(low_bit)
    objective = LowBitObjective(toy, Penalties(0.25))  # type: ignore[arg-type]
    plain = toy.part(0, Ranks())
    with watching() as watch:
        toy.part(0, Ranks())
    assert float(watch.penalty.detach()) > 1
    part = objective.part(0, Ranks())
    assert float(part.loss.detach()) == pytest.approx(
        float(plain.loss.detach()) + 0.5 * 0.25 * float(watch.penalty.detach())
    )
    weight = low_bit[0].weight
    gradients = [torch.autograd.grad(each.loss, weight)[0] for each in (part, plain)]
    expected = torch.autograd.grad(watch.penalty, weight)[0]
    assert torch.allclose(gradients[0] - gradients[1], 0.125 * expected, atol=1e-4)
    assert expected.abs().sum() > 0


def test_without_penalties_nothing_is_watched(low_bit: nn.Module):
    toy = Toy(low_bit)
    part = LowBitObjective(toy, Penalties()).part(0, Ranks())  # type: ignore[arg-type]
    assert torch.equal(part.loss, toy.part(0, Ranks()).loss)


def test_float_weights_fit_low_bit_layers_and_nothing_else_does(low_bit: nn.Module):
    from modicum.errors import FileFormatError

    source = nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.Linear(40, 6))
    tensors = {f"learner.{name}": value for name, value in source.state_dict().items()}
    put_weights(low_bit, {**tensors, "optimizer.0.step": torch.ones(())}, Path("run"))
    assert torch.equal(low_bit[2].weight, source[2].weight)
    with pytest.raises(FileFormatError, match="do not fit"):
        put_weights(low_bit, {key: value for key, value in tensors.items() if "0.bias" not in key}, Path("run"))
    with pytest.raises(FileFormatError, match=r"such as '3.weight'"):
        put_weights(low_bit, {**tensors, "learner.3.weight": torch.ones(2)}, Path("run"))
    with pytest.raises(FileFormatError, match="do not fit"):
        put_weights(low_bit, {**tensors, "learner.0.weight": torch.ones(2)}, Path("run"))
