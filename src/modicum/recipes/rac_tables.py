"""What the tables and figures of RAC share: rows by bucket, the methods of table 3, orders, the data's names.

Alexander Long, Wei Yin, Thalaiyasingam Ajanthan, Vu Nguyen, Pulak Purkait, Ravi Garg, Alan Blair, Chunhua Shen, Anton van
den Hengel, "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233.

Rows are called DATA, METHOD, BUCKET. What stands for what at which scale: `long_tail_models`. Published accuracies have no
intervals. "all" is the mean over classes, on the balanced test sets of the paper the share of all pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modicum.recipes.long_tail_models import CLOTHING, INAT, LT, METHODS, PLACES, model, model_name, with_referred
from modicum.recipes.models import Options
from modicum.recipes.recipe import Models, Order, Row

SHOWN: Mapping[str, str] = {
    PLACES: "Places365-LT", INAT: "iNaturalist 2018", LT: "CIFAR-100-LT", CLOTHING: "clothing",
}  # fmt: skip
PAPER_BUCKETS = ("many", "medium", "few", "all")
Numbers = Sequence[float | None]
"""many, medium, few, all in per cent."""
NO_NUMBERS: Numbers = (None, None, None, None)

LISTED: Mapping[str, tuple[str, str, float | None]] = {
    "CE": ("ce", "base", None),
    "BalCE": ("balanced-ce", "base", None),
    "Balanced softmax": ("balanced-softmax", "base", None),
    "LDAM": ("ldam", "base", None),
    "Focal": ("focal", "base", None),
    "cRT": ("crt", "base", None),
    "LWS": ("lws", "base", None),
    "tau-normalised": ("ce", "base", 1.0),
    "1-NN": ("rac", "1-nn", None),
    "30-NN": ("rac", "knn", None),
    "Retrieval": ("retrieval", "retrieval", None),
    "Base": ("lace", "base", None),
    "RAC": ("rac", "both", None),
    "RAC, E pixels": ("rac-pixels", "both", None),
    "Base, B pre-trained": ("lace-pretrained", "base", None),
    "RAC, B pre-trained": ("rac-pretrained", "both", None),
}
"""Method as it is printed -> (model, branch that is measured, power of tau-normalisation)."""
PUBLISHED = ("CE", "BalCE", "Retrieval", "Base", "RAC")
"""Methods of table 3 with ViT-B/16."""
TABLE_3: Mapping[str, Mapping[str, Numbers]] = {
    PLACES: {
        "CE": (50.81, 33.83, 19.51, 37.16),
        "BalCE": (49.03, 45.72, 29.05, 43.67),
        "Retrieval": (43.50, 41.99, 26.83, 39.58),
        "Base": (44.57, 45.06, 40.77, 44.05),
        "RAC": (48.69, 48.31, 41.76, 47.17),
    },
    INAT: {
        "CE": (81.53, 76.62, 69.82, 74.44),
        "BalCE": (72.39, 76.06, 73.05, 74.49),
        "Retrieval": (50.10, 52.77, 52.45, 52.37),
        "Base": (74.41, 78.95, 78.55, 78.32),
        "RAC": (75.92, 80.48, 81.07, 80.24),
    },
}
RN50: Mapping[str, Mapping[str, float]] = {
    PLACES: {"CE, B RN50": 32.14, "BalCE, B RN50": 38.31},
    INAT: {"CE, B RN50": 61.7, "BalCE, B RN50": 69.8},
}

NOT_HERE = "its pictures stand at full scale only: {}'s place at reduced scale is taken by CIFAR-100-LT and clothing"
AS_PUBLISHED = "B begins from E's weights in every row of full scale: see the row without this"
OWN = "a result of other work, quoted by the paper"
NO_RN50 = "how the paper trained RN50 is not stated"


def missing_at(data: str) -> str:
    """Why a published data set has no rows at reduced scale."""
    return NOT_HERE.format(SHOWN[data]) if data in (PLACES, INAT) else AS_PUBLISHED


def row_name(data: str, method: str, bucket: str) -> str:
    """As `CIFAR-100-LT, RAC, few`."""
    return f"{SHOWN[data]}, {method}, {bucket}"


def names_of(data: str, method: str, models: Mapping[str, Options] | None = None) -> Models:
    """The model of a data set and method at full and at reduced scale, None at the scales that have none."""
    name = model_name(data, method)
    scales = (models or {name: model(data, method)})[name]
    return Models(name if "full" in scales else None, name if "cpu" in scales else None)


def by_bucket(
    data: str, method: str, used: str | Models, branch: str, numbers: Numbers, tau: float | None = None
) -> list[Row]:
    """The rows of one method: many, medium, few, all."""
    return [
        Row(
            row_name(data, method, bucket), used, kind="long_tail", branch=branch, bucket=bucket, tau_norm=tau,
            paper=None if number is None else round(number / 100, 6), missing=missing_at(data),
        )
        for bucket, number in zip(PAPER_BUCKETS, numbers, strict=True)
    ]  # fmt: skip


def quoted(name: str, numbers: Numbers) -> list[Row]:
    """Rows of other work: published numbers that are not run."""
    return [
        Row(f"{name}, {bucket}", Models(None, None), kind="long_tail", branch="base", bucket=bucket,
            paper=round(number / 100, 6), missing=OWN)
        for bucket, number in zip(PAPER_BUCKETS, numbers, strict=True)
        if number is not None
    ]  # fmt: skip


def listed(data: str, methods: Sequence[str] = tuple(LISTED)) -> list[Row]:
    """The rows of methods of `LISTED` on a data set, with what table 3 has for them."""
    found = []
    for method in methods:
        key, branch, tau = LISTED[method]
        numbers = TABLE_3.get(data, {}).get(method, NO_NUMBERS)
        found += by_bucket(data, method, names_of(data, key), branch, numbers, tau)
    return found


def listed_models(data: str, methods: Sequence[str] = tuple(LISTED)) -> dict[str, Options]:
    """The models of these rows and those that they refer to."""
    keys = {LISTED[method][0] for method in methods}
    return with_referred({model_name(data, key): model(data, key) for key in METHODS if key in keys})


BEATS = (
    ("RAC", "Base", "many", "RAC is above its LACE base on many-shot classes"),
    ("RAC", "Base", "few", "RAC is above its LACE base on few-shot classes"),
    ("RAC", "Base", "all", "RAC is above its LACE base"),
    ("RAC", "Retrieval", "all", "both branches are better than retrieval alone"),
    ("RAC", "CE", "all", "RAC is above cross-entropy"),
    ("RAC", "BalCE", "all", "RAC is above re-weighted cross-entropy"),
    ("Base", "CE", "all", "logit adjustment is above cross-entropy"),
    ("CE", "Base", "many", "cross-entropy is best on many-shot classes"),
)
"""Better method, worse method, bucket, what the paper's table 3 says."""
OURS = (
    *(
        ("RAC", other, "all", f"RAC is above {other} (our question)")
        for other in ("Balanced softmax", "LDAM", "Focal", "1-NN", "30-NN")
    ),
    ("RAC, B pre-trained", "Base, B pre-trained", "all", "so it is where B knows what E knows (our question)"),
    ("RAC, E pixels", "Base", "all", "RAC is above its base where E has learned nothing (our question)"),
)
"""Likewise, of rows that table 3 has not: no claims of the paper."""


def orders(data: str, beats: Sequence[tuple[str, str, str, str]]) -> tuple[Order, ...]:
    """Orders of rows of a data set."""
    return tuple(Order(row_name(data, a, bucket), row_name(data, b, bucket), claim) for a, b, bucket, claim in beats)
