"""Step sizes: the share that overflows, no overflow at all, one step for all, bits asked for, and data that cannot serve."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from modicum.configs.low_bit import LowBit
from modicum.errors import ConfigError, DataError
from modicum.quantization import calibration
from modicum.quantization.calibration import Calibrated, calibrate
from modicum.quantization.conversion import convert
from modicum.quantization.layers import BUFFER, CODES, FLOAT, WEIGHTS, low_bit_layers, set_carry, set_stage, watching
from modicum.quantization.overflow import best_step

FORM = LowBit("binary", 8)


class Two(nn.Module):
    """x -> conv -> leaky ReLU or ReLU -> conv, conv: the inner layers see what `slope` leaves of a float layer."""

    def __init__(self, slope: float = 0.0) -> None:
        super().__init__()
        self.first, self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.a):
            x = nn.functional.leaky_relu(layer(x), self.slope)
        out: Tensor = self.b(x)
        return out


def made(slope: float = 0.0, form: LowBit = FORM) -> Two:
    module = Two(slope)
    convert(module, form, torch.zeros(1, 3, 12, 12))
    return module


def pictures(n: int = 40) -> Tensor:
    return torch.rand(n, 3, 12, 12)


def rates(module: nn.Module, x: Tensor) -> dict[str, float]:
    """Overflow of layers that run on codes one at a time, the others in pre-training: as steps are chosen."""
    found = {}
    for name in low_bit_layers(module):
        set_stage(module, WEIGHTS)
        set_stage(module, CODES, [name])
        with watching(statistics=True) as watch:
            module(x)
        assert watch.records[0].overflow is not None
        found[name] = float(watch.records[0].overflow)
    return found


@pytest.mark.parametrize("share", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_about_the_share_asked_for_overflows_in_every_layer(share: float, slope: float) -> None:
    module, x = made(slope), pictures()
    found = calibrate(module, [x[:20], x[20:]], FORM, overflow=share)
    assert list(found) == ["a", "b"]
    assert rates(module, x) == {name: pytest.approx(row.overflow, abs=1e-6) for name, row in found.items()}
    for row in found.values():
        assert share - 0.002 <= row.overflow <= share
        assert row.signed == (slope > 0)
        assert not row.enlarged


def test_a_larger_share_takes_smaller_steps_and_more_bits() -> None:
    module, x = made(), pictures()
    some = [calibrate(module, [x], FORM, overflow=share)["b"] for share in (0.0, 0.05, 0.4)]
    assert some[0].step > some[1].step > some[2].step
    assert some[0].bits < some[2].bits


def test_no_overflow_at_all_and_no_larger_step_than_that_needs() -> None:
    module, x = made(), pictures()
    found = calibrate(module, [x], FORM, overflow=0.0)
    assert rates(module, x) == {"a": 0, "b": 0}
    for name, layer in low_bit_layers(module).items():
        layer.set_codes(found[name].step * 0.98, 255, signed=False)
    assert min(rates(module, x).values()) > 0


def test_codes_reach_the_largest_one_met_rounded_up_to_all_ones() -> None:
    module, x = made(), pictures()
    found = calibrate(module, [x], FORM)
    seen: dict[str, float] = {}
    set_stage(module, WEIGHTS)
    for name, layer in low_bit_layers(module).items():
        layer.register_forward_pre_hook(lambda part, given: seen.update({part.name: float(given[0].detach().max())}))
        module(x)
        largest = round(seen[name] / found[name].step)
        assert int(layer.top) == 2 ** found[name].bits - 1
        assert int(layer.top) // 2 < largest <= int(layer.top)
        assert float(layer.inverse) == float(torch.tensor(1.0) / layer.step)


def test_one_step_for_all_layers_has_the_share_on_average() -> None:
    module, x = made(), pictures()
    found = calibrate(module, [x], FORM, overflow=0.05, one_step=True)
    assert found["a"].step == found["b"].step
    measured = rates(module, x)
    assert 0.045 <= sum(measured.values()) / 2 <= 0.05
    assert abs(measured["a"] - measured["b"]) > 0.01


def test_bits_that_are_asked_for_take_the_step_of_least_error() -> None:
    module, x = made(), pictures()
    found = calibrate(module, [x], FORM, bits=3)
    inputs = nn.functional.relu(module.first(x)).detach()
    assert [int(layer.top) for layer in low_bit_layers(module).values()] == [7, 7]
    assert found["a"].step == pytest.approx(best_step(inputs.flatten(), 0, 7), rel=1e-6)
    signed = made(0.5)
    assert calibrate(signed, [x], FORM, bits=1)["a"].bits == 1
    assert low_bit_layers(signed)["a"].low == -1


def test_steps_that_would_need_more_than_eight_bits_are_enlarged() -> None:
    """16-bit accumulators hold anything here: 8 bits of codes are what is left to choose, and that is said."""
    form = LowBit("binary", 16)
    found = calibrate(module := made(form=form), [x := pictures()], form)
    assert found["a"].enlarged
    assert found["a"].bits == 8
    assert found["a"].step * 255 == pytest.approx(float(nn.functional.relu(module.first(x)).max().detach()), rel=1e-6)


def test_steps_may_be_chosen_for_another_accumulator_and_exact_sums_take_that_of_eight_bits() -> None:
    x = pictures()
    torch.manual_seed(1)
    module = made()
    eight = calibrate(module, [x], FORM)
    assert calibrate(module, [x], LowBit("binary", None)) == eight
    assert calibrate(module, [x], FORM, step_bits=7)["a"].step == pytest.approx(2 * eight["a"].step, rel=0.05)
    set_carry(module, BUFFER, ["a"])
    assert calibrate(module, [x], FORM)["a"].step == pytest.approx(2 * eight["a"].step, rel=0.05)


def test_layers_in_float_are_left_out_and_stages_and_modes_are_as_before() -> None:
    module = made().train()
    set_stage(module, CODES)
    set_stage(module, FLOAT, ["a"])
    before = {name: value.clone() for name, value in low_bit_layers(module)["a"].state_dict().items()}
    assert list(calibrate(module, [pictures()], FORM)) == ["b"]
    assert [int(layer.stage) for layer in low_bit_layers(module).values()] == [FLOAT, CODES]
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in low_bit_layers(module)["a"].state_dict().items())


@pytest.mark.parametrize(("bound", "value"), [("MEMORY", 2 * 10 * 8 * 10 * 10 * 4), ("PICTURES", 10)])
def test_what_is_kept_of_inputs_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    """With room for 10 pictures of layer a, its step is that of the first 10."""
    monkeypatch.setattr(calibration, bound, value)
    module, x = made(), pictures()

    def batches() -> Iterator[Tensor]:
        yield from x.split(7)

    found = calibrate(module, batches(), FORM)
    few = calibrate(module, [x[:10]], FORM)
    assert found["a"].step == pytest.approx(few["a"].step, rel=2e-4)  # ranges of the search differ
    assert found["a"].overflow == pytest.approx(few["a"].overflow, abs=1e-4)
    monkeypatch.undo()
    assert calibrate(module, batches(), FORM)["a"].step != pytest.approx(few["a"].step, rel=1e-3)


def test_data_that_cannot_serve() -> None:
    with pytest.raises(DataError, match="found none"):
        calibrate(made(), [], FORM)
    with pytest.raises(DataError, match="the same"):
        calibrate(made(), [torch.full((4, 3, 12, 12), 0.5)], FORM)
    with pytest.raises(DataError, match="not finite"):
        calibrate(made(), [pictures() / 0], FORM)
    module = made()
    with torch.no_grad():
        module.a.bias.fill_(-100)  # type: ignore[union-attr]
    with pytest.raises(DataError, match="layer 'b' gets nothing but 0"):
        calibrate(module, [pictures()], FORM)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": 0}, "activations: expected 1 to 8"),
        ({"bits": 9}, "activations: expected 1 to 8"),
        ({"overflow": 1.0}, "overflow"),
        ({"overflow": -0.1}, "overflow"),
        ({"step_bits": 3}, "step_bits: expected 4 to 16"),
    ],
)
def test_numbers_out_of_range(given: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        calibrate(made(), [pictures()], FORM, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no low-bit layer"):
        calibrate(Two(), [pictures()], FORM)


def test_a_row_says_what_a_report_prints() -> None:
    assert Calibrated._fields == ("step", "bits", "signed", "overflow", "enlarged")
