"""Figure 4 of RAC: what encodes the retrieved texts.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
figure 4 (Places365-LT); no numbers are printed.
Command: modicum reproduce rac_figure_4 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu one to two minutes a model and seed on one idle core; full hours on a GPU.
Target: accuracy of RAC, both branches, by text encoder. "The overall impact is minor, however the CLIP LM significantly
boosts few-shot performance".

Random words: a vector of 300 numbers for each word, uniform on [0, 1) less 1/2, the mean over words, as everywhere else at
reduced scale; their sum, for the paper does not say which; and, "as printed", the mean without taking off 1/2
(`modicum.retrieval.text`). CLIP's tower needs weights of its own (`--text clip:PATH`), word vectors a file
(`--text FILE`); neither is part of this package, so these rows are left to full scale, and GloVe to the user's file.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.recipes.long_tail_models import BASES, LT, model, model_name
from modicum.recipes.models import Options
from modicum.recipes.rac_sweeps import sweep_models, sweep_rows
from modicum.recipes.rac_tables import NO_NUMBERS, PAPER_BUCKETS, by_bucket, row_name
from modicum.recipes.recipe import Models, Order, Recipe, Row

OPTIONS = BASES[LT]
SUM = {scale: replace(options, text="random-sum") for scale, options in OPTIONS.items()}
RANDOM_FULL: Options = {"full": replace(OPTIONS["full"], text="random")}
PRINTED = {scale: replace(options, text="random-printed") for scale, options in OPTIONS.items()}
SETTINGS = {"random words, sum": (f"{LT}-rac-sum", SUM), "random words, as printed": (f"{LT}-rac-printed", PRINTED)}
MEAN = by_bucket(LT, "random words, mean", Models(f"{LT}-rac-random", f"{LT}-rac"), "both", NO_NUMBERS)
CLIP = [replace(row, missing="CLIP's weights are not part of this package") for row in by_bucket(
    LT, "CLIP, trained", Models(f"{LT}-rac", None), "both", NO_NUMBERS)]  # fmt: skip
GLOVE = [
    Row(row_name(LT, "GloVe", bucket), Models(None, None), kind="long_tail", branch="both", bucket=bucket,
        missing="word vectors are a file of the user's: modicum train --method rac --text FILE")
    for bucket in PAPER_BUCKETS
]  # fmt: skip

RECIPE = Recipe(
    title="Text encoder of the retrieval branch",
    source="RAC, figure 4",
    models={model_name(LT, "rac"): model(LT, "rac"), f"{LT}-rac-random": RANDOM_FULL, **sweep_models(SETTINGS)},
    rows=(*MEAN, *sweep_rows(SETTINGS, "both"), *CLIP, *GLOVE),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "one to two minutes a model and seed on one idle core",
        "full": "hours on a GPU a model",
    },
    orders=(
        Order(
            row_name(LT, "CLIP, trained", "few"), row_name(LT, "random words, mean", "few"),
            "CLIP's text tower lifts few-shot classes",
        ),
    ),
)  # fmt: skip
