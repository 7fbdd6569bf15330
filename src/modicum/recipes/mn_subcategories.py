"""Sub-category discovery with Meta-Neighborhoods: trained on coarse labels, asked for fine ones.

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, appendix A.9. Shared: `mn_tables`;
trainings: `mn_models`.
Command: modicum reproduce mn_subcategories --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu five minutes a model and seed on one idle core, two models; full a day on a GPU a
model.
Target: accuracy of k-NN by training pictures on CIFAR-100's 100 classes, after training on its 20 coarse ones (S = 5,000):

| DenseNet40-BC | fine | coarse |
|---|---|---|
| vanilla, k-NN on features | 59.28 | 80.30 |
| MN, k-NN on attention vectors | 63.3 | 80.18 |

Neither k nor the distance is published: ours are 30 votes (smaller sets: fewer) by cosine; other k and the square roots of
attention are in every record. Smoke: digits, whose fine labels are the coarse ones.
"""

from __future__ import annotations

from modicum.recipes.mn_models import COARSE, DENSE, SMALL_NET, model_name, models_of
from modicum.recipes.mn_tables import fraction, row_name
from modicum.recipes.recipe import Claim, Models, Order, Recipe, Row

VECTORS = {
    "vanilla, features": ("vanilla", "features"),
    "MN, attention": ("mn", "attention"),
    "MN, features": ("mn", "features"),
}
NUMBERS = {
    ("vanilla, features", "fine"): 59.28, ("vanilla, features", "coarse"): 80.30,
    ("MN, attention", "fine"): 63.3, ("MN, attention", "coarse"): 80.18,
}  # fmt: skip


def _name(what: str, labels: str) -> str:
    return row_name("CIFAR-100", DENSE, f"{what}, {labels}")


def _row(what: str, labels: str) -> Row:
    method, vector = VECTORS[what]
    used = Models(model_name(COARSE, DENSE, method), model_name(COARSE, SMALL_NET, method))
    return Row(
        _name(what, labels), used, kind="votes", branch=vector, bucket=labels, paper=fraction(NUMBERS.get((what, labels)))
    )


DISCOVERED = Order(
    _name("MN, attention", "fine"), _name("vanilla, features", "fine"),
    "attention over entries tells fine classes apart better than a vanilla network's features",
)  # fmt: skip

RECIPE = Recipe(
    title="Sub-category discovery: fine classes from coarse labels",
    source="Meta-Neighborhoods, appendix A.9",
    models=models_of(COARSE, (DENSE,), ("vanilla", "mn")),
    rows=tuple(_row(what, labels) for labels in ("fine", "coarse") for what in VECTORS),
    cost={
        "smoke": "seconds, no data needed",
        "cpu": "five minutes a model and seed on one idle core, two models",
        "full": "a day on a GPU a model",
    },
    orders=(
        DISCOVERED,
        Order(
            _name("MN, attention", "fine"), _name("MN, features", "fine"), "so it does than its own features (our question)"
        ),
    ),
    claims=(Claim("learned neighbours keep details that no label said", (("mn_subcategories", DISCOVERED),)),),
)
