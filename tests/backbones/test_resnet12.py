"""ResNet-12: both variants' numbers, the block against its definition, DropBlock by loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modicum.backbones.resnet12 import ResidualBlock, ResNet12, drop_block, drop_rate_at, resnet12_alfa, resnet12_metaoptnet


def test_the_papers_numbers():
    lee, alfa = resnet12_metaoptnet(3), resnet12_alfa(3)
    assert (lee.n_features(84), lee.n_features(32)) == (16_000, 2_560)
    assert (alfa.n_features(84), alfa.n_features(32)) == (512, 512)
    assert (
        sum(p.numel() for p in lee.parameters()) == 12_424_320
    )  # convolutions and batch norms of the widths 64-160-320-640
    assert sum(p.numel() for p in alfa.parameters()) == 7_996_800


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_a_block_is_its_definition(slope: float):
    """Activation before the pool, as in the papers, against the module's faster order."""
    block = ResidualBlock(3, 4, slope).double()
    x = torch.randn(5, 3, 9, 8, dtype=torch.float64)

    def norm(y: torch.Tensor) -> torch.Tensor:
        axes = (0, 2, 3)
        return (y - y.mean(axes, keepdim=True)) / (y.var(axes, correction=0, keepdim=True) + 1e-5).sqrt()

    out = x
    for index, conv in enumerate(block.convs):
        out = norm(F.conv2d(out, conv.weight, padding=1))
        if index < 2:
            out = F.leaky_relu(out, slope)
    out = F.leaky_relu(out + norm(F.conv2d(x, block.skip.weight)), slope)
    torch.testing.assert_close(block(x), F.max_pool2d(out, 2), rtol=1e-10, atol=1e-10)


def test_drop_block_by_loops():
    """Every seed blanks the block below and right of it; what is left is scaled by numel / kept."""
    x = torch.rand(2, 3, 7, 6, dtype=torch.float64) + 1
    rate, b = 0.3, 3
    draws = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(7))
    gamma = rate / 9 * (7 * 6) / (5 * 4)
    mask = torch.ones_like(x)
    for n, c, i, j in (draws < gamma).nonzero().tolist():
        mask[n, c, i : i + b, j : j + b] = 0
    assert 0 < mask.sum() < mask.numel()
    expected = x * mask * mask.numel() / mask.sum()
    torch.testing.assert_close(drop_block(x, rate, b, torch.Generator().manual_seed(7)), expected)


def test_drop_block_blanks_about_its_rate_and_keeps_the_mean():
    x = torch.ones(64, 64, 10, 10)
    out = drop_block(x, 0.1, 5, torch.Generator().manual_seed(0))
    assert (out == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert out.mean().item() == pytest.approx(1.0, abs=1e-5)


def test_blocks_larger_than_the_map_are_cut():
    out = drop_block(torch.ones(200, 1, 2, 2), 0.25, 5, torch.Generator().manual_seed(0))
    kept = out.flatten(1).ne(0).sum(1)
    assert set(kept.tolist()) == {0, 4}  # the whole map goes or stays


def test_dropping_is_seeded_off_in_evaluation_and_follows_the_rate():
    model = ResNet12(1, (2, 2, 3, 3), drop_rate=0.5, initialise=torch.nn.init.xavier_uniform_)
    x = torch.rand(4, 1, 32, 32)

    def trained(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model.train()(x)

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))
    assert torch.equal(model.eval()(x), model(x))
    model.drop_rate = model.block_rate = 0.0
    assert torch.equal(trained(1), trained(2))


def test_the_published_schedule():
    assert [drop_rate_at(step) for step in (0, 20_000, 40_000, 90_000)] == [0.0, 0.05, 0.1, 0.1]
