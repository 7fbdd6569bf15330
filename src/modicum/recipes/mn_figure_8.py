"""Figure 8 of Meta-Neighborhoods: number of entries S and temperature T on CIFAR-100, ResNet-29.

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, figure 8 (appendix A.4); curves, no numbers
are printed, so the settings between the ends are ours. Shared: `mn_tables`; trainings: `mn_models`.
Command: modicum reproduce mn_figure_8 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu three to five minutes a model and seed on one idle core, eleven models, one of
them that of `mn_table_1`; full hours on a GPU a model.
Target: test accuracy by S (T = 0.2), and by 1 / T (S = 10,000). At reduced scale S is a tenth of what the row says, as the
column "ours with" tells. Claims: accuracy grows with S; the best 1 / T is between 3 and 7; a learned T collapses to
attention on few entries and over-fits; under a large T all entries weigh alike, which under-fits.
"""

from __future__ import annotations

from modicum.recipes.mn_models import C100, METHODS, R29, SMALL_NET, model_name, published, reduced
from modicum.recipes.mn_tables import orders_of, row_name
from modicum.recipes.models import Options
from modicum.recipes.recipe import Models, Recipe, Row

SIZES = (100, 500, 1_000, 5_000, 10_000)
SHARPNESS = (1, 3, 5, 7, 10, 20)
USUAL_SIZE, USUAL_SHARPNESS, FEWER = 10_000, 5, 10


def _size(entries: int) -> str:
    return f"S = {entries:,}"


def _sharpness(inverse: int) -> str:
    return f"1 / T = {inverse}"


LEARNED = "T learned"
SETTINGS: dict[str, str] = {
    **{_size(entries): "mn" if entries == USUAL_SIZE else f"mn-s{entries}" for entries in SIZES},
    **{_sharpness(inverse): "mn" if inverse == USUAL_SHARPNESS else f"mn-{inverse}t" for inverse in SHARPNESS},
    LEARNED: "mn-learned-t",
}
"""Row -> method; S = 10,000 and 1 / T = 5 are Meta-Neighborhoods as it is."""


def _models() -> dict[str, Options]:
    found: dict[str, Options] = {}
    for method in ("mn", "mn-learned-t"):
        found[model_name(C100, R29, method)] = published(C100, R29, METHODS[method])
        found[model_name(C100, SMALL_NET, method)] = reduced(C100, METHODS[method])
    for entries in SIZES:
        if entries != USUAL_SIZE:
            name, few = f"mn-s{entries}", {"entries": entries // FEWER}
            found[model_name(C100, R29, name)] = published(C100, R29, {"entries": entries})
            found[model_name(C100, SMALL_NET, name)] = reduced(C100, few, few)
    for inverse in SHARPNESS:
        if inverse != USUAL_SHARPNESS:
            name, warm = f"mn-{inverse}t", {"temperature": 1 / inverse}
            found[model_name(C100, R29, name)] = published(C100, R29, warm)
            found[model_name(C100, SMALL_NET, name)] = reduced(C100, warm)
    return found


BEATS = (
    (_size(10_000), _size(1_000), "accuracy grows with S"),
    (_size(10_000), _size(100), "so it does from the least to the most"),
    (_sharpness(5), _sharpness(1), "a large T under-fits"),
    (_sharpness(5), _sharpness(20), "a small T over-fits"),
    (_sharpness(5), LEARNED, "a learned T over-fits"),
)

RECIPE = Recipe(
    title="Number of entries and temperature",
    source="Meta-Neighborhoods, figure 8",
    models=_models(),
    rows=tuple(
        Row(
            row_name(C100, R29, what), Models(model_name(C100, R29, method), model_name(C100, SMALL_NET, method)),
            kind="branch", branch="adapted",
        )
        for what, method in SETTINGS.items()
    ),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "three to five minutes a model and seed on one idle core, eleven models",
        "full": "hours on a GPU a model",
    },
    orders=orders_of(BEATS, (C100,)),
)  # fmt: skip
