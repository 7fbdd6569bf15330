"""Table 2.14: weights of more bits.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.14 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_14 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core, ten models; full hours on a GPU a
model.
Target: overflow and test accuracy on CIFAR-10, VGG-7 with 8-bit accumulators; 2 bits are ternary weights. The paper's last
column is what full precision (92.45) has more.

| bits | overflow, % | accuracy, % |
|---|---|---|
| 1 bit | 1.24 | 90.81 |
| 2 bits | 0.12 | 91.14 |
| 3 bits | 0.02 | 91.55 |
| 4 bits | 0.04 | 91.73 |
| 5 bits | 0.4 | 91.20 |
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, number, wrapnet
from modicum.recipes.recipe import Recipe

PAPER = {
    "1 bit": ("binary", 1.24, 90.81),
    "2 bits": ("ternary", 0.12, 91.14),
    "3 bits": ("3", 0.02, 91.55),
    "4 bits": ("4", 0.04, 91.73),
    "5 bits": ("5", 0.4, 91.20),
}

RECIPE = Recipe(
    title="Weights of more bits",
    source="WrapNet, table 2.14",
    models=used(*(wrapnet("8", weights) for weights, *_ in PAPER.values())),
    rows=tuple(
        row
        for what, (weights, overflow, paper) in PAPER.items()
        for row in (
            accuracy(what, wrapnet("8", weights), paper),
            number(f"{what}, overflow", wrapnet("8", weights), "overflow", overflow),
        )
    ),
    cost=COST,
    orders=(
        above("2 bits", "1 bit", "ternary weights are better than binary ones"),
        above("3 bits", "2 bits", "3 bits are better than 2"),
        above("4 bits", "1 bit", "the best weights have 4 bits"),
    ),
)
