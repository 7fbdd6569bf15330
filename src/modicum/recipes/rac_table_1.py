"""Table 1 of RAC: results on iNaturalist 2018 as other works report them, and RAC.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
table 1.
Command: modicum reproduce rac_table_1 --scale full --root DATA
Cost: smoke and cpu nothing, for there is nothing to run; full about a day on a GPU.
Target: accuracy by many, medium, few and all, per cent; 224 pixels, the last two rows 384.

| | many | medium | few | all |
|---|---|---|---|---|
| OLTR | 59 | 64.1 | 64.9 | 63.9 |
| Decouple-LWS | - | - | - | 65.9 |
| LADE | - | - | - | 69.3 |
| Grafit | - | - | - | 69.9 |
| ALA | 71.3 | 70.8 | 70.4 | 70.7 |
| RIDE (2 experts) | 70.2 | 71.3 | 71.7 | 71.4 |
| LACE | - | - | - | 71.9 |
| RIDE (4 experts) | 70.9 | 72.4 | 73.1 | 72.6 |
| TADE | 74.4 | 72.5 | 73.1 | 72.9 |
| DisAlign | - | - | - | 74.1 |
| PaCo | 75.0 | 75.5 | 74.7 | 75.2 |
| RAC | 75.92 | 80.47 | 81.07 | 80.24 |
| Grafit, 384 | - | - | - | 81.2 |
| RAC, 384 | 82.91 | 85.71 | 86.06 | 85.56 |

Table 3 prints 80.48 for the medium classes of the same RAC.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import INAT
from modicum.recipes.rac_tables import by_bucket, listed_models, names_of, quoted
from modicum.recipes.recipe import Recipe

OTHERS = {
    "OLTR": (59.0, 64.1, 64.9, 63.9), "Decouple-LWS": (None, None, None, 65.9), "LADE": (None, None, None, 69.3),
    "Grafit": (None, None, None, 69.9), "ALA": (71.3, 70.8, 70.4, 70.7), "RIDE (2 experts)": (70.2, 71.3, 71.7, 71.4),
    "LACE": (None, None, None, 71.9), "RIDE (4 experts)": (70.9, 72.4, 73.1, 72.6), "TADE": (74.4, 72.5, 73.1, 72.9),
    "DisAlign": (None, None, None, 74.1), "PaCo": (75.0, 75.5, 74.7, 75.2), "Grafit, 384": (None, None, None, 81.2),
    "RAC, 384": (82.91, 85.71, 86.06, 85.56),
}  # fmt: skip

RECIPE = Recipe(
    title="Historical results on iNaturalist 2018",
    source="RAC, table 1",
    models=listed_models(INAT, ("RAC",)),
    rows=(
        *(row for name, numbers in OTHERS.items() for row in quoted(name, numbers)),
        *by_bucket(INAT, "RAC", names_of(INAT, "rac"), "both", (75.92, 80.47, 81.07, 80.24)),
    ),
    cost={"smoke": "nothing to run", "cpu": "nothing to run", "full": "about a day on a GPU"},
)
