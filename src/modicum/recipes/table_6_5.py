"""Table 6.5 of the dissertation, base rows: R2-D2, ProtoNet, MetaOptNet and MCT on CIFAR-FS and mini-ImageNet.

Paper: Ni et al., "Data Augmentation for Meta-Learning", ICML 2021, arXiv 2010.07092, table 5.
Command: modicum reproduce table_6_5 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about a quarter of an hour a seed on one core; full six networks on each of two data sets,
for a GPU (published for CIFAR-FS on four GeForce RTX 2080 Ti: 2.5 to 8.9 hours each, table 6.9).
Target: 5-way, %, mean and one standard error.

| method | backbone | CIFAR-FS 1-shot | CIFAR-FS 5-shot | mini 1-shot | mini 5-shot |
|---|---|---|---|---|---|
| R2-D2 | CNN-4 | 67.56 0.35 | 82.39 0.26 | 56.15 0.31 | 72.46 0.26 |
| R2-D2 | ResNet-12 | 71.95 0.37 | 84.56 0.25 | 60.46 0.32 | 76.88 0.24 |
| ProtoNet | 64-64-64-64 | 60.91 0.35 | 79.73 0.27 | 47.97 0.32 | 70.13 0.27 |
| ProtoNet | ResNet-12 | 70.21 0.36 | 84.26 0.25 | 57.34 0.34 | 75.81 0.25 |
| MetaOptNet | ResNet-12 | 70.99 0.37 | 84.00 0.25 | 60.01 0.32 | 77.42 0.23 |
| MCT | ResNet-12 | 75.80 0.33 | 89.10 0.42 | 64.84 0.33 | 81.45 0.23 |

Deviations: the rows "+ DA" and "+ MM" are not there. MetaOptNet is its SVM head. MCT is instance-wise, as published for
inductive tests. cpu: `recipes.models`, conv4-64 on CIFAR-FS, so R2-D2 and ProtoNet have one row each there. The first row
and the third have a longer training of their own at cpu in `cifar_fs_r2d2` and `cifar_fs_protonet`; at full it is the same
one.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import DATA, ERROR, ONE_DATA, models_of
from modicum.recipes.chapter_6 import SAME
from modicum.recipes.models import CIFAR, MINI, used
from modicum.recipes.recipe import Models, Recipe, Row

COLUMNS = ((CIFAR, 1), (CIFAR, 5), (MINI, 1), (MINI, 5))
METHODS: Mapping[str, tuple[str, str | None]] = {
    "R2-D2 CNN-4": ("conv4-r2d2-r2d2", "conv4-64-r2d2"),
    "R2-D2 ResNet-12": ("resnet12-r2d2", None),
    "ProtoNet 64-64-64-64": ("conv4-64-protonet", "conv4-64-protonet"),
    "ProtoNet ResNet-12": ("resnet12-protonet", None),
    "MetaOptNet ResNet-12": ("resnet12-metaoptnet-svm", "conv4-64-metaoptnet-svm"),
    "MCT ResNet-12": ("resnet12-mct", "conv4-64-mct"),
}
NUMBERS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "R2-D2 CNN-4": ((67.56, 0.35), (82.39, 0.26), (56.15, 0.31), (72.46, 0.26)),
    "R2-D2 ResNet-12": ((71.95, 0.37), (84.56, 0.25), (60.46, 0.32), (76.88, 0.24)),
    "ProtoNet 64-64-64-64": ((60.91, 0.35), (79.73, 0.27), (47.97, 0.32), (70.13, 0.27)),
    "ProtoNet ResNet-12": ((70.21, 0.36), (84.26, 0.25), (57.34, 0.34), (75.81, 0.25)),
    "MetaOptNet ResNet-12": ((70.99, 0.37), (84.00, 0.25), (60.01, 0.32), (77.42, 0.23)),
    "MCT ResNet-12": ((75.80, 0.33), (89.10, 0.42), (64.84, 0.33), (81.45, 0.23)),
}
ROWS = tuple(
    Row(
        f"{name}, {DATA[data]}, {shots}-shot",
        Models(f"{data}-{METHODS[name][0]}", METHODS[name][1] if data == CIFAR else None),
        5, shots, paper=mean / 100, paper_ci95=ERROR * error / 100,
        missing=SAME if METHODS[name][1] is None else ONE_DATA,
    )
    for name, cells in NUMBERS.items()
    for (data, shots), (mean, error) in zip(COLUMNS, cells, strict=True)
)  # fmt: skip

RECIPE = Recipe(
    title="R2-D2, ProtoNet, MetaOptNet and MCT, base rows",
    source="dissertation table 6.5",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "12 trainings, for a GPU"},
    absent='rows "+ DA" and "+ MM": augmentation by mode and Meta-MaxUp belong to a later release',
)
