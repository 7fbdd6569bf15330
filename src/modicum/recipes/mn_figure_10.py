"""Figure 10 of Meta-Neighborhoods: entries of a dictionary of handwritten digits with their five nearest test pictures.

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, figure 10 (appendix A.8), pictures of 30
entries of MNIST. MNIST is not here: scikit-learn's digits stand for it at every scale, with the model of `mn_small`.
`modicum report RESULTS/runs/small-digits-conv4-192-mn-cpu-seed0` draws ours.
Command: modicum reproduce mn_figure_10 --scale cpu --seeds 0 1 2
Cost: smoke seconds; cpu half a minute a seed on one idle core; no data needed.
Target: as `mn_figure_9`, whose caution holds here too.
"""

from __future__ import annotations

from modicum.recipes.mn_figure_9 import agreements
from modicum.recipes.mn_models import DIGITS, SMALL_NET, model_name, small_models
from modicum.recipes.mn_tables import row_name
from modicum.recipes.recipe import Recipe, Row

MODEL = f"small-{model_name(DIGITS, SMALL_NET, 'mn')}"

RECIPE = Recipe(
    title="What entries stand for and the test pictures nearest to them, digits",
    source="Meta-Neighborhoods, figure 10",
    models=small_models(DIGITS, ("mn",)),
    rows=(
        *agreements(DIGITS, SMALL_NET, MODEL),
        Row(row_name(DIGITS, SMALL_NET, "MN before"), MODEL, kind="branch", branch="before"),
        Row(row_name(DIGITS, SMALL_NET, "MN"), MODEL, kind="branch", branch="adapted"),
    ),
    cost={
        "smoke": "seconds, no data needed",
        "cpu": "half a minute a seed on one idle core, no data needed",
        "full": "as cpu",
    },
    absent="the pictures: modicum report RESULTS/runs/small-digits-conv4-192-mn-SCALE-seed0; MNIST, which is not here",
)
