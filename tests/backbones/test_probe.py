"""The probe: which modules can be run without changing, and who is named where they cannot."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.backbones.probe import probe
from modicum.errors import ConfigError


class Counting(nn.Module):
    """Adds what it has counted to its input; each subclass counts in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
        self.calls = 0
        self.history: list[float] = []
        self.table = {"last": torch.zeros(1)}
        self.generator = torch.Generator()

    def forward(self, x: Tensor) -> Tensor:
        self.count(x)
        return x + self.seen


class PlainAttribute(Counting):
    def count(self, x: Tensor) -> None:
        self.calls += 1


class HiddenList(Counting):
    def count(self, x: Tensor) -> None:
        self.history.append(x.mean().item())


class HiddenTensor(Counting):
    def count(self, x: Tensor) -> None:
        self.table["last"] += 1


class OwnGenerator(Counting):
    def count(self, x: Tensor) -> None:
        torch.rand(1, generator=self.generator)


class NewAttribute(Counting):
    def count(self, x: Tensor) -> None:
        self.first = x.sum().item()


class WritesWhenFrozen(Counting):
    def count(self, x: Tensor) -> None:
        self.seen += 1


class WritesInTraining(Counting):
    def count(self, x: Tensor) -> None:
        if self.training:
            self.seen += 1


class ReplacesInTraining(Counting):
    def count(self, x: Tensor) -> None:
        if self.training:
            self.seen = self.seen + 1


@pytest.mark.parametrize(
    ("part", "attribute", "mode"),
    [
        (PlainAttribute(), "calls", "training"),
        (HiddenList(), "history", "training"),
        (HiddenTensor(), "table", "training"),
        (OwnGenerator(), "generator", "training"),
        (NewAttribute(), "first", "training"),
        (WritesWhenFrozen(), "seen", "evaluation"),
    ],
)
def test_a_module_that_changes_is_refused_by_name_and_left_alone(part: Counting, attribute: str, mode: str):
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(part))
    before = copy.deepcopy(part)
    with pytest.raises(ConfigError, match=f"submodule '1.0' changes '{attribute}' when it runs in {mode}"):
        probe(module, torch.rand(3, 2))
    assert (part.calls, part.history, part.seen.item()) == (before.calls, before.history, before.seen.item())
    assert "first" not in vars(part)


@pytest.mark.parametrize("part", [WritesInTraining(), ReplacesInTraining(), nn.Dropout(0.5), nn.BatchNorm1d(2)])
def test_what_functional_call_contains_passes(part: nn.Module):
    probe(nn.Sequential(nn.Linear(2, 2), part), torch.rand(3, 2))


@pytest.mark.parametrize("name", ["conv4-64", "conv4-r2d2", "timm/test_resnet", "torchvision/mobilenet_v3_small"])
def test_backbones_pass_and_random_numbers_go_on_as_before(name: str):
    encoder = build_encoder(name, ImageSpec(32, 3))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    probe(encoder, torch.rand(2, 3, 32, 32, generator=torch.Generator()))
    assert torch.equal(torch.rand(3), expected)


def test_batch_norm_without_statistics_is_named():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(ConfigError, match="batch norm '1' keeps no running statistics"):
        probe(module, torch.rand(3, 2))
