"""Whole-network fine-tuning against a plain loop over a copy, and what it must leave alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.fine_tuning import FineTunedClassifier, FineTuningLearner, Start, first_layer
from modicum.adaptation.protonet import ProtoNetHead
from modicum.adaptation.saving import load_adapted, save_adapted
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.configs import BatchNorm
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError
from modicum.models import load_encoder, save_encoder

N, K, Q = 3, 2, 4
SPEC = ImageSpec(8, 1)


def tiny() -> Encoder:
    """One convolution with batch norm, 3 channels of 4 x 4 in float64, and stored statistics that are not (0, 1)."""
    layers = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
    encoder = Encoder(layers, SPEC, 48, "tiny", {}).double()
    layers[1].running_mean.normal_()
    layers[1].running_var.uniform_(0.5, 2)
    return encoder


def task(*lead: int) -> tuple[LabelledSet, Tensor]:
    y = torch.arange(N).repeat_interleave(K).expand(*lead, -1)
    return LabelledSet(torch.rand(*lead, N * K, 1, 8, 8).double(), y), torch.rand(*lead, Q, 1, 8, 8).double()


def plain_loop(encoder: Encoder, support: LabelledSet, query: Tensor, learner: FineTuningLearner) -> Tensor:
    """A copy of the module trained by torch.optim.SGD, in training mode of batch norm where statistics are the batch's."""
    network = copy.deepcopy(encoder).train(learner.batch_norm != "running")
    norm = network.backbone[1]
    with torch.no_grad():
        z = network(support.x)
        size = z.square().sum(-1).mean().sqrt()
        layer = nn.Linear(48, N).double()
        means = torch.stack([z[support.y == k].mean(0) / size for k in range(N)])
        means = means if learner.start == "means" else 0 * means
        layer.weight.copy_(2 * means)
        layer.bias.copy_(-means.square().sum(1))
    optimizer = torch.optim.SGD([*network.parameters(), *layer.parameters()], lr=learner.learning_rate)
    for _ in range(learner.steps):
        optimizer.zero_grad()
        F.cross_entropy(layer(network(support.x) / size), support.y).backward()
        optimizer.step()
    with torch.no_grad():
        if learner.batch_norm == "support":
            values = network.backbone[0](network.normalised(support.x)).transpose(0, 1).flatten(1)
            norm.running_mean.copy_(values.mean(1))
            norm.running_var.copy_(values.var(1, correction=0))
        if learner.batch_norm != "batch":
            network.eval()
        logits: Tensor = layer(network(query) / size)
    return logits


@pytest.mark.parametrize("start", ["means", "zero"])
@pytest.mark.parametrize("mode", ["running", "support", "batch"])
def test_equals_a_plain_loop_on_a_copy(mode: BatchNorm, start: Start) -> None:
    encoder, (support, query) = tiny(), task()
    learner = FineTuningLearner(encoder, steps=5, learning_rate=0.3, start=start, batch_norm=mode)
    found = learner.adapt(support, N)(query)
    expected = plain_loop(encoder, support, query, learner)
    assert (found - expected).abs().max() < 1e-9
    assert (found - FineTuningLearner(encoder, 0, start=start, batch_norm=mode).adapt(support, N)(query)).abs().max() > 1e-3


def test_without_steps_it_is_protonet_on_features_of_size_one() -> None:
    encoder, (support, query) = tiny(), task()
    found = FineTuningLearner(encoder, steps=0).adapt(support, N)(query)
    encoder.eval()
    with torch.no_grad():
        z, q = encoder(support.x), encoder(query)
    size = z.square().sum(-1).mean().sqrt()
    expected = ProtoNetHead().double().fit(LabelledSet(z / size, support.y), N)(q / size)
    assert torch.allclose(found.softmax(-1), expected.softmax(-1), atol=1e-12)
    assert FineTuningLearner(encoder, steps=0, start="zero").adapt(support, N)(query).abs().max() == 0


def test_first_layer_by_hand() -> None:
    """Means (1, 0) and (0, 4): w = (2, 0), (0, 8) and b = -1, -16; half of b would not rank as the distances do."""
    u = torch.tensor([[0.0, 0], [2, 0], [0, 3], [0, 5]])
    weight, bias = first_layer(u, F.one_hot(torch.tensor([0, 0, 1, 1])).float(), "means")
    assert weight.T.tolist() == [[2, 0], [0, 8]]
    assert bias.tolist() == [-1, -16]


