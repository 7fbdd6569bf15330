"""Ablations of Meta-Neighborhoods beside tables and figures: what adaptation, learned values, iFiLM and dropout are for.

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, appendix A.2, A.5, and options of the
authors' code. Shared: `mn_tables`; trainings: `mn_models`. Inner steps and rates: `mn_table_3`; S and T: `mn_figure_8`.
Command: modicum reproduce mn_ablations --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu three to five minutes a model and seed on one idle core, eight models, three
of them those of `mn_table_1`; full hours to days on a GPU a model.
Target: test accuracy, per cent. A.5 prints, of one network without and with adaptation at test time,

| data, backbone | before | adapted |
|---|---|---|
| CIFAR-10, DenseNet40-BC | 90 | 95 |
| CIFAR-100, DenseNet40-BC | 69 | 76 |

All other rows are CIFAR-100 with ResNet-29 and have no published numbers: values that are fixed, one class an entry; where
iFiLM modulates (nowhere: "MN"; "last": the norms of each stage's last block, which conv4-192 does not have); entries drawn
for each picture ("MN", as released), once a step, or all kept; weight decay as printed, in TensorFlow's sense ("MN"), or in
torch's, a thousandth of it at a rate of 1e-3.
"""

from __future__ import annotations

from modicum.recipes.mn_models import C10, C100, DENSE, METHODS, R29, SMALL_NET, model_name, published
from modicum.recipes.mn_tables import fraction, orders_of, row_name, row_of, used_models
from modicum.recipes.recipe import Models, Order, Recipe, Row

TUNED = {(C10, "before"): 90.0, (C10, "adapted"): 95.0, (C100, "before"): 69.0, (C100, "adapted"): 76.0}
LAST = "mn-ifilm-last"
SETTINGS = {
    "MN": "mn",
    "one-hot values": "mn-one-hot",
    "iFiLM before the output layer": "mn-ifilm-before-fc",
    "iFiLM everywhere": "mn-ifilm",
    "one draw of entries a step": "mn-shared-draw",
    "no entry dropout": "mn-all-entries",
    "weight decay in torch's sense": "mn-decay-torch",
}
BEATS = (
    ("MN", "one-hot values", "learned values are better than fixed ones (our question)"),
    ("iFiLM everywhere", "MN", "iFiLM adds to it"),
    ("iFiLM everywhere", "iFiLM before the output layer", "so it does when it is everywhere (our question)"),
    ("MN", "no entry dropout", "entry dropout prevents over-fitting"),
    ("MN", "one draw of entries a step", "a draw for each picture is better (our question)"),
)
ORDERS = tuple(
    Order(row_name(data, DENSE, "adapted"), row_name(data, DENSE, "before"), "adaptation at test time helps")
    for data in (C10, C100)
)


def _tuned(data: str, branch: str) -> Row:
    used = Models(model_name(data, DENSE, "mn"), model_name(data, SMALL_NET, "mn"))
    return Row(row_name(data, DENSE, branch), used, kind="branch", branch=branch, paper=fraction(TUNED[data, branch]))


RECIPE = Recipe(
    title="Adaptation, learned values, where to modulate, entry dropout, weight decay",
    source="Meta-Neighborhoods, appendix A.2, A.5",
    models={
        **used_models(("mn",), (C10, C100), (DENSE,)),
        **used_models(tuple(SETTINGS.values()), (C100,), (R29,)),
        model_name(C100, R29, LAST): published(C100, R29, METHODS[LAST]),
    },
    rows=(
        *(_tuned(*setting) for setting in TUNED),
        *(row_of(C100, R29, what, method) for what, method in SETTINGS.items()),
        Row(
            row_name(C100, R29, "iFiLM in last blocks"), Models(model_name(C100, R29, LAST), None), kind="branch",
            branch="adapted", missing="at full scale only: conv4-192 has no stages of several blocks",
        ),
    ),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "three to five minutes a model and seed on one idle core, eight models",
        "full": "hours to days on a GPU a model",
    },
    orders=(*ORDERS, *orders_of(BEATS, (C100,))),
)  # fmt: skip
