"""Table 5.1 of the dissertation: every network under every head, 1-shot mini-ImageNet.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, table 1.
Command: modicum reproduce table_5_1 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about a quarter of an hour a seed on one core, half of it whole-network fine-tuning; full two
meta-trainings of 480,000 tasks and two of 300 epochs, for a GPU.
Target: 5-way 1-shot, %, mean and one standard error.

| network | SVM | RR | ProtoNet | MAML |
|---|---|---|---|---|
| MetaOptNet-M | 62.64 0.31 | 60.50 0.30 | 51.99 0.33 | 55.77 0.32 |
| MetaOptNet-C | 56.18 0.31 | 55.09 0.30 | 41.89 0.32 | 46.39 0.28 |
| R2-D2-M | 51.80 0.20 | 55.89 0.31 | 47.89 0.32 | 53.72 0.33 |
| R2-D2-C | 48.39 0.29 | 48.29 0.29 | 28.77 0.24 | 44.31 0.28 |

-M: meta-learned (MetaOptNet-SVM; ridge regression), -C: classical training. Columns: the head at test time.

Deviations: RR is the head `r2d2` (lambda 50; the trained one for R2-D2-M). MAML is `fine-tune`, steps of the whole network
on the support set, whose settings the dissertation does not print; 100 tasks in place of 1,000 at cpu. cpu:
`recipes.models`, conv4-64 on CIFAR-FS for both architectures, so both -C rows are one model there.
"""

from __future__ import annotations

from modicum.recipes.chapter_5 import Grid, grid_orders, head_grid, models_of
from modicum.recipes.models import used
from modicum.recipes.recipe import Recipe

NUMBERS: Grid = {
    "MetaOptNet-M": {"SVM": (62.64, 0.31), "RR": (60.50, 0.30), "ProtoNet": (51.99, 0.33), "MAML": (55.77, 0.32)},
    "MetaOptNet-C": {"SVM": (56.18, 0.31), "RR": (55.09, 0.30), "ProtoNet": (41.89, 0.32), "MAML": (46.39, 0.28)},
    "R2-D2-M": {"SVM": (51.80, 0.20), "RR": (55.89, 0.31), "ProtoNet": (47.89, 0.32), "MAML": (53.72, 0.33)},
    "R2-D2-C": {"SVM": (48.39, 0.29), "RR": (48.29, 0.29), "ProtoNet": (28.77, 0.24), "MAML": (44.31, 0.28)},
}
ROWS = head_grid(NUMBERS, 1)

RECIPE = Recipe(
    title="Heads swapped, 1-shot mini-ImageNet",
    source="dissertation table 5.1",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "four trainings, for a GPU"},
    orders=grid_orders(NUMBERS),
)
