"""What a layer costs in hardware: the multiply-accumulate units that were laid out for WrapNet, and what lies between them.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242; tables 2.11 to 2.13 of the dissertation's chapter: units in TSMC's 28
nm CMOS at 0.9 V, placed, routed and simulated with weights and activations of a layer of ResNet-18. A unit multiplies and
adds once in a cycle, which counts as two operations:

    throughput = 2 / cycle time,    area / throughput in um^2/Gops,    power / throughput in fJ/op

    energy of a layer = 2 macs * fJ/op,    its time on one unit = macs * cycle time

Published are 8 x 8 and 3 x 1 bit multipliers, 32-bit accumulators, and 8-bit ones with the cyclic function of slope 2 or 4.
Everything else is an estimate between them, and `Cost.published` says which is which:

| part | estimate |
|---|---|
| multiplier | a line in the product of the bits of its inputs, from 3 (3 x 1) to 64 (8 x 8); a ternary weight has 2 bits |
| accumulator, cyclic function, rest of the unit, cycle time | a line in the accumulator's bits, from 8 to 32 |
| cyclic function of slope 2 or 4 | its cost at 8 bits times bits / 8, for the circuit adds and compares b bits |
| another slope or function | not known: no cost |

Table 2.12 gives 37 um^2/Gops for the 3 x 1-bit unit of slope 2, the sum of its parts, where table 2.11's 290 / 8.3 is 34.9;
totals here are those of tables 2.12 and 2.13. Narrower activations than 3 bits count as 3, for no smaller multiplier was
laid out. Only the arithmetic is counted; memory is as with any network of such activations. A layer that stays in floating
point counts as 8 x 8 bits with a 32-bit accumulator, in a design of low-bit layers and in the one it is compared with: a
floor, for floating point costs more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modicum.configs.low_bit import Cyclic


class Parts(NamedTuple):
    """Costs of the parts of a unit, and their total as published (which is rounded for itself)."""

    multiplier: float
    accumulator: float
    cyclic: float
    auxiliary: float
    total: float


class Unit(NamedTuple):
    """A laid-out unit: bits, slope k (None: no cyclic function), ns, Gops, um^2, mW; parts in um^2/Gops and fJ/op."""

    activations: int
    weights: int
    accumulator: int
    slope: int | None
    cycle: float
    throughput: float
    cell: float
    power: float
    area: Parts
    energy: Parts


UNITS = (
    Unit(8, 8, 32, None, 0.31, 6.5, 1298, 2.78, Parts(96, 91, 0, 12, 199), Parts(144, 173, 0, 111, 428)),
    Unit(3, 1, 32, None, 0.29, 7.0, 732, 1.90, Parts(3, 93, 0, 9, 105), Parts(10, 197, 0, 64, 271)),
    Unit(8, 8, 8, 2, 0.24, 8.3, 521, 1.60, Parts(31, 12, 10, 10, 63), Parts(48, 29, 17, 98, 192)),
    Unit(8, 8, 8, 4, 0.25, 8.1, 523, 1.64, Parts(33, 12, 8, 12, 65), Parts(53, 28, 17, 105, 203)),
    Unit(3, 1, 8, 2, 0.24, 8.3, 290, 0.93, Parts(2, 17, 15, 3, 37), Parts(8, 42, 23, 42, 115)),
    Unit(3, 1, 8, 4, 0.24, 8.3, 285, 0.87, Parts(2, 18, 12, 3, 35), Parts(6, 42, 24, 33, 105)),
)
"""Tables 2.11, 2.12 and 2.13, row by row."""
NARROW, WIDE = 3 * 1, 8 * 8
FEW, MANY = 8, 32
"""Bits of the accumulators that were laid out."""
LEAST = 3
"""Bits of the narrowest activations that were laid out."""


class Cost(NamedTuple):
    """What one unit costs: um^2/Gops, fJ/op, ns a cycle; published, or estimated as `how` says. Parts sum to the totals."""

    area: float
    energy: float
    cycle: float
    parts_area: Parts
    parts_energy: Parts
    published: bool
    how: str


def _between(low: float, high: float, at: float, first: float, last: float) -> float:
    """A line through (first, low) and (last, high), at `at`."""
    return low + (high - low) * (at - first) / (last - first)


def _unit(activations: int, weights: int, accumulator: int, slope: int | None) -> Unit:
    return next(unit for unit in UNITS if unit[:4] == (activations, weights, accumulator, slope))


def _wide_or_narrow(bits: int, product: float, slope: int) -> tuple[Parts, Parts, float]:
    """Area and energy of the parts and the cycle at an accumulator of `bits`, for multipliers of `product` bits."""
    sides = []
    for shape in ((3, 1), (8, 8)):
        few, many = _unit(*shape, FEW, slope), _unit(*shape, MANY, None)
        made = []
        for small, large in ((few.area, many.area), (few.energy, many.energy)):
            at = [_between(a, b, bits, FEW, MANY) for a, b in zip(small, large, strict=True)]
            folded = 0.0 if bits == MANY else small.cyclic * bits / FEW
            made.append(Parts(at[0], at[1], folded, at[3], at[0] + at[1] + folded + at[3]))
        sides.append((made[0], made[1], _between(few.cycle, many.cycle, bits, FEW, MANY)))
    (area_a, energy_a, cycle_a), (area_b, energy_b, cycle_b) = sides

    def mixed(narrow: Parts, wide: Parts) -> Parts:
        """The parts of a multiplier between the two."""
        return Parts(*(_between(x, y, product, NARROW, WIDE) for x, y in zip(narrow, wide, strict=True)))

    return mixed(area_a, area_b), mixed(energy_a, energy_b), _between(cycle_a, cycle_b, product, NARROW, WIDE)


def reference() -> Cost:
    """The design that others are compared with: 8 x 8-bit multipliers, 32-bit accumulators, as published."""
    return _published(UNITS[0])


def _published(unit: Unit) -> Cost:
    how = f"table 2.11: {unit.activations} x {unit.weights} bits, {unit.accumulator}-bit accumulator"
    how += "" if unit.slope is None else f", k = {unit.slope}"
    return Cost(unit.area.total, unit.energy.total, unit.cycle, unit.area, unit.energy, True, how)


def unit_cost(
    activations: int | None, weights: int | None, accumulator: int | None, cyclic: Cyclic = "smooth", slope: float = 2.0
) -> Cost | None:
    """What a layer's unit costs; None where nothing near it was laid out.

    activations, weights: bits, None for floating point, which counts as the reference. accumulator: None for exact sums,
    which take 32 bits; cyclic, slope: what follows a sum that wraps.
    """
    if activations is None or weights is None:
        return reference()
    bits = MANY if accumulator is None else accumulator
    known = accumulator is None or (cyclic == "smooth" and slope in (2, 4))
    if not known or activations > 8 or weights > 8 or not FEW <= bits <= MANY:
        return None
    found = None if accumulator is None else int(slope)
    product = max(activations, LEAST) * weights
    for unit in UNITS:
        if (unit.accumulator, unit.slope, unit.weights) == (bits, found, weights) and product == unit.activations * weights:
            return _published(unit)
    area, energy, cycle = _wide_or_narrow(bits, product, found or 2)
    how = f"estimate: {max(activations, LEAST)} x {weights} bits, {bits}-bit accumulator, between the units laid out"
    return Cost(area.total, energy.total, cycle, area, energy, False, how)


class LayerCost(NamedTuple):
    """A layer of so many multiply-accumulates for a picture, on its units: nJ, us on one unit; cost None where unknown."""

    macs: int
    cost: Cost | None

    @property
    def energy(self) -> float | None:
        """nJ for a picture."""
        return None if self.cost is None else 2 * self.macs * self.cost.energy * 1e-6

    @property
    def time(self) -> float | None:
        """Microseconds for a picture on one unit."""
        return None if self.cost is None else self.macs * self.cost.cycle * 1e-3


class NetworkCost(NamedTuple):
    """A network's layers together: macs, um^2/Gops as a mean over operations, nJ and us (one unit) a picture.

    unknown: multiply-accumulates of layers whose units nobody laid out, which are not in the sums. published: whether every
    layer's unit was laid out.
    """

    macs: int
    area: float
    energy: float
    time: float
    unknown: int
    published: bool


def network_cost(layers: Iterable[LayerCost]) -> NetworkCost:
    """The sum over layers; zeros where there are none."""
    layers = list(layers)
    known = [(layer.macs, layer.cost) for layer in layers if layer.cost is not None]
    macs = sum(n for n, _ in known)
    area = sum(n * cost.area for n, cost in known) / macs if macs else 0.0
    return NetworkCost(
        macs, area, sum(layer.energy or 0.0 for layer in layers), sum(layer.time or 0.0 for layer in layers),
        sum(layer.macs for layer in layers if layer.cost is None), all(cost.published for _, cost in known),
    )  # fmt: skip
