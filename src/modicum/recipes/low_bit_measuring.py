"""Rows of low-bit networks: accuracy as trained and under other sums, overflow, bits, carries.

| figure | is |
|---|---|
| low_bit | accuracy on all test pictures, the network as it was trained |
| low_bit wrapped | the same network's sums wrapped to 8 bits, with nothing behind them |
| low_bit carries | carries let through in every layer; means of the carries are those of `CARRIED` training pictures |
| overflow | sums that leave the accumulator (8 bits where sums are exact), mean over layers, on `LOOKED` test pictures |
| bits | of the codes, median over layers |
| carry mean, deviation | of a sum's carries: mean over neurons, root of the neurons' mean variance; mean over layers that \
let them through |

Overflow counts exact sums of the codes that a layer gets, by a second pass of its arithmetic; a layer whose inputs another
one's overflow has spoilt is counted on these.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.errors import DataError
from modicum.recipes.recipe import Row
from modicum.runtime import Progress, device

if TYPE_CHECKING:
    from modicum.quantization.layers import LowBitLayer
    from modicum.training.neighborhoods.runs import NeighborhoodsRun
    from modicum.training.supervised_tests import Tested

LOOKED, CARRIED = 500, 500
WRAPPED_BITS = 8
Layers = dict[str, "LowBitLayer"]
Figures = dict[str, dict[str, Any]]


def measure_low_bit(row: Row, run: Path, root: str | None, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of a run: its figure and all figures of its branch; `DataError` for one it lacks."""
    from modicum.quantization.layers import low_bit_layers
    from modicum.training.neighborhoods.runs import load_neighborhoods
    from modicum.training.supervised_tests import tested_pictures

    loaded = load_neighborhoods(run)
    loaded.network.to(device("auto"))
    layers = low_bit_layers(loaded.network.encoder)
    tested = tested_pictures(loaded, "test", None, root, None, progress)
    _under(row.branch, loaded, layers, tested)
    figures = {_name("low_bit", row.branch): accuracy_of(loaded, tested, progress)}
    figures |= _looked(row.branch, loaded, layers, tested)
    if row.figure not in figures:
        why = ": no layer lets carries through" if row.kind == "carry" else ""
        raise DataError(f"{row.name}: {run.name} has no {row.figure}{why}")
    kept = {"tested": tested.over, "steps": loaded.record["step"], "layers": layer_records(layers)}
    return {**kept, "figures": figures, **figures[row.figure]}


def _name(kind: str, branch: str, bucket: str = "") -> str:
    return " ".join(part for part in (kind, branch, bucket) if part)


def layer_records(layers: Layers) -> list[dict[str, Any]]:
    """Name, stage, step and bits of every low-bit layer."""
    return [
        {"name": name, "stage": int(layer.stage), "step": float(layer.step), "bits": code_bits(layer)}
        for name, layer in layers.items()
    ]


def code_bits(layer: LowBitLayer) -> int:
    """Bits of a layer's codes."""
    return int(layer.top).bit_length() + bool(layer.signed)


def _under(branch: str, loaded: NeighborhoodsRun, layers: Layers, tested: Tested) -> None:
    """Change the arithmetic of the layers to that of a branch."""
    if branch == "wrapped":
        for layer in layers.values():
            layer.arithmetic = layer.arithmetic._replace(bits=WRAPPED_BITS, cyclic="none")
    if branch == "carries":
        from modicum.backbones.backbone import channels_last
        from modicum.quantization.layers import simulate_carries
        from modicum.training.supervised_tests import parts_of

        encoder = loaded.network.encoder
        rows = parts_of(loaded, tested.pictures).train[:CARRIED]
        x = encoder.normalised(_pictures(tested, rows))
        simulate_carries(encoder.backbone, channels_last(x))


def _pictures(tested: Tested, rows: NDArray[np.int64]) -> Tensor:
    """Pictures (n, C, H, W) uint8 at rows (n,)."""
    from modicum.episodes.cutting import gather

    return gather(tested.pictures.pixels, rows, device("auto"))


def accuracy_of(loaded: NeighborhoodsRun, tested: Tested, progress: Progress | None = None) -> dict[str, Any]:
    """The share of all tested pictures that are right, with its interval over pictures."""
    from modicum.evaluation.intervals import mean_interval
    from modicum.training.neighborhoods.scoring import score_pictures

    scored = score_pictures(loaded.network, tested.pictures.pixels, tested.rows, device("auto"), progress=progress)
    right = scored.logits[-1].argmax(-1).numpy() == tested.labels
    found = mean_interval(right.astype(np.float64), f"{len(right)} {tested.over}")
    return {"value": found.mean, "ci95": found.ci95, "stderr": found.stderr, "interval_over": found.over}


def _looked(branch: str, loaded: NeighborhoodsRun, layers: Layers, tested: Tested) -> Figures:
    """Overflow, bits and carries on some test pictures; nothing of a network whose activations are float."""
    from modicum.quantization.layers import CODES, LET_THROUGH, watching

    coded = {name: layer for name, layer in layers.items() if int(layer.stage) == CODES}
    if not coded:
        return {}
    rates: list[float] = []
    handles = [layer.register_forward_pre_hook(_counting(layer, rates)) for layer in coded.values()]
    encoder = loaded.network.encoder.eval()
    through = {name for name, layer in coded.items() if int(layer.carry) == LET_THROUGH}
    try:
        with torch.inference_mode(), watching(penalties=False, carries=bool(through)) as watch:
            encoder(_pictures(tested, tested.rows[:LOOKED]))
    finally:
        for handle in handles:
            handle.remove()
    over = f"one training, {min(LOOKED, len(tested.rows))} test pictures, {len(coded)} layers: no interval"
    bits = float(np.median([code_bits(layer) for layer in coded.values()]))
    found = {"overflow": float(np.mean(rates)), "bits": bits}
    figures = {_name(kind, branch): _figure(value, over) for kind, value in found.items()}
    counted = [each for each in watch.records if each.name in through]  # a buffer bit's carries go nowhere
    means = [float(each.carry_mean) for each in counted if each.carry_mean is not None]
    deviations = [float(each.carry_deviation) for each in counted if each.carry_deviation is not None]
    if means:
        figures[_name("carry", branch, "mean")] = _figure(float(np.mean(means)), over)
        figures[_name("carry", branch, "deviation")] = _figure(float(np.mean(deviations)), over)
    return figures


def _counting(layer: LowBitLayer, rates: list[float]) -> Any:
    """A hook that notes the share of exact sums of a layer's codes that leave its accumulator."""
    from modicum.quantization.overflow import overflow_rate

    bits = WRAPPED_BITS if layer.bits is None else layer.bits

    def hook(part: Any, given: tuple[Tensor, ...]) -> None:
        integers = layer.low_bit_weights().integers
        z = layer.products(layer.codes(given[0]), integers.to(given[0].dtype))
        rates.append(float(overflow_rate(z, bits)))

    return hook


def _figure(value: float, over: str) -> dict[str, Any]:
    return {"value": value, "ci95": None, "stderr": None, "interval_over": over}
