"""Ours: Meta-Neighborhoods on small data, digits and alphabets of Omniglot, against what users would take otherwise.

Paper: no table of one. Method: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140. See `mn_models`.
Command: modicum reproduce mn_small --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds; cpu twenty minutes for all on one idle core; full is the same.
Target: test accuracy, per cent, of conv4-192, the paper's network for such pictures.

| data | classes | train, test | S | steps of 32 |
|---|---|---|---|---|
| digits (scikit-learn's), 16 pixels | 10 | 1,437, 360 | 500 | 500 |
| Korean (Omniglot, background set), 28 pixels | 40 | 480, 320 | 500 | 350 |
| Tifinagh (likewise) | 55 | 660, 440 | 500 | 350 |

A seed changes weights, batches and which pictures are tested. "vanilla + parameters" has a further layer with as many
parameters as the dictionary; k-NN asks the training pictures nearest to the vanilla network's features; "MN before" is MN
without adaptation at test time. Digits need no data; the alphabets lie in omniglot/images_background under the root.
"""

from __future__ import annotations

from modicum.recipes.mn_models import ALPHABETS, DIGITS, SMALL_NET, alphabet, model_name, small_models
from modicum.recipes.mn_tables import orders_of, row_name
from modicum.recipes.recipe import Recipe, Row

METHODS = {
    "vanilla": ("knn", "vanilla"),
    "vanilla + parameters": ("parameters", "vanilla"),
    "k-NN": ("knn", "knn"),
    "MN": ("mn", "adapted"),
    "MN before": ("mn", "before"),
    "MN + iFiLM": ("mn-ifilm", "adapted"),
}
"""Row -> method, and branch of its run; vanilla and k-NN are one training."""
DATA = {DIGITS: DIGITS, **{name: alphabet(name) for name in ALPHABETS}}
BEATS = (
    ("MN", "vanilla", "MN is above vanilla"),
    ("MN + iFiLM", "MN", "iFiLM adds to it"),
    ("MN + iFiLM", "vanilla", "MN + iFiLM is above vanilla"),
    ("MN", "vanilla + parameters", "it is above a network of as many parameters"),
    ("MN", "k-NN", "it is above k-NN on a vanilla network's features"),
    ("MN", "MN before", "adaptation at test time helps"),
)


def _row(name: str, what: str) -> Row:
    method, branch = METHODS[what]
    model = f"small-{model_name(DATA[name], SMALL_NET, method)}"
    return Row(row_name(name, SMALL_NET, what), model, kind="branch", branch=branch)


RECIPE = Recipe(
    title="Meta-Neighborhoods on small data",
    source="ours, after Meta-Neighborhoods",
    models={
        name: scales
        for data in DATA.values()
        for name, scales in small_models(data, tuple(dict.fromkeys(method for method, _ in METHODS.values()))).items()
    },
    rows=tuple(_row(name, what) for name in DATA for what in METHODS),
    cost={
        "smoke": "seconds; digits need no data",
        "cpu": "twenty minutes for three seeds of all rows on one idle core",
        "full": "as cpu",
    },
    orders=orders_of(BEATS, tuple(DATA), (SMALL_NET,)),
)
