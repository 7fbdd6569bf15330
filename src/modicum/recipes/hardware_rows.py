"""Rows of tables 2.11 to 2.13: multiply-accumulate units as published, and networks of ours on them.

A unit is called ACTIVATIONS x WEIGHTS, ACCUMULATOR, as `3 x 1, 8-bit, k = 2`. A network's layers run on one such unit, its
first layer on the 8 x 8-bit one with a 32-bit accumulator: for floating point, a floor (`quantization.hardware`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modicum.recipes.recipe import Machine, Options, Row

DESIGNS: Mapping[str, tuple[int, int, int, int | None]] = {
    "8 x 8, 32-bit": (8, 8, 32, None),
    "3 x 1, 32-bit": (3, 1, 32, None),
    "8 x 8, 8-bit, k = 2": (8, 8, 8, 2),
    "8 x 8, 8-bit, k = 4": (8, 8, 8, 4),
    "3 x 1, 8-bit, k = 2": (3, 1, 8, 2),
    "3 x 1, 8-bit, k = 4": (3, 1, 8, 4),
}
"""Name of a design -> bits of activations, weights, accumulator; slope."""
NETWORKS = {"vgg7": 32, "resnet20": 32, "resnet18": 224}
"""Backbone -> side of its pictures."""
PARTS = ("multiplier", "accumulator", "cyclic", "auxiliary", "total")
MODEL = "low-bit-hardware"


def hardware_models() -> dict[str, Options]:
    """What stands for the models of a table of costs; the same at all scales."""
    found = Machine("hardware")
    return {MODEL: {"smoke": found, "cpu": found, "full": found}}


def unit_rows(what: str, columns: Sequence[str], paper: Mapping[str, Sequence[float]]) -> tuple[Row, ...]:
    """Rows of every design and column; paper: design -> its published numbers, in the columns' order."""
    return tuple(
        Row(f"{design}, {column}", MODEL, kind="unit", branch=design, bucket=f"{what}{column}", paper=float(value))
        for design, values in paper.items()
        for column, value in zip(columns, values, strict=True)
    )


def network_rows(what: str, unit: str) -> tuple[Row, ...]:
    """Rows of our networks on every design; what: time, area or energy; unit: how it is called."""
    return tuple(
        Row(f"{network} on {design}, {unit}", MODEL, kind="unit", branch=f"{network} on {design}", bucket=what)
        for network in NETWORKS
        for design in DESIGNS
    )


def unit_figures() -> dict[str, float]:
    """Figure of a row -> number: of every unit as `hardware` holds it, and of networks summed over their layers."""
    from modicum.quantization.hardware import UNITS

    found: dict[str, float] = {}
    units = {unit[:4]: unit for unit in UNITS}
    for design, shape in DESIGNS.items():
        unit = units[shape]
        for name in ("cycle", "throughput", "cell", "power"):
            found[f"unit {design} {name}"] = float(getattr(unit, name))
        for table, parts in (("area", unit.area), ("energy", unit.energy)):
            found |= {f"unit {design} {table} {part}": float(getattr(parts, part)) for part in PARTS}
    for network, size in NETWORKS.items():
        macs = layer_macs(network, size)
        for design in DESIGNS:
            found |= {f"unit {network} on {design} {what}": value for what, value in _summed(macs, design).items()}
    return found


def layer_macs(backbone: str, size: int) -> list[int]:
    """Multiply-accumulates of every convolution and linear layer for one picture, in order of execution."""
    import torch
    from torch import nn

    from modicum.backbones.encoder import ImageSpec, build_encoder

    network = build_encoder(backbone, ImageSpec(size, 3)).backbone.eval()
    found: list[int] = []

    def count(layer: nn.Module, given: object, out: torch.Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        found.append(out[0].numel() * weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    return found


def _summed(macs: Sequence[int], design: str) -> dict[str, float]:
    """Microseconds on one unit, um^2/Gops as a mean over operations, nJ: of a picture; the first layer on the 8 x 8 unit."""
    from modicum.quantization.hardware import LayerCost, network_cost, reference, unit_cost

    activations, weights, bits, slope = DESIGNS[design]
    own = unit_cost(activations, weights, None if slope is None else bits, "smooth", float(slope or 2))
    layers = [LayerCost(n, own if index else reference()) for index, n in enumerate(macs)]
    cost = network_cost(layers)
    return {"time": cost.time, "area": cost.area, "energy": cost.energy}
