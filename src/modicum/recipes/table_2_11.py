"""Table 2.11: one multiply-accumulate unit in 28 nm CMOS.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.11 of the dissertation's chapter. Ours:
`hardware_rows`.
Command: modicum reproduce table_2_11
Cost: a second, at every scale.
Target: the numbers that the cost model of `quantization.hardware` is made from. Nobody lays out a unit here: that both
columns agree says that the model holds the published numbers, and no more. What is ours are networks on such units.

| bits, accumulator | cycle, ns | throughput, Gops | cell, um^2 | power, mW |
|---|---|---|---|---|
| 8 x 8, 32-bit | 0.31 | 6.5 | 1298 | 2.78 |
| 3 x 1, 32-bit | 0.29 | 7.0 | 732 | 1.90 |
| 8 x 8, 8-bit, k = 2 | 0.24 | 8.3 | 521 | 1.60 |
| 8 x 8, 8-bit, k = 4 | 0.25 | 8.1 | 523 | 1.64 |
| 3 x 1, 8-bit, k = 2 | 0.24 | 8.3 | 290 | 0.93 |
| 3 x 1, 8-bit, k = 4 | 0.24 | 8.3 | 285 | 0.87 |

Ours: microseconds of a picture on one unit.
"""

from __future__ import annotations

from modicum.recipes.hardware_rows import hardware_models, network_rows, unit_rows
from modicum.recipes.recipe import Recipe

PAPER = {
    "8 x 8, 32-bit": (0.31, 6.5, 1298, 2.78),
    "3 x 1, 32-bit": (0.29, 7.0, 732, 1.90),
    "8 x 8, 8-bit, k = 2": (0.24, 8.3, 521, 1.60),
    "8 x 8, 8-bit, k = 4": (0.25, 8.1, 523, 1.64),
    "3 x 1, 8-bit, k = 2": (0.24, 8.3, 290, 0.93),
    "3 x 1, 8-bit, k = 4": (0.24, 8.3, 285, 0.87),
}

RECIPE = Recipe(
    title="Cost of a multiply-accumulate unit",
    source="WrapNet, table 2.11",
    models=hardware_models(),
    rows=(*unit_rows("", ("cycle", "throughput", "cell", "power"), PAPER), *network_rows("time", "us")),
    cost={"smoke": "a second", "cpu": "a second", "full": "a second"},
)
