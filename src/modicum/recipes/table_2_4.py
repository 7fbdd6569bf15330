"""Table 2.4: the overflow penalty, at two step sizes.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.4 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`. All coefficients: `table_2_10`.
Command: modicum reproduce table_2_4 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core, four models; full hours on a GPU a
model.
Target: test accuracy on CIFAR-10, VGG-7 with binary weights and 8-bit accumulators, slope 2. The paper's last column, the
difference between the step sizes, is 2.27 points without and 0.76 with the penalty.

| weight of the penalty | p, % | accuracy, % |
|---|---|---|
| 0 | 20 | 88.25 |
| 0 | 5 | 90.52 |
| 0.01 | 20 | 90.05 |
| 0.01 | 5 | 90.81 |
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, wrapnet
from modicum.recipes.recipe import Recipe

ROWS = {
    "penalty 0, p = 20": ("8-p20", 88.25),
    "penalty 0, p = 5": ("8-k2", 90.52),
    "penalty 0.01, p = 20": ("8-p20-penalty", 90.05),
    "penalty 0.01, p = 5": ("8", 90.81),
}

RECIPE = Recipe(
    title="Overflow penalty and step size",
    source="WrapNet, table 2.4",
    models=used(*(wrapnet(form) for form, _ in ROWS.values())),
    rows=tuple(accuracy(name, wrapnet(form), paper) for name, (form, paper) in ROWS.items()),
    cost=COST,
    orders=(
        above("penalty 0.01, p = 20", "penalty 0, p = 20", "the penalty helps where many sums overflow"),
        above("penalty 0.01, p = 5", "penalty 0, p = 5", "it helps at the usual step size"),
        above("penalty 0, p = 5", "penalty 0, p = 20", "the finer step is worse without the penalty"),
    ),
)
