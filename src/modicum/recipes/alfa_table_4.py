"""Table 4 of ALFA: 20-way classification.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table 4.
Command: modicum reproduce alfa_table_4 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute or two; cpu about a quarter of an hour a seed on one core; full four trainings of 50,000 steps.
Target: 20-way mini-ImageNet, 4-CONV, %, with the printed radius.

| method | 1-shot | 5-shot |
|---|---|---|
| MAML | 15.21 0.36 | 18.23 0.39 |
| ALFA + MAML | 22.03 0.41 | 35.33 0.48 |

Deviations: `recipes.gradient_models`, `recipes.alfa_tables`. The sixteen validation classes of mini-ImageNet and CIFAR-FS
make no task of 20 ways, so nothing is validated, the last weights are tested and there is no ensemble. cpu: CIFAR-FS, tasks
of all its 20 test classes, 2 queries in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modicum.recipes.alfa_tables import METHODS, SHOTS, TASKS, Number, beside, published, with_support
from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import CONV, used
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Models, Order, Recipe, Row

NUMBERS: Mapping[str, tuple[Number, Number]] = {
    "MAML": ((15.21, 0.36), (18.23, 0.39)),
    "ALFA + MAML": ((22.03, 0.41), (35.33, 0.48)),
}


def _row(method: str, shots: int, number: Number) -> Row:
    end = f"{CONV}-{METHODS[method]}-20way-{shots}shot"
    row = published(f"{method}, {shots}-shot", Models(f"{MINI}-{end}", f"{CIFAR}-{end}"), number, shots, ways=20)
    return replace(row, ensemble=None, tasks={"smoke": 2, "cpu": 50, "full": 600})


ROWS = tuple(
    row
    for method, numbers in NUMBERS.items()
    for shots, number in zip(SHOTS, numbers, strict=True)
    for row in beside(_row(method, shots, number))
)
ORDERS = tuple(Order(f"ALFA + MAML, {n}-shot", f"MAML, {n}-shot", f"ALFA improves MAML ({n}-shot)") for n in SHOTS)

RECIPE = Recipe(
    title="20-way",
    source="ALFA table 4",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a minute or two",
        "cpu": "about 15 minutes a seed on one core",
        "full": "4 trainings of 50,000 steps, for a GPU",
    },
    tasks=TASKS,
    orders=with_support(ORDERS),
)
