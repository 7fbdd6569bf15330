"""CIFAR-FS, R2-D2 with conv4-r2d2.

Paper: Luca Bertinetto, João F. Henriques, Philip H. S. Torr, Andrea Vedaldi, "Meta-learning with differentiable
closed-form solvers", ICLR 2019, arXiv 1805.08136; the numbers are those of the dissertation this package grew from, whose
training is that of Lee et al. 2019 (arXiv 1904.03758).
Command: modicum reproduce cifar_fs_r2d2 --scale cpu --root DIR
Cost: smoke under a minute; cpu a quarter of an hour on one core; full 60,000 steps of 8 tasks, for a GPU.
Target: 67.56 % +- 0.35 (5-way 1-shot), 82.39 % +- 0.26 (5-way 5-shot); the published radius is one standard error.

Setting: as in `cifar_fs_protonet`, with the ridge head whose penalty (50 at the start), scale and offset are learned.

Deviations: cpu is another training, made for so few steps: 800 tasks of 10 classes, one a step, Adam at 1e-3 brought to 0
along a cosine, no augmentation (5 % of the pictures of one of 60 published epochs). Its conv4-r2d2 pools as
Bertinetto et al. do; full takes the arrangement of Lee et al. (conv4-r2d2-lee), whose training the target used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modicum.configs import Scale, Train
from modicum.recipes.recipe import Recipe, Row

FULL = Train(
    data="cifar-fs",
    out="",
    method="r2d2",
    backbone="conv4-r2d2-lee",
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
    penalty=50.0,
    validate_every=1_000,
    validation_shots=5,
)
CPU = replace(
    FULL, backbone="conv4-r2d2", ways=10, batch=1, steps=800, optimizer="adam", learning_rate=1e-3, weight_decay=0.0,
    schedule="cosine", augment=False, validate_every=500, validation_shots=1,
)  # fmt: skip
SMOKE = replace(FULL, batch=1, steps=5, validation_tasks=10, validate_every=5)

MODEL: Mapping[Scale, Train] = {"smoke": SMOKE, "cpu": CPU, "full": FULL}

RECIPE = Recipe(
    title="CIFAR-FS, R2-D2 conv4-r2d2",
    source="dissertation ch. 6, after Bertinetto et al. 2019",
    models={"cifar-fs-conv4-r2d2-r2d2": MODEL},
    rows=(
        Row("5way-1shot", "cifar-fs-conv4-r2d2-r2d2", 5, 1, paper=0.6756, paper_ci95=1.96 * 0.0035),
        Row("5way-5shot", "cifar-fs-conv4-r2d2-r2d2", 5, 5, paper=0.8239, paper_ci95=1.96 * 0.0026),
    ),
    cost={
        "smoke": "under a minute",
        "cpu": "about a quarter of an hour on one core",
        "full": "60,000 steps of 8 tasks, for a GPU",
    },
)
