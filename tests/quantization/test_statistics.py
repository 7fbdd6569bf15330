"""What layers do on pictures, against sums that are counted product by product."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modicum.configs.low_bit import LowBit
from modicum.quantization.carries import count_carries
from modicum.quantization.conversion import convert
from modicum.quantization.layers import BUFFER, CODES, FLOAT, low_bit_layers, set_carry, set_stage
from modicum.quantization.statistics import BINS, layer_statistics


def network(form: LowBit) -> nn.Module:
    """A float layer, a low-bit convolution with padding and a stride, a low-bit linear layer."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),
        nn.Linear(6 * 2 * 2, 5),
    )  # fmt: skip
    convert(module, form, torch.zeros(1, 1, 6, 6))
    for name, layer in low_bit_layers(module).items():
        layer.set_codes(0.02 if name == "2" else 0.1, 63, False)
    set_stage(module, CODES)
    return module.eval()


def products(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Summands (n, O, H', W', taps) of the convolution, by unfolding."""
    layer = low_bit_layers(module)["2"]
    with torch.no_grad():
        codes = layer.codes(module[1](module[0](x)))
        taps = nn.functional.unfold(codes, 3, padding=1, stride=2).transpose(1, 2)  # (n, places, taps)
        weights = layer.low_bit_weights().integers.flatten(1)
        return (taps[:, None] * weights[None, :, None]).reshape(len(x), 6, 2, 2, -1)


@pytest.mark.parametrize(
    ("form", "bits"), [(LowBit(accumulator=6), 6), (LowBit("ternary", 7), 7), (LowBit(accumulator=None), 5)]
)
def test_overflow_penalty_carries_and_histogram_of_every_sum(form: LowBit, bits: int):
    module, x = network(form), torch.rand(70, 1, 6, 6)
    row = layer_statistics(module, [x[:50], x[50:]], bits=5)[1]
    v = products(module, x)
    z, half = v.sum(-1), 2 ** (bits - 1)
    assert row.bits_asked == bits
    assert row.overflow == pytest.approx(float(((z < -half) | (z >= half)).float().mean()))
    assert row.penalty == pytest.approx(float((z.abs() - half).clamp(min=0).mean()), rel=1e-5)
    carries = count_carries(v, bits).double()
    assert row.carry_mean == pytest.approx(float(carries.mean()))
    assert row.carry_deviation == pytest.approx(float(carries.std(0, correction=0).mean()))
    edges = torch.linspace(-(2**bits), 2**bits, BINS + 1)
    inside = z.clamp(-(2**bits), 2**bits - 1e-3)
    assert row.histogram == tuple(torch.histogram(inside.flatten(), edges).hist.long().tolist())
    assert 0 < row.overflow < 1


def test_rows_say_what_layers_are_in_order_of_execution():
    rows = layer_statistics(network(LowBit(accumulator=6)), [torch.rand(3, 1, 6, 6)])
    assert [(row.name, row.kind, row.shape, row.outputs, row.macs) for row in rows] == [
        ("0", "Conv2d", (4, 1, 3, 3), 64, 64 * 9),
        ("2", "Conv2d", (6, 4, 3, 3), 24, 24 * 36),
        ("6", "Linear", (5, 24), 5, 5 * 24),
    ]
    assert [(row.weights, row.fan_in) for row in rows] == [(36, 9), (216, 36), (120, 24)]
    assert [(row.stage, row.weight_bits, row.bits, row.activation_bits) for row in rows] == [
        (None, None, None, None), (CODES, 1, 6, 6), (CODES, 1, 6, 6),
    ]  # fmt: skip
    assert (rows[0].overflow, rows[0].histogram, rows[1].signed) == (None, None, False)


def test_a_buffer_bit_a_layer_in_float_and_one_before_codes():
    module, x = network(LowBit(accumulator=6)), torch.rand(4, 1, 6, 6)
    set_carry(module, BUFFER, ["2"])
    assert [row.bits for row in layer_statistics(module, [x])] == [None, 5, 6]
    set_stage(module, FLOAT, ["2"])
    set_stage(module, 1, ["6"])
    rows = layer_statistics(module, [x])
    assert [(row.stage, row.overflow) for row in rows] == [(None, None), (None, None), (1, None)]


def test_three_bit_weights_have_no_carries_and_nothing_is_left_behind():
    module, x = network(LowBit("3", 8)), torch.rand(4, 1, 6, 6)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    row = layer_statistics(module, [x])[1]
    assert (row.carry_mean, row.carry_deviation, row.weight_bits) == (None, None, 3)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())
    assert layer_statistics(module, []) == []
