"""Omniglot, MAML and ALFA + MAML with conv4-64, 5-way.

Paper: Chelsea Finn, Pieter Abbeel, Sergey Levine, "Model-Agnostic Meta-Learning", ICML 2017, arXiv 1703.03400, table 1
(convolutional MAML); ALFA has no row on Omniglot alone.
Command: modicum reproduce omniglot_maml --scale cpu --root DIR
Cost: smoke under a minute; cpu about 20 minutes on one idle core; full 60,000 steps of 32 tasks each, for a GPU.
Target: MAML 98.7 +- 0.4 % (1-shot) and 99.9 +- 0.1 % (5-shot).

Setting: 28x28, Vinyals split with rotations as classes of their own, one inner step at 0.4 in training and three at test
time, Adam at 1e-3, second order; trained with as many shots as it is tested with. Batch norm by the statistics of each
batch, as published, and beside it by those of the support set, of the same run.

Deviations: max-pooling in place of the strided convolutions. The best of the validations is tested. ALFA takes MAML's
settings as they are. cpu, a reduced scale: steps of 4 tasks with 5 queries a class, 600 (1-shot) and 400 (5-shot) of
them, the rate brought to 0 along a cosine.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.configs import Scale, Train
from modicum.recipes.recipe import Recipe, Row

FULL = Train(
    data="omniglot", out="", method="maml", backbone="conv4-64", ways=5, shots=1, queries=15, batch=32, steps=60_000,
    optimizer="adam", learning_rate=1e-3, schedule="constant", batch_norm="batch", inner_steps=1, inner_rate=0.4,
    test_steps=3, validate_every=2_000,
)  # fmt: skip
STEPS = {1: 600, 5: 400}
PAPER = {("maml", 1): (0.987, 0.004), ("maml", 5): (0.999, 0.001)}
NAMES = {"maml": "MAML", "alfa": "ALFA + MAML"}


def _scales(method: str, shots: int) -> dict[Scale, Train]:
    full = replace(FULL, method=method, shots=shots, validation_shots=shots)
    few = replace(full, batch=4, queries=5, steps=STEPS[shots], schedule="cosine", validate_every=STEPS[shots] // 2)
    return {"smoke": replace(few, steps=5, validate_every=5, validation_tasks=10), "cpu": few, "full": full}


def _rows(method: str, shots: int) -> tuple[Row, Row]:
    paper, radius = PAPER.get((method, shots), (None, None))
    model, name = f"omniglot-conv4-64-{method}-{shots}shot", f"{NAMES[method]}, {shots}-shot"
    published = Row(name, model, 5, shots, paper=paper, paper_ci95=radius, batch_norm="batch")
    return published, Row(f"{name}, support statistics", model, 5, shots, batch_norm="support")


SETTINGS = tuple((method, shots) for method in NAMES for shots in STEPS)

RECIPE = Recipe(
    title="Omniglot, MAML and ALFA with conv4-64",
    source="Finn et al. 2017, table 1",
    models={f"omniglot-conv4-64-{method}-{shots}shot": _scales(method, shots) for method, shots in SETTINGS},
    rows=tuple(row for setting in SETTINGS for row in _rows(*setting)),
    cost={"smoke": "under a minute", "cpu": "about 20 minutes on one idle core", "full": "for a GPU"},
    tasks={"smoke": 20, "cpu": 600, "full": 600},
)
