"""What the two tables of weight clustering share: rows of Reptile's networks, batch norm both ways.

Micah Goldblum et al., "Unraveling Meta-Learning", ICML 2020, arXiv 2002.06753, as in section 5.5 of the dissertation this
package grew from; Alex Nichol, Joshua Achiam, John Schulman, "On First-Order Meta-Learning Algorithms", 2018, arXiv
1803.02999, whose transductive numbers the rows of Reptile are.

Batch norm as in `alfa_tables`: the statistics of each batch, as in Nichol's transductive runs, and again those of the
support set alone. Radii: the captions say one standard error; the rows quoted from Finn et al. 2017 (FOMAML) and from
Nichol et al. (Reptile) are 95 % intervals in those works, so that 1.96 times as much is too wide for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.configs import Scale
from modicum.recipes.alfa_tables import Number, beside
from modicum.recipes.chapter_5 import ERROR
from modicum.recipes.gradient_models import SMALL
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Models, Row

TASKS: Mapping[Scale, int] = {"smoke": 4, "cpu": 300, "full": 10_000}
"""Test tasks of a row, 100,000 in the dissertation."""


def adapted(name: str, method: str, shots: int, number: Number) -> tuple[Row, ...]:
    """A row of a network that learned by gradient steps. Reptile's model of the reduced scale serves all shots."""
    shared = method.startswith("reptile")
    small = f"{CIFAR}-{SMALL}-{method}" if shared else f"{CIFAR}-{SMALL}-{method}-{shots}shot"
    model = Models(f"{MINI}-{SMALL}-{method}-{shots}shot", small)
    mean, error = number
    return beside(Row(f"{name}, {shots}-shot", model, 5, shots, paper=mean / 100, paper_ci95=ERROR * error / 100))
