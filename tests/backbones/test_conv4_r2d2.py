"""Conv4-R2D2: the two published arrangements, layer by layer, and the papers' numbers of features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.backbones.conv4_r2d2 import Conv4R2D2, conv4_r2d2_lee
from modicum.errors import ConfigError


@pytest.mark.parametrize(("size", "original", "lee"), [(28, 3584, 3968), (32, 8064, 8192), (84, 72576, 51200)])
def test_the_papers_numbers_of_features(size: int, original: int, lee: int):
    """72,576 / 8,064 / 3,584 tell the authors' arrangement from the later one, whose pools all halve."""
    assert (Conv4R2D2(3).n_features(size), conv4_r2d2_lee(3).n_features(size)) == (original, lee)


def reference(model: Conv4R2D2, x: Tensor, original: bool) -> Tensor:
    """Written out, in evaluation mode: activations before the pools, where both orders agree."""
    blocks = [model.block1, model.block2, model.block3, model.block4]
    maps = [x]
    for number, block in enumerate(blocks, 1):
        norm = block.norm
        y = F.conv2d(maps[-1], block.conv.weight, padding=1)
        y = (y - norm.running_mean.view(-1, 1, 1)) / (norm.running_var.view(-1, 1, 1) + norm.eps).sqrt()
        y = y * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        if number < 4 or original:
            y = torch.where(y > 0, y, 0.1 * y)
        maps.append(F.max_pool2d(y, 2, 1 if number == 4 and original else 2))
    third = F.max_pool2d(maps[3], 2, 1) if original else maps[3]
    return torch.cat((third.flatten(1), maps[4].flatten(1)), 1)


@pytest.mark.parametrize("original", [True, False])
def test_each_arrangement_against_its_definition(original: bool):
    model = (Conv4R2D2(1) if original else conv4_r2d2_lee(1)).double().eval()
    x = torch.rand(2, 1, 36, 36, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), reference(model, x, original), rtol=1e-10, atol=1e-12)


def test_only_the_later_arrangement_leaves_the_last_block_without_activation():
    x = torch.rand(8, 3, 32, 32)
    lowest = {}
    for model in (Conv4R2D2(3, dropout=(0.0, 0.0)), conv4_r2d2_lee(3).eval()):
        torch.nn.init.constant_(model.block4.norm.bias, -30.0)
        last = model(x)[:, -512:]
        lowest[model.original] = last.max().item()
    assert lowest[True] > -4
    assert lowest[False] < -20


def test_dropout_only_in_training_and_at_its_rate():
    torch.manual_seed(0)
    model = Conv4R2D2(3, dropout=(0.0, 0.5))
    x = torch.rand(8, 3, 32, 32)
    fourth = model.train()(x)[:, -512 * 9 :]
    assert (fourth == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(model.eval()(x), model(x))
    with pytest.raises(ConfigError, match=r"dropout: expected rates in \[0, 1\), found \(0.1, 1.0\)"):
        Conv4R2D2(3, dropout=(0.1, 1.0))
    with pytest.raises(ConfigError, match="arrangement: expected 'bertinetto' or 'lee', found 'snell'"):
        Conv4R2D2(3, "snell")  # type: ignore[arg-type]
