"""What the tables of ALFA share: names of rows and models, batch norm both ways, orders.

Sungyong Baik, Myungsub Choi, Janghoon Choi, Heewon Kim, Kyoung Mu Lee, "Meta-Learning with Adaptive Hyperparameters",
NeurIPS 2020, arXiv 2011.00209; tables A to E are those of the supplement.

Batch norm: the published protocol normalises by each batch (`batch`), so that a prediction sees the other queries. Every
row stands a second time as "..., support statistics": the same run, normalised by the support set alone. It has no
published number, and at test time the networks, trained the other way, meet statistics they did not learn with.

The radii: the supplement calls them a standard deviation over three seeds. Nearly all of them (not those of table 2, nor
the two that are quoted from Finn et al. 2017) equal 100 sqrt(p (1 - p)) / 100 %, p the accuracy, to within 0.025: the
standard deviation of one query's correctness, printed with a percent sign. They are no interval; that of 600 tasks is of
about that size by accident. They stand here as printed, in the place of an interval, so `reproduced` means: within so much
and our own interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from modicum.configs import Ensemble, Scale
from modicum.recipes.gradient_models import CONV, FC100, RESNET
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Claim, Models, Order, Row

Number = tuple[float, float]
"""Mean and printed radius, per cent."""

METHODS: Mapping[str, str] = {
    "Random Init": "random",
    "ALFA + Random Init": "alfa-random",
    "MAML": "maml",
    "ALFA + MAML": "alfa",
    "MAML + L2F": "l2f",
    "ALFA + MAML + L2F": "alfa-l2f",
}
"""Rows of the tables -> what their models' names have for the method."""
BACKBONES: Mapping[str, str] = {"4-CONV": CONV, "ResNet12": RESNET}
DATA: Mapping[str, str] = {"miniImageNet": MINI, "FC100": FC100, "CIFAR-FS": CIFAR}
SHOTS = (1, 5)

TASKS: Mapping[Scale, int] = {"smoke": 4, "cpu": 300, "full": 600}
"""Test tasks of a row; 600 as published, fewer at reduced scale, for every task takes gradient steps."""
BEST: Mapping[Scale, Ensemble] = {"full": "best"}
SUPPORT = ", support statistics"
ONE_BACKBONE = "the reduced scale has conv4-48 in place of ResNet12: see the row of 4-CONV"
NO_TIERED = "tieredImageNet is not among the data sets this package reads"

BEATS = (
    ("ALFA + Random Init", "MAML", "from a random start, ALFA beats MAML"),
    ("ALFA + MAML", "MAML", "ALFA improves MAML"),
    ("ALFA + MAML + L2F", "MAML + L2F", "ALFA improves MAML + L2F"),
)
"""Better row, worse row, what the paper says of them."""


def never_run(row: Row) -> bool:
    """Whether a row has a model at no scale."""
    return row.model_at("full") is None and row.model_at("cpu") is None


def beside(row: Row) -> tuple[Row, ...]:
    """The row as published, with the statistics of each batch, and the same run with those of the support set.

    A row that is never run stands once.
    """
    if never_run(row):
        return (row,)
    support = replace(row, name=row.name + SUPPORT, batch_norm="support", paper=None, paper_ci95=None)
    return replace(row, batch_norm="batch"), support


def published(name: str, model: Models, number: Number | None, shots: int, *, ways: int = 5, missing: str = "") -> Row:
    """A row of these tables: an ensemble of the best checkpoints at full scale, where there was any training."""
    untrained = (model.full or "").endswith(f"-random-{shots}shot") and "-alfa-random-" not in (model.full or "")
    mean, radius = (None, None) if number is None else (number[0] / 100, number[1] / 100)
    return Row(
        name, model, ways, shots, paper=mean, paper_ci95=radius, missing=missing, ensemble=None if untrained else BEST
    )  # fmt: skip


def grid(
    numbers: Mapping[tuple[str, str], Sequence[Number]], columns: Sequence[str], reduced: Mapping[str, str | None]
) -> tuple[Row, ...]:
    """Rows of (method, backbone) -> numbers, 1- and 5-shot for each column of data; tieredImageNet is not run.

    reduced: column -> data of the reduced scale's model, None for none.
    """
    rows: list[Row] = []
    places = [(column, shots) for column in columns for shots in SHOTS]
    for (method, backbone), values in numbers.items():
        for (column, shots), number in zip(places, values, strict=True):
            name = f"{method}, {backbone}, {column}, {shots}-shot"
            end = f"{METHODS[method]}-{shots}shot"
            full = f"{DATA[column]}-{BACKBONES[backbone]}-{end}" if column in DATA else None
            small = reduced[column] if backbone == "4-CONV" else None
            model = Models(full, f"{small}-{CONV}-{end}" if small else None)
            missing = NO_TIERED if column not in DATA else "" if small else ONE_BACKBONE
            rows += beside(published(name, model, number, shots, missing=missing))
    return tuple(rows)


def grid_orders(rows: Sequence[Row]) -> tuple[Order, ...]:
    """What the paper says of each column that can be run, where its own numbers say so too."""
    paper = {row.name: row.paper for row in rows if row.paper is not None and not never_run(row)}
    found = []
    for upper, lower, claim in BEATS:
        for name in paper:
            better = upper + name.removeprefix(lower)
            if name.startswith(f"{lower}, ") and paper.get(better, 0.0) > paper[name]:
                found.append(Order(better, name, f"{claim} ({name.removeprefix(lower + ', ')})"))
    return tuple(found)


def with_support(orders: Sequence[Order]) -> tuple[Order, ...]:
    """The orders, and the same of the rows with support statistics."""
    again = [Order(one.upper + SUPPORT, one.lower + SUPPORT, one.claim + SUPPORT) for one in orders]
    return (*orders, *again)


def claims(recipe: str, orders: Sequence[Order]) -> tuple[Claim, ...]:
    """The paper's sentences over all columns of a recipe that can be run at reduced scale: those of 4-CONV."""
    found = []
    for _, _, claim in BEATS[:2]:
        parts = [one for one in orders if one.claim.startswith(claim) and "4-CONV" in one.claim]
        found.append(Claim(f"{claim}, with four convolutions", tuple((recipe, one) for one in parts)))
    return tuple(found)
