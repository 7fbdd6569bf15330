"""Low-bit layers against a slow loop over integers, their stages, carries, watching, and what they leave alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from modicum.configs.low_bit import Cyclic
from modicum.errors import ConfigError
from modicum.quantization.carries import count_carries
from modicum.quantization.cyclic import cyclic, wrap
from modicum.quantization.layers import (
    BUFFER,
    CODES,
    FLOAT,
    LET_THROUGH,
    WARM_UP,
    WEIGHTS,
    Arithmetic,
    LowBitConv2d,
    LowBitLayer,
    LowBitLinear,
    low_bit_layers,
    set_carry,
    set_stage,
    simulate_carries,
    watching,
)
from modicum.quantization.overflow import overflow_penalty, overflow_rate
from modicum.quantization.weights import Kind, low_bit_weights


def convolution(arithmetic: Arithmetic, stage: int = CODES, **form: Any) -> LowBitConv2d:
    made = LowBitConv2d.of(nn.Conv2d(4, 6, 3, **form), "conv", arithmetic)
    made.set_codes(0.25, 15, signed=False)
    made.stage.fill_(stage)
    return made


def slow(layer: LowBitConv2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """Wrapped sums and outputs by loops over pictures, channels, pixels and taps, in Python's integers."""
    kind, bits, form, slope = layer.arithmetic
    integers, scale = low_bit_weights(layer.weight.detach(), kind)
    (sh, sw), (ph, pw), (dh, dw) = layer.stride, layer.padding, layer.dilation  # type: ignore[misc]
    low, top = layer.low, int(layer.top)
    q = [int(v) for v in torch.clamp(torch.round(x * (1 / layer.step)), low, top).flatten()]
    b, c, h, w = x.shape
    o, per_group, kh, kw = integers.shape
    taps = [int(v) for v in integers.flatten()]
    rows, columns = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    sums = torch.zeros(b, o, rows, columns)
    for n, channel, r, s in itertools.product(range(b), range(o), range(rows), range(columns)):
        total, group = 0, channel // (o // layer.groups)
        for inner, i, j in itertools.product(range(per_group), range(kh), range(kw)):
            y, z = r * sh - ph + i * dh, s * sw - pw + j * dw
            if 0 <= y < h and 0 <= z < w:
                code = q[((n * c + group * per_group + inner) * h + y) * w + z]
                total += taps[((channel * per_group + inner) * kh + i) * kw + j] * code
        if bits is not None:
            total = (total + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
        sums[n, channel, r, s] = total
    values = sums if bits is None else cyclic(sums, bits, form, slope)
    out = values * (scale * layer.step)[:, None, None]
    return sums, out if layer.bias is None else out + layer.bias.detach()[:, None, None]


FORMS: list[tuple[Kind, int | None, Cyclic, bool, dict[str, Any]]] = [
    ("binary", 8, "smooth", False, {"padding": 1}),
    ("binary", 4, "smooth", False, {"stride": 2, "padding": 2, "bias": False}),
    ("ternary", 8, "relu", True, {"groups": 2, "padding": (1, 0)}),
    ("ternary", 5, "absolute", False, {"dilation": (1, 2)}),
    ("3", 6, "modulo", True, {"stride": (1, 2)}),
    ("5", 12, "none", False, {"padding": 1, "groups": 2}),
    ("8", None, "smooth", True, {"padding": "same", "bias": False}),
]


@pytest.mark.parametrize(("kind", "bits", "form", "signed", "shape"), FORMS)
def test_a_convolution_against_loops_over_integers(
    kind: Kind, bits: int | None, form: Cyclic, signed: bool, shape: dict[str, Any]
) -> None:
    """To the bit, with plenty of overflow."""
    layer = convolution(Arithmetic(kind, bits, form, 2.0), **shape).eval()
    layer.set_codes(0.25, 7 if signed else 15, signed)
    if shape.get("padding") == "same":
        layer.padding = (1, 1)
    x = 2 * torch.randn(2, 4, 6, 5)
    with watching(sums=True, statistics=True) as watch:
        out = layer(x)
    sums, expected = slow(layer, x)
    record = watch.records[0]
    assert record.sums is not None
    assert torch.equal(record.sums, sums.to(torch.int32))
    assert torch.equal(out, expected)
    if bits is not None and bits < 8:
        assert record.overflow is not None
        assert record.overflow > 0.1


def test_a_linear_layer_by_hand() -> None:
    """Steps of 0.5: codes 3, 1, 0 (of -1) and 7 (of 99). z = 3 - 1 + 0 - 7 = -5 and 3 + 1 - 0 + 7 = 11, with 4 bits -5 and
    11 - 16 = -5; k = 1: |m| > 4, so f = -8 + 5 = -3. Scales 2 and 1, bias 10 and 20."""
    layer = LowBitLinear.of(nn.Linear(4, 2), "fc", Arithmetic("binary", 4, "smooth", 1.0))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, -3, 1, -2], [1, 1, -1, 1]]))
        layer.bias.copy_(torch.tensor([10.0, 20]))
    layer.set_codes(0.5, 7, signed=False)
    layer.stage.fill_(CODES)
    assert layer(torch.tensor([1.5, 0.6, -1, 99])).tolist() == [10 - 3 * 2 * 0.5, 20 - 3 * 0.5]


