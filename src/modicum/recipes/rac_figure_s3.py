"""Figures S3 and S4 of RAC: what a picture retrieves: labels by similarity, labels by count, histogram.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
figures S3 and S4 (pictures).
Command: modicum reproduce rac_figure_s3 --scale cpu --root DATA, then the pictures themselves:
modicum report RESULTS/runs/cifar100-lt-rac-cpu-seed0 --out page.html
Cost: smoke half a minute, no data needed; cpu two minutes a data set on one idle core; full hours on a GPU.
Target: pictures, no numbers; the rows say how often what they show is right: the first label, the most frequent one by
weight of similarity, and the model's answer.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import CLOTHING, LT
from modicum.recipes.rac_tables import listed, listed_models
from modicum.recipes.recipe import Recipe

SHOWN = ("1-NN", "30-NN", "RAC")

RECIPE = Recipe(
    title="What is retrieved",
    source="RAC, figures S3 and S4",
    models={model: scales for data in (LT, CLOTHING) for model, scales in listed_models(data, SHOWN).items()},
    rows=(*listed(LT, SHOWN), *listed(CLOTHING, SHOWN)),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "two minutes a data set on one idle core",
        "full": "hours on a GPU",
    },
    absent="the pictures: modicum report RESULTS/runs/cifar100-lt-rac-SCALE-seed0 (and clothing-rac) --out page.html",
)
