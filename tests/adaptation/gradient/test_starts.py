"""Starts: shared parameters as they are, and a last layer that is ProtoNet's."""

from __future__ import annotations

import torch
from torch import nn

from modicum.adaptation.gradient.networks import Passes
from modicum.adaptation.gradient.starts import PrototypeStart, SharedStart, prototype_layer
from modicum.adaptation.gradient.support import Data, TaskSupport, cross_entropy
from modicum.adaptation.protonet import ProtoNetHead
from modicum.episodes.types import LabelledSet

from .small import N, conv_network, pictures


def test_prototype_layer_by_hand() -> None:
    """Means (1, 0) and (0, 4): w = 2 c, b = -||c||^2; soft weights count by their share."""
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 5.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    weight, bias = prototype_layer(features, targets)
    assert weight.tolist() == [[2.0, 0.0], [0.0, 8.0]]
    assert bias.tolist() == [-1.0, -16.0]
    weight, _ = prototype_layer(features, torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert weight.tolist() == [[1.0, 0.0], [0.0, 6.0]]


def test_before_any_step_prototypes_classify_as_protonet() -> None:
    """Logits are ProtoNet's but for ||z||^2, the same for all classes; for one task and for stacked ones."""
    model, episode = conv_network(), pictures()
    targets = nn.functional.one_hot(episode.support.y, N).double()
    shared = dict(model.named_parameters())
    for e in range(2):
        task = TaskSupport(Passes(model), cross_entropy, Data(episode.support.x[e], targets[e]), "support")
        began = PrototypeStart()(shared, (), task).parameters
        features = task.features(shared)
        head = ProtoNetHead().double()
        expected = head.fit(LabelledSet(features, episode.support.y[e]), N)(features)
        logits = task.outputs(began, 0, task.data.x)
        torch.testing.assert_close(logits.log_softmax(-1), expected.log_softmax(-1))
    stacked = TaskSupport(Passes(model, 1), cross_entropy, Data(episode.support.x, targets), "support")
    spread = {name: value.expand(2, *value.shape) for name, value in shared.items()}
    both = PrototypeStart()(spread, (), stacked).parameters["linear.weight"]
    torch.testing.assert_close(both[1], began["linear.weight"])


def test_shared_start_is_theta() -> None:
    theta = {"w": torch.ones(2)}
    began = SharedStart()(theta, ("w",), None)  # type: ignore[arg-type]
    assert began.parameters["w"] is theta["w"]
    assert began.record == {}
