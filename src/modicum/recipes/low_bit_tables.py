"""What the tables of WrapNet share: rows, printed settings, why rows are not run.

Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242; numbers are those of the dissertation's chapter 2. What stands for
what at which scale: `low_bit_models`. Published accuracies have no intervals; a published "diverges" is no number: "-".
"""

from __future__ import annotations

from collections.abc import Mapping

from modicum.configs import Quantize, Scale, Train
from modicum.recipes.low_bit_models import RUN, VGG, model_name
from modicum.recipes.recipe import Kind, Models, Options, Order, Row

NONE = Models(None, None)
COST: Mapping[Scale, str] = {
    "smoke": "seconds, no data needed",
    "cpu": "about a minute a model and seed on one idle core, most of them shared with other tables",
    "full": "hours on a GPU a model",
}
NO_IMAGENET = "ImageNet is not among the known data sets, and its pictures are not here"


def accuracy(name: str, model: str | Models, paper: float | None = None, branch: str = "") -> Row:
    """A row of test accuracy; paper: per cent."""
    return Row(name, model, kind="low_bit", branch=branch, paper=fraction(paper))


def number(
    name: str, model: str | Models, kind: Kind, paper: float | None = None, branch: str = "", bucket: str = ""
) -> Row:
    """A row of an overflow rate (paper: per cent), bits, or carries."""
    value = fraction(paper) if kind == "overflow" else paper
    return Row(name, model, kind=kind, branch=branch, bucket=bucket, paper=value)


def wrapnet(form: str = "8", weights: str = "binary", network: str = VGG) -> str:
    """Name of the model of a form of `low_bit_models.FORMS`."""
    return model_name(network, weights, form)


def fraction(per_cent: float | None) -> float | None:
    """Per cent as a fraction."""
    return None if per_cent is None else round(per_cent / 100, 6)


def above(upper: str, lower: str, claim: str, points: float = 0.0) -> Order:
    """An order of accuracies; points: a margin in points."""
    return Order(upper, lower, claim, points / 100)


def low_bit_setting(options: Quantize, models: Mapping[str, Options], scale: Scale) -> str:
    """Backbone, data and form of our model, in a line."""
    begun: object = options
    while isinstance(begun, Quantize):
        begun = models[begun.run.removeprefix(RUN)][scale]
    assert isinstance(begun, Train)
    form = options.form
    pixels = f" at {begun.image_size} px" if begun.image_size else ""
    words = [f"{begun.backbone}, {begun.data}{pixels}", f"{form.weights} weights"]
    if not options.is_float:
        words.append("exact sums" if form.accumulator is None else f"{form.accumulator}-bit sums")
    return "; ".join(words)
