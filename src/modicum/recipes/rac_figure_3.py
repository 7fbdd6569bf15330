"""Figure 3 of RAC: how many items are retrieved, by the retrieval branch alone.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
figure 3 (Places365-LT); no numbers are printed.
Command: modicum reproduce rac_figure_3 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke a minute, no data needed; cpu about half a minute a row of four and seed on one idle core; full hours on a GPU.
Target: accuracy of a model of the retrieval branch alone, whose memory holds its own training pictures, by k. "Higher k
consistently improves performance until the cutoff induced by the text encoding truncation (76 tokens)". A label has one to
three words here, so 64 of them are cut; `k = 30` is the model "Retrieval" of table 3.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import LT, METHODS, model, model_name, varied
from modicum.recipes.rac_sweeps import sweep_models, sweep_orders, sweep_rows
from modicum.recipes.recipe import Recipe

COUNTS = (1, 2, 4, 8, 16, 64)
SETTINGS = {
    **{f"k = {k}": (f"{LT}-retrieval-{k}", varied(LT, {**METHODS["retrieval"], "neighbours": k})) for k in COUNTS},
    "k = 30": (model_name(LT, "retrieval"), model(LT, "retrieval")),
}
RISES = ((2, 1), (4, 2), (8, 4), (16, 8), (30, 16), (30, 1))

RECIPE = Recipe(
    title="Number of retrieved items, retrieval branch alone",
    source="RAC, figure 3",
    models=sweep_models(SETTINGS),
    rows=sweep_rows(SETTINGS, "retrieval"),
    cost={
        "smoke": "a minute, no data needed",
        "cpu": "about half a minute a model and seed on one idle core",
        "full": "hours on a GPU a model",
    },
    orders=sweep_orders([(f"k = {a}", f"k = {b}", "all", f"{a} items are better than {b}") for a, b in RISES]),
)
