"""Table 2.13: energy of a multiply-accumulate unit, by its parts.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.13 of the dissertation's chapter. Ours:
`hardware_rows`.
Command: modicum reproduce table_2_13
Cost: a second, at every scale.
Target: fJ/op that the cost model of `quantization.hardware` is made from; see `table_2_11`.

| bits, accumulator | multiplier | accumulator | cyclic | auxiliary | total |
|---|---|---|---|---|---|
| 8 x 8, 32-bit | 144 | 173 | - | 111 | 428 |
| 3 x 1, 32-bit | 10 | 197 | - | 64 | 271 |
| 8 x 8, 8-bit, k = 2 | 48 | 29 | 17 | 98 | 192 |
| 8 x 8, 8-bit, k = 4 | 53 | 28 | 17 | 105 | 203 |
| 3 x 1, 8-bit, k = 2 | 8 | 42 | 23 | 42 | 115 |
| 3 x 1, 8-bit, k = 4 | 6 | 42 | 24 | 33 | 105 |

Ours: nJ of a picture.
"""

from __future__ import annotations

from modicum.recipes.hardware_rows import PARTS, hardware_models, network_rows, unit_rows
from modicum.recipes.recipe import Recipe

PAPER = {
    "8 x 8, 32-bit": (144, 173, 0, 111, 428),
    "3 x 1, 32-bit": (10, 197, 0, 64, 271),
    "8 x 8, 8-bit, k = 2": (48, 29, 17, 98, 192),
    "8 x 8, 8-bit, k = 4": (53, 28, 17, 105, 203),
    "3 x 1, 8-bit, k = 2": (8, 42, 23, 42, 115),
    "3 x 1, 8-bit, k = 4": (6, 42, 24, 33, 105),
}
"""A unit without cyclic function spends nothing on it: 0 for "-"."""

RECIPE = Recipe(
    title="Energy of a multiply-accumulate unit",
    source="WrapNet, table 2.13",
    models=hardware_models(),
    rows=(*unit_rows("energy ", PARTS, PAPER), *network_rows("energy", "nJ")),
    cost={"smoke": "a second", "cpu": "a second", "full": "a second"},
)
