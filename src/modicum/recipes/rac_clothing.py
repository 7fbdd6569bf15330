"""The rows of table 3 of RAC on a natural long tail: 17 kinds of clothes, photographed by 344 people.

Paper: none has these rows; methods as in table 3 of Long et al., CVPR 2022, arXiv 2202.11233 (`rac_table_3`).
Command: modicum reproduce rac_clothing --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke about two minutes; cpu one to two minutes a model and seed on one idle core, 13 models; full for a GPU.
Target: accuracy by bucket. No published numbers.

The tail is as it is: 23 to 1,011 pictures of a class, a fifth of them held out, whole senders, so that no person's pictures
are on both sides. "all" is the mean over classes, for the test pictures are as long-tailed as the others. E is the shipped
encoder `pictures`, which has seen no photograph of this set. Few-shot classes: one (Blouse), so the rows "few" say little.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import CLOTHING
from modicum.recipes.rac_tables import BEATS, OURS, listed, listed_models, orders
from modicum.recipes.recipe import Recipe

RECIPE = Recipe(
    title="RAC and its baselines on a natural long tail",
    source="RAC, table 3, on other data",
    models=listed_models(CLOTHING),
    rows=tuple(listed(CLOTHING)),
    cost={
        "smoke": "about two minutes",
        "cpu": "one to two minutes a model and seed on one idle core",
        "full": "an hour on a GPU a model",
    },
    orders=orders(CLOTHING, (*BEATS, *OURS)),
)
