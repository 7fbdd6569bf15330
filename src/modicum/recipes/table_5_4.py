"""Table 5.4 of the dissertation: linear CKA of meta-learned with classical features, without and with each regulariser.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, table 4.
Command: modicum reproduce table_5_4 --scale cpu --seeds 0 1 2 --root DIR
Cost: as `table_5_3`, whose trainings it shares; measuring takes a minute or two.
Target: no intervals are printed; 1: alike up to rotation and scale.

| backbone | data | C | R_FC | R_HV |
|---|---|---|---|---|
| R2-D2 | CIFAR-FS | 0.71 | 0.77 | 0.73 |
| MetaOptNet | CIFAR-FS | 0.77 | 0.89 | 0.87 |
| R2-D2 | mini-ImageNet | 0.69 | 0.72 | 0.70 |
| MetaOptNet | mini-ImageNet | 0.70 | 0.82 | 0.79 |

Deviations: the dissertation does not name the pictures; here they are the first 100 of each test class. The two networks of
a pair have the same seed, and where their architectures are equal the same parameters at the start, which brings them
closer than two of different seeds; it does so for all three columns. The debiased estimator stands in the record. cpu:
`recipes.models`, conv4-64 on CIFAR-FS for both architectures.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import DATA, ONE_DATA, models_of, network
from modicum.recipes.models import CIFAR, MINI, used
from modicum.recipes.recipe import Order, Recipe, Row

COLUMNS = {"C": "-C", "R_FC": "-C w/ R_FC", "R_HV": "-C w/ R_HV"}
NUMBERS: Mapping[tuple[str, str], tuple[float, float, float]] = {
    ("R2-D2", CIFAR): (0.71, 0.77, 0.73),
    ("MetaOptNet", CIFAR): (0.77, 0.89, 0.87),
    ("R2-D2", MINI): (0.69, 0.72, 0.70),
    ("MetaOptNet", MINI): (0.70, 0.82, 0.79),
}
ROWS = tuple(
    Row(
        f"{name}, {DATA[data]}, {column}", network(f"{name}-M", data, both=True), kind="cka", paper=value,
        other=network(f"{name}{ending}", data, both=True), missing=ONE_DATA,
    )
    for (name, data), values in NUMBERS.items()
    for (column, ending), value in zip(COLUMNS.items(), values, strict=True)
)  # fmt: skip

RECIPE = Recipe(
    title="CKA of meta-learned and classical features",
    source="dissertation table 5.4",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "16 trainings, for a GPU"},
    orders=tuple(
        Order(
            f"{name}, {DATA[data]}, {column}",
            f"{name}, {DATA[data]}, C",
            f"{column} brings classical features closer to meta-learned ones",
        )
        for name, data in NUMBERS
        for column in ("R_FC", "R_HV")
    ),
)
