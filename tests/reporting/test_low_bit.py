"""The part of a page about low-bit arithmetic: what the file says is on it, and nothing else is needed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from modicum.errors import FileFormatError
from modicum.files import write_json
from modicum.quantization.hardware import LayerCost, network_cost, reference, unit_cost
from modicum.reporting.low_bit import read_low_bit, read_low_bits
from modicum.reporting.page import write_report


def unit(cost: Any) -> dict[str, Any]:
    return {
        "published": cost.published,
        "how": cost.how,
        "energy": cost.parts_energy._asdict(),
        "area": cost.parts_area._asdict(),
    }


def layer(name: str, macs: int, **changes: Any) -> dict[str, Any]:
    """A row in float, with changes."""
    return {
        "name": name, "kind": "Conv2d", "shape": [4, 2, 3, 3], "weights": 72, "fan_in": 18, "outputs": 64, "macs": macs,
        "stage": "float", "carries": None, "weight_bits": None, "accumulator": None, "activation_bits": None, "signed": None,
        "step": None, "overflow": None, "overflow_of_bits": None, "overflow_at_first": None, "enlarged": None,
        "penalty": None,
        "carry_mean": None, "carry_deviation": None, "histogram": None, "energy": LayerCost(macs, reference()).energy,
        "time": 1.0, "area": 199.0, "unit": unit(reference()), **changes,
    }  # fmt: skip


def record() -> dict[str, Any]:
    """Two layers, one of them low-bit: a quarter of its sums overflow."""
    cost = unit_cost(3, 1, 8)
    assert cost is not None
    low = layer(
        "body.conv<2>", 1_000, stage="codes", carries="let through", weight_bits=1, accumulator=8, activation_bits=3,
        signed=False, step=0.125, overflow=0.25, overflow_of_bits=8, overflow_at_first=0.05, enlarged=True, penalty=12.5,
        carry_mean=384.42, carry_deviation=17.91, histogram=[0] * 24 + [1] * 16 + [0] * 24,
        energy=LayerCost(1_000, cost).energy, unit=unit(cost),
    )  # fmt: skip
    own = [LayerCost(500, reference()), LayerCost(1_000, cost)]
    whole = [LayerCost(500, reference()), LayerCost(1_000, reference())]

    def right(name: str, accuracy: float) -> dict[str, Any]:
        found = {"accuracy": accuracy, "ci95": 0.012, "over": "new pictures"}
        return {"name": name, "val": None, "test": found}

    return {
        "kind": "low_bit", "run": "q", "from": "run", "backbone": "conv4-32",
        "form": {"weights": "binary", "accumulator": 8, "cyclic": "smooth", "slope": 2.0, "relu": True, "ends": "float"},
        "pictures": 1_000, "layers": [layer("stem", 500), low],
        "cost": {"network": network_cost(own)._asdict(), "reference": network_cost(whole)._asdict(),
                 "unit": unit(reference())},
        "stages": [{**right("weights", 0.81), "steps": 2_000}, {**right("codes", 0.77), "steps": 2_000}],
        "accumulators": [right("as trained", 0.77), right("8-bit sums that wrap, no cyclic function", 0.101)],
        "export": {"file": "net", "bytes": 1_234, "float_bytes": 45_678},
    }  # fmt: skip


def folder(path: Path, found: dict[str, Any]) -> Path:
    """A run of that result alone."""
    write_json(path / "config.json", {"kind": "run", "config": {"method": "protonet", "backbone": "x", "steps": 1}})
    write_json(path / "results" / "low_bit.json", found)
    return path


def test_numbers_of_the_file_are_on_the_page(tmp_path: Path):
    run = folder(tmp_path / "q", record())
    text = write_report([run], tmp_path / "page.html").read_text()
    for told in (
        "binary weights", "8 bits, wrap around", "slope 2", "begun from the run “run”", "25.0\u00a0% of the sums",
        "384.4 ± 17.9",
        "0.125", "12.5", "77.0\u00a0% ± 1.2", "10.1\u00a0% ± 1.2", "3*", "codes, carries in", "1,234 bytes", "2,000",
    ):  # fmt: skip
        assert told in text, told
    assert "conv&lt;2&gt;" in text
    assert "conv<2>" not in text
    cost = record()["cost"]
    assert f"{cost['network']['energy']:.3g} nJ of arithmetic" in text
    assert f"take {cost['reference']['energy']:.3g} nJ" in text


def test_figures_draw_what_the_file_has(tmp_path: Path):
    found = read_low_bit(folder(tmp_path / "q", record()), 0, "q")
    assert found is not None
    assert all(figure is not None for figure in (found.accuracy, found.panels, found.sums, found.cost))
    assert "Overflow by layer: 2: 25 %" in str(found.panels)
    assert "8-bit sums that wrap, no cyclic function 10.1%" in str(found.accuracy)
    energy = record()["cost"]["network"]["energy"]
    assert f"this network {energy:.3g} nJ" in str(found.cost)


def test_a_network_without_codes_has_no_figures_of_them(tmp_path: Path):
    plain = record()
    plain["layers"] = plain["layers"][:1]
    plain["form"] |= {"weights": "float", "accumulator": None}
    plain["accumulators"], plain["export"] = [], None
    found = read_low_bit(folder(tmp_path / "q", plain), 0, "q")
    assert found is not None
    assert (found.panels, found.sums, found.cost) == (None, None, None)
    assert "77.0%" in str(found.accuracy)  # by stage
    assert "stayed in floating point" in found.sentences[0][1]


@pytest.mark.parametrize("missing", ["layers", "form", "cost", "stages", "pictures"])
def test_an_incomplete_file_is_an_error_that_says_what_to_do(tmp_path: Path, missing: str):
    found = copy.deepcopy(record())
    del found[missing]
    with pytest.raises(FileFormatError, match=r"low_bit.json: incomplete or of another version.*quantise anew"):
        read_low_bit(folder(tmp_path / "q", found), 0, "q")
    (tmp_path / "q" / "results" / "low_bit.json").write_text(json.dumps(found)[:50])
    with pytest.raises(FileFormatError):
        read_low_bit(tmp_path / "q", 0, "q")


def test_other_runs_have_no_such_part(tmp_path: Path):
    run = tmp_path / "run"
    write_json(run / "config.json", {"kind": "run", "config": {"method": "protonet", "backbone": "x", "steps": 1}})
    assert read_low_bits([run, folder(tmp_path / "q", record())], ["run", "q"])[0].letter == "B"
    assert "Low-bit arithmetic" not in write_report([run], tmp_path / "page.html").read_text()
