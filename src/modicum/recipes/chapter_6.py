"""What the tables of data diversity of chapter 6 (6.1 and 6.8) share: their five settings and the orders they show.

Renkun Ni, Micah Goldblum, Amr Sharaf, Kezhi Kong, Tom Goldstein, "Data Augmentation for Meta-Learning", ICML 2021,
arXiv 2010.07092, section 3.1, as in chapter 6 of the dissertation this package grew from. The settings are options of
`modicum.episodes.diversity` in training; tests are never restricted.
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.recipes.recipe import Models, Order, Row

ERROR = 1.96
"""From one standard error, which these tables print, to the radius of a 95 % interval."""

SETTINGS: Mapping[str, str] = {
    "all": "",
    "support 5": "-support5",
    "support 5 noise": "-support5noise",
    "query 5": "-query5",
    "13 tasks": "-task13",
}
"""Setting of a row -> ending of the name of the model that was trained so."""

Cells = tuple[tuple[float, float], tuple[float, float]]
SAME = "the reduced scale has one backbone: see the rows of this method's first backbone"


def diversity_rows(prefix: str, full: str, reduced: str | None, numbers: Mapping[str, Cells]) -> tuple[Row, ...]:
    """Rows of one method and backbone: setting -> ((1-shot, standard error), (5-shot, standard error)) in percent."""
    return tuple(
        Row(
            f"{prefix}{setting}, {shots}-shot",
            Models(f"{full}{SETTINGS[setting]}", None if reduced is None else f"{reduced}{SETTINGS[setting]}"),
            5, shots, paper=mean / 100, paper_ci95=ERROR * error / 100, missing=SAME,
        )
        for setting, cells in numbers.items()
        for shots, (mean, error) in zip((1, 5), cells, strict=True)
    )  # fmt: skip


def diversity_orders(prefix: str) -> tuple[Order, ...]:
    """What both tables show of one method and backbone: queries and tasks matter more than support pictures."""
    return tuple(
        Order(f"{prefix}{upper}, {shots}-shot", f"{prefix}{lower}, {shots}-shot", claim)
        for shots in (1, 5)
        for upper, lower, claim in (
            ("all", "query 5", "few query pictures cost accuracy"),
            ("support 5", "query 5", "few query pictures cost more than few support pictures"),
            ("all", "13 tasks", "few tasks cost accuracy"),
            ("support 5", "support 5 noise", "random noise as support costs accuracy"),
        )
    )
