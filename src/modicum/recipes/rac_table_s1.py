"""Table S1 of RAC: re-weighting on top of logit adjustment.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
table S1, equations 6 and 7.
Command: modicum reproduce rac_table_s1 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu one to two minutes a model and seed on one idle core; full hours on a GPU.
Target: accuracy of RAC, both branches, by many, medium, few and all, per cent.

| Places365-LT | many | medium | few | all |
|---|---|---|---|---|
| none | 49.72 | 49.34 | 40.46 | 47.75 |
| inverse square root | 47.12 | 49.58 | 47.65 | 48.32 |
| inverse logarithm | 44.88 | 51.35 | 47.54 | 48.29 |

| iNaturalist 2018 | many | medium | few | all |
|---|---|---|---|---|
| none | 75.92 | 80.48 | 81.07 | 80.24 |
| inverse square root | 71.13 | 80.02 | 81.19 | 79.56 |
| inverse logarithm | 67.17 | 80.04 | 81.67 | 79.35 |

"none" on Places365-LT differs from table 3's RAC (47.17 over all classes), which should be the same model.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import INAT, LT, PLACES, model_name, varied
from modicum.recipes.models import Options
from modicum.recipes.rac_sweeps import sweep_models, sweep_orders, sweep_rows
from modicum.recipes.rac_tables import by_bucket, names_of
from modicum.recipes.recipe import Recipe

WEIGHTINGS = {"none": None, "inverse square root": "inverse-sqrt", "inverse logarithm": "inverse-log"}
PAPER = {
    PLACES: ((49.72, 49.34, 40.46, 47.75), (47.12, 49.58, 47.65, 48.32), (44.88, 51.35, 47.54, 48.29)),
    INAT: ((75.92, 80.48, 81.07, 80.24), (71.13, 80.02, 81.19, 79.56), (67.17, 80.04, 81.67, 79.35)),
}


def _settings(data: str) -> dict[str, tuple[str, Options]]:
    return {
        shown: (model_name(data, "rac" if key is None else f"rac-{key}"), varied(data, {"weighting": key}))
        for shown, key in WEIGHTINGS.items()
    }


SETTINGS = {data: _settings(data) for data in (PLACES, INAT, LT)}

RECIPE = Recipe(
    title="Re-weighting beside logit adjustment",
    source="RAC, table S1",
    models={name: options for settings in SETTINGS.values() for name, options in sweep_models(settings).items()},
    rows=(
        *(
            row
            for data, lines in PAPER.items()
            for (shown, (name, options)), numbers in zip(SETTINGS[data].items(), lines, strict=True)
            for row in by_bucket(
                data, shown, names_of(data, name.removeprefix(f"{data}-"), {name: options}), "both", numbers
            )
        ),
        *sweep_rows(SETTINGS[LT], "both"),
    ),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "one to two minutes a model and seed on one idle core",
        "full": "hours on a GPU a model",
    },
    orders=sweep_orders(
        [
            (weighted, "none", bucket, f"{weighted} weights lift {what}")
            for weighted in ("inverse square root", "inverse logarithm")
            for bucket, what in (("few", "few-shot classes"), ("all", "accuracy over all classes (Places365-LT)"))
        ]
    ),
)
