"""Table 5.7 of the dissertation: every network under every head, 5-shot mini-ImageNet.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, appendix.
Command: modicum reproduce table_5_7 --scale cpu --seeds 0 1 2 --root DIR
Cost: as `table_5_1`, whose trainings it shares.
Target: 5-way 5-shot, %, mean and one standard error.

| network | SVM | RR | ProtoNet | MAML |
|---|---|---|---|---|
| MetaOptNet-M | 78.63 0.25 | 76.96 0.23 | 76.17 0.23 | 70.14 0.27 |
| MetaOptNet-C | 76.72 0.24 | 74.48 0.24 | 73.37 0.24 | 71.32 0.26 |
| R2-D2-M | 68.40 0.20 | 72.09 0.25 | 70.74 0.25 | 71.43 0.27 |
| R2-D2-C | 68.24 0.26 | 67.04 0.26 | 60.93 0.29 | 65.30 0.27 |

Deviations: those of `table_5_1`. In one cell, MetaOptNet under MAML, the published order is classical above meta-learned;
that is the order tested here.
"""

from __future__ import annotations

from modicum.recipes.chapter_5 import Grid, grid_orders, head_grid, models_of
from modicum.recipes.models import used
from modicum.recipes.recipe import Recipe

NUMBERS: Grid = {
    "MetaOptNet-M": {"SVM": (78.63, 0.25), "RR": (76.96, 0.23), "ProtoNet": (76.17, 0.23), "MAML": (70.14, 0.27)},
    "MetaOptNet-C": {"SVM": (76.72, 0.24), "RR": (74.48, 0.24), "ProtoNet": (73.37, 0.24), "MAML": (71.32, 0.26)},
    "R2-D2-M": {"SVM": (68.40, 0.20), "RR": (72.09, 0.25), "ProtoNet": (70.74, 0.25), "MAML": (71.43, 0.27)},
    "R2-D2-C": {"SVM": (68.24, 0.26), "RR": (67.04, 0.26), "ProtoNet": (60.93, 0.29), "MAML": (65.30, 0.27)},
}
ROWS = head_grid(NUMBERS, 5)

RECIPE = Recipe(
    title="Heads swapped, 5-shot mini-ImageNet",
    source="dissertation table 5.7",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "four trainings, for a GPU"},
    orders=grid_orders(NUMBERS),
)
