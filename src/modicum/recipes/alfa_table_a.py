"""Table A of ALFA: one GPU against several.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table A (supplement).
Command: modicum reproduce alfa_table_a --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute; cpu about 20 minutes a seed on one core, trainings of `alfa_table_1`; full five of its trainings.
Target: 5-way 5-shot mini-ImageNet, ResNet12, %, with the printed radius.

| method | single GPU | several GPUs |
|---|---|---|
| ALFA + Random Init | 72.90 0.44 | 88.90 0.31 |
| MAML | 69.76 0.46 | 58.33 0.49 |
| ALFA + MAML | 77.96 0.41 | 88.36 0.32 |
| MAML + L2F | 77.04 0.42 | 88.85 0.31 |
| ALFA + MAML + L2F | 77.42 0.42 | 90.92 0.29 |

Deviations: `recipes.gradient_models`, `recipes.alfa_tables`. The second column is an error of the released code, as its
authors say: a task's pictures, in the order of their classes, are cut into one piece a device, and batch norm then sees
uneven classes, which gives labels away. Here a device gets whole tasks and several processes compute what one does, so there
is no such number to make and the column is `not run`. cpu: conv4-48 on CIFAR-FS in place of ResNet12.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.alfa_tables import METHODS, TASKS, Number, beside, grid_orders, published
from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import CONV, RESNET, used
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Models, Recipe

NUMBERS: Mapping[str, tuple[Number, Number]] = {
    "ALFA + Random Init": ((72.90, 0.44), (88.90, 0.31)),
    "MAML": ((69.76, 0.46), (58.33, 0.49)),
    "ALFA + MAML": ((77.96, 0.41), (88.36, 0.32)),
    "MAML + L2F": ((77.04, 0.42), (88.85, 0.31)),
    "ALFA + MAML + L2F": ((77.42, 0.42), (90.92, 0.29)),
}
NO_ERROR = "an error of the released code on several devices; here any number of processes computes what one does"
ONE = tuple(
    row
    for method, (single, _) in NUMBERS.items()
    for row in beside(
        published(
            f"{method}, single GPU",
            Models(f"{MINI}-{RESNET}-{METHODS[method]}-5shot", f"{CIFAR}-{CONV}-{METHODS[method]}-5shot"),
            single, 5,
        )
    )
)  # fmt: skip
SEVERAL = tuple(
    published(f"{method}, several GPUs", Models(None, None), several, 5, missing=NO_ERROR)
    for method, (_, several) in NUMBERS.items()
)
ROWS = (*ONE, *SEVERAL)

RECIPE = Recipe(
    title="One GPU against several",
    source="ALFA table A",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a minute",
        "cpu": "about 20 minutes a seed on one core",
        "full": "5 trainings of 50,000 steps, for a GPU",
    },
    tasks=TASKS,
    orders=grid_orders(ONE),
)
