"""Table 2.1: what overflow does to networks that were not trained for it.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.1 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_1 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu about a minute a model and seed on one idle core; full hours on a GPU a model.
Target: test accuracy on CIFAR-10, VGG-7 with binary weights and activations of 3 and 2 bits, trained with exact sums
(BWN-QA); tested as they are, and with the very same network's sums wrapped to 8 bits, without a cyclic function; share of
sums that leave 8 bits, mean over layers.

| bits of activations, weights | overflow, % | accuracy, exact sums, % | accuracy, 8-bit sums, % |
|---|---|---|---|
| full precision | | 92.45 | |
| 3, 1 | 10.84 | 91.08 | 10.06 |
| 2, 1 | 1.72 | 88.46 | 44.04 |

Ours: step sizes of least squared error at so many bits. Overflow is counted where sums are exact, so that no layer sees what
another one's overflow has done. "Fall to chance" is read as: below 15 %.
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import VGG, model_name, used
from modicum.recipes.low_bit_tables import COST, above, accuracy, number, wrapnet
from modicum.recipes.recipe import CHANCE, Claim, Models, Recipe

FP = model_name(VGG)
THREE, TWO = wrapnet("qa-3"), wrapnet("qa-2")
FALLS = (
    above("3/1, exact sums", "3/1, 8-bit sums", "8-bit sums that wrap cost accuracy"),
    above(CHANCE, "3/1, 8-bit sums", "without the cyclic layer 8-bit sums are at chance", -5),
)

RECIPE = Recipe(
    title="Overflow without preparation",
    source="WrapNet, table 2.1",
    models=used(FP, f"{FP}-float", THREE, TWO),
    rows=(
        accuracy("full precision", Models(FP, f"{FP}-float"), 92.45),
        *(
            row
            for what, model, overflow, exact, wrapped in (
                ("3/1", THREE, 10.84, 91.08, 10.06),
                ("2/1", TWO, 1.72, 88.46, 44.04),
            )
            for row in (
                number(f"{what}, overflow", model, "overflow", overflow),
                accuracy(f"{what}, exact sums", model, exact),
                accuracy(f"{what}, 8-bit sums", model, wrapped, "wrapped"),
            )
        ),
    ),
    cost=COST,
    orders=(*FALLS, above("2/1, exact sums", "2/1, 8-bit sums", "so they do at few overflows")),
    claims=(Claim("Without the cyclic layer, 8-bit accumulators fall to chance", tuple(("table_2_1", o) for o in FALLS)),),
)
