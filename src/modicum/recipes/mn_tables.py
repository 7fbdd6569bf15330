"""What the tables and figures of Meta-Neighborhoods on pictures share: rows, orders, printed names, why rows are not run.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140. Only its appendix was at hand:
of tables 1 and 2 of the main text, published numbers stand where the appendix or the authors' code has the same setting.

Rows are called DATA, BACKBONE, METHOD; what stands for what at which scale: `mn_models`. At reduced scale the rows of
ResNet-29 are run, with conv4-192 in its place; those of the other backbones would be the same models. Published accuracies
have no intervals. `branch`: which row of `evaluate` a table's row shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modicum.recipes.mn_models import (
    C10,
    C100,
    DENSE,
    NO_DICTIONARY,
    R29,
    R56,
    SMALL_NET,
    model_name,
    models_of,
)
from modicum.recipes.models import Options
from modicum.recipes.recipe import Models, Order, Row

SHOWN: Mapping[str, str] = {
    C10: "CIFAR-10", C100: "CIFAR-100", SMALL_NET: "ConvNet", DENSE: "DenseNet40-BC", R29: "ResNet-29", R56: "ResNet-56",
}  # fmt: skip
BACKBONES = (DENSE, R29, R56)
AT_FULL = "at full scale only: at reduced scale all backbones are conv4-192, which stands in the rows of ResNet-29"
ABSENT: Mapping[str, str] = {
    name: f"{name} is not among the known data sets, and its pictures are not here"
    for name in ("MNIST", "SVHN", "CINIC-10", "Tiny-ImageNet")
}
NONE = Models(None, None)


def row_name(data: str, backbone: str, what: str) -> str:
    """As `CIFAR-100, ResNet-29, MN`."""
    return ", ".join((SHOWN.get(data, data), SHOWN.get(backbone, backbone), what))


def branch_of(method: str) -> str:
    """What is measured of a run: the adapted logits, or a baseline's."""
    return (
        "knn"
        if method == "knn"
        else "vanilla"
        if method in (*NO_DICTIONARY, "parameters") or "vanilla" in method
        else "adapted"
    )


def fraction(number: float | None) -> float | None:
    """Per cent as a fraction."""
    return None if number is None else round(number / 100, 6)


def models_at(data: str, backbone: str, method: str) -> Models:
    """The published backbone's model at full scale; at reduced scale conv4-192 for ResNet-29 and nothing for the others."""
    return Models(
        model_name(data, backbone, method), model_name(data, SMALL_NET, method) if backbone == R29 else None
    )  # fmt: skip


def row_of(data: str, backbone: str, what: str, method: str, number: float | None = None, branch: str | None = None) -> Row:
    """A row of CIFAR-10 or CIFAR-100; number: per cent. Rows of absent data sets: `absent_row`."""
    return Row(
        row_name(data, backbone, what), models_at(data, backbone, method), kind="branch", branch=branch or branch_of(method),
        paper=fraction(number), missing=AT_FULL,
    )  # fmt: skip


def absent_row(data: str, backbone: str, what: str, number: float | None = None) -> Row:
    """A published row whose data set is not here."""
    return Row(
        row_name(data, backbone, what), NONE, kind="branch", branch="adapted", paper=fraction(number), missing=ABSENT[data]
    )


def used_models(
    methods: Sequence[str], data: Sequence[str] = (C10, C100), backbones: Sequence[str] = BACKBONES
) -> dict[str, Options]:
    """The models of methods on data sets, of published backbones and reduced."""
    return {name: scales for each in data for name, scales in models_of(each, tuple(backbones), tuple(methods)).items()}


def orders_of(
    beats: Sequence[tuple[str, str, str]], data: Sequence[str] = (C10, C100), backbones: Sequence[str] = (R29,)
) -> tuple[Order, ...]:
    """Orders (upper, lower, claim) of rows, on each data set and backbone."""
    return tuple(
        Order(row_name(each, backbone, upper), row_name(each, backbone, lower), claim)
        for each in data
        for backbone in backbones
        for upper, lower, claim in beats
    )
