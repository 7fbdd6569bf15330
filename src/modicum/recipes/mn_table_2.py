"""Table 2 of Meta-Neighborhoods: regression of tables, against a plain network, a wider one, k-NN and boosted trees.

Paper: Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, table 2 and appendix B.
Command: modicum reproduce mn_table_2 --scale cpu --seeds 0 1 2 3 4 5 6 7 8 9
Cost: smoke about 2 minutes; cpu about an hour of one core for all seeds; full days.
Target: root mean squared error; of the paper's table no number is here, because only its appendix was at hand: all are "-".

The paper's five tables are music (YearPredictionMSD), toms, cte, super and gom. gom is here whole, in both of its files of
features; it has two targets, latitude and longitude in degrees, and one model predicts both. super (4,252 of 21,263 rows)
and music (6,724 rows, 12 of 90 features, scaled to [0, 1]) are parts and are called so; toms and cte are not here. Beside
them stand 14 tables of github.com/treforevans/uci_datasets (commit f073752), each with its ten folds of a tenth of the rows;
their last column is the target, and columns, targets too, were centred by their makers.

Seed i is fold i, with a tenth of all rows for validation, drawn by the seed; of the tables without folds it is one random
split with a fifth of the rows to test on. Intervals and orders are over folds, paired. Folds share most of their training
rows, so such intervals are narrower than those over fresh data would be.

What to know of these tables: bike's features hold the counts of casual and registered riders, and its target is the centred
logarithm of their sum, exactly. Of the rows of fold 0, 73 % of keggdirected, 78 % of keggundirected, 19 % of wine and 7 % of
protein stand among the training rows too, target included. elevators has 61 different targets, gas 35, pol 11, wine 65.

Ours: an MLP of two hidden layers of 64 (the paper's appendix names no network), S = 1,000, T = 0.1, one step, one learned
rate, AdamW at 1e-3, batches of 128, an end after 10 epochs without a better validation loss. Weight decay is 7.5e-5 in
TensorFlow's sense for all networks and tables, where the paper chose the best for each. No entries are dropped: the appendix
says it of classification only, and on sml, fold 0, 2,000 steps with half of them dropped in each validated at 0.0038 against
0.0027 without (variances of the target). "vanilla + parameters" has one more hidden layer with as many parameters as the
dictionary has numbers.

full: at most 200 epochs. cpu: S = 500, and at most 200 epochs or 1,500 steps, whichever is less; 1,500 steps are 4 to 16
epochs of the tables with 15,000 rows or more, so networks there are far from done, and the trees are not. k-NN and trees are
the same at both scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from modicum.configs import Scale, Train
from modicum.configs.neighborhoods import Baseline
from modicum.configs.tables import EPOCHS, WITHOUT_STEPS
from modicum.recipes.recipe import Models, Order, Recipe, Row

MN, VANILLA, WIDER, NEAREST, TREES = "MN", "vanilla", "vanilla + parameters", "k-NN", "boosted trees"
METHODS: Mapping[str, Baseline] = {
    MN: "none", VANILLA: "vanilla", WIDER: "parameters", NEAREST: "knn", TREES: "trees",
}  # fmt: skip
FOLDED: Mapping[str, int] = {
    "wine": 1_599, "gas": 2_565, "skillcraft": 3_338, "sml": 4_137, "parkinsons": 5_875, "pumadyn32nm": 8_192, "pol": 15_000,
    "elevators": 16_599, "bike": 17_379, "kin40k": 40_000, "protein": 45_730, "tamielectric": 45_781, "keggdirected": 48_827,
    "keggundirected": 63_608,
}  # fmt: skip
"""Tables with ten folds -> their rows."""
STEPS, ENTRIES = 1_500, 500
"""Steps at most, and S, at scale cpu."""
BATCH = 128


@dataclass(frozen=True)
class Whole:
    """A table without folds: its file under `uci`, its targets, its rows."""

    file: str
    target: str
    rows: int


SPLIT: Mapping[str, Whole] = {
    "gom": Whole("gom_default_68", "68,69", 1_059),
    "gom, 116 features": Whole("gom_default_plus_chroma_116", "116,117", 1_059),
    "super (partial)": Whole("super_subset4252", "critical_temp", 4_252),
    "music (partial)": Whole("millionsong_subset6724", "0", 6_724),
}
ABSENT: Mapping[str, str] = {
    "toms": "Tom's Hardware (Buzz in social media, UCI) is not here",
    "cte": "Relative location of CT slices on axial axis (UCI) is not here",
}
BASE = Train(data="", out="", method="meta-neighborhoods", target="last")


def options(table: str, method: str) -> Train:
    """The published training of a method on a table."""
    base = replace(BASE, baseline=METHODS[method])
    if table in SPLIT:
        return replace(base, data=f"uci/{SPLIT[table].file}.csv.gz", target=SPLIT[table].target)
    return replace(base, data=f"uci/{table}.data.csv.gz", fold_file=f"uci/{table}.test_mask.csv.gz", fold=0)


def scales(table: str, method: str) -> dict[Scale, Train]:
    """The training of a method on a table at every scale."""
    full = options(table, method)
    if full.baseline in WITHOUT_STEPS:
        return {"smoke": full, "cpu": full, "full": full}
    rows, part = (FOLDED[table], 0.8) if table in FOLDED else (SPLIT[table].rows, 0.7)
    steps = min(EPOCHS * (int(part * rows) // BATCH), STEPS)
    small = replace(full, entries=ENTRIES) if method in (MN, WIDER) else full
    return {
        "smoke": replace(small, steps=20, validate_every=10),
        "cpu": replace(small, steps=steps),
        "full": full,
    }


def model_name(table: str, method: str) -> str:
    """As `table-wine-none`."""
    return f"table-{SPLIT[table].file if table in SPLIT else table}-{METHODS[method]}"


def row_name(table: str, method: str) -> str:
    """As `wine, MN`."""
    return f"{table}, {method}"


def _rows() -> Iterator[Row]:
    """A row for every table and method; those of small tables first."""
    for table in (*SPLIT, *FOLDED):
        for method in METHODS:
            yield Row(row_name(table, method), model_name(table, method), kind="rmse")
    for table, why in ABSENT.items():
        yield Row(row_name(table, MN), Models(None, None), kind="rmse", missing=why)


RECIPE = Recipe(
    title="Regression of tables, Meta-Neighborhoods and baselines",
    source="Meta-Neighborhoods, table 2",
    models={model_name(table, method): scales(table, method) for table in (*SPLIT, *FOLDED) for method in METHODS},
    rows=tuple(_rows()),
    cost={
        "smoke": "about two minutes a seed",
        "cpu": "about 6 minutes of one core a seed",
        "full": "hours of one core a seed",
    },
    orders=tuple(
        Order(row_name(table, other), row_name(table, MN), f"MN below {other} ({table})")
        for other in METHODS
        if other != MN
        for table in (*SPLIT, *FOLDED)
    ),
    absent="published numbers of all rows: table 2 stands in the main text of the paper, which is not here",
)
