"""Figure S1 of RAC: how strongly logits are adjusted.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
figure S1 (Places365-LT); no numbers are printed.
Command: modicum reproduce rac_figure_s1 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu one to two minutes a model and seed on one idle core; full hours on a GPU.
Target: accuracy of RAC, both branches, by tau of its LACE loss. "Higher tau does result in slightly higher overall accuracy,
however this effect is minor in comparison to re-weighting" (`rac_table_s1`). The values of tau are ours.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import LT, model, model_name, varied
from modicum.recipes.rac_sweeps import sweep_models, sweep_orders, sweep_rows
from modicum.recipes.recipe import Recipe

TAUS = (0.0, 0.5, 1.5, 2.0)
SETTINGS = {
    **{f"tau = {tau:g}": (f"{LT}-rac-tau-{tau:g}", varied(LT, {"tau": tau})) for tau in TAUS},
    "tau = 1": (model_name(LT, "rac"), model(LT, "rac")),
}

RECIPE = Recipe(
    title="Temperature of the logit adjustment",
    source="RAC, figure S1",
    models=sweep_models(SETTINGS),
    rows=sweep_rows(SETTINGS, "both"),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "one to two minutes a model and seed on one idle core",
        "full": "hours on a GPU a model",
    },
    orders=sweep_orders(
        [
            ("tau = 1", "tau = 0", "few", "adjustment lifts few-shot classes (our question)"),
            ("tau = 2", "tau = 1", "all", "a higher tau is slightly better overall"),
        ]
    ),
)
