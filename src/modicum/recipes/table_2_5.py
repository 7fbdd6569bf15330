"""Table 2.5: bit packing without vector instructions, where carries cross into the neighbouring number.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.5 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_5 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu one to three minutes a model and seed on one idle core, four models; full hours on a
GPU a model.
Target: test accuracy on CIFAR-10, VGG-7 with binary weights and 8-bit accumulators; (v) no carry crosses, as in a vector
instruction, (c) carries are added to the sums and each neuron's mean taken away; carries of a sum, mean and deviation.

| method | accuracy (v), % | accuracy (c), % | carries | deviation |
|---|---|---|---|---|
| baseline | 90.81 | 10.03 | 254.91 | 159.55 |
| buffer bit | | 88.22 | | |
| R_c | | 87.86 | 384.42 | 17.91 |
| hybrid | | 89.43 | 482.4 | 16.18 |

Ours: the mean over layers of the neurons' mean, and of the root of the neurons' mean variance over pictures. A narrower
network sums fewer products, so that fewer carries occur. The weight of R_c is not published; ours is the default of
`quantize`. The baseline's means are those of 500 training pictures.
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import used
from modicum.recipes.low_bit_tables import COST, above, accuracy, number, wrapnet
from modicum.recipes.recipe import CHANCE, Recipe

BASE, BUFFER, REGULARISED, HYBRID = (wrapnet(form) for form in ("8", "8-buffer", "8-carries", "8-hybrid"))

RECIPE = Recipe(
    title="Bit packing with carries",
    source="WrapNet, table 2.5",
    models=used(BASE, BUFFER, REGULARISED, HYBRID),
    rows=(
        accuracy("baseline (v)", BASE, 90.81),
        accuracy("baseline (c)", BASE, 10.03, "carries"),
        number("baseline, carries", BASE, "carry", 254.91, "carries", "mean"),
        number("baseline, deviation", BASE, "carry", 159.55, "carries", "deviation"),
        accuracy("buffer bit (c)", BUFFER, 88.22),
        accuracy("R_c (c)", REGULARISED, 87.86),
        number("R_c, carries", REGULARISED, "carry", 384.42, "", "mean"),
        number("R_c, deviation", REGULARISED, "carry", 17.91, "", "deviation"),
        accuracy("hybrid (c)", HYBRID, 89.43),
        number("hybrid, carries", HYBRID, "carry", 482.4, "", "mean"),
        number("hybrid, deviation", HYBRID, "carry", 16.18, "", "deviation"),
    ),
    cost={**COST, "cpu": "one to three minutes a model and seed on one idle core, four models"},
    orders=(
        above(CHANCE, "baseline (c)", "without preparation carries bring a network to chance", -5),
        above("buffer bit (c)", "baseline (c)", "a buffer bit takes them"),
        above("R_c (c)", "baseline (c)", "networks learn to live with them"),
        above("hybrid (c)", "R_c (c)", "both together are better"),
        above("baseline, deviation", "R_c, deviation", "the regulariser keeps carries alike"),
    ),
)
