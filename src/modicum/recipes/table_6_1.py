"""Table 6.1 of the dissertation: R2-D2 with ResNet-12 on CIFAR-FS, trained with fewer support pictures, queries or tasks.

Paper: Ni et al., "Data Augmentation for Meta-Learning", ICML 2021, arXiv 2010.07092, table 1.
Command: modicum reproduce table_6_1 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about a quarter of an hour a seed on one core; full five meta-trainings of 480,000 tasks with
a ResNet-12, for a GPU.
Target: 5-way, %, mean and one standard error.

| support | query | tasks | 1-shot | 5-shot |
|---|---|---|---|---|
| 600 | 600 | full | 71.73 0.37 | 84.39 0.25 |
| 5 | 600 | full | 70.97 0.36 | 84.51 0.24 |
| 5 (random) | 600 | full | 58.15 0.36 | 76.26 0.27 |
| 600 | 5 | full | 60.25 0.37 | 77.05 0.28 |
| 600 | 600 | 13 | 68.24 0.38 | 81.77 0.26 |

Deviations: with a query pool of 5 pictures a class, training tasks have 5 queries a class in place of 6, for no picture
stands twice in a task here; the rest in `modicum.episodes.diversity`. cpu: `recipes.models`, conv4-64 in place of
ResNet-12.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import models_of
from modicum.recipes.chapter_6 import Cells, diversity_orders, diversity_rows
from modicum.recipes.models import used
from modicum.recipes.recipe import Recipe

NUMBERS: Mapping[str, Cells] = {
    "all": ((71.73, 0.37), (84.39, 0.25)),
    "support 5": ((70.97, 0.36), (84.51, 0.24)),
    "support 5 noise": ((58.15, 0.36), (76.26, 0.27)),
    "query 5": ((60.25, 0.37), (77.05, 0.28)),
    "13 tasks": ((68.24, 0.38), (81.77, 0.26)),
}
ROWS = diversity_rows("", "cifar-fs-resnet12-r2d2", "conv4-64-r2d2", NUMBERS)

RECIPE = Recipe(
    title="Diversity of support, queries and tasks, R2-D2 on CIFAR-FS",
    source="dissertation table 6.1",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "five trainings, for a GPU"},
    orders=diversity_orders(""),
)
