"""Table 5.2 of the dissertation: how far apart classes lie in meta-learned and in classical features.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, table 2.
Command: modicum reproduce table_5_2 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a few minutes; cpu about a quarter of an hour a seed on one core, most of it training that `table_5_1` and
`table_5_3` share; full eight networks on each of two data sets, for a GPU.
Target: no intervals are printed; lower: classes lie further apart.

| training | data | R_FC | R_HV |
|---|---|---|---|
| R2-D2-M | CIFAR-FS | 1.29 | 0.95 |
| R2-D2-C | CIFAR-FS | 2.92 | 1.69 |
| MetaOptNet-M | CIFAR-FS | 0.99 | 0.75 |
| MetaOptNet-C | CIFAR-FS | 1.84 | 1.25 |
| R2-D2-M | mini-ImageNet | 2.60 | 1.57 |
| R2-D2-C | mini-ImageNet | 3.58 | 1.90 |
| MetaOptNet-M | mini-ImageNet | 1.29 | 0.95 |
| MetaOptNet-C | mini-ImageNet | 3.13 | 1.75 |

The rows "w/ R_FC" and "w/ R_HV" are ours: do the regularisers of table 5.3 do what they are for?

Deviations: both figures are means over random pairs of test classes with two pictures each, and R_HV is 4 R_HV^2, which
alone fits the printed numbers (`modicum.evaluation.class_separation`); the dissertation does not name the split. cpu:
`recipes.models`, conv4-64 on CIFAR-FS for both architectures, so their -C rows are one model there.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import CLAIM, DATA, MORE_CLUSTERED, ONE_DATA, REGULARISER_CLUSTERS, models_of, network
from modicum.recipes.models import CIFAR, MINI, used
from modicum.recipes.recipe import Kind, Order, Recipe, Row

FIGURES: Mapping[str, Kind] = {"R_FC": "r_fc", "R_HV": "r_hv"}
NUMBERS: Mapping[tuple[str, str], tuple[float, float]] = {
    ("R2-D2-M", CIFAR): (1.29, 0.95),
    ("R2-D2-C", CIFAR): (2.92, 1.69),
    ("MetaOptNet-M", CIFAR): (0.99, 0.75),
    ("MetaOptNet-C", CIFAR): (1.84, 1.25),
    ("R2-D2-M", MINI): (2.60, 1.57),
    ("R2-D2-C", MINI): (3.58, 1.90),
    ("MetaOptNet-M", MINI): (1.29, 0.95),
    ("MetaOptNet-C", MINI): (3.13, 1.75),
}
OURS = [(f"{name} w/ {figure}", data) for name, data in NUMBERS if name.endswith("-C") for figure in FIGURES]


def _order(name: str, data: str, figure: str, ending: str, claim: str) -> Order:
    """Classical features have more of a figure than those of another training of the same architecture."""
    return Order(f"{name}-C, {DATA[data]}, {figure}", f"{name}{ending}, {DATA[data]}, {figure}", claim)


ROWS = tuple(
    Row(
        f"{name}, {DATA[data]}, {figure}", network(name, data, both=True), kind=FIGURES[figure],
        paper=NUMBERS[name, data][column] if (name, data) in NUMBERS else None, missing=ONE_DATA,
    )
    for name, data in (*NUMBERS, *OURS)
    for column, figure in enumerate(FIGURES)
)  # fmt: skip
OTHERS = [(name, data) for data in (CIFAR, MINI) for name in ("R2-D2", "MetaOptNet") if (name, data) != ("R2-D2", CIFAR)]

RECIPE = Recipe(
    title="Class separation of meta-learned and classical features",
    source="dissertation table 5.2",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under 5 minutes", "cpu": "about 15 minutes a seed on one core", "full": "16 trainings, for a GPU"},
    orders=(
        *MORE_CLUSTERED,
        REGULARISER_CLUSTERS,
        *(
            _order(name, data, figure, "-M", f"meta-learned features have less {figure}")
            for name, data in OTHERS
            for figure in FIGURES
        ),
        *(
            _order(name, data, figure, f"-C w/ {figure}", f"the regulariser lowers {figure}")
            for data in (CIFAR, MINI)
            for name in ("R2-D2", "MetaOptNet")
            for figure in FIGURES
            if (name, data, figure) != ("R2-D2", CIFAR, "R_FC")
        ),
    ),
    claims=(CLAIM,),
)
