"""Batch-norm modes: statistics by hand, nothing changes, who sees whom, gradients through the statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modicum.backbones.batch_norm import (
    batch_statistics,
    copy_buffers,
    forward_batch,
    forward_frozen,
    forward_training,
    mean_buffers,
    normalise,
    support_buffers,
)
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.errors import ConfigError


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def norm(channels: int) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(channels, eps=1e-12, momentum=0.25).double()
    return layer


def test_training_by_hand():
    """Values 1, 3, 5, 7: mean 4, biased variance 5, unbiased 20/3; out (v - 4)/sqrt 5; buffers move by a quarter."""
    layer = norm(1).eval()
    before = copy_buffers(layer)
    features, after = forward_training(layer, torch.tensor([[1.0], [3.0], [5.0], [7.0]], dtype=torch.float64), before)
    torch.testing.assert_close(features[:, 0], torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64) / 5**0.5)
    assert after["running_mean"].item() == pytest.approx(0.25 * 4)
    assert after["running_var"].item() == pytest.approx(0.75 * 1 + 0.25 * 20 / 3)
    assert after["num_batches_tracked"].item() == 1
    assert before["running_mean"].item() == 0
    assert before["running_var"].item() == 1
    assert before["num_batches_tracked"].item() == 0
    assert layer.running_mean.item() == 0
    assert layer.running_var.item() == 1
    assert layer.training is False


def test_support_by_hand():
    """Support 1, 3, 5, 7 gives mean 4, BIASED variance 5: query 9 becomes 5/sqrt 5; unbiased it would be 5/sqrt(20/3)."""
    layer = norm(1)
    features, buffers = support_buffers(layer, torch.tensor([[1.0], [3.0], [5.0], [7.0]], dtype=torch.float64))
    assert (buffers["running_mean"].item(), buffers["running_var"].item()) == (4.0, 5.0)
    torch.testing.assert_close(features[:, 0], torch.tensor([-3.0, -1.0, 1.0, 3.0], dtype=torch.float64) / 5**0.5)
    query = forward_frozen(layer, torch.tensor([[9.0]], dtype=torch.float64), buffers)
    assert query.item() == pytest.approx(5**0.5)
    assert layer.running_mean.item() == 0
    assert layer.running_var.item() == 1
    assert layer.num_batches_tracked.item() == 0


def test_statistics_run_over_pictures_and_pixels():
    x = torch.randn(4, 3, 5, 2, dtype=torch.float64)
    mean, variance = batch_statistics(x)
    for channel in range(3):
        values = [v for picture in x for row in picture[channel] for v in row.tolist()]
        centre = sum(values) / 40
        assert mean[channel].item() == pytest.approx(centre)
        assert variance[channel].item() == pytest.approx(sum((v - centre) ** 2 for v in values) / 40)


def test_mean_of_buffers_by_hand():
    buffers = [
        {"mean": torch.tensor([0.0, 2.0]), "count": torch.tensor(3)},
        {"mean": torch.tensor([1.0, 4.0]), "count": torch.tensor(4)},
    ]
    merged = mean_buffers(buffers)
    assert merged["mean"].tolist() == [0.5, 3.0]
    assert merged["count"].item() == 4
    with pytest.raises(ConfigError, match="at least one"):
        mean_buffers([])


def networks() -> dict[str, nn.Module]:
    return {
        "conv4-32": build_encoder("conv4-32", ImageSpec(16, 3)),
        "timm/test_resnet": build_encoder("timm/test_resnet", ImageSpec(32, 3)),
        "linear": nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6), nn.BatchNorm1d(6), nn.ReLU(inplace=True)),
    }


@pytest.mark.parametrize("name", sorted(networks()))
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_no_mode_changes_the_module(name: str, training: bool, gradients: bool):
    module = networks()[name].train(training)
    part = next(part for part in module.modules() if not list(part.children()))
    part.training = not training  # a part that is frozen on purpose stays so
    before, flags = snapshot(module), [part.training for part in module.modules()]
    x = torch.rand(4, 3, 32, 32)
    with torch.set_grad_enabled(gradients):
        start = copy_buffers(module)
        kept = {key: value.clone() for key, value in start.items()}
        _, after = forward_training(module, x, start)
        _, buffers = support_buffers(module, x)
        forward_frozen(module, x, buffers)
        forward_batch(module, x)
    assert all(torch.equal(start[key], kept[key]) for key in kept)
    assert not torch.equal(
        torch.cat([v.flatten() for k, v in after.items() if "running" in k]),
        torch.cat([v.flatten() for k, v in start.items() if "running" in k]),
    )
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert [part.training for part in module.modules()] == flags


def test_training_flags_come_back_after_an_error():
    module = build_encoder("conv4-32", ImageSpec(16, 3)).train()
    with pytest.raises(ConfigError):
        forward_frozen(module, torch.rand(1, 3, 8, 8), copy_buffers(module))
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize("name", sorted(networks()))
@pytest.mark.parametrize("gradients", [True, False])
def test_frozen_support_statistics_reproduce_the_support_features_to_the_bit(name: str, gradients: bool):
    module = networks()[name]
    x = torch.rand(5, 3, 32, 32)
    with torch.set_grad_enabled(gradients):
        features, buffers = support_buffers(module, x)
        assert torch.equal(forward_frozen(module, x, buffers), features)
        normal, _ = forward_training(module, x, copy_buffers(module))
    torch.testing.assert_close(features, normal, rtol=1e-3, atol=1e-4)  # torch's own batch normalisation


@pytest.mark.parametrize("name", sorted(networks()))
def test_who_sees_whom(name: str):
    """Frozen: a query's features do not depend on the others; batch: they do."""
    module = networks()[name].double()
    support, query = torch.rand(5, 3, 32, 32, dtype=torch.float64), torch.rand(4, 3, 32, 32, dtype=torch.float64)
    other = query.clone()
    other[1:] = torch.rand_like(other[1:])
    _, buffers = support_buffers(module, support)
    for frozen in (buffers, copy_buffers(module)):
        alone = forward_frozen(module, query[:1], frozen)
        torch.testing.assert_close(forward_frozen(module, query, frozen)[:1], alone)
        torch.testing.assert_close(forward_frozen(module, other, frozen)[:1], alone)
    assert (forward_batch(module, query)[0] - forward_batch(module, other)[0]).abs().max() > 1e-3


