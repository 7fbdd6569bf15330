"""Integer networks against the training-time simulation, sum for sum and feature for feature."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from random_networks import converted, give_steps, randomise
from torch import nn

from modicum.configs.low_bit import LowBit
from modicum.errors import ConfigError, DataError
from modicum.quantization.conversion import convert
from modicum.quantization.integer.network import IntegerNetwork
from modicum.quantization.kernels import kernels, using
from modicum.quantization.layers import (
    BUFFER,
    FLOAT,
    WARM_UP,
    low_bit_layers,
    set_carry,
    set_stage,
    simulate_carries,
    watching,
)

BINARY8 = LowBit()


def simulated(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor], float]:
    """Features, sums m of every layer, and the largest share of sums that overflow."""
    with torch.no_grad(), watching(penalties=False, sums=True, statistics=True) as watch:
        features = module(x)
    rates = [float(record.overflow) for record in watch.records if record.overflow is not None]
    return features, {record.name: record.sums for record in watch.records}, max(rates, default=0.0)


def assert_agrees(module: nn.Module, network: IntegerNetwork, pictures: int = 3) -> float:
    """Asserts that all sums and all features are the same to the bit; the largest overflow."""
    torch.manual_seed(7)
    x = torch.rand(pictures, *network.steps.shape)
    features, sums, overflow = simulated(module, x)
    found = network.integers(x)
    assert found.keys() == sums.keys()
    assert [name for name in sums if not torch.equal(sums[name], found[name])] == []
    assert torch.equal(network(x), features)
    return overflow


def of(module: nn.Module, size: int = 32, channels: int = 3) -> IntegerNetwork:
    return IntegerNetwork.from_module(module, (channels, size, size))


@pytest.mark.parametrize(
    ("name", "size", "channels", "form"),
    [
        ("conv4-64", 28, 1, BINARY8),
        ("conv4-64", 28, 1, LowBit("ternary", 12)),
        ("conv4-48", 28, 3, LowBit("binary", 8, "absolute")),  # leaky ReLU: codes with signs
        ("vgg7-16", 32, 3, BINARY8),
        ("vgg7-16", 32, 3, LowBit("3", 8, "relu", ends="8")),
        ("vgg7-16", 32, 3, LowBit("binary", 8, relu=False)),
        ("resnet20-8", 32, 3, BINARY8),
        ("resnet20-8", 32, 3, LowBit("ternary", 8, "smooth", 4)),
        ("resnet20-8", 32, 3, LowBit("binary", None)),
        ("resnet20-8", 32, 3, LowBit("4", 16, "modulo", ends="8")),
        ("resnet20-8", 32, 3, LowBit("binary", 8, "none")),
        ("resnet20-8", 32, 3, LowBit("binary", 8, slope=2.3)),
        ("resnet29", 16, 3, BINARY8),
        ("conv4-r2d2", 32, 3, BINARY8),
        ("torchvision/shufflenet_v2_x0_5", 32, 3, BINARY8),  # groups, slices, permuted channels
        ("timm/mobilenetv3_small_050", 32, 3, LowBit("ternary", 8)),  # squeeze and excitation, hard swish
    ],
)
def test_sums_and_features_are_those_of_training(name, size, channels, form):
    module = converted(name, size, channels, form)
    assert_agrees(module, of(module, size, channels))


@pytest.mark.parametrize("top", [1, 3, 255])
def test_all_widths_of_codes(top):
    module = converted("vgg7-16", 32, 3, BINARY8, top=top)
    overflow = assert_agrees(module, of(module))
    assert top < 255 or overflow > 0.8  # most sums wrap, many times over


def test_densely_connected_blocks():
    from modicum.backbones.densenet import DenseNet

    torch.manual_seed(0)
    module = DenseNet(3, layers=2)
    randomise(module)
    convert(module, BINARY8, torch.zeros(1, 3, 16, 16))
    give_steps(module.eval(), torch.rand(2, 3, 16, 16), 15)
    network = of(module, 16)
    assert_agrees(module, network)
    assert [row.output for row in network.report()].count("codes") >= 6  # the 1x1 convolutions


@pytest.mark.parametrize("pool_first", [False, True])
def test_an_activation_that_turns_values_around_stays_where_it_is(pool_first):
    """Maxima of a leaky ReLU of negative slope are not that of the maxima, nor do its codes rise with the sum."""
    for seed in range(3):
        torch.manual_seed(seed)
        between = [nn.MaxPool2d(2), nn.LeakyReLU(-0.5)][:: 1 if pool_first else -1]
        first, second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3)
        module = nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), first, nn.BatchNorm2d(8), *between, second, nn.Flatten())
        randomise(module)
        convert(module, BINARY8, torch.zeros(1, 2, 8, 8))
        give_steps(module.eval(), torch.rand(2, 2, 8, 8), 15)
        network = IntegerNetwork.from_module(module, (2, 8, 8))
        assert_agrees(module, network)
        assert network.report()[0].output == "numbers"


def test_random_layers():
    """A layer of every stride, padding, dilation, group and width, behind a float one."""
    generator, rates = torch.Generator().manual_seed(1), []

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    for trial in range(40):
        torch.manual_seed(trial)
        groups, kernel = draw(1, 3), (draw(1, 3), draw(1, 3))
        inner, outer = groups * draw(1, 7), groups * draw(1, 9)
        options = {"stride": (draw(1, 3), draw(1, 2)), "padding": (draw(0, 2), draw(0, 2)), "dilation": draw(1, 2)}
        module = nn.Sequential(
            nn.Conv2d(2, inner, 1),
            nn.ReLU() if trial % 3 else nn.Identity(),
            nn.Conv2d(inner, outer, kernel, groups=groups, bias=trial % 2 == 0, **options),
            nn.BatchNorm2d(outer),
            nn.Flatten(),
        )
        randomise(module)
        weights = ("binary", "ternary", "3", "4", "5")[trial % 5]
        form = LowBit(weights, (4, 6, 8, 12, 16, None)[trial % 6], ("smooth", "absolute", "relu", "modulo")[trial % 4])
        convert(module, form, torch.zeros(1, 2, 9, 8))
        give_steps(module.eval(), torch.rand(2, 2, 9, 8), (1, 7, 100, 255)[trial % 4])
        rates.append(assert_agrees(module, IntegerNetwork.from_module(module, (2, 9, 8))))
    assert sum(rate > 0.3 for rate in rates) >= 8  # as much overflow as that, in layers of 4 to 8 bits
    assert max(rates) > 0.9


def test_every_kernel_gives_the_same_features():
    module = converted("vgg7-16", 32, 3, LowBit("binary", 8, ends="8"))
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        wanted = module(x)
    for name in kernels():
        if name.startswith("swar-carry"):
            continue  # lets carries through: other sums on purpose
        with using(name):
            network = of(module)
        assert torch.equal(network(x), wanted), name
        ran = {row.kernel for row in network.report()}
        assert name in ran or all(row.slower for row in network.report()), (name, ran)


def test_threads_change_nothing():
    module = converted("vgg7-16", 32, 3)
    x = torch.rand(2, 3, 32, 32)
    alone = of(module)
    assert torch.equal(IntegerNetwork(alone.steps, threads=3)(x), alone(x))


def test_carries_that_are_let_through_are_counted():
    module = converted("vgg7-16", 32, 3, LowBit("ternary", 8))
    before = simulated(module, torch.rand(1, 3, 32, 32))[1]
    torch.manual_seed(3)
    simulate_carries(module, torch.rand(4, 3, 32, 32))
    network = of(module)
    assert_agrees(module, network)
    torch.manual_seed(0)
    assert any(not torch.equal(network.integers(torch.rand(1, 3, 32, 32))[name], before[name]) for name in before)
    assert {row.kernel for row in network.report()} == {"reference"}


def test_a_buffer_bit_takes_one_bit_away():
    module = converted("vgg7-16", 32, 3)
    set_carry(module, BUFFER)
    network = of(module)
    assert_agrees(module, network)
    assert {row.bits for row in network.report()} == {7}
    assert max(int(m.max()) for m in network.integers(torch.rand(1, 3, 32, 32)).values()) <= 63


def test_layers_kept_in_float_stay_float():
    module = converted("vgg7-16", 32, 3)
    name = list(low_bit_layers(module))[2]
    set_stage(module, FLOAT, [name])
    network = of(module)
    assert_agrees(module, network)
    assert name not in {row.name for row in network.report()}


def test_what_is_folded_and_what_is_not():
    rows = {row.name: row for row in of(converted("resnet20-8", 32, 3)).report()}
    first, second = rows["stages.0.0.conv1"], rows["stages.0.0.conv2"]
    assert (first.output, first.unfolded) == ("codes", "")
    assert second.output == "numbers"  # a shortcut is added to it
    assert first.bytes == 8 * 8 * 9 // 8
    rows = of(converted("conv4-64", 28, 1), 28, 1).report()
    assert [row.output for row in rows] == ["codes", "codes", "numbers"]


def test_logits_of_an_output_layer():
    module = converted("conv4-64", 28, 1)
    weight, bias = torch.randn(5, 64), torch.randn(5)
    network = IntegerNetwork.from_module(module, (1, 28, 28), head={"weight": weight, "bias": bias})
    x = torch.rand(3, 1, 28, 28)
    assert torch.equal(network.logits(x), nn.functional.linear(network(x), weight, bias))
    with pytest.raises(ConfigError, match="without an output layer"):
        of(module, 28, 1).logits(x)


def test_a_network_that_is_not_finished_is_refused():
    module = converted("conv4-64", 28, 1)
    set_stage(module, WARM_UP)
    with pytest.raises(ConfigError, match=r"3 of 3 low-bit layers.*'blocks.1.conv'; finish the training"):
        of(module, 28, 1)
    with pytest.raises(ConfigError, match="no low-bit layers"):
        of(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten()), 28, 1)


def test_pictures_of_another_size_are_refused():
    network = of(converted("conv4-64", 28, 1), 28, 1)
    with pytest.raises(DataError, match=r"expected pictures \(B, 1, 28, 28\), found \(1, 1, 32, 32\)"):
        network(torch.rand(1, 1, 32, 32))


def test_what_is_no_tensor_of_float_pictures_is_refused():
    """uint8 above all: pictures as they are would be taken for prepared ones, without a word."""
    network = of(converted("conv4-64", 28, 1), 28, 1)
    x = torch.rand(2, 1, 28, 28)
    for wrong, said in ((x.byte(), "torch.uint8"), (x.to(torch.complex64), "torch.complex64"), (x.numpy(), "ndarray")):
        with pytest.raises(DataError, match=f"expected a tensor of float pictures, .* found {said}"):
            network(wrong)
    assert torch.equal(network(x.double()), network(x))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None])
def test_numbers_of_threads_that_are_none_are_refused(threads, tmp_path):
    """In the option's own words, for the file is not at fault."""
    network = of(converted("conv4-64", 28, 1), 28, 1)
    with pytest.raises(ConfigError, match=r"^threads: expected a whole number, 1 or more, found"):
        IntegerNetwork.load(network.save(tmp_path / "a.network"), threads=threads)
    with pytest.raises(ConfigError, match=r"^threads: "):
        IntegerNetwork(network.steps, threads=threads)
    assert IntegerNetwork(network.steps, threads=np.int64(2)).threads == 2


@pytest.mark.parametrize("again", [lambda n: pickle.loads(pickle.dumps(n)), copy.deepcopy, copy.copy])
def test_a_network_goes_to_other_processes(again):
    module = converted("conv4-64", 28, 1)
    network = IntegerNetwork.from_module(module, (1, 28, 28), about={"of": "digits"}, threads=2).eval()
    found, x = again(network), torch.rand(2, 1, 28, 28)
    assert (found.threads, found.about, found.training) == (2, network.about, False)
    assert torch.equal(found(x), network(x))


def test_the_module_is_left_as_it_was():
    module = converted("conv4-64", 28, 1).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    of(module, 28, 1)
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
