"""Table 5 of ALFA: what the generator sees.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table 5.
Command: modicum reproduce alfa_table_5 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute; cpu about a quarter of an hour a seed on one core, a third of it a training of `alfa_table_1`; full
three trainings of 50,000 steps.
Target: ALFA + MAML, 5-way 5-shot mini-ImageNet, 4-CONV, %, with the printed radius.

| input | 5-shot |
|---|---|
| weight only | 68.47 0.46 |
| gradient only | 67.98 0.47 |
| weight + gradient (ALFA) | 69.12 0.47 |

Deviations: `recipes.gradient_models`, `recipes.alfa_tables`. With half a state the generator's first layer has half the
inputs and its other layers stay as wide. cpu: CIFAR-FS.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.alfa_tables import TASKS, Number, beside, published, with_support
from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import CONV, used
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Models, Order, Recipe

NUMBERS: Mapping[str, tuple[str, Number]] = {
    "weight only": ("alfa-weights", (68.47, 0.46)),
    "gradient only": ("alfa-gradients", (67.98, 0.47)),
    "weight + gradient (ALFA)": ("alfa", (69.12, 0.47)),
}
ROWS = tuple(
    row
    for name, (method, number) in NUMBERS.items()
    for row in beside(published(name, Models(f"{MINI}-{CONV}-{method}-5shot", f"{CIFAR}-{CONV}-{method}-5shot"), number, 5))
)
BOTH = "weight + gradient (ALFA)"
ORDERS = tuple(Order(BOTH, name, f"the whole state is better than {name}") for name in ("weight only", "gradient only"))

RECIPE = Recipe(
    title="The learning state",
    source="ALFA table 5",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a minute",
        "cpu": "about 15 minutes a seed on one core",
        "full": "3 trainings of 50,000 steps, for a GPU",
    },
    tasks=TASKS,
    orders=with_support(ORDERS),
)
