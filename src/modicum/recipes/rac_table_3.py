"""Table 3 of RAC: against cross-entropy, re-weighting, logit adjustment and retrieval alone, and against what users expect.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
table 3. Shared: `rac_tables`; what B and E know: `long_tail_models`, and the column "ours with".
Command: modicum reproduce rac_table_3 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke about a minute, no data needed; cpu one to two minutes a model and seed on one idle core, 13 models, and once
some five minutes for E; full hours on a GPU a model.
Target: accuracy by many (more than 100 training pictures), medium, few (fewer than 20) and all, per cent.

| Places365-LT | many | medium | few | all |
|---|---|---|---|---|
| CE, RN50 | - | - | - | 32.14 |
| BalCE, RN50 | - | - | - | 38.31 |
| CE | 50.81 | 33.83 | 19.51 | 37.16 |
| BalCE | 49.03 | 45.72 | 29.05 | 43.67 |
| Retrieval | 43.50 | 41.99 | 26.83 | 39.58 |
| Base (LACE) | 44.57 | 45.06 | 40.77 | 44.05 |
| RAC | 48.69 | 48.31 | 41.76 | 47.17 |

| iNaturalist 2018 | many | medium | few | all |
|---|---|---|---|---|
| CE, RN50 | - | - | - | 61.7 |
| BalCE, RN50 | - | - | - | 69.8 |
| CE | 81.53 | 76.62 | 69.82 | 74.44 |
| BalCE | 72.39 | 76.06 | 73.05 | 74.49 |
| Retrieval | 50.10 | 52.77 | 52.45 | 52.37 |
| Base (LACE) | 74.41 | 78.95 | 78.55 | 78.32 |
| RAC | 75.92 | 80.48 | 81.07 | 80.24 |

Rows of CIFAR-100-LT (factor 100) have no published number; the paper leaves that set out, for B is usually trained from
scratch there (`long_tail_models`). So RAC, whose E was trained on something, meets baselines that know less: the rows "E
pixels" (E knows nothing) and "B pre-trained" (B knows what E knows) say what of a difference is retrieval. 1-NN and 30-NN
ask the memory of RAC's run for labels. tau-normalised: the network of CE with power 1. `rac_clothing` has the same rows.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import INAT, LT, PLACES
from modicum.recipes.rac_tables import (  # fmt: skip
    BEATS,
    NO_RN50,
    OURS,
    PUBLISHED,
    RN50,
    SHOWN,
    listed,
    listed_models,
    orders,
)
from modicum.recipes.recipe import Claim, Models, Recipe, Row

ORDERS = orders(LT, (*BEATS, *OURS))

RECIPE = Recipe(
    title="Retrieval augmented classification against its baselines",
    source="RAC, table 3",
    models={**listed_models(PLACES, PUBLISHED), **listed_models(INAT, PUBLISHED), **listed_models(LT)},
    rows=(
        *(
            Row(f"{SHOWN[data]}, {name}, all", Models(None, None), kind="long_tail", branch="base", bucket="all",
                paper=number / 100, missing=NO_RN50)
            for data, rows in RN50.items()
            for name, number in rows.items()
        ),
        *listed(PLACES, PUBLISHED), *listed(INAT, PUBLISHED), *listed(LT),
    ),
    cost={
        "smoke": "about a minute, no data needed",
        "cpu": "one to two minutes a model and seed on one idle core, once some five minutes for E",
        "full": "hours on a GPU a model",
    },
    orders=ORDERS,
    claims=(
        Claim(
            "RAC is above its base trained by LACE alone, and above cross-entropy, balanced softmax, LDAM, focal loss and "
            "k-NN (CIFAR-100-LT, all classes)",
            tuple(
                ("rac_table_3", order)
                for order in ORDERS
                if order.upper.endswith(", RAC, all") and not order.lower.endswith((", Retrieval, all", ", BalCE, all"))
            ),
        ),
    ),
)  # fmt: skip
