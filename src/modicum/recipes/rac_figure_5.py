"""Figure 5 of RAC: what the memory holds, where it holds no picture of the task's own data.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
figure 5 (Places365-LT, variants of ImageNet-21k in the index); no numbers are printed.
Command: modicum reproduce rac_figure_5 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu about half a minute a row of four and seed on one idle core; full: not set up.
Target: accuracy of a model of the retrieval branch alone by the memory's classes and pictures per class. Claims: more
pictures per class help, with diminishing returns; "adding samples via new labels has a disproportionately larger effect".

At cpu scale the task is CIFAR-100-LT and the memory holds training pictures of CIFAR-10, which E was trained on too, as the
paper's E was on ImageNet-21k. It has ten words to say, where ImageNet-21k has thousands: expect little more than chance.
Smoke: digits in the memory of digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from modicum.configs import Scale
from modicum.recipes.long_tail_models import BASES, LT
from modicum.recipes.models import Options
from modicum.recipes.rac_sweeps import FOREIGN, sweep_models, sweep_orders, sweep_rows
from modicum.recipes.recipe import Recipe

CONTENTS = ((10, 10), (10, 100), (10, 200), (10, 1_000), (10, 5_000), (2, 1_000), (5, 1_000))
DATA: Mapping[Scale, str] = {"smoke": "digits", "cpu": "cifar10"}


def _options(classes: int, pictures: int) -> Options:
    return {
        scale: replace(BASES[LT][scale], **FOREIGN, memory=f"made:{data}/{classes}/{pictures}", neighbours=10)
        if scale == "smoke"
        else replace(BASES[LT][scale], **FOREIGN, memory=f"made:{data}/{classes}/{pictures}")
        for scale, data in DATA.items()
    }


def _shown(classes: int, pictures: int) -> str:
    return f"{classes} classes of {pictures}"


SETTINGS = {_shown(*content): (f"{LT}-retrieval-of-{content[0]}x{content[1]}", _options(*content)) for content in CONTENTS}

RECIPE = Recipe(
    title="Content of the memory, none of it of the task, retrieval branch alone",
    source="RAC, figure 5",
    models=sweep_models(SETTINGS),
    rows=tuple(replace(row, missing="ImageNet-21k is not here: make a memory of it, and train with --memory")
               for row in sweep_rows(SETTINGS, "retrieval")),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "about half a minute a model and seed on one idle core",
        "full": "not set up",
    },
    orders=sweep_orders(
        [
            (_shown(10, 1_000), _shown(10, 10), "all", "more pictures of the same classes help"),
            (_shown(10, 5_000), _shown(10, 1_000), "all", "so they do beyond a thousand"),
            (_shown(10, 1_000), _shown(2, 1_000), "all", "more classes help"),
            (_shown(10, 200), _shown(2, 1_000), "all", "of 2,000 pictures, those of more classes help more"),
        ]
    ),
)  # fmt: skip
