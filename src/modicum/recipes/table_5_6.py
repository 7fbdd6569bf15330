"""Table 5.6 of the dissertation: Reptile with weight clustering against Reptile, FOMAML and classical training.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, table 6.
Command: modicum reproduce table_5_6 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute or two; cpu about 25 minutes a seed on one core; full six trainings of 60,000 to 200,000 steps, and
one of 300 epochs, for a GPU.
Target: 5-way mini-ImageNet, %, mean and one standard error.

| framework | 1-shot | 5-shot |
|---|---|---|
| Classical | 28.72 0.16 | 45.25 0.21 |
| FOMAML | 48.07 1.75 | 63.15 0.91 |
| Reptile | 49.97 0.32 | 65.99 0.58 |
| W-Clustering | 51.94 0.23 | 68.02 0.22 |

Deviations: `recipes.gradient_models` (settings), `recipes.reptile_tables` (batch norm, radii), `training.reptile` (the
method); coefficient 5e-5. How the classical network is tested is not said: ours takes steps of the whole network
(`fine-tune`), as for the column MAML of `table_5_1`. 10,000 tasks in place of 100,000. cpu: CIFAR-FS, one training of
Reptile for both numbers of shots, 5 inner steps in training and 15 at test time. Figure 5.3, how far networks travel, is a
section of `modicum report`.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.alfa_tables import Number, with_support
from modicum.recipes.chapter_5 import ERROR, FINE_TUNE_TASKS, models_of
from modicum.recipes.gradient_models import clustered, used
from modicum.recipes.recipe import Claim, Models, Order, Recipe, Row
from modicum.recipes.reptile_tables import TASKS, adapted

SHOTS = (1, 5)
CLASSICAL: tuple[Number, Number] = ((28.72, 0.16), (45.25, 0.21))
ADAPTED: Mapping[str, tuple[str, tuple[Number, Number]]] = {
    "FOMAML": ("fomaml", ((48.07, 1.75), (63.15, 0.91))),
    "Reptile": ("reptile", ((49.97, 0.32), (65.99, 0.58))),
    "W-Clustering": (clustered(5e-5), ((51.94, 0.23), (68.02, 0.22))),
}
ROWS = (
    *(
        Row(
            f"Classical, {shots}-shot", Models("mini-imagenet-conv4-32-classical", "conv4-32-classical"), 5, shots,
            paper=mean / 100, paper_ci95=ERROR * error / 100, head="fine-tune", tasks=FINE_TUNE_TASKS,
        )
        for shots, (mean, error) in zip(SHOTS, CLASSICAL, strict=True)
    ),
    *(
        row
        for name, (method, numbers) in ADAPTED.items()
        for shots, number in zip(SHOTS, numbers, strict=True)
        for row in adapted(name, method, shots, number)
    ),
)  # fmt: skip


def _above(upper: str, lower: str) -> tuple[Order, ...]:
    """A published order, for both numbers of shots."""
    return tuple(Order(f"{upper}, {n}-shot", f"{lower}, {n}-shot", f"{upper} beats {lower} ({n}-shot)") for n in SHOTS)


CLUSTERING = _above("W-Clustering", "Reptile")
ORDERS = (
    *with_support(CLUSTERING),
    *with_support(_above("W-Clustering", "FOMAML")),
    *with_support(_above("Reptile", "FOMAML")),
    *_above("Reptile", "Classical"),
    *_above("FOMAML", "Classical"),
)

RECIPE = Recipe(
    title="Reptile with weight clustering",
    source="dissertation table 5.6",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={
        "smoke": "a minute or two",
        "cpu": "about 25 minutes a seed on one core",
        "full": "7 trainings, for a GPU",
    },
    tasks=TASKS,
    orders=ORDERS,
    claims=(
        Claim(
            "section 5.5.1: weight clustering improves Reptile at 1 and 5 shots",
            tuple(("table_5_6", order) for order in CLUSTERING),
        ),
    ),
)
