"""Table D of ALFA: Meta-Dataset beside the best method of the time.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table D (supplement).
Command: modicum reproduce alfa_table_d --scale full --root DIR
Cost: nothing, for nothing of it can be run.
Target: accuracy, %, no radius is printed; the first column is the last of `alfa_table_3`.

| test set | ALFA + fo-Proto-MAML | best of Tian et al. 2020 |
|---|---|---|
| ILSVRC | 52.80 | 61.48 |
| Omniglot | 61.87 | 64.31 |
| Aircraft | 63.43 | 62.32 |
| Birds | 69.75 | 79.47 |
| Textures | 70.78 | 79.28 |
| Quick Draw | 59.17 | 60.84 |
| Fungi | 41.49 | 48.53 |
| VGG Flower | 85.96 | 91.00 |
| Traffic Signs | 60.78 | 76.33 |
| MSCOCO | 48.11 | 59.28 |

Deviations: Meta-Dataset is not here, and the method of Tian et al. ("Rethinking Few-Shot Image Classification", ECCV 2020,
arXiv 2003.11539) is none of this package's, so every row is `not run`.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.alfa_table_3 import NO_META_DATASET
from modicum.recipes.recipe import Models, Recipe, Row

COLUMNS = ("ALFA + fo-Proto-MAML", "best of Tian et al. 2020")
NUMBERS: Mapping[str, tuple[float, float]] = {
    "ILSVRC": (52.80, 61.48),
    "Omniglot": (61.87, 64.31),
    "Aircraft": (63.43, 62.32),
    "Birds": (69.75, 79.47),
    "Textures": (70.78, 79.28),
    "Quick Draw": (59.17, 60.84),
    "Fungi": (41.49, 48.53),
    "VGG Flower": (85.96, 91.00),
    "Traffic Signs": (60.78, 76.33),
    "MSCOCO": (48.11, 59.28),
}
ROWS = tuple(
    Row(f"{column}, {data}", Models(None, None), paper=mean / 100, missing=NO_META_DATASET)
    for data, numbers in NUMBERS.items()
    for column, mean in zip(COLUMNS, numbers, strict=True)
)

RECIPE = Recipe(
    title="Meta-Dataset beside the best of the time",
    source="ALFA table D",
    models={},
    rows=ROWS,
    cost={"smoke": "nothing runs", "cpu": "nothing runs", "full": "nothing runs: no Meta-Dataset"},
)
