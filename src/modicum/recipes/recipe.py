"""What a recipe is: models to train at three scales, and the rows of a table that are measured with them.

Nothing here or in a recipe's file imports torch, so `modicum reproduce list` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modicum.configs import Scale, Train

TASKS: Mapping[Scale, int] = {"smoke": 20, "cpu": 1_000, "full": 1_000}
"""Test tasks of a row; published tables use 600 to 1,000."""


@dataclass(frozen=True)
class Row:
    """One number of a table: a model measured in one setting. paper: published accuracy in [0, 1], None for none.

    paper_ci95: radius of the published 95 % interval; where a paper prints one standard error, 1.96 times that.
    """

    name: str
    model: str
    ways: int
    shots: int
    paper: float | None = None
    paper_ci95: float | None = None
    queries: int = 15
    split: str = "test"


@dataclass(frozen=True)
class Recipe:
    """A table. models: name -> scale -> options of `train` (`out`, `root` and `seed` are filled in by the runner)."""

    title: str
    source: str
    models: Mapping[str, Mapping[Scale, Train]]
    rows: tuple[Row, ...]
    cost: Mapping[Scale, str]
    tasks: Mapping[Scale, int] = field(default_factory=lambda: TASKS)
