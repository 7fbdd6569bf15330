"""Table 2 of RAC: results on Places365-LT as other works report them, and RAC.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
table 2.
Command: modicum reproduce rac_table_2 --scale full --root DATA
Cost: smoke and cpu nothing, for there is nothing to run; full a few hours on a GPU.
Target: accuracy by many, medium, few and all, per cent.

| | many | medium | few | all |
|---|---|---|---|---|
| Focal loss | 41.1 | 34.8 | 22.4 | 34.6 |
| Range loss | 41.1 | 35.4 | 23.2 | 35.1 |
| OLTR | 44.7 | 37 | 25.3 | 35.9 |
| Decouple-LWS | 40.6 | 39.1 | 28.6 | 37.6 |
| LADE | 42.8 | 39 | 31.2 | 38.8 |
| DisAlign | 40.4 | 42.4 | 30.1 | 39.3 |
| ALA | 43.9 | 40.1 | 32.9 | 40.1 |
| TADE | 43.1 | 42.4 | 33.2 | 40.9 |
| PaCo | 36.1 | 47.9 | 35.3 | 41.2 |
| RAC | 48.69 | 48.31 | 41.76 | 47.17 |
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import PLACES
from modicum.recipes.rac_tables import by_bucket, listed_models, names_of, quoted
from modicum.recipes.recipe import Recipe

OTHERS = {
    "Focal loss": (41.1, 34.8, 22.4, 34.6), "Range loss": (41.1, 35.4, 23.2, 35.1), "OLTR": (44.7, 37.0, 25.3, 35.9),
    "Decouple-LWS": (40.6, 39.1, 28.6, 37.6), "LADE": (42.8, 39.0, 31.2, 38.8), "DisAlign": (40.4, 42.4, 30.1, 39.3),
    "ALA": (43.9, 40.1, 32.9, 40.1), "TADE": (43.1, 42.4, 33.2, 40.9), "PaCo": (36.1, 47.9, 35.3, 41.2),
}  # fmt: skip

RECIPE = Recipe(
    title="Historical results on Places365-LT",
    source="RAC, table 2",
    models=listed_models(PLACES, ("RAC",)),
    rows=(
        *(row for name, numbers in OTHERS.items() for row in quoted(name, numbers)),
        *by_bucket(PLACES, "RAC", names_of(PLACES, "rac"), "both", (48.69, 48.31, 41.76, 47.17)),
    ),
    cost={"smoke": "nothing to run", "cpu": "nothing to run", "full": "a few hours on a GPU"},
)