def test_pre_training_is_a_convolution_with_scaled_integer_weights() -> None:
    layer = convolution(Arithmetic("ternary", 8, "smooth", 2.0), WEIGHTS, padding=1)
    x = torch.randn(2, 4, 6, 6)
    integers, scale = layer.low_bit_weights()
    torch.testing.assert_close(layer(x), F.conv2d(x, integers * scale[:, None, None, None], layer.bias, padding=1))


def test_warm_up_wraps_real_numbers() -> None:
    """z = a / s without rounding and without a top: 100 / 0.25 = 400 wraps to -112 and folds to -32 (k = 2)."""
    layer = LowBitLinear.of(nn.Linear(1, 1, bias=False), "fc", Arithmetic("binary", 8, "smooth", 2.0))
    with torch.no_grad():
        layer.weight.fill_(3.0)
    layer.set_codes(0.25, 15, signed=False)
    layer.stage.fill_(WARM_UP)
    assert layer(torch.tensor([[100.0], [10.1]])).tolist() == [[-32 * 0.75], [pytest.approx(30.3)]]


def test_in_float_it_is_the_layer_that_it_replaced() -> None:
    plain = nn.Conv2d(4, 6, 3, padding=1)
    layer = LowBitConv2d.of(plain, "conv", Arithmetic("binary", 8, "smooth", 2.0))
    layer.stage.fill_(FLOAT)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(layer(x), plain(x))
    assert layer.weight is plain.weight
    assert layer.bias is plain.bias


def test_without_a_cyclic_function_training_does_not_wrap_and_evaluation_does() -> None:
    layer = convolution(Arithmetic("binary", 4, "none", 2.0), bias=False)
    x = torch.rand(2, 4, 6, 6) * 4
    integers, scale = layer.low_bit_weights()
    z = F.conv2d(layer.codes(x), integers)
    unit = (scale * 0.25)[:, None, None]
    assert torch.equal(layer.train()(x), z * unit)
    assert torch.equal(layer.eval()(x), wrap(z, 4) * unit)
    assert not torch.equal(z, wrap(z, 4))


@pytest.mark.parametrize("stage", [WEIGHTS, WARM_UP, CODES])
def test_gradients_reach_weights_and_inputs(stage: int) -> None:
    """Those of the arithmetic written out with the differentiable parts of which it is made."""
    layer = convolution(Arithmetic("binary", 6, "smooth", 2.0), stage)
    x = (2 * torch.rand(2, 4, 6, 6)).requires_grad_()
    layer(x).square().sum().backward()
    found = [x.grad, layer.weight.grad, layer.bias.grad]  # type: ignore[union-attr]
    assert all(g is not None and g.abs().sum() > 0 for g in found)
    twin, weight = x.detach().requires_grad_(), layer.weight.detach().requires_grad_()
    integers, scale = low_bit_weights(weight, "binary")
    q = {WEIGHTS: twin, WARM_UP: twin * 4, CODES: layer.codes(twin)}[stage]
    z = F.conv2d(q, integers)
    c = z * scale[:, None, None] if stage == WEIGHTS else cyclic(wrap(z, 6), 6) * (scale * 0.25)[:, None, None]
    (c + layer.bias.detach()[:, None, None]).square().sum().backward()  # type: ignore[union-attr]
    torch.testing.assert_close(found[0], twin.grad)
    torch.testing.assert_close(found[1], weight.grad)


def test_a_buffer_bit_leaves_one_bit_less() -> None:
    """The same layer with 7 bits, in sums, cyclic function and penalty."""
    eight = convolution(Arithmetic("binary", 8, "smooth", 2.0))
    set_carry(eight, BUFFER)
    seven = convolution(Arithmetic("binary", 7, "smooth", 2.0))
    seven.load_state_dict({**eight.state_dict(), "carry": seven.carry})
    x = 8 * torch.rand(2, 4, 6, 6)
    with watching(statistics=True) as watch:
        assert torch.equal(eight(x), seven(x))
    a, b = watch.records
    assert a.penalty == b.penalty
    assert a.overflow == b.overflow
    assert eight.bits == 7


