"""Table 2.2: slopes of the cyclic function.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.2 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_2 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core, five models; full hours on a GPU a
model.
Target: test accuracy on CIFAR-10, VGG-7 with binary weights and 8-bit accumulators, p = 5 %, no penalty. Without end the
cyclic function is the modulo itself, which diverges in the paper.

| slope | accuracy, % |
|---|---|
| k = 1 | 90.24 |
| k = 2 | 90.52 |
| k = 4 | 90.25 |
| k = 10 | 89.16 |
| modulo | diverges |
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, wrapnet
from modicum.recipes.recipe import Recipe

PAPER = {"1": 90.24, "2": 90.52, "4": 90.25, "10": 89.16}
MODULO = wrapnet("8-modulo")

RECIPE = Recipe(
    title="Slopes of the cyclic function",
    source="WrapNet, table 2.2",
    models=used(*(wrapnet(f"8-k{k}") for k in PAPER), MODULO),
    rows=(
        *(accuracy(f"k = {k}", wrapnet(f"8-k{k}"), paper) for k, paper in PAPER.items()),
        accuracy("modulo", MODULO),
    ),
    cost=COST,
    orders=(
        *(above("k = 2", f"k = {k}", f"slope 2 is better than {k}") for k in PAPER if k != "2"),
        above("k = 2", "modulo", "it must be continuous"),
    ),
)
