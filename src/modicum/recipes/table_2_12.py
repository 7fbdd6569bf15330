"""Table 2.12: area of a multiply-accumulate unit, by its parts.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.12 of the dissertation's chapter. Ours:
`hardware_rows`.
Command: modicum reproduce table_2_12
Cost: a second, at every scale.
Target: um^2/Gops that the cost model of `quantization.hardware` is made from; see `table_2_11`.

| bits, accumulator | multiplier | accumulator | cyclic | auxiliary | total |
|---|---|---|---|---|---|
| 8 x 8, 32-bit | 96 | 91 | - | 12 | 199 |
| 3 x 1, 32-bit | 3 | 93 | - | 9 | 105 |
| 8 x 8, 8-bit, k = 2 | 31 | 12 | 10 | 10 | 63 |
| 8 x 8, 8-bit, k = 4 | 33 | 12 | 8 | 12 | 65 |
| 3 x 1, 8-bit, k = 2 | 2 | 17 | 15 | 3 | 37 |
| 3 x 1, 8-bit, k = 4 | 2 | 18 | 12 | 3 | 35 |

Ours: um^2/Gops of a network, a mean over its operations.
"""

from __future__ import annotations

from modicum.recipes.hardware_rows import PARTS, hardware_models, network_rows, unit_rows
from modicum.recipes.recipe import Recipe

PAPER = {
    "8 x 8, 32-bit": (96, 91, 0, 12, 199),
    "3 x 1, 32-bit": (3, 93, 0, 9, 105),
    "8 x 8, 8-bit, k = 2": (31, 12, 10, 10, 63),
    "8 x 8, 8-bit, k = 4": (33, 12, 8, 12, 65),
    "3 x 1, 8-bit, k = 2": (2, 17, 15, 3, 37),
    "3 x 1, 8-bit, k = 4": (2, 18, 12, 3, 35),
}
"""A unit without cyclic function spends nothing on it: 0 for "-"."""

RECIPE = Recipe(
    title="Area of a multiply-accumulate unit",
    source="WrapNet, table 2.12",
    models=hardware_models(),
    rows=(*unit_rows("area ", PARTS, PAPER), *network_rows("area", "um^2/Gops")),
    cost={"smoke": "a second", "cpu": "a second", "full": "a second"},
)