@pytest.mark.parametrize("kind", ["binary", "ternary"])
def test_carries_are_added_and_their_mean_is_taken_away(kind: Kind) -> None:
    """By Algorithm 1 over summands of a linear layer; in training the mean is the batch's, in evaluation the buffer."""
    layer = LowBitLinear.of(nn.Linear(40, 5, bias=False), "fc", Arithmetic(kind, 5, "smooth", 2.0))
    layer.set_codes(1.0, 7, signed=False)
    layer.stage.fill_(CODES)
    x = torch.randint(0, 8, (30, 40)).float()
    integers, scale = layer.low_bit_weights()
    v = (x[:, None] * integers).detach()
    count = count_carries(v, 5).float()
    simulate_carries(layer, x)
    assert int(layer.carry) == LET_THROUGH
    torch.testing.assert_close(layer.carry_mean, count.mean(0))

    def with_mean(mean: Tensor) -> Tensor:
        return cyclic(wrap(v.sum(-1) + count - mean.round(), 5), 5) * scale

    layer.carry_mean += 3
    before = layer.carry_mean.clone()
    assert torch.equal(layer.eval()(x), with_mean(before))
    assert torch.equal(layer.carry_mean, before)
    with watching() as watch:
        assert torch.equal(layer.train()(x), with_mean(count.mean(0)))
    torch.testing.assert_close(layer.carry_mean, 0.9 * before + 0.1 * count.mean(0))
    torch.testing.assert_close(watch.carry_variance, count.var(0, correction=0).mean())
    watch.carry_variance.backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_means_of_carries_move_in_the_buffers_that_a_call_is_given() -> None:
    layer = convolution(Arithmetic("binary", 6, "smooth", 2.0))
    x = 4 * torch.rand(3, 4, 6, 6)
    simulate_carries(layer, x)
    given = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    before = layer.carry_mean.clone()
    functional_call(layer.train(), given, (x + 1,))
    assert torch.equal(layer.carry_mean, before)
    assert not torch.equal(given["carry_mean"], before)
    again = convolution(Arithmetic("binary", 6, "smooth", 2.0))
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again.eval()(x), layer.eval()(x))


def test_carries_of_other_pictures_other_weights_and_stages_are_refused() -> None:
    layer = convolution(Arithmetic("binary", 6, "smooth", 2.0))
    simulate_carries(layer, torch.rand(3, 4, 6, 6))
    with pytest.raises(ConfigError, match=r"'conv'.*\(6, 4, 4\).*\(6, 5, 5\)"):
        layer(torch.rand(3, 4, 7, 7))
    for other in (Arithmetic("3", 6, "smooth", 2.0), Arithmetic("binary", None, "smooth", 2.0)):
        with pytest.raises(ConfigError, match="binary or ternary weights, sums that wrap"):
            simulate_carries(convolution(other), torch.rand(3, 4, 6, 6), ["conv"])
    with pytest.raises(ConfigError, match="codes"):
        simulate_carries(convolution(Arithmetic("binary", 6, "smooth", 2.0), WARM_UP), torch.rand(3, 4, 6, 6), ["conv"])
    with pytest.raises(ConfigError, match="found 1"):
        set_carry(layer, LET_THROUGH)


def test_who_watches_gets_sums_of_penalties_over_layers_with_gradients() -> None:
    layers = nn.Sequential(
        convolution(Arithmetic("binary", 5, "smooth", 2.0)),
        nn.ReLU(),
        LowBitConv2d.of(nn.Conv2d(6, 3, 1), "second", Arithmetic("3", 4, "smooth", 2.0)),
    )
    second = layers[2]
    assert isinstance(second, LowBitLayer)
    second.set_codes(0.1, 31, signed=False)
    second.stage.fill_(CODES)
    x = 4 * torch.rand(2, 4, 6, 6)
    with watching(statistics=True) as watch:
        layers(x)
    assert [record.name for record in watch.records] == ["conv", "second"]
    first = watch.records[0]
    layer = layers[0]
    assert isinstance(layer, LowBitConv2d)
    z = F.conv2d(layer.codes(x), layer.low_bit_weights().integers)
    assert first.penalty is not None
    assert second.arithmetic.bits == 4
    torch.testing.assert_close(first.penalty, overflow_penalty(z, 5))
    torch.testing.assert_close(first.overflow, overflow_rate(z, 5))
    assert (first.lowest, first.highest) == (layer.codes(x).min(), layer.codes(x).max())
    torch.testing.assert_close(watch.penalty, first.penalty + watch.records[1].penalty)
    watch.penalty.backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_watching_asks_for_no_more_than_is_wanted_and_ends_with_its_block() -> None:
    layer = convolution(Arithmetic("binary", 5, "smooth", 2.0))
    x = torch.rand(1, 4, 6, 6)
    with watching(penalties=False) as nothing:
        layer(x)
        with watching(penalties=False, carries=True, sums=True) as inner:
            layer(x)
    layer(x)
    only = nothing.records[0]
    assert len(nothing.records) == 1
    assert [only.penalty, only.overflow, only.carries, only.sums, only.highest] == [None] * 5
    assert nothing.penalty.item() == nothing.carry_variance.item() == 0
    assert inner.records[0].carries is not None
    assert inner.records[0].carry_deviation is not None
    assert inner.records[0].carry_deviation.item() == 0  # of one picture
    set_stage(layer, WEIGHTS)
    with watching() as early:
        layer(x)
    assert early.records == []


