"""Table 2.9: other cyclic functions, with and without the ReLU behind batch norm.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.9 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_9 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core, ten models; full hours on a GPU a
model.
Target: test accuracy on CIFAR-10, VGG-7 with binary weights and 8-bit accumulators, p = 5 %, no penalty.

| function | with ReLU, % | without, % |
|---|---|---|
| smooth, k = 2 | 90.52 | 89.28 |
| ReLU-like, k = 1 | 90.25 | 88.62 |
| ReLU-like, k = 2 | 90.31 | 89.01 |
| ReLU-like, k = 3 | 90.15 | 88.53 |
| absolute value | 90.17 | 89.19 |

The paper draws its other functions and does not write them: the absolute value is read as |m|, the ReLU-like one as
max(f(m), 0) with f the smooth one. Without ReLU the activations have signs, and so have their codes.
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, wrapnet
from modicum.recipes.recipe import Recipe

PAPER = {
    "smooth, k = 2": ("8-k2", 90.52, 89.28),
    "ReLU-like, k = 1": ("8-relu-k1", 90.25, 88.62),
    "ReLU-like, k = 2": ("8-relu-k2", 90.31, 89.01),
    "ReLU-like, k = 3": ("8-relu-k3", 90.15, 88.53),
    "absolute value": ("8-absolute", 90.17, 89.19),
}
WITHOUT = ", no ReLU"

RECIPE = Recipe(
    title="Cyclic functions, with and without ReLU",
    source="WrapNet, table 2.9",
    models=used(*(wrapnet(f"{form}{end}") for form, *_ in PAPER.values() for end in ("", "-bare"))),
    rows=tuple(
        row
        for what, (form, with_relu, without) in PAPER.items()
        for row in (
            accuracy(what, wrapnet(form), with_relu),
            accuracy(what + WITHOUT, wrapnet(f"{form}-bare"), without),
        )
    ),
    cost=COST,
    orders=(
        *(above(what, what + WITHOUT, "a ReLU behind batch norm helps") for what in PAPER),
        *(
            above("smooth, k = 2", what, "the smooth modulo is the best function")
            for what in PAPER
            if what != "smooth, k = 2"
        ),
    ),
)
