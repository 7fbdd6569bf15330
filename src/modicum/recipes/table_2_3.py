"""Table 2.3: step sizes of the activations, by how many sums overflow at first.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.3 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_3 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core, eight models; full hours on a
GPU a model.
Target: test accuracy on CIFAR-10, VGG-7 with binary weights and 8-bit accumulators, slope 2, no penalty; bits of the
activations that the step sizes leave, median over layers.

| p, % | bits | accuracy, % |
|---|---|---|
| 0 | 1 | 90.07 |
| 2 | 3 | 90.51 |
| 5 | 3 | 90.52 |
| 10 | 4 | 89.92 |
| 20 | 4 | 88.25 |
| 30 | 5 | 85.30 |
| 40 | 5 | 36.11 |
| 50 | 5 | diverges |

A narrower network sums fewer products, so that the same p leaves more bits: the rows "bits" say how many.
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, number, wrapnet
from modicum.recipes.recipe import Recipe

PAPER = {
    0: (1, 90.07), 2: (3, 90.51), 5: (3, 90.52), 10: (4, 89.92), 20: (4, 88.25), 30: (5, 85.30), 40: (5, 36.11),
    50: (5, None),
}  # fmt: skip


def model(p: int) -> str:
    """The model of a share p of overflows; p = 5 is the default of the ablations."""
    return wrapnet("8-k2" if p == 5 else f"8-p{p}")


RECIPE = Recipe(
    title="Step sizes by overflow rate",
    source="WrapNet, table 2.3",
    models=used(*(model(p) for p in PAPER)),
    rows=tuple(
        row
        for p, (bits, paper) in PAPER.items()
        for row in (accuracy(f"p = {p}", model(p), paper), number(f"p = {p}, bits", model(p), "bits", bits))
    ),
    cost=COST,
    orders=(
        *(above("p = 5", f"p = {p}", f"5 % is better than {p} %") for p in (0, 10, 20, 30)),
        *(above("p = 5", f"p = {p}", f"{p} % is too many") for p in (40, 50)),
        above("p = 10, bits", "p = 0, bits", "more overflow leaves more bits"),
    ),
)
