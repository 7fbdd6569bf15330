"""Table 5.8 of the dissertation: training time per epoch and in all.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, appendix.
Command: modicum reproduce table_5_8 --scale cpu --root DIR
Cost: that of the trainings of `table_5_3`, which it shares; the times are read from their logs.
Target: per epoch / in all, on one or two GeForce RTX 2080 Ti.

| training | backbone | mini-ImageNet | CIFAR-FS |
|---|---|---|---|
| R2-D2 | R2-D2 | 16 m / 16.8 h | 44 s / 45 m |
| Classical | R2-D2 | 20 s / 1.7 h | 4 s / 22 m |
| Classical w/ R_FC | R2-D2 | 20 s / 1.7 h | 4 s / 24 m |
| Classical w/ R_HV | R2-D2 | 20 s / 1.7 h | 4 s / 23 m |
| MetaOptNet-SVM | MetaOptNet | 1.5 h / 88.0 h | 4 m / 4.5 h |
| Classical | MetaOptNet | 1.4 m / 7.0 h | 14 s / 1.2 h |
| Classical w/ R_FC | MetaOptNet | 1.5 m / 7.4 h | 15 s / 1.3 h |
| Classical w/ R_HV | MetaOptNet | 1.3 m / 7.2 h | 16 s / 1.4 h |

Deviations: times are of other machines, so no row can be called reproduced and no order is stated. An epoch is 8,000 tasks
or all training pictures once; where less was trained, its time is that of the steps done, scaled. "In all" is the training
as it was made, 1,000 steps at cpu, with the validations before its last step (at cpu none).
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import DATA, ONE_DATA, models_of, network
from modicum.recipes.models import CIFAR, MINI, used
from modicum.recipes.recipe import Kind, Recipe, Row

MINUTE, HOUR = 60.0, 3_600.0
Times = tuple[float, float]
NUMBERS: Mapping[str, tuple[Times, Times]] = {
    "R2-D2-M": ((16 * MINUTE, 16.8 * HOUR), (44, 45 * MINUTE)),
    "R2-D2-C": ((20, 1.7 * HOUR), (4, 22 * MINUTE)),
    "R2-D2-C w/ R_FC": ((20, 1.7 * HOUR), (4, 24 * MINUTE)),
    "R2-D2-C w/ R_HV": ((20, 1.7 * HOUR), (4, 23 * MINUTE)),
    "MetaOptNet-M": ((1.5 * HOUR, 88.0 * HOUR), (4 * MINUTE, 4.5 * HOUR)),
    "MetaOptNet-C": ((1.4 * MINUTE, 7.0 * HOUR), (14, 1.2 * HOUR)),
    "MetaOptNet-C w/ R_FC": ((1.5 * MINUTE, 7.4 * HOUR), (15, 1.3 * HOUR)),
    "MetaOptNet-C w/ R_HV": ((1.3 * MINUTE, 7.2 * HOUR), (16, 1.4 * HOUR)),
}
KINDS: Mapping[str, Kind] = {"an epoch": "epoch_seconds", "in all": "train_seconds"}
ROWS = tuple(
    Row(
        f"{name}, {DATA[data]}, {what}", network(name, data, both=True), kind=kind, paper=seconds, missing=ONE_DATA,
    )
    for name, columns in NUMBERS.items()
    for data, times in zip((MINI, CIFAR), columns, strict=True)
    for (what, kind), seconds in zip(KINDS.items(), times, strict=True)
)  # fmt: skip

RECIPE = Recipe(
    title="Training time per epoch and in all",
    source="dissertation table 5.8",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "16 trainings, for a GPU"},
)
