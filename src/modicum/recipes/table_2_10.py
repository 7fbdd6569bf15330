"""Table 2.10: weights of the overflow penalty, with and without the cyclic function.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.10 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_10 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core, eight models; full hours on a
GPU a model.
Target: overflow and test accuracy on CIFAR-10, VGG-7 with binary weights and 8-bit accumulators, p = 5 %, slope 2.

| weight | overflow, % | accuracy, % |
|---|---|---|
| cyclic, 0 | 6.29 | 90.52 |
| cyclic, 0.001 | 1.88 | 90.33 |
| cyclic, 0.01 | 1.24 | 90.81 |
| cyclic, 0.1 | 1.04 | 89.52 |
| no cyclic, 0.01 | 5.91 | 64.69 |
| no cyclic, 0.1 | 0.35 | 88.94 |
| no cyclic, 1 | 0.06 | 90.26 |
| no cyclic, 2 | 0.03 | 90.20 |

Without the cyclic function the network is trained with exact sums and the penalty, and its sums wrap at test time.
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, number, wrapnet
from modicum.recipes.recipe import Recipe

PAPER = {
    "cyclic, 0": ("8-k2", 6.29, 90.52),
    "cyclic, 0.001": ("8-penalty-0.001", 1.88, 90.33),
    "cyclic, 0.01": ("8", 1.24, 90.81),
    "cyclic, 0.1": ("8-penalty-0.1", 1.04, 89.52),
    "no cyclic, 0.01": ("8-none-penalty-0.01", 5.91, 64.69),
    "no cyclic, 0.1": ("8-none-penalty-0.1", 0.35, 88.94),
    "no cyclic, 1": ("8-none-penalty-1", 0.06, 90.26),
    "no cyclic, 2": ("8-none-penalty-2", 0.03, 90.20),
}

RECIPE = Recipe(
    title="Weights of the overflow penalty",
    source="WrapNet, table 2.10",
    models=used(*(wrapnet(form) for form, *_ in PAPER.values())),
    rows=tuple(
        row
        for what, (form, overflow, paper) in PAPER.items()
        for row in (
            accuracy(what, wrapnet(form), paper),
            number(f"{what}, overflow", wrapnet(form), "overflow", overflow),
        )
    ),
    cost=COST,
    orders=(
        above("cyclic, 0, overflow", "cyclic, 0.01, overflow", "the penalty lessens overflow"),
        above("cyclic, 0.01", "cyclic, 0", "and adds accuracy"),
        above("cyclic, 0.01", "no cyclic, 0.01", "the cyclic function is needed beside a weak penalty"),
        above("no cyclic, 1", "no cyclic, 0.01", "without it the penalty must be strong"),
    ),
)
