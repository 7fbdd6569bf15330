"""Table E of ALFA: trained on mini-ImageNet, tested on Omniglot, FC100 and CIFAR-FS.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table E (supplement).
Command: modicum reproduce alfa_table_e --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute or two; cpu about 20 minutes a seed on one core, trainings of `alfa_table_1`; full five of these.
Target: 5-way 5-shot, 4-CONV, %, with the printed radius.

| method | -> Omniglot | -> FC100 | -> CIFAR-FS |
|---|---|---|---|
| ALFA + Random Init | 91.02 0.29 | 62.49 0.48 | 63.49 0.45 |
| MAML | 85.68 0.35 | 55.52 0.50 | 55.82 0.50 |
| ALFA + MAML | 93.11 0.23 | 60.12 0.49 | 59.76 0.49 |
| MAML + L2F | 94.96 0.22 | 61.99 0.49 | 63.73 0.48 |
| ALFA + MAML + L2F | 94.10 0.24 | 63.33 0.45 | 63.87 0.48 |

Deviations: `recipes.gradient_models`, `recipes.alfa_tables`. Omniglot, here the test characters of Vinyals et al. 2016 with
every rotation a class of its own, is brought to the network's three channels and 84 pixels a side. cpu: trained on CIFAR-FS
and tested on Omniglot at 32 pixels; FC100 and CIFAR-FS have the training pictures of that scale and are for full scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modicum.recipes.alfa_tables import METHODS, TASKS, Number, beside, grid_orders, published, with_support
from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import CONV, FC100, used
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Models, Recipe, Row

TARGETS = {"Omniglot": "omniglot", "FC100": FC100, "CIFAR-FS": CIFAR}
NUMBERS: Mapping[str, tuple[Number, Number, Number]] = {
    "ALFA + Random Init": ((91.02, 0.29), (62.49, 0.48), (63.49, 0.45)),
    "MAML": ((85.68, 0.35), (55.52, 0.50), (55.82, 0.50)),
    "ALFA + MAML": ((93.11, 0.23), (60.12, 0.49), (59.76, 0.49)),
    "MAML + L2F": ((94.96, 0.22), (61.99, 0.49), (63.73, 0.48)),
    "ALFA + MAML + L2F": ((94.10, 0.24), (63.33, 0.45), (63.87, 0.48)),
}
SAME_PICTURES = "the reduced scale trains on CIFAR-FS, whose pictures are those of FC100 too"


def _row(method: str, target: str, number: Number) -> Row:
    end = f"{CONV}-{METHODS[method]}-5shot"
    model = Models(f"{MINI}-{end}", f"{CIFAR}-{end}" if target == "Omniglot" else None)
    row = published(f"{method}, 4-CONV, -> {target}, 5-shot", model, number, 5, missing=SAME_PICTURES)
    return replace(row, data=TARGETS[target])


ROWS = tuple(
    row
    for target, column in zip(TARGETS, range(3), strict=True)
    for method, numbers in NUMBERS.items()
    for row in beside(_row(method, target, numbers[column]))
)

RECIPE = Recipe(
    title="Across domains: mini-ImageNet to Omniglot, FC100, CIFAR-FS",
    source="ALFA table E",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a minute or two",
        "cpu": "about 20 minutes a seed on one core",
        "full": "5 trainings of 50,000 steps, for a GPU",
    },
    tasks=TASKS,
    orders=with_support(grid_orders(ROWS)),
)