def test_sums_beyond_what_float32_holds_are_exact_and_beyond_31_bits_refused() -> None:
    """20,000 summands of 127 * 255: 6.5e8, where float32 counts by 64."""
    layer = LowBitLinear.of(nn.Linear(20_000, 3, bias=False), "fc", Arithmetic("8", None, "smooth", 2.0))
    with torch.no_grad():
        layer.weight.uniform_(0.9, 1.0)
    layer.set_codes(1.0, 255, signed=False)
    layer.stage.fill_(CODES)
    x = torch.randint(200, 256, (2, 20_000)).float()
    with watching(sums=True) as watch:
        layer(x)
    z = x.long() @ layer.low_bit_weights().integers.detach().long().T
    assert watch.records[0].sums is not None
    assert torch.equal(watch.records[0].sums.long(), z)
    assert not torch.equal(F.linear(x, layer.low_bit_weights().integers).long(), z)
    huge = LowBitLinear.of(nn.Linear(70_000, 1), "huge", Arithmetic("8", None, "smooth", 2.0))
    with pytest.raises(ConfigError, match=r"'huge'.*2\^31"):
        huge.set_codes(1.0, 255, signed=False)


@pytest.mark.parametrize(
    ("step", "top", "signed"), [(0.0, 3, False), (float("inf"), 3, False), (1.0, 256, False), (1, 128, True)]
)
def test_codes_that_no_layer_has_are_refused(step: float, top: int, signed: bool) -> None:
    with pytest.raises(ConfigError, match="'conv'"):
        convolution(Arithmetic("binary", 8, "smooth", 2.0)).set_codes(step, top, signed)


@pytest.mark.parametrize("stage", [WEIGHTS, WARM_UP, CODES])
def test_other_precisions_and_transforms_give_the_same(stage: int) -> None:
    layer = convolution(Arithmetic("ternary", 6, "smooth", 2.0), stage).eval()
    x = torch.randint(0, 40, (3, 4, 6, 6)) / 8  # exact in every precision
    out = layer(x)
    with torch.inference_mode():
        assert torch.equal(layer(x), out)
    mapped = vmap(lambda one: layer(one[None])[0])(x)
    torch.testing.assert_close(mapped, out)
    stacked = {name: buffer.expand(3, *buffer.shape) for name, buffer in layer.named_buffers()}
    torch.testing.assert_close(vmap(lambda b, one: functional_call(layer, b, (one[None],))[0])(stacked, x), out)
    if stage == CODES:
        with torch.autocast("cpu", torch.bfloat16):  # integers must not be rounded to 8 bits on the way
            assert torch.equal(layer(x), out)
    torch.testing.assert_close(layer.double()(x.double()).float(), out)


def test_what_decides_between_ways_stays_in_the_cpus_memory() -> None:
    """The device "meta" holds no values: a layer that moved its flags there could not run."""
    layer = convolution(Arithmetic("binary", 8, "smooth", 2.0)).to("meta")
    assert {name for name, buffer in layer.named_buffers() if buffer.is_meta} == {"step", "inverse", "carry_mean"}
    assert layer(torch.rand(1, 4, 6, 6, device="meta")).shape == (1, 6, 4, 4)


def test_padding_with_anything_but_zeros_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'conv'.*zeros.*reflect"):
        LowBitConv2d.of(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "conv", Arithmetic("binary", 8, "smooth", 2))


def test_stages_of_layers_by_name() -> None:
    module = nn.Sequential(convolution(Arithmetic("binary", 8, "smooth", 2.0)), nn.Linear(2, 2))
    assert list(low_bit_layers(module)) == ["conv"]
    set_stage(module, FLOAT, ["conv"])
    set_stage(module, CODES)
    assert int(low_bit_layers(module)["conv"].stage) == FLOAT
    set_stage(module, CODES, ["conv"])
    assert int(low_bit_layers(module)["conv"].stage) == CODES
    with pytest.raises(ConfigError, match="'1'"):
        set_stage(module, CODES, ["1"])
    with pytest.raises(ConfigError, match="found 7"):
        set_stage(module, 7)
