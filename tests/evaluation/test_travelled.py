"""Distance travelled while adapting: by hand, and of real adaptation against the definition."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.episodes.types import LabelledSet
from modicum.errors import DataError
from modicum.evaluation.travelled import distance_arrays, distances


def test_two_tasks_by_hand() -> None:
    """Rows (3,4) and (0,2): one task moves the first by (0,5), the other both, by (4,3) and (2,0). Biases do not count."""
    before = {"weight": torch.tensor([[3.0, 4.0], [0.0, 2.0]]), "bias": torch.zeros(2)}
    moves = torch.tensor([[[0.0, 5.0], [0.0, 0.0]], [[4.0, 3.0], [2.0, 0.0]]])
    found = distances(before, [{"weight": before["weight"] + move, "bias": torch.ones(2)} for move in moves])
    assert found.whole.tolist() == pytest.approx([1, np.sqrt(2)])
    assert found.names == ("weight",)


def test_distances_of_adapted_networks_are_those_of_their_parameters() -> None:
    """Squares of layers add up; no step no distance; more steps on the same task go further at first."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    moves = tuple(name for name, _ in model.named_parameters())
    support = LabelledSet(torch.randn(5, 6, 4, dtype=torch.float64), (torch.arange(6) % 3).expand(5, 6))
    theta = dict(model.named_parameters())
    far = []
    for steps in (1, 4):
        learner = GradientLearner(model, SharedStart(), PlainRule(0.05), moves, 3, steps=steps)
        after = [network.parameters for network in learner.adapt(support, 3).networks]
        found = distances(theta, after)
        for task, whole in zip(after, found.whole, strict=True):
            rows = [
                (a - b).norm() / b.norm() for n in ("0.weight", "2.weight") for a, b in zip(task[n], theta[n], strict=True)
            ]
            assert whole == pytest.approx(float(torch.stack(rows).detach().square().sum().sqrt()), rel=1e-12)
        assert np.sqrt((found.layers**2).sum(1)) == pytest.approx(found.whole)
        far.append(found.whole)
    assert (far[1] > far[0]).all()
    assert distances(theta, [theta]).whole.tolist() == [0]


def test_a_last_layer_of_another_size_is_left_out_and_nothing_is_refused() -> None:
    before = {"body": torch.eye(2), "head": torch.ones(5, 2)}
    after = {"body": 2 * torch.eye(2), "head": torch.ones(3, 2)}
    found = distances(before, [after])
    assert (found.names, found.whole.tolist()) == (("body",), pytest.approx([np.sqrt(2)]))
    with pytest.raises(DataError, match="one adapted task at least"):
        distances(before, [])
    with pytest.raises(DataError, match="none has filters"):
        distances({"head": torch.ones(5, 2)}, [after])


def test_arrays_go_through_an_npz_without_pickle() -> None:
    before = {"weight": torch.eye(3)}
    found = distances(before, [{"weight": torch.eye(3) * factor} for factor in (1.0, 2.0)])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **distance_arrays(found, 5))  # type: ignore[arg-type]
    held = np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False)
    assert sorted(held) == ["distance_5shot", "distance_5shot_layers", "distance_layers"]
    assert held["distance_5shot"].tolist() == pytest.approx([0, np.sqrt(3)])
    assert held["distance_layers"].tolist() == ["weight"]
