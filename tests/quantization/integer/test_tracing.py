"""Programs: the same numbers as the module, whatever its Python does; what cannot be recorded is named."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modicum.errors import ConfigError
from modicum.quantization.integer.tracing import trace


class Written(nn.Module):
    """A module made of a function."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


def everything(m, x):
    x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    x = m.conv(x)
    unused = m.conv(x[:, :3])  # nobody reads it
    y = F.relu(m.norm(x).clone(), inplace=True)
    for _ in range(y.shape[-1] // 4):
        y = y + 0.5
    y = F.leaky_relu(y - 1, 0.2) * 2 / 3
    first, second = y.chunk(2, 1)
    y = torch.cat([second, first], 1)
    y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
    y = F.max_pool2d(y, 2, ceil_mode=True) + F.avg_pool2d(y, 2, ceil_mode=True)
    y = y.reshape(len(y), 2, -1, *y.shape[2:]).transpose(1, 2).flatten(1, 2)
    y = F.hardtanh(y, -1, 3) + torch.sigmoid(y) * y.mean((2, 3), keepdim=True)
    return F.adaptive_avg_pool2d(y, 1).flatten(1), unused


def test_a_program_computes_what_the_module_does():
    torch.manual_seed(0)
    module = Written(lambda m, x: everything(m, x)[0], conv=nn.Conv2d(3, 4, 3, padding=1), norm=nn.BatchNorm2d(4)).eval()
    program = trace(module, (3, 16, 16))
    for pictures in (1, 2, 5):
        x = torch.rand(pictures, 3, 16, 16)
        with torch.no_grad():
            assert torch.allclose(program(x), module(x), rtol=1e-6, atol=1e-6)  # means add in the order of memory
    names = [node.op for node in program.nodes]
    assert names.count("layer") == 2  # the unused convolution is gone
    assert names.count("permute") == 1  # of channels, in their shuffle; moves in memory are no operations
    assert [node.where for node in program.nodes if node.op == "layer"] == ["conv", "norm"]


def test_an_operation_in_place_on_a_value_that_is_read_again_is_refused():
    def overwrites(m, x):
        x = m.conv(x)
        view = x.permute(0, 2, 3, 1)
        x.relu_()
        return view.flatten(1)

    with pytest.raises(ConfigError, match=r"'relu' .* overwrites a value that is read again"):
        trace(Written(overwrites, conv=nn.Conv2d(1, 1, 1)), (1, 4, 4))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda m, x: torch.sort(m.conv(x).flatten(1))[0], "'sort'"),
        (lambda m, x: m.inner(m.conv(x)).flatten(1), "'exp', found in inner"),
        (lambda m, x: m.conv(x).flatten(1) - m.conv(x).flatten(1).mean(0), "'mean' in the network mixes the pictures"),
        (lambda m, x: m.conv(x).flatten(), "mixes the pictures"),
        (lambda m, x: torch.ones(len(x), 3), "does not depend on the pictures"),
        (lambda m, x: m.conv(x).flatten(1) * len(x), "depends on the batch"),
    ],
)
def test_what_cannot_be_recorded_is_named(function, words):
    module = Written(function, conv=nn.Conv2d(1, 1, 1), inner=Written(lambda m, x: torch.exp(x)))
    with pytest.raises(ConfigError, match=words):
        trace(module, (1, 4, 4))


def test_constants_beside_the_pictures_are_kept():
    torch.manual_seed(0)
    module = Written(lambda m, x: (3 - m.conv(x) * m.factor).flatten(1), conv=nn.Conv2d(1, 2, 1))
    module.register_buffer("factor", torch.randn(1, 2, 1, 1))
    x = torch.rand(3, 1, 4, 4)
    with torch.no_grad():
        assert torch.equal(trace(module, (1, 4, 4))(x), module(x))


def test_random_numbers_and_training_flags_are_left_alone():
    module = Written(lambda m, x: m.drop(m.conv(x)).flatten(1), conv=nn.Conv2d(1, 1, 1), drop=nn.Dropout(0.5)).train()
    before = torch.get_rng_state()
    trace(module, (1, 4, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(part.training and not part._forward_hooks for part in module.modules())
