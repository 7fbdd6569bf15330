"""Table 5.3 of the dissertation: meta-learning, classical training, and classical training with each regulariser.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, table 3.
Command: modicum reproduce table_5_3 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about a quarter of an hour a seed on one core; full eight networks on each of two data sets,
for a GPU (published on one or two GeForce RTX 2080 Ti: 45 minutes to 88 hours each, table 5.8).
Target: 5-way, %, mean and one standard error.

| training | backbone | mini 1-shot | mini 5-shot | CIFAR-FS 1-shot | CIFAR-FS 5-shot |
|---|---|---|---|---|---|
| R2-D2 | R2-D2 | 51.80 0.20 | 68.40 0.20 | 65.3 0.2 | 79.4 0.1 |
| Classical | R2-D2 | 48.39 0.29 | 68.24 0.26 | 62.9 0.3 | 82.8 0.3 |
| Classical w/ R_FC | R2-D2 | 50.39 0.30 | 69.58 0.26 | 65.5 0.4 | 83.3 0.3 |
| Classical w/ R_HV | R2-D2 | 50.16 0.30 | 69.54 0.26 | 64.6 0.3 | 83.1 0.3 |
| MetaOptNet-SVM | MetaOptNet | 62.64 0.31 | 78.63 0.25 | 72.0 0.4 | 84.2 0.3 |
| Classical | MetaOptNet | 56.18 0.31 | 76.72 0.24 | 69.5 0.3 | 85.7 0.2 |
| Classical w/ R_FC | MetaOptNet | 59.38 0.31 | 78.15 0.24 | 72.3 0.4 | 86.3 0.2 |
| Classical w/ R_HV | MetaOptNet | 59.37 0.32 | 77.05 0.25 | 72.0 0.4 | 85.9 0.2 |

Rows are named as in tables 5.1 and 5.2: -M meta-learned, -C classical. All are tested with the SVM head of MetaOptNet, but
R2-D2-M with its own, for the dissertation prints the original paper's numbers there.

Deviations: R2-D2-M is trained as Lee et al. do (as in table 6.5), not as the original paper whose numbers stand there. R_HV
is trained as 4 R_HV^2, as released; coefficients are those that table 5.9 gives for these numbers (`recipes.models`). cpu:
conv4-64 on CIFAR-FS for both architectures, all with the coefficients of the R2-D2 network.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import CLAIM, DATA, ERROR, ONE_DATA, REGULARISER_LIFTS, SVM_HEAD, models_of, network
from modicum.recipes.models import CIFAR, MINI, used
from modicum.recipes.recipe import Order, Recipe, Row

Cells = tuple[tuple[float, float], ...]
COLUMNS = ((MINI, 1), (MINI, 5), (CIFAR, 1), (CIFAR, 5))
NUMBERS: Mapping[str, Cells] = {
    "R2-D2-M": ((51.80, 0.20), (68.40, 0.20), (65.3, 0.2), (79.4, 0.1)),
    "R2-D2-C": ((48.39, 0.29), (68.24, 0.26), (62.9, 0.3), (82.8, 0.3)),
    "R2-D2-C w/ R_FC": ((50.39, 0.30), (69.58, 0.26), (65.5, 0.4), (83.3, 0.3)),
    "R2-D2-C w/ R_HV": ((50.16, 0.30), (69.54, 0.26), (64.6, 0.3), (83.1, 0.3)),
    "MetaOptNet-M": ((62.64, 0.31), (78.63, 0.25), (72.0, 0.4), (84.2, 0.3)),
    "MetaOptNet-C": ((56.18, 0.31), (76.72, 0.24), (69.5, 0.3), (85.7, 0.2)),
    "MetaOptNet-C w/ R_FC": ((59.38, 0.31), (78.15, 0.24), (72.3, 0.4), (86.3, 0.2)),
    "MetaOptNet-C w/ R_HV": ((59.37, 0.32), (77.05, 0.25), (72.0, 0.4), (85.9, 0.2)),
}
ROWS = tuple(
    Row(
        f"{name}, {DATA[data]}, {shots}-shot", network(name, data, both=True), 5, shots, paper=mean / 100,
        paper_ci95=ERROR * error / 100, head=None if name == "R2-D2-M" else SVM_HEAD, missing=ONE_DATA,
    )
    for name, cells in NUMBERS.items()
    for (data, shots), (mean, error) in zip(COLUMNS, cells, strict=True)
)  # fmt: skip
LIFTS = tuple(
    Order(
        f"{name}-C w/ {figure}, {DATA[data]}, {shots}-shot", f"{name}-C, {DATA[data]}, {shots}-shot",
        f"{figure} lifts classical training, {shots}-shot",
    )
    for data, shots in COLUMNS
    for name in ("R2-D2", "MetaOptNet")
    for figure in ("R_FC", "R_HV")
)  # fmt: skip

RECIPE = Recipe(
    title="Meta-learning against classical training with regularised features",
    source="dissertation table 5.3",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "16 trainings, for a GPU"},
    orders=(
        REGULARISER_LIFTS,
        *(order for order in LIFTS if (order.upper, order.lower) != (REGULARISER_LIFTS.upper, REGULARISER_LIFTS.lower)),
    ),
    claims=(CLAIM,),
)
