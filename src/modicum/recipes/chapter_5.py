"""What the tables of chapter 5 share: their networks, what stands for them at reduced scale, and the chapter's claim.

Micah Goldblum, Steven Reich, Liam Fowl, Renkun Ni, Valeriia Cherepanova, Tom Goldstein, "Unraveling Meta-Learning:
Understanding Feature Representations for Few-Shot Tasks", ICML 2020, arXiv 2002.06753, as in chapter 5 of the dissertation
this package grew from. The claim is a function of the result files of tables 5.2 and 5.3: each of its orders is judged from
at least three training seeds or left undecided (`modicum.recipes.orders`).
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.configs import Scale
from modicum.recipes.models import CIFAR, MINI
from modicum.recipes.recipe import Claim, Models, Order, Row

ERROR = 1.96
"""From one standard error, which these tables print, to the radius of a 95 % interval."""

SVM_HEAD = "metaoptnet-svm"
DATA = {MINI: "mini-ImageNet", CIFAR: "CIFAR-FS"}
NETWORKS: Mapping[str, tuple[str, str]] = {
    "R2-D2-M": ("conv4-r2d2-r2d2", "conv4-64-r2d2"),
    "R2-D2-C": ("conv4-r2d2-classical", "conv4-64-classical"),
    "R2-D2-C w/ R_FC": ("conv4-r2d2-classical-fc", "conv4-64-classical-fc"),
    "R2-D2-C w/ R_HV": ("conv4-r2d2-classical-hv", "conv4-64-classical-hv"),
    "MetaOptNet-M": ("resnet12-metaoptnet-svm", "conv4-64-metaoptnet-svm"),
    "MetaOptNet-C": ("resnet12-classical", "conv4-64-classical"),
    "MetaOptNet-C w/ R_FC": ("resnet12-classical-fc", "conv4-64-classical-fc"),
    "MetaOptNet-C w/ R_HV": ("resnet12-classical-hv", "conv4-64-classical-hv"),
}
"""Network and training of the tables -> end of the published model's name, model of the reduced scale."""

ONE_DATA = "the reduced scale has CIFAR-FS in place of mini-ImageNet: see the row of CIFAR-FS"
FINE_TUNE_TASKS: Mapping[Scale, int] = {"smoke": 5, "cpu": 100, "full": 1_000}
"""Fine-tuning a whole network for every task is dear: fewer tasks at reduced scale."""


def network(name: str, data: str, both: bool = False) -> Models:
    """The models behind a network's name on a data set; both: the table has CIFAR-FS too, so mini-ImageNet is full only."""
    full, reduced = NETWORKS[name]
    return Models(f"{data}-{full}", None if both and data == MINI else reduced)


def models_of(*rows: Row) -> tuple[str, ...]:
    """Names of all models that rows are measured with, at any scale, each once."""
    found = [part for row in rows for part in (row.model, row.other) if part is not None]
    names = [name for part in found for name in ((part.full, part.reduced) if isinstance(part, Models) else (part,))]
    return tuple(dict.fromkeys(name for name in names if name is not None))


HEADS = {"SVM": SVM_HEAD, "RR": "r2d2", "ProtoNet": "protonet", "MAML": "fine-tune"}
Grid = Mapping[str, Mapping[str, tuple[float, float]]]


def head_grid(numbers: Grid, shots: int) -> tuple[Row, ...]:
    """Rows of a head-swap grid on mini-ImageNet: network -> column -> (mean, one standard error) in percent."""
    return tuple(
        Row(
            f"{name}, {column}", network(name, MINI), 5, shots, paper=mean / 100, paper_ci95=ERROR * error / 100,
            head=HEADS[column], tasks=FINE_TUNE_TASKS if column == "MAML" else None,
        )
        for name, columns in numbers.items()
        for column, (mean, error) in columns.items()
    )  # fmt: skip


def grid_orders(numbers: Grid) -> tuple[Order, ...]:
    """Meta-learned against classical features of each architecture under each head, in the order that is printed."""
    found = []
    for network_name in ("MetaOptNet", "R2-D2"):
        meta, classical = f"{network_name}-M", f"{network_name}-C"
        for column in HEADS:
            better, worse = meta, classical
            if numbers[meta][column][0] < numbers[classical][column][0]:
                better, worse = classical, meta
            kind = "meta-learned" if better == meta else "classical"
            claim = f"{kind} features are better under {column} ({network_name} architecture)"
            found.append(Order(f"{better}, {column}", f"{worse}, {column}", claim))
    return tuple(found)


MORE_CLUSTERED = tuple(
    Order(f"R2-D2-C, CIFAR-FS, {figure}", f"R2-D2-M, CIFAR-FS, {figure}", f"meta-learned features have less {figure}")
    for figure in ("R_FC", "R_HV")
)
REGULARISER_CLUSTERS = Order("R2-D2-C, CIFAR-FS, R_FC", "R2-D2-C w/ R_FC, CIFAR-FS, R_FC", "the regulariser lowers R_FC")
REGULARISER_LIFTS = Order(
    "R2-D2-C w/ R_FC, CIFAR-FS, 1-shot", "R2-D2-C, CIFAR-FS, 1-shot", "the regulariser lifts 1-shot accuracy"
)
CLAIM = Claim(
    "chapter 5: meta-learned features are more clustered than classical ones, and a regulariser gives classical features "
    "the same and lifts 1-shot accuracy",
    (
        *(("table_5_2", order) for order in (*MORE_CLUSTERED, REGULARISER_CLUSTERS)),
        ("table_5_3", REGULARISER_LIFTS),
    ),
)