def test_batch_mode_equals_training_without_dropout():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).double()
    x = torch.rand(4, 3, 6, 6, dtype=torch.float64)
    expected = nn.Sequential(module[0], nn.BatchNorm2d(4).double())(x)
    torch.testing.assert_close(forward_batch(module, x), expected)
    assert (forward_training(module, x, copy_buffers(module))[0] == 0).double().mean() > 0.3


def test_the_differentiable_form_is_torchs():
    x, weight, bias = (
        torch.randn(3, 4, 5, dtype=torch.float64),
        torch.randn(4, dtype=torch.float64),
        torch.randn(4, dtype=torch.float64),
    )
    mean, variance = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    expected = nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, 1e-3)
    torch.testing.assert_close(normalise(x, mean, variance, weight, bias, 1e-3), expected)
    plain = nn.functional.batch_norm(x, mean, variance, None, None, False, 0.0, 1e-3)
    torch.testing.assert_close(normalise(x, mean, variance, None, None, 1e-3), plain)


def test_gradients_flow_through_frozen_statistics():
    """d/dw of a query under support statistics, against finite differences: the statistics move with the weights too."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2)).double()
    support, query = torch.rand(3, 1, 4, 4, dtype=torch.float64), torch.rand(2, 1, 4, 4, dtype=torch.float64)
    pull = torch.randn(2, 2, 2, 2, dtype=torch.float64)
    weight = module[0].weight

    def objective() -> torch.Tensor:
        _, buffers = support_buffers(module, support)
        return (forward_frozen(module, query, buffers) * pull).sum()

    (gradient,) = torch.autograd.grad(objective(), weight)
    step, index = 1e-6, (1, 0, 2, 0)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[index] += sign * step
        values.append(objective().item())
        with torch.no_grad():
            weight[index] -= sign * step
    assert gradient[index].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: support_buffers(module, x)[0], support.requires_grad_())


def test_statistics_of_bfloat16_are_taken_in_float32():
    """Under autocast: 256 values around 1000 that differ by 1; bfloat16 sums would lose them."""
    module = nn.Sequential(nn.BatchNorm1d(1))
    x = (1000 + torch.arange(256) % 2 * 8.0).reshape(256, 1).bfloat16()
    _, buffers = support_buffers(module, x)
    assert (buffers["0.running_mean"].item(), buffers["0.running_var"].item()) == (1004.0, 16.0)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.norm(x) + 1)


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.Sequential(Twice()), torch.rand(3, 2), "'0.norm' runs twice"),
        (nn.Sequential(nn.BatchNorm1d(2)), torch.rand(1, 2), "one value per channel at layer '0'"),
        (nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)), torch.rand(3, 2), "keeps no running statistics"),
    ],
)
def test_statistics_that_cannot_be_frozen_are_refused(module: nn.Module, x: torch.Tensor, message: str):
    with pytest.raises(ConfigError, match=message):
        support_buffers(module, x)
