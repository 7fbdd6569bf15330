"""Table 1 of ALFA: every start without and with generated rates and decays, mini-ImageNet and tieredImageNet.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table 1.
Command: modicum reproduce alfa_table_1 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about 35 minutes a seed on one core, trainings that tables 2, 5, 7, A, B, C and
E share; full 20 trainings of 50,000 steps, for a GPU.
Target: 5-way, %, with the printed radius.

| method, backbone | miniImageNet 1-shot | 5-shot | tieredImageNet 1-shot | 5-shot |
|---|---|---|---|---|
| Random Init, 4-CONV | 24.85 0.43 | 31.09 0.46 | 26.55 0.44 | 33.82 0.47 |
| ALFA + Random Init, 4-CONV | 51.61 0.50 | 70.00 0.46 | 53.32 0.50 | 71.97 0.44 |
| MAML, 4-CONV | 48.70 1.75 | 63.11 0.91 | 49.06 0.50 | 67.48 0.47 |
| ALFA + MAML, 4-CONV | 50.58 0.51 | 69.12 0.47 | 53.16 0.49 | 70.54 0.46 |
| MAML + L2F, 4-CONV | 52.10 0.50 | 69.38 0.46 | 54.40 0.50 | 73.34 0.44 |
| ALFA + MAML + L2F, 4-CONV | 52.76 0.52 | 71.44 0.45 | 55.06 0.50 | 73.94 0.43 |
| Random Init, ResNet12 | 31.23 0.46 | 41.60 0.49 | 33.46 0.47 | 44.54 0.50 |
| ALFA + Random Init, ResNet12 | 56.86 0.50 | 72.90 0.44 | 62.00 0.47 | 79.81 0.40 |
| MAML, ResNet12 | 58.37 0.49 | 69.76 0.46 | 58.58 0.49 | 71.24 0.43 |
| ALFA + MAML, ResNet12 | 59.74 0.49 | 77.96 0.41 | 64.62 0.49 | 82.48 0.38 |
| MAML + L2F, ResNet12 | 59.71 0.49 | 77.04 0.42 | 64.04 0.48 | 81.13 0.39 |
| ALFA + MAML + L2F, ResNet12 | 60.05 0.49 | 77.42 0.42 | 64.43 0.49 | 81.77 0.39 |

Deviations: `recipes.gradient_models` (settings), `recipes.alfa_tables` (batch norm, radii). tieredImageNet cannot be
read, so its rows are not run. MAML's mini-ImageNet numbers with 4-CONV are those of Finn et al. 2017, another network and
training. cpu: conv4-48 on CIFAR-FS; ResNet12 is for full scale. Figure 3 and figures A to C, what ALFA generates, are
sections of `modicum report` about a run of ALFA.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.alfa_tables import TASKS, Number, claims, grid, grid_orders
from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import used
from modicum.recipes.models import CIFAR
from modicum.recipes.recipe import Recipe

NUMBERS: Mapping[tuple[str, str], tuple[Number, ...]] = {
    ("Random Init", "4-CONV"): ((24.85, 0.43), (31.09, 0.46), (26.55, 0.44), (33.82, 0.47)),
    ("ALFA + Random Init", "4-CONV"): ((51.61, 0.50), (70.00, 0.46), (53.32, 0.50), (71.97, 0.44)),
    ("MAML", "4-CONV"): ((48.70, 1.75), (63.11, 0.91), (49.06, 0.50), (67.48, 0.47)),
    ("ALFA + MAML", "4-CONV"): ((50.58, 0.51), (69.12, 0.47), (53.16, 0.49), (70.54, 0.46)),
    ("MAML + L2F", "4-CONV"): ((52.10, 0.50), (69.38, 0.46), (54.40, 0.50), (73.34, 0.44)),
    ("ALFA + MAML + L2F", "4-CONV"): ((52.76, 0.52), (71.44, 0.45), (55.06, 0.50), (73.94, 0.43)),
    ("Random Init", "ResNet12"): ((31.23, 0.46), (41.60, 0.49), (33.46, 0.47), (44.54, 0.50)),
    ("ALFA + Random Init", "ResNet12"): ((56.86, 0.50), (72.90, 0.44), (62.00, 0.47), (79.81, 0.40)),
    ("MAML", "ResNet12"): ((58.37, 0.49), (69.76, 0.46), (58.58, 0.49), (71.24, 0.43)),
    ("ALFA + MAML", "ResNet12"): ((59.74, 0.49), (77.96, 0.41), (64.62, 0.49), (82.48, 0.38)),
    ("MAML + L2F", "ResNet12"): ((59.71, 0.49), (77.04, 0.42), (64.04, 0.48), (81.13, 0.39)),
    ("ALFA + MAML + L2F", "ResNet12"): ((60.05, 0.49), (77.42, 0.42), (64.43, 0.49), (81.77, 0.39)),
}
ROWS = grid(NUMBERS, ("miniImageNet", "tieredImageNet"), {"miniImageNet": CIFAR, "tieredImageNet": None})
ORDERS = grid_orders(ROWS)

RECIPE = Recipe(
    title="ALFA on random, MAML and L2F starts",
    source="ALFA table 1",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a few minutes",
        "cpu": "about 35 minutes a seed on one core",
        "full": "20 trainings of 50,000 steps, for a GPU",
    },
    tasks=TASKS,
    orders=ORDERS,
    claims=claims("alfa_table_1", ORDERS),
    absent="LEO and MetaOpt, which other tables have or no table of ours",
)
