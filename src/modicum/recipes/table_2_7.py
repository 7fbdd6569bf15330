"""Table 2.7: time of 3x3 convolutions of ResNet-18 with 8-bit accumulators and vector instructions.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.7 of the dissertation's chapter. Ours:
`machine_rows`.
Command: modicum reproduce table_2_7 --scale cpu
Cost: cpu about a minute; at smoke scale nothing is timed; full is the same as cpu.
Target: milliseconds on an Intel i7-7700HQ (2.8 GHz, AVX2), by a changed Gemmlowp; other machines have other times, so that
rows are never called reproduced. What the paper times is one matrix product; ours is the whole layer, table building, cyclic
function and requantisation included, batch 1, one thread.

| input, output channels | 8-bit sums | 32-bit sums |
|---|---|---|
| 64x56x56, 64 | 3.467 | 8.339 |
| 128x28x28, 128 | 2.956 | 6.785 |
| 256x14x14, 256 | 2.499 | 5.498 |
| 512x7x7, 512 | 2.710 | 5.520 |

Rows: binary weights with AVX2 and with AVX-512 VBMI (8-bit sums), 32-bit sums with AVX2, and the fastest int8 layer of other
libraries. Ternary weights, cycles and ratios: `benchmarks/low_bit_conv.py` itself.
"""

from __future__ import annotations

from modicum.recipes.conv_times import KERNELS, SHAPES, timed_models, timed_rows
from modicum.recipes.recipe import Recipe

PAPER = {
    "64x56x56": (3.467, 8.339), "128x28x28": (2.956, 6.785), "256x14x14": (2.499, 5.498), "512x7x7": (2.710, 5.520),
}  # fmt: skip

RECIPE = Recipe(
    title="Time of convolutions, vector instructions",
    source="WrapNet, table 2.7",
    models=timed_models(),
    rows=tuple(row for shape in SHAPES for row in timed_rows(shape, KERNELS, PAPER[shape])),
    cost={"smoke": "nothing is timed", "cpu": "about a minute", "full": "the same"},
    absent="the paper's whole ResNet-18: 234.74 ms with 8-bit and 312.42 with 32-bit sums; see docs/benchmarks.md",
)
