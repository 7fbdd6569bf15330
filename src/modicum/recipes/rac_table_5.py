"""Table 5 of RAC: what retrieval adds to an epoch.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
table 5 (8 A100, k = 50).
Command: modicum reproduce rac_table_5 --scale cpu --root DATA
Cost: smoke half a minute, no data needed; cpu half a minute a row on one idle core; full hours on a GPU.
Target: seconds an epoch.

| index | items | text encoder | seconds |
|---|---|---|---|
| none | none | none | 23.6 |
| Places | 184K | random | 28.3 |
| Places | 184K | CLIP | 44.3 |
| Places, ImageNet-21k | 11.2M | CLIP | 47.0 |

At cpu scale the base branch is a very small network, E is larger, and CIFAR-100-LT has 10,847 items, so the ratio here
says nothing about the paper's. At the size of the paper's memory and with a base branch of its size it is measured by
`benchmarks/retrieval_overhead.py` (184,000 items x 768, random words; 1.20 in the paper). Augmentation is on, so every step
retrieves anew. Places365-LT as other works have it holds 62,500 pictures; the table says 184K.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modicum.configs import Scale
from modicum.recipes.long_tail_models import BASE_ALONE, BASES, LT, PLACES, with_referred
from modicum.recipes.models import Options
from modicum.recipes.rac_tables import SHOWN, missing_at
from modicum.recipes.recipe import Models, Recipe, Row

STEPS: Mapping[Scale, int] = {"smoke": 5, "cpu": 200}
FULL_SIZE = "CLIP's weights and the memory of ImageNet-21k are not part of this package"


def _timed(data: str, options: Mapping[str, Any]) -> Options:
    """RAC with other options, augmented and retrieving at every step; briefly at reduced scale."""
    anew = {"cache_neighbours": False, "rand_augment": True, **options}
    return {
        scale: replace(base, **anew, steps=STEPS[scale], validate_every=STEPS[scale])
        if scale in STEPS
        else replace(base, **anew)
        for scale, base in BASES[data].items()
    }


RANDOM: Mapping[str, Any] = {"neighbours": 50, "text": "random"}
LT_NAMES = f"{LT}-timed-lace", f"{LT}-timed-rac"
PLACES_NAMES = f"{PLACES}-timed-lace", f"{PLACES}-timed-rac", f"{PLACES}-timed-clip"
PAPER = (("no memory", 23.6), ("184K items, random words", 28.3), ("184K items, CLIP", 44.3))

RECIPE = Recipe(
    title="Time of an epoch with and without retrieval",
    source="RAC, table 5",
    models=with_referred({
        LT_NAMES[0]: _timed(LT, BASE_ALONE), LT_NAMES[1]: _timed(LT, RANDOM),
        PLACES_NAMES[0]: _timed(PLACES, BASE_ALONE), PLACES_NAMES[1]: _timed(PLACES, RANDOM),
        PLACES_NAMES[2]: _timed(PLACES, {"neighbours": 50}),
    }),
    rows=(
        *(
            Row(
                f"{SHOWN[PLACES]}, {what}", Models(name, None), kind="epoch_seconds", paper=seconds,
                missing=missing_at(PLACES),
            )
            for name, (what, seconds) in zip(PLACES_NAMES, PAPER, strict=True)
        ),
        Row(f"{SHOWN[PLACES]}, 11.2M items, CLIP", Models(None, None), kind="epoch_seconds", paper=47.0, missing=FULL_SIZE),
        Row(f"{SHOWN[LT]}, no memory", LT_NAMES[0], kind="epoch_seconds"),
        Row(f"{SHOWN[LT]}, random words", LT_NAMES[1], kind="epoch_seconds"),
    ),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "about half a minute a row on one idle core",
        "full": "hours on a GPU",
    },
    absent="the ratio at the paper's size: benchmarks/retrieval_overhead.py",
)  # fmt: skip
