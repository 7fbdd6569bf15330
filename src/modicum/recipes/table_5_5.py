"""Table 5.5 of the dissertation: class separation of MAML's features and of a classical network of the same architecture.

Paper: Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, table 5.
Command: modicum reproduce table_5_5 --scale cpu --seeds 0 1 2 --root DIR
Cost: smoke a minute; cpu about 6 minutes a seed on one core; full two meta-trainings of 60,000 steps and 300 epochs of a
small network, for a GPU.
Target: mini-ImageNet, no intervals are printed; lower: classes lie further apart.

| model | R_FC | R_HV |
|---|---|---|
| MAML-1 | 3.9406 | 1.9434 |
| MAML-5 | 3.7044 | 1.8901 |
| MAML-C | 3.3487 | 1.8113 |

Deviations: the figures are those of `table_5_2`, from test classes (the caption's "on mini-ImageNet training data" may mean
the classes measured). Features are the last before the linear layer of conv4-32, for MAML under the weights before any
inner step, with the moving averages of batch norm from training; whether the paper's were adapted to something is not said.
MAML's training: `recipes.gradient_models`. cpu: conv4-32 on CIFAR-FS.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.chapter_5 import models_of
from modicum.recipes.gradient_models import used
from modicum.recipes.recipe import Kind, Models, Order, Recipe, Row

FIGURES: Mapping[str, Kind] = {"R_FC": "r_fc", "R_HV": "r_hv"}
NUMBERS = {"MAML-1": (3.9406, 1.9434), "MAML-5": (3.7044, 1.8901), "MAML-C": (3.3487, 1.8113)}
MODELS = {
    "MAML-1": Models("mini-imagenet-conv4-32-maml-1shot", "cifar-fs-conv4-32-maml-1shot"),
    "MAML-5": Models("mini-imagenet-conv4-32-maml-5shot", "cifar-fs-conv4-32-maml-5shot"),
    "MAML-C": Models("mini-imagenet-conv4-32-classical", "conv4-32-classical"),
}
ROWS = tuple(
    Row(f"{name}, {figure}", MODELS[name], kind=FIGURES[figure], paper=value)
    for name, values in NUMBERS.items()
    for figure, value in zip(FIGURES, values, strict=True)
)

RECIPE = Recipe(
    title="Class separation of MAML's features",
    source="dissertation table 5.5",
    models=used(*models_of(*ROWS)),
    rows=ROWS,
    cost={"smoke": "under a minute", "cpu": "about 6 minutes a seed on one core", "full": "3 trainings, for a GPU"},
    orders=tuple(
        Order(f"{name}, {figure}", f"MAML-C, {figure}", f"{name} separates classes less than classical training ({figure})")
        for name in ("MAML-1", "MAML-5")
        for figure in FIGURES
    ),
)
