"""What rows of low-bit networks are made of: overflow and bits worked by hand, other sums against another network's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.errors import DataError
from modicum.quantization.calibration import calibrate
from modicum.quantization.layers import (
    BUFFER,
    Arithmetic,
    LowBitLinear,
    low_bit_layers,
    set_carry,
    set_stage,
    simulate_carries,
    watching,
)
from modicum.recipes import machine_rows
from modicum.recipes.deployed import deployed, predict_milliseconds
from modicum.recipes.hardware_rows import layer_macs, unit_figures
from modicum.recipes.low_bit_measuring import _counting, _looked, _under, code_bits, layer_records
from modicum.recipes.machine_rows import measure_machine, timed_figures
from modicum.recipes.recipe import Machine, Row


def linear(weights: list[list[float]], bits: int | None, step: float, top: int, signed: bool = False) -> LowBitLinear:
    plain = nn.Linear(len(weights[0]), len(weights), bias=False)
    plain.weight.data = torch.tensor(weights)
    layer = LowBitLinear.of(plain, "layer", Arithmetic("binary", bits, "smooth", 2.0))
    layer.set_codes(step, top, signed)
    return layer


@pytest.mark.parametrize(("bits", "rate"), [(4, 0.5), (5, 0.25), (6, 0.0), (None, 0.0)])
def test_overflow_counts_exact_sums_of_the_codes(bits: int | None, rate: float) -> None:
    """Codes 7, 7, 7 and 1, 0, 2 (0.9 / 0.5 rounds to 2): sums 21, 7 (+ + -) and 3, -1; 21 leaves 5 bits, 21 and .. not 8.

    With 4 bits sums from -8 to 7 fit: of 21, 7, 3, -1 one leaves. The third row's 9, -9 are made for 4 bits alone.
    """
    layer = linear([[0.1, 0.3, 0.2], [0.1, 0.2, -0.4]], bits, 0.5, 7)
    x = torch.tensor([[3.5, 9.0, 3.5], [1.5, 1.5, 1.5]]) if bits == 4 else torch.tensor([[3.5, 9.0, 3.5], [0.5, 0.0, 0.9]])
    # bits 4: codes 7 7 7 and 3 3 3: sums 21, 7, 9, 3: two of four leave -8 .. 7
    rates: list[float] = []
    _counting(layer, rates)(layer, (x,))
    assert rates == [rate]


def test_bits_of_codes() -> None:
    assert code_bits(linear([[1.0]], 8, 1.0, 1)) == 1
    assert code_bits(linear([[1.0]], 8, 1.0, 7)) == 3
    assert code_bits(linear([[1.0]], 8, 1.0, 255)) == 8
    assert code_bits(linear([[1.0]], 8, 1.0, 3, signed=True)) == 3  # -4 .. 3


def coded(form: str, name: str = "resnet20-8", size: int = 16, channels: int = 3) -> Encoder:
    """A network on codes of about three bits, the same for every form."""
    torch.manual_seed(0)
    encoder = build_encoder(f"{name}+low-bit-{form}", ImageSpec(size, channels)).eval()
    from modicum.configs.low_bit import LowBit

    x = torch.rand(16, channels, size, size, generator=torch.Generator().manual_seed(1))
    calibrate(encoder, [x], LowBit(accumulator=None), bits=3)
    set_stage(encoder, 2)
    return encoder


def test_wrapped_sums_are_those_of_a_network_that_wraps() -> None:
    exact, wraps = coded("binary-none"), coded("binary-8-none")
    x = torch.rand(4, 3, 16, 16) * 4 - 1  # pictures unlike those that steps were chosen for, so that sums overflow
    with torch.no_grad():
        before = exact.backbone(x)
        loaded = cast(Any, SimpleNamespace(network=SimpleNamespace(encoder=exact)))
        _under("wrapped", loaded, low_bit_layers(exact), cast(Any, None))
        after = exact.backbone(x)
        assert torch.equal(after, wraps.backbone(x))
    assert not torch.equal(before, after)


def test_records_of_layers_name_stage_step_and_bits() -> None:
    rows = layer_records(low_bit_layers(coded("binary-none")))
    assert len(rows) == 18  # nineteen convolutions, of which the first stays float
    assert {row["stage"] for row in rows} == {2}
    assert {row["bits"] for row in rows} == {3}


def test_multiply_accumulates_of_resnet20_by_hand() -> None:
    """442,368 in the first layer; stages of equal cost, whose first layer but for the first stage costs half."""
    equal = 32 * 32 * 16 * 16 * 9
    assert layer_macs("resnet20", 32) == [
        32 * 32 * 16 * 27, *[equal] * 6, equal // 2, *[equal] * 5, equal // 2, *[equal] * 5,
    ]  # fmt: skip


def test_a_network_on_a_design_is_the_sum_of_its_layers() -> None:
    figures, macs = unit_figures(), 40_550_400
    assert figures["unit resnet20 on 8 x 8, 32-bit time"] == pytest.approx(macs * 0.31e-3)
    assert figures["unit resnet20 on 8 x 8, 32-bit energy"] == pytest.approx(2 * macs * 428e-6)
    first, others = 442_368, macs - 442_368
    energy = 2 * (first * 428 + others * 115) * 1e-6
    assert figures["unit resnet20 on 3 x 1, 8-bit, k = 2 energy"] == pytest.approx(energy)
    area = (first * 199 + others * 37) / macs
    assert figures["unit resnet20 on 3 x 1, 8-bit, k = 2 area"] == pytest.approx(area)


def test_times_are_taken_from_the_rows_of_the_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [{"kernel": "binary-avx2", "shape": "64x56x56", "ms": 0.25, "ratio_vs_int8": 3.0, "macs_per_cycle": 200}]
    peers = [
        {"kernel": "int8-onednn", "shape": "64x56x56", "ms": 0.75, "fastest_int8": True},
        {"kernel": "int8-fbgemm", "shape": "64x56x56", "ms": 0.9, "fastest_int8": False},
        {"kernel": "exact16-avx2", "shape": "64x56x56", "ms": 0.5, "activation_bits": 3},
    ]
    figures = timed_figures([*rows, *peers])
    assert {name: figure["value"] for name, figure in figures.items()} == {
        "layer_ms binary-avx2 64x56x56": 0.25, "layer_ms int8-onednn 64x56x56": 0.75, "layer_ms int8 64x56x56": 0.75,
        "layer_ms int8-fbgemm 64x56x56": 0.9,
    }  # fmt: skip
    monkeypatch.setattr(machine_rows, "_timed", lambda: timed_figures(rows))
    there = Row("64x56x56, AVX2", "low-bit-conv", kind="layer_ms", branch="binary-avx2", bucket="64x56x56")
    assert measure_machine(there, Machine("low_bit_conv"))["value"] == 0.25
    absent = Row("64x56x56, VBMI", "low-bit-conv", kind="layer_ms", branch="binary-avx512vbmi", bucket="64x56x56")
    with pytest.raises(DataError, match="no binary-avx512vbmi of 64x56x56 on this machine"):
        measure_machine(absent, Machine("low_bit_conv"))
    monkeypatch.undo()
    script = tmp_path / "benchmarks" / "low_bit_conv.py"
    script.parent.mkdir()
    script.write_text(f"import json, sys; json.dump({{'rows': {rows!r}}}, open(sys.argv[2], 'w'))")
    monkeypatch.setattr("modicum.__file__", str(tmp_path / "src" / "modicum" / "__init__.py"))
    assert measure_machine(there, Machine("low_bit_conv"))["value"] == 0.25
    script.write_text("raise SystemExit('no such instructions')")
    with pytest.raises(DataError, match="wrote nothing: no such instructions"):
        measure_machine(there, Machine("low_bit_conv"))
    monkeypatch.setattr("modicum.__file__", str(tmp_path / "venv" / "site-packages" / "modicum" / "__init__.py"))
    with pytest.raises(DataError, match="part of the source"):
        measure_machine(there, Machine("low_bit_conv"))


def test_a_deployed_low_bit_encoder_is_smaller_and_gives_its_features() -> None:
    plain = build_encoder("conv4-32", ImageSpec(28, 1)).eval()
    few = coded("binary-8-smooth-2", "conv4-32", 28, 1)
    size, embed, kernels = deployed(plain)
    small, integers, ran = deployed(few)
    weights = sum(p.numel() for p in plain.parameters())
    assert size > 4 * weights
    assert small < size / 8  # three of four layers have one bit a weight
    assert kernels == []
    assert len(ran) == 3
    x = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(embed(x), plain(x))
        torch.testing.assert_close(integers(x), few(x), rtol=1e-5, atol=1e-5)
    assert 0 < predict_milliseconds(embed, plain) < 1_000


def test_carries_are_those_of_layers_that_let_them_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer of 18 lets carries through, one has a buffer bit; mean and deviation are the first one's alone."""
    encoder = coded("binary-8-smooth-2")
    layers = low_bit_layers(encoder)
    first, second = list(layers)[:2]
    x = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    simulate_carries(encoder.backbone, encoder.normalised(x), [first])
    set_carry(encoder, BUFFER, [second])
    monkeypatch.setattr("modicum.recipes.low_bit_measuring._pictures", lambda tested, rows: x)
    loaded = cast(Any, SimpleNamespace(network=SimpleNamespace(encoder=encoder)))
    figures = _looked("", loaded, layers, cast(Any, SimpleNamespace(rows=list(range(6)))))
    with torch.no_grad(), watching(penalties=False, carries=True) as watch:
        encoder(x)
    counts = next(record for record in watch.records if record.name == first)
    assert counts.carry_mean is not None
    assert counts.carry_deviation is not None
    assert figures["carry mean"]["value"] == pytest.approx(float(counts.carry_mean))
    assert figures["carry deviation"]["value"] == pytest.approx(float(counts.carry_deviation))
    assert figures["bits"]["value"] == 3
