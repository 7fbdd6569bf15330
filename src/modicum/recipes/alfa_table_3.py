"""Table 3 of ALFA: Meta-Dataset, trained on ILSVRC-2012 alone, first-order MAML and Proto-MAML without and with ALFA.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table 3.
Command: modicum reproduce alfa_table_3 --scale full --root DIR
Cost: nothing, for nothing of it can be run.
Target: accuracy, %, with the printed radius.

| test set | fo-MAML | ALFA + fo-MAML | fo-Proto-MAML | ALFA + fo-Proto-MAML |
|---|---|---|---|---|
| ILSVRC | 45.51 1.11 | 51.09 1.17 | 49.53 1.05 | 52.80 1.11 |
| Omniglot | 55.55 1.54 | 67.89 1.43 | 63.37 1.33 | 61.87 1.51 |
| Aircraft | 56.24 1.11 | 66.34 1.17 | 55.95 0.99 | 63.43 1.10 |
| Birds | 63.61 1.06 | 67.67 1.06 | 68.66 0.96 | 69.75 1.05 |
| Textures | 68.04 0.81 | 65.34 0.95 | 66.49 0.83 | 70.78 0.88 |
| Quick Draw | 43.96 1.29 | 60.53 1.13 | 51.52 1.00 | 59.17 1.16 |
| Fungi | 32.10 1.10 | 37.41 1.00 | 39.96 1.14 | 41.49 1.17 |
| VGG Flower | 81.74 0.83 | 84.28 0.97 | 87.15 0.69 | 85.96 0.77 |
| Traffic Signs | 50.93 1.51 | 60.86 1.43 | 48.83 1.09 | 60.78 1.29 |
| MSCOCO | 35.30 1.23 | 40.05 1.14 | 43.74 1.12 | 48.11 1.14 |

Deviations: the ten data sets of Meta-Dataset (Triantafillou et al. 2020, arXiv 1903.03096) are not here, nor are its
sampler's tasks of varying ways and shots, so every row is `not run`. The methods are: fomaml, fo-proto-maml, and
alfa with first_order, and with init prototypes besides.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.recipe import Models, Recipe, Row

COLUMNS = ("fo-MAML", "ALFA + fo-MAML", "fo-Proto-MAML", "ALFA + fo-Proto-MAML")
NUMBERS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "ILSVRC": ((45.51, 1.11), (51.09, 1.17), (49.53, 1.05), (52.80, 1.11)),
    "Omniglot": ((55.55, 1.54), (67.89, 1.43), (63.37, 1.33), (61.87, 1.51)),
    "Aircraft": ((56.24, 1.11), (66.34, 1.17), (55.95, 0.99), (63.43, 1.10)),
    "Birds": ((63.61, 1.06), (67.67, 1.06), (68.66, 0.96), (69.75, 1.05)),
    "Textures": ((68.04, 0.81), (65.34, 0.95), (66.49, 0.83), (70.78, 0.88)),
    "Quick Draw": ((43.96, 1.29), (60.53, 1.13), (51.52, 1.00), (59.17, 1.16)),
    "Fungi": ((32.10, 1.10), (37.41, 1.00), (39.96, 1.14), (41.49, 1.17)),
    "VGG Flower": ((81.74, 0.83), (84.28, 0.97), (87.15, 0.69), (85.96, 0.77)),
    "Traffic Signs": ((50.93, 1.51), (60.86, 1.43), (48.83, 1.09), (60.78, 1.29)),
    "MSCOCO": ((35.30, 1.23), (40.05, 1.14), (43.74, 1.12), (48.11, 1.14)),
}
NO_META_DATASET = "Meta-Dataset, its ten data sets and its tasks of varying ways and shots, is not here"
ROWS = tuple(
    Row(
        f"{column}, {data}", Models(None, None), paper=mean / 100, paper_ci95=radius / 100, missing=NO_META_DATASET
    )
    for data, numbers in NUMBERS.items()
    for column, (mean, radius) in zip(COLUMNS, numbers, strict=True)
)  # fmt: skip

RECIPE = Recipe(
    title="Meta-Dataset, first order",
    source="ALFA table 3",
    models={},
    rows=ROWS,
    cost={"smoke": "nothing runs", "cpu": "nothing runs", "full": "nothing runs: no Meta-Dataset"},
)