@pytest.mark.parametrize("mode", ["running", "support", "batch"])
def test_a_batch_of_tasks_equals_the_loop_and_self_is_unchanged(mode: BatchNorm) -> None:
    learner = FineTuningLearner(tiny(), 3, 0.2, batch_norm=mode)
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    support, query = task(2, 2)
    with torch.no_grad():  # as `evaluate` calls it
        together = learner.adapt(support, N)(query)
    for i in range(4):
        place = divmod(i, 2)
        alone = learner.adapt(LabelledSet(support.x[place], support.y[place]), N)(query[place])
        assert torch.allclose(together[place], alone, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in learner.state_dict().items())
    assert learner.traits.transductive == (mode == "batch")
    assert not together.requires_grad
    assert all(p.grad is None for p in learner.parameters())


def test_padding_absent_ways_and_soft_labels() -> None:
    learner = FineTuningLearner(tiny(), 3, 0.2, batch_norm="support")
    support, query = task(1)
    logits = learner.adapt(support, N)(query)
    padded = LabelledSet(
        torch.cat([support.x, torch.rand(1, 1, 1, 8, 8).double()], 1),
        F.pad(support.y, (0, 1)),
        F.pad(support.y >= 0, (0, 1)),
    )
    assert torch.allclose(learner.adapt(padded, N)(query), logits, atol=1e-12)
    four = learner.adapt(support, 4, torch.tensor([[True, True, True, False]]))(query)
    assert torch.allclose(four[..., :3], logits, atol=1e-12)
    assert (four[..., 3] == float("-inf")).all()
    soft = support._replace(soft=F.one_hot(support.y, N).double())
    assert torch.allclose(learner.adapt(soft, N)(query), logits, atol=1e-12)


def test_support_order_and_names_of_labels_do_not_matter() -> None:
    learner = FineTuningLearner(tiny(), 3, 0.2)
    support, query = task()
    order, names = torch.randperm(N * K), torch.tensor([2, 0, 1])
    logits = learner.adapt(support, N)(query)
    assert torch.allclose(learner.adapt(LabelledSet(support.x[order], support.y[order]), N)(query), logits, atol=1e-12)
    assert torch.allclose(learner.adapt(support._replace(y=names[support.y]), N)(query)[:, names], logits, atol=1e-12)


@pytest.mark.parametrize("mode", ["running", "support", "batch"])
def test_one_task_is_saved_by_its_parts(mode: BatchNorm, tmp_path: Path) -> None:
    encoder = build_encoder("conv4-32", ImageSpec(16, 1))
    y = torch.arange(N).repeat_interleave(K).expand(2, -1)
    support = LabelledSet(torch.rand(2, N * K, 1, 16, 16), y, id=torch.arange(2 * N * K).reshape(2, -1))
    query = torch.rand(2, Q, 1, 16, 16)
    adapted = FineTuningLearner(encoder, 2, 0.05, batch_norm=mode).adapt(support, N)
    with pytest.raises(ConfigError, match="found FineTunedClassifier; save its parts"):
        save_adapted(adapted, tmp_path / "whole.safetensors")
    one = adapted.single(1)
    save_encoder(one.encoder, tmp_path / "encoder", "card")
    save_adapted(one.predictor, tmp_path / "layer.safetensors")
    layer = load_adapted(tmp_path / "layer.safetensors")
    assert layer.support_ids.tolist() == support.id[1].tolist()
    assert torch.allclose(one(query[1]), adapted(query)[1], atol=1e-5)
    if mode != "batch":
        with torch.no_grad():
            assert torch.allclose(layer(load_encoder(tmp_path / "encoder")(query[1])), adapted(query)[1], atol=1e-5)


def test_clear_errors() -> None:
    encoder, (support, query) = tiny(), task(2)
    for options, message in (
        ({"steps": -1}, "steps: expected at least 0, found -1"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
        ({"start": "random"}, "start: expected 'means' or 'zero'"),
    ):
        with pytest.raises(ConfigError, match=message):
            FineTuningLearner(encoder, **options)
    with pytest.raises(ConfigError, match=r"learning_rate: 1e\+200 is too high, the loss is nan at step"):
        FineTuningLearner(encoder, 5, 1e200).adapt(support, N)
    adapted = FineTuningLearner(encoder, 1).adapt(support, N)
    assert isinstance(adapted, FineTunedClassifier)
    with pytest.raises(ConfigError, match="expected pictures of 2 tasks, as the support had, found 1"):
        adapted(query[0])
    with pytest.raises(DataError, match="found NaN or infinity"):
        FineTuningLearner(encoder).adapt(support._replace(x=support.x / 0 * 0), N)
    with pytest.raises(DataError, match="class 3 has no picture"):
        FineTuningLearner(encoder).adapt(support, 4)
