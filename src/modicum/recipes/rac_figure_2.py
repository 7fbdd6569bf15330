"""Figure 2 of RAC: accuracy of both branches of one model along the classes: does the retrieval branch take the tail?

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
figure 2 (Places365-LT) and S2 (iNaturalist 2018); no numbers are printed.
Command: modicum reproduce rac_figure_2 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute (clothing: one); cpu two minutes a seed beside what `rac_table_3` and `rac_clothing` train; full
hours on a GPU.
Target: each branch of the jointly trained model by bucket; "retrieval less base" is the difference of the two, per cent. The
base branch here is one of the joint model; "Base" is trained without a retrieval branch.

Only the sum of both branches is trained, so what one of them adds to a class's logit for every picture the other may take
off: apart, both can be near chance while the sum is a good classifier, and their differences then say little. Hence the
third condition on the tail, against a base trained alone.

The curve itself, classes from frequent to rare with the moving average over 20 of them, is drawn by
`modicum report RESULTS/runs/cifar100-lt-rac-cpu-seed0`.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import CLOTHING, LT
from modicum.recipes.rac_tables import (  # fmt: skip
    NO_NUMBERS,
    PAPER_BUCKETS,
    SHOWN,
    by_bucket,
    listed,
    listed_models,
    names_of,
    row_name,
)
from modicum.recipes.recipe import Claim, Order, Recipe, Row

GAP, RETRIEVAL, BASE = "retrieval less base", "RAC's retrieval branch", "RAC's base branch"
DATA = (LT, CLOTHING)


def _rows(data: str) -> list[Row]:
    used = names_of(data, "rac")
    gaps = [Row(row_name(data, GAP, bucket), used, kind="gap", bucket=bucket) for bucket in PAPER_BUCKETS]
    return [
        *by_bucket(data, RETRIEVAL, used, "retrieval", NO_NUMBERS),
        *by_bucket(data, BASE, used, "base", NO_NUMBERS),
        *gaps,
        *listed(data, ("RAC", "Base")),
    ]


def _order(data: str, upper: tuple[str, str], lower: tuple[str, str], claim: str) -> Order:
    return Order(row_name(data, *upper), row_name(data, *lower), claim)


def _tail(data: str) -> tuple[Order, ...]:
    return (
        _order(data, (GAP, "few"), (GAP, "many"), "retrieval has more over base on few-shot classes than on many-shot ones"),
        _order(data, (RETRIEVAL, "few"), (BASE, "few"), "on few-shot classes the retrieval branch is the better one"),
        _order(data, (RETRIEVAL, "few"), ("Base", "few"), "it is better there than a base trained alone"),
    )


def _head(data: str) -> tuple[Order, ...]:
    return (
        _order(data, (BASE, "many"), (RETRIEVAL, "many"), "on many-shot classes the base branch is the better one"),
        _order(data, (BASE, "many"), ("Base", "many"), "relieved of the tail, it is better there than a base trained alone"),
    )


RECIPE = Recipe(
    title="Per-class accuracy by branch: the retrieval branch takes the tail",
    source="RAC, figures 2 and S2",
    models={model: scales for data in DATA for model, scales in listed_models(data, ("RAC", "Base")).items()},
    rows=tuple(row for data in DATA for row in _rows(data)),
    cost={
        "smoke": "about a minute",
        "cpu": "two minutes a seed on one idle core, beside what rac_table_3 and rac_clothing train",
        "full": "hours on a GPU",
    },
    orders=tuple(order for data in DATA for order in (*_tail(data), *_head(data))),
    claims=tuple(
        claim
        for data in DATA
        for claim in (
            Claim(f"the retrieval branch takes the tail ({SHOWN[data]})", tuple(("rac_figure_2", o) for o in _tail(data))),
            Claim(f"the base branch takes the head ({SHOWN[data]})", tuple(("rac_figure_2", o) for o in _head(data))),
        )
    ),
    absent="the curves: modicum report RESULTS/runs/cifar100-lt-rac-SCALE-seed0",
)
