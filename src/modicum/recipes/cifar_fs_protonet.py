"""CIFAR-FS, ProtoNet with conv4-64.

Paper: the row "ProtoNet, conv4-64" of the meta-learning table of the dissertation this package grew from, trained as in
Kwonjoon Lee, Subhransu Maji, Avinash Ravichandran, Stefano Soatto, "Meta-Learning with Differentiable Convex
Optimization", CVPR 2019, arXiv 1904.03758.
Command: modicum reproduce cifar_fs_protonet --scale cpu --root DIR
Cost: smoke under a minute; cpu about half an hour on one core; full 60,000 steps of 8 tasks, for a GPU.
Target: 60.91 % (5-way 1-shot), 79.73 % (5-way 5-shot); no interval is at hand for this row.

Setting: 32x32, published 64/16/20 class split, 5-way 5-shot training tasks with 6 queries a class for both tests, 8 tasks
a step, SGD with Nesterov momentum, weight decay 5e-4, rate 0.1, then 0.006, 0.0012, 0.00024 after 1/3, 2/3, 5/6 of the
steps, flip, crop and colour jitter on support and query, distances divided by the number of features.

Deviations: cpu is another training, made for so few steps: 2,500 tasks of 20 classes with 10 queries, one a step, Adam at
2e-3 brought to 0 along a cosine, no augmentation (0.5 % of the published number of tasks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modicum.configs import Scale, Train
from modicum.recipes.recipe import Recipe, Row

FULL = Train(
    data="cifar-fs",
    out="",
    method="protonet",
    backbone="conv4-64",
    ways=5,
    shots=5,
    queries=6,
    batch=8,
    steps=60_000,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    schedule="lee",
    augment=True,
    normalize=True,
    validate_every=1_000,
    validation_shots=5,
)
CPU = replace(
    FULL, ways=20, queries=10, batch=1, steps=2_500, optimizer="adam", learning_rate=2e-3, weight_decay=0.0,
    schedule="cosine", augment=False, validate_every=500, validation_shots=1,
)  # fmt: skip
SMOKE = replace(FULL, batch=1, steps=5, validation_tasks=10, validate_every=5)

MODEL: Mapping[Scale, Train] = {"smoke": SMOKE, "cpu": CPU, "full": FULL}

RECIPE = Recipe(
    title="CIFAR-FS, ProtoNet conv4-64",
    source="dissertation ch. 6, after Lee et al. 2019",
    models={"cifar-fs-conv4-64-protonet": MODEL},
    rows=(
        Row("5way-1shot", "cifar-fs-conv4-64-protonet", 5, 1, paper=0.6091),
        Row("5way-5shot", "cifar-fs-conv4-64-protonet", 5, 5, paper=0.7973),
    ),
    cost={"smoke": "under a minute", "cpu": "about half an hour on one core", "full": "60,000 steps of 8 tasks, for a GPU"},
)
