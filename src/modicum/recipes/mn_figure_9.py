"""Figure 9 of Meta-Neighborhoods: entries of a dictionary of CIFAR-10 with their five nearest test pictures, as a number.

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, figure 9 (appendix A.8), pictures of 12
entries; `modicum report RESULTS/runs/cifar10-conv4-192-mn-cpu-seed0` draws ours. Shared: `mn_tables`, `mn_models`.
Command: modicum reproduce mn_figure_9 --scale cpu --seeds 0 1 2 --root DATA
Cost: that of the model MN of `mn_table_1` on CIFAR-10.
Target: "most entries can retrieve consistent neighbors": of an entry's five nearest test pictures, by cosine to its key, the
share that is labelled with the likeliest class of its value; the mean over all entries, over those that carry 90 % of the
attention, and over all weighed by attention. No number is published; a tenth is chance. The paper does not say which
backbone its figure has. Accuracies before and after adaptation stand beside it: after a short training a dictionary may
help little, and its values say little.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.mn_models import C10, R29
from modicum.recipes.mn_tables import models_at, row_name, row_of, used_models
from modicum.recipes.recipe import Models, Recipe, Row

ENTRIES: Mapping[str, str] = {"all": "all entries", "in_use": "entries in use", "by_usage": "entries by attention"}


def agreements(data: str, backbone: str, model: str | Models) -> tuple[Row, ...]:
    """Rows of the agreement of entries with their nearest test pictures."""
    return tuple(
        Row(row_name(data, backbone, f"agreement, {shown}"), model, kind="agreement", bucket=which)
        for which, shown in ENTRIES.items()
    )


RECIPE = Recipe(
    title="What entries stand for and the test pictures nearest to them, CIFAR-10",
    source="Meta-Neighborhoods, figure 9",
    models=used_models(("mn",), (C10,), (R29,)),
    rows=(
        *agreements(C10, R29, models_at(C10, R29, "mn")),
        row_of(C10, R29, "before", "mn", branch="before"),
        row_of(C10, R29, "adapted", "mn"),
    ),
    cost={
        "smoke": "seconds, no data needed",
        "cpu": "that of MN on CIFAR-10 of mn_table_1",
        "full": "hours on a GPU",
    },
    absent="the pictures: modicum report RESULTS/runs/cifar10-conv4-192-mn-SCALE-seed0",
)
