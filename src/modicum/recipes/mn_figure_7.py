"""Figure 7 of Meta-Neighborhoods: do vanilla networks gain from as many parameters more as a dictionary has?

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, figure 7 (appendix A.3); curves of
validation accuracy, no numbers are printed. Shared: `mn_tables`; trainings: `mn_models`.
Command: modicum reproduce mn_figure_7 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu three to five minutes a model and seed on one idle core, three models, two of them
those of `mn_table_1`; full hours to days on a GPU a model.
Target: test accuracy on CIFAR-100, three backbones, without and with a further fully connected layer of as many parameters
as a dictionary of S entries has. Claim: with it the networks are worse. MN stands beside them.
"""

from __future__ import annotations

from modicum.recipes.mn_models import C100
from modicum.recipes.mn_tables import BACKBONES, orders_of, row_of, used_models
from modicum.recipes.recipe import Recipe

METHODS = {"vanilla": "vanilla", "vanilla + parameters": "parameters", "MN": "mn"}
BEATS = (
    ("vanilla", "vanilla + parameters", "a vanilla network does not gain from as many parameters"),
    ("MN", "vanilla + parameters", "so what MN gains does not come from its parameters"),
)

RECIPE = Recipe(
    title="Vanilla networks with as many parameters as a dictionary has",
    source="Meta-Neighborhoods, figure 7",
    models=used_models(tuple(METHODS.values()), (C100,)),
    rows=tuple(row_of(C100, backbone, what, method) for backbone in BACKBONES for what, method in METHODS.items()),
    cost={
        "smoke": "seconds, no data needed",
        "cpu": "three to five minutes a model and seed on one idle core, three models",
        "full": "hours to days on a GPU a model",
    },
    orders=orders_of(BEATS, (C100,)),
)
