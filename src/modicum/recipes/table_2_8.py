"""Table 2.8: time of 3x3 convolutions of ResNet-18 without vector instructions, numbers packed into words.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.8 of the dissertation's chapter. Ours:
`machine_rows`.
Command: modicum reproduce table_2_8 --scale cpu
Cost: cpu about a minute; at smoke scale nothing is timed; full is the same as cpu.
Target: milliseconds on an Intel i7-7700HQ (2.8 GHz), four 8-bit numbers in a word of 32 bits, against a plain loop; other
machines have other times, so that rows are never called reproduced.

| input, output channels | packed | plain loop |
|---|---|---|
| 64x56x56, 64 | 29.80 | 83.705 |
| 128x28x28, 128 | 23.86 | 80.557 |
| 256x14x14, 256 | 21.71 | 86.753 |
| 512x7x7, 512 | 20.41 | 87.671 |

Rows: eight numbers in a word of 64 bits, with a table of partial sums and with a buffer bit; a plain loop, and one in
blocks.
"""

from __future__ import annotations

from modicum.recipes.conv_times import SCALAR, SHAPES, timed_models, timed_rows
from modicum.recipes.recipe import Recipe

PAPER = {
    "64x56x56": (29.80, 83.705), "128x28x28": (23.86, 80.557), "256x14x14": (21.71, 86.753), "512x7x7": (20.41, 87.671),
}  # fmt: skip

RECIPE = Recipe(
    title="Time of convolutions, no vector instructions",
    source="WrapNet, table 2.8",
    models=timed_models(),
    rows=tuple(row for shape in SHAPES for row in timed_rows(shape, SCALAR, PAPER[shape])),
    cost={"smoke": "nothing is timed", "cpu": "about a minute", "full": "the same"},
)
