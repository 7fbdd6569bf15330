"""Table 1 of Meta-Neighborhoods: vanilla networks, MN, and MN + iFiLM, by data set and backbone.

Paper: Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, table 1. Shared: `mn_tables`; trainings:
`mn_models`.
Command: modicum reproduce mn_table_1 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, no data needed; cpu three to five minutes a model and seed on one idle core, six models; full hours to
days on a GPU a model.
Target: test accuracy, per cent. The main text was not at hand. Its default setting, one inner step with a scalar rate, and
its vanilla networks (cosine layer, AdamW) stand in table 3 of the appendix too, and these numbers are printed here. Of
MN + iFiLM one number is known, from a comment in the authors' code on ResNet-56 and CIFAR-100: vanilla 79.1, MN 80.28 (table
3 has 79.64 and 80.58), MN + iFiLM 80.96. "-": not known.

| data | backbone | vanilla | MN | MN + iFiLM |
|---|---|---|---|---|
| MNIST | ConvNet | 99.44 | 99.62 | - |
| SVHN | ConvNet | 93.02 | 94.46 | - |
| CIFAR-10 | DenseNet40-BC | 94.53 | 95.04 | - |
| CIFAR-100 | DenseNet40-BC | 73.92 | 76.32 | - |
| CINIC-10 | DenseNet40-BC | 84.92 | 85.73 | - |
| Tiny-ImageNet | DenseNet40-BC | 49.28 | 53.27 | - |
| CIFAR-10 | ResNet-29 | 95.06 | 95.56 | - |
| CIFAR-100 | ResNet-29 | 76.51 | 78.84 | - |
| CINIC-10 | ResNet-29 | 86.03 | 86.86 | - |
| Tiny-ImageNet | ResNet-29 | 54.82 | 57.36 | - |
| CIFAR-10 | ResNet-56 | 95.73 | 96.36 | - |
| CIFAR-100 | ResNet-56 | 79.64 | 80.58 | 80.96 |
| CINIC-10 | ResNet-56 | 88.21 | 88.61 | - |
| Tiny-ImageNet | ResNet-56 | 57.92 | 60.05 | - |
"""

from __future__ import annotations

from modicum.recipes.mn_models import C100, R56
from modicum.recipes.mn_table_3 import CLAIM, DEFAULT, LINES, VANILLA
from modicum.recipes.mn_tables import ABSENT, absent_row, orders_of, row_of, used_models
from modicum.recipes.recipe import Claim, Recipe, Row

METHODS = {"vanilla": "vanilla", "MN": "mn", "MN + iFiLM": "mn-ifilm"}
IFILM = {(C100, R56): 80.96}
CLAIMED = (("MN", "vanilla", CLAIM), ("MN + iFiLM", "MN", "iFiLM adds to it"))
BEATS = (*CLAIMED, ("MN + iFiLM", "vanilla", "MN + iFiLM is above the vanilla network"))


def _rows(data: str, backbone: str) -> list[Row]:
    line = LINES[data, backbone]
    numbers = (line[VANILLA], line[DEFAULT], IFILM.get((data, backbone)))
    if data in ABSENT:
        return [absent_row(data, backbone, what, number) for what, number in zip(METHODS, numbers, strict=True)]
    return [
        row_of(data, backbone, what, method, number) for (what, method), number in zip(METHODS.items(), numbers, strict=True)
    ]


RECIPE = Recipe(
    title="Meta-Neighborhoods against vanilla networks, with and without iFiLM",
    source="Meta-Neighborhoods, table 1",
    models=used_models(tuple(METHODS.values())),
    rows=tuple(row for data, backbone in LINES for row in _rows(data, backbone)),
    cost={
        "smoke": "seconds, no data needed",
        "cpu": "three to five minutes a model and seed on one idle core, six models",
        "full": "hours to days on a GPU a model",
    },
    orders=orders_of(BEATS),
    claims=(
        Claim(
            "MN is above vanilla, and MN + iFiLM above MN (CIFAR-10 and CIFAR-100)",
            tuple(("mn_table_1", order) for order in orders_of(CLAIMED)),
        ),
    ),
    absent="data sets of the main text that the appendix gives no numbers for: PACS, MNIST-M, ImageNet",
)  # fmt: skip
