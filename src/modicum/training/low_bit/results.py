"""What OUT/results/low_bit.json says: stages, layers with their statistics and costs, accuracy under other arithmetic."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from modicum.configs import Quantize
from modicum.configs.low_bit import LowBit
from modicum.configs.neighborhoods import NEIGHBORHOODS
from modicum.quantization.hardware import Cost, LayerCost, network_cost, reference, unit_cost
from modicum.quantization.layers import CODES
from modicum.quantization.statistics import LayerStatistics, layer_statistics
from modicum.training.low_bit.begun import one_step
from modicum.training.low_bit.forms import accuracies, other_forms
from modicum.training.low_bit.stages import Stage, Stages, encoder_of
from modicum.training.neighborhoods.runs import load_neighborhoods
from modicum.training.runs import read_record

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder

RESULT = Path("results/low_bit.json")
KIND = "low_bit"
STAGES = {0: "weights", 1: "warm-up", 2: "codes", None: "float"}
CARRIES = {0: "alone", 1: "let through", 2: "buffer bit", None: None}


def result_of(asked: Quantize, stages: Stages) -> dict[str, Any]:
    """The result of finished stages, measured on the calibration pictures and on what the run holds out.

    Writes the integer network too, where one was asked for. Errors as `evaluate` and the integer network's.
    """
    out, begin = Path(asked.out), stages.begin
    pictures = stages.pictures
    encoder = encoder_of(out, begin, pictures.device)
    rows = layer_statistics(encoder.backbone, pictures.normalised(encoder), asked.chosen_for)
    layers = [_layer(row, asked.form, _calibration(stages.done)) for row in rows]
    record: dict[str, Any] = {
        "kind": KIND,
        "run": out.resolve().name,
        "from": Path(begin.config.out).resolve().name,
        "backbone": begin.backbone,
        "form": {**asdict(asked.form), "activations": asked.activations, "overflow": asked.overflow,
                 "carries": asked.carries,
                 "step_bits": asked.chosen_for, "one_step": one_step(asked, begin.backbone), "penalty": asked.penalty,
                 "carry_penalty": asked.carry_penalty},
        "pictures": len(pictures),
        "layers": layers,
        "cost": _costs(rows, asked.form),
        "stages": [_stage(stage, out) for stage in [*stages.done, *stages.tried]],
        "accumulators": [],
        "export": _exported(asked, encoder.cpu(), out) if asked.export else None,
    }  # fmt: skip
    if asked.measure:
        _measure(asked, stages, encoder.cpu(), record)
    return record


def _measure(asked: Quantize, stages: Stages, encoder: Encoder, record: dict[str, Any]) -> None:
    """Accuracy of every stage, and of the last one under other arithmetic."""
    out = Path(asked.out)
    for row, stage in zip(record["stages"], stages.done, strict=False):
        row |= accuracies(stage.folder, stages.begin, asked)
    last = record["stages"][len(stages.done) - 1]
    forms = other_forms(asked, encoder, stages.pictures)
    if forms:
        record["accumulators"].append({"name": "as trained", "val": last["val"], "test": last["test"]})
    for form in forms:
        record["accumulators"].append({"name": form.name, **accuracies(out, stages.begin, asked, form)})


def _stage(stage: Stage, out: Path) -> dict[str, Any]:
    folder = stage.folder.relative_to(out).as_posix()
    return {
        "name": stage.name, "folder": folder, "steps": stage.steps, "validation": stage.validation,
        "val": None, "test": None, "let_through": stage.said.get("let_through"), "buffer_bit": stage.said.get("buffer_bit"),
    }  # fmt: skip


def _calibration(done: list[Stage]) -> dict[str, Mapping[str, Any]]:
    """Name of a layer -> what calibration said of it."""
    return {row["name"]: row for stage in done for row in stage.said.get("calibration", ())}


def _cost_of(row: LayerStatistics, form: LowBit) -> LayerCost:
    """A layer's work on the unit its arithmetic takes; without codes it stays in floating point."""
    if row.stage != CODES or row.activation_bits is None:
        return LayerCost(row.macs, reference())
    wraps = None if row.bits is None else form.accumulator  # a buffer bit is one of the accumulator's
    return LayerCost(row.macs, unit_cost(row.activation_bits, row.weight_bits, wraps, form.cyclic, form.slope))


