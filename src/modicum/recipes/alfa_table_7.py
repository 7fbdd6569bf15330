"""Table 7 of ALFA: fewer inner steps.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table 7.
Command: modicum reproduce alfa_table_7 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute or two; cpu about 20 minutes a seed on one core, half of it trainings of `alfa_table_1`; full six
trainings of 50,000 steps.
Target: 5-way 5-shot mini-ImageNet, 4-CONV, trained and tested with so many steps, %, with the printed radius.

| method | 5-shot |
|---|---|
| MAML, step 5 | 63.11 0.91 |
| ALFA + MAML, step 1 | 69.48 0.46 |
| ALFA + MAML, step 2 | 69.13 0.42 |
| ALFA + MAML, step 3 | 68.67 0.43 |
| ALFA + MAML, step 4 | 69.67 0.45 |
| ALFA + MAML, step 5 | 69.12 0.47 |

Deviations: `recipes.gradient_models`, `recipes.alfa_tables`; the number of MAML is that of Finn et al. 2017. cpu: CIFAR-FS.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.alfa_tables import TASKS, Number, beside, published, with_support
from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import CONV, used
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Models, Order, Recipe

NUMBERS: Mapping[str, tuple[str, Number]] = {
    "MAML, step 5": ("maml", (63.11, 0.91)),
    "ALFA + MAML, step 1": ("alfa-1step", (69.48, 0.46)),
    "ALFA + MAML, step 2": ("alfa-2step", (69.13, 0.42)),
    "ALFA + MAML, step 3": ("alfa-3step", (68.67, 0.43)),
    "ALFA + MAML, step 4": ("alfa-4step", (69.67, 0.45)),
    "ALFA + MAML, step 5": ("alfa", (69.12, 0.47)),
}
ROWS = tuple(
    row
    for name, (method, number) in NUMBERS.items()
    for row in beside(published(name, Models(f"{MINI}-{CONV}-{method}-5shot", f"{CIFAR}-{CONV}-{method}-5shot"), number, 5))
)
ORDERS = tuple(
    Order(name, "MAML, step 5", f"ALFA with {name[-1]} of 5 steps beats MAML") for name in NUMBERS if name != "MAML, step 5"
)

RECIPE = Recipe(
    title="Numbers of inner steps",
    source="ALFA table 7",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a minute or two",
        "cpu": "about 20 minutes a seed on one core",
        "full": "6 trainings of 50,000 steps, for a GPU",
    },
    tasks=TASKS,
    orders=with_support(ORDERS),
)
