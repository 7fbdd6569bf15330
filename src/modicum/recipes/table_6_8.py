"""Table 6.8 of the dissertation: as table 6.1, on mini-ImageNet, with two backbones and two methods.

Paper: Ni et al., "Data Augmentation for Meta-Learning", ICML 2021, arXiv 2010.07092, appendix A.
Command: modicum reproduce table_6_8 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about half an hour a seed on one core, half of it shared with `table_6_1`; full fifteen
meta-trainings of 480,000 tasks, for a GPU.
Target: 5-way, %, mean and one standard error.

| method | backbone | support | query | tasks | 1-shot | 5-shot |
|---|---|---|---|---|---|---|
| R2-D2 | CNN-4 | 600 | 600 | full | 55.94 0.32 | 72.32 0.25 |
| R2-D2 | CNN-4 | 5 | 600 | full | 55.05 0.31 | 71.66 0.26 |
| R2-D2 | CNN-4 | 5 (random) | 600 | full | 42.09 0.29 | 60.12 0.27 |
| R2-D2 | CNN-4 | 600 | 5 | full | 49.87 0.30 | 66.00 0.27 |
| R2-D2 | CNN-4 | 600 | 600 | 13 | 53.34 0.31 | 69.43 0.25 |
| R2-D2 | ResNet-12 | 600 | 600 | full | 60.50 0.33 | 76.60 0.24 |
| R2-D2 | ResNet-12 | 5 | 600 | full | 58.79 0.32 | 76.45 0.25 |
| R2-D2 | ResNet-12 | 5 (random) | 600 | full | 43.80 0.30 | 62.26 0.28 |
| R2-D2 | ResNet-12 | 600 | 5 | full | 48.02 0.31 | 65.45 0.26 |
| R2-D2 | ResNet-12 | 600 | 600 | 13 | 57.65 0.33 | 73.18 0.28 |
| ProtoNet | ResNet-12 | 600 | 600 | full | 57.46 0.38 | 75.61 0.29 |
| ProtoNet | ResNet-12 | 5 | 600 | full | 57.03 0.33 | 75.46 0.26 |
| ProtoNet | ResNet-12 | 5 (random) | 600 | full | 43.36 0.32 | 57.20 0.28 |
| ProtoNet | ResNet-12 | 600 | 5 | full | 48.40 0.34 | 64.79 0.29 |
| ProtoNet | ResNet-12 | 600 | 600 | 13 | 51.88 0.35 | 66.41 0.29 |

Deviations: those of `table_6_1`. All rows train with 5 shots in place of 15, which a support pool of 5 does not have. cpu:
`recipes.models`, conv4-64 on CIFAR-FS, so R2-D2 has one backbone there and its rows are those of table 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import models_of
from modicum.recipes.chapter_6 import Cells, diversity_orders, diversity_rows
from modicum.recipes.models import used
from modicum.recipes.recipe import Recipe

R2D2_CNN4: Mapping[str, Cells] = {
    "all": ((55.94, 0.32), (72.32, 0.25)),
    "support 5": ((55.05, 0.31), (71.66, 0.26)),
    "support 5 noise": ((42.09, 0.29), (60.12, 0.27)),
    "query 5": ((49.87, 0.30), (66.00, 0.27)),
    "13 tasks": ((53.34, 0.31), (69.43, 0.25)),
}
R2D2_RESNET12: Mapping[str, Cells] = {
    "all": ((60.50, 0.33), (76.60, 0.24)),
    "support 5": ((58.79, 0.32), (76.45, 0.25)),
    "support 5 noise": ((43.80, 0.30), (62.26, 0.28)),
    "query 5": ((48.02, 0.31), (65.45, 0.26)),
    "13 tasks": ((57.65, 0.33), (73.18, 0.28)),
}
PROTONET_RESNET12: Mapping[str, Cells] = {
    "all": ((57.46, 0.38), (75.61, 0.29)),
    "support 5": ((57.03, 0.33), (75.46, 0.26)),
    "support 5 noise": ((43.36, 0.32), (57.20, 0.28)),
    "query 5": ((48.40, 0.34), (64.79, 0.29)),
    "13 tasks": ((51.88, 0.35), (66.41, 0.29)),
}
ROWS = (
    *diversity_rows("R2-D2 CNN-4, ", "mini-imagenet-conv4-r2d2-r2d2-5shot", "conv4-64-r2d2", R2D2_CNN4),
    *diversity_rows("R2-D2 ResNet-12, ", "mini-imagenet-resnet12-r2d2-5shot", None, R2D2_RESNET12),
    *diversity_rows("ProtoNet ResNet-12, ", "mini-imagenet-resnet12-protonet-5shot", "conv4-64-protonet", PROTONET_RESNET12),
)

RECIPE = Recipe(
    title="Diversity of support, queries and tasks, mini-ImageNet",
    source="dissertation table 6.8",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 30 minutes a seed on one core", "full": "15 trainings, for a GPU"},
    orders=tuple(
        order
        for prefix in ("R2-D2 CNN-4, ", "R2-D2 ResNet-12, ", "ProtoNet ResNet-12, ")
        for order in diversity_orders(prefix)
    ),
)