def _layer(row: LayerStatistics, form: LowBit, calibration: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found, cost = calibration.get(row.name, {}), _cost_of(row, form)
    of_unit: Cost | None = cost.cost
    return {
        "name": row.name, "kind": row.kind, "shape": list(row.shape), "weights": row.weights, "fan_in": row.fan_in,
        "outputs": row.outputs, "macs": row.macs, "stage": STAGES[row.stage], "carries": CARRIES[row.carry],
        "weight_bits": row.weight_bits, "accumulator": row.bits, "activation_bits": row.activation_bits,
        "signed": row.signed, "step": row.step, "overflow": row.overflow, "overflow_of_bits": row.bits_asked,
        "overflow_at_first": found.get("overflow"), "enlarged": found.get("enlarged"), "penalty": row.penalty,
        "carry_mean": row.carry_mean, "carry_deviation": row.carry_deviation,
        "histogram": None if row.histogram is None else list(row.histogram),
        "energy": cost.energy, "time": cost.time, "area": None if of_unit is None else of_unit.area,
        "unit": None if of_unit is None else _unit(of_unit),
    }  # fmt: skip


def _unit(cost: Cost) -> dict[str, Any]:
    return {
        "published": cost.published, "how": cost.how, "energy": cost.parts_energy._asdict(),
        "area": cost.parts_area._asdict(),
    }  # fmt: skip


def _costs(rows: list[LayerStatistics], form: LowBit) -> dict[str, Any]:
    """The network's cost, and that of an 8 x 8-bit, 32-bit-accumulator design, of the layers whose units are known."""
    own = [_cost_of(row, form) for row in rows]
    whole = [LayerCost(row.macs, reference()) for row, cost in zip(rows, own, strict=True) if cost.cost is not None]
    return {
        "network": network_cost(own)._asdict(), "reference": network_cost(whole)._asdict(), "unit": _unit(reference())
    }  # fmt: skip


def _exported(asked: Quantize, encoder: Encoder, run: Path) -> dict[str, Any]:
    """Write the integer network; its file's bytes, and those of the encoder's parameters as float32."""
    from modicum.quantization.integer.network import IntegerNetwork

    path, spec = Path(str(asked.export)), encoder.spec
    shape = (spec.channels, spec.size, spec.size)
    network = IntegerNetwork.from_module(encoder.backbone, shape, head=_head(run), about=encoder.config)
    network.save(path)
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    return {"file": path.name, "bytes": os.path.getsize(path), "float_bytes": 4 * weights}


def _head(run: Path) -> dict[str, Tensor] | None:
    """The output layer behind the encoder, where it is one linear layer that nothing adapts."""
    config, _ = read_record(run)
    if config.method != NEIGHBORHOODS or config.output_layer != "dot" or config.baseline not in ("vanilla", "knn"):
        return None
    layer = load_neighborhoods(run).network.layer
    assert layer.bias is not None
    return {"weight": layer.weight.detach().T.contiguous(), "bias": layer.bias.detach()}


def median_bits(record: Mapping[str, Any]) -> float | None:
    """The median over low-bit layers of the bits of their activations, as the paper's tables give; None without codes."""
    bits = [row["activation_bits"] for row in record["layers"] if row["activation_bits"] is not None]
    return float(torch.tensor(bits, dtype=torch.float64).quantile(0.5)) if bits else None


def mean_overflow(record: Mapping[str, Any]) -> float | None:
    """The share of all sums of low-bit layers that leave their accumulator: a mean weighted by outputs."""
    rows = [(row["outputs"], row["overflow"]) for row in record["layers"] if row["overflow"] is not None]
    return sum(n * rate for n, rate in rows) / sum(n for n, _ in rows) if rows else None
