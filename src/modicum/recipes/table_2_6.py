"""Table 2.6: WrapNet against networks with 32-bit accumulators.

Paper: Renkun Ni et al., "WrapNet", ICLR 2021, arXiv 2007.13242, table 2.6 of the dissertation's chapter. Shared:
`low_bit_tables`; trainings: `low_bit_models`.
Command: modicum reproduce table_2_6 --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu about a minute a model and seed on one idle core, 22 models; full hours on
a GPU a model.
Target: test accuracy, per cent. A is the bits of activations, W of weights (2 is ternary), S of sums.

| method | A | W | S | VGG-7 | ResNet-20 | AlexNet | ResNet-18 | ResNet-50 |
|---|---|---|---|---|---|---|---|---|
| FP | 32 | 32 | 32 | 92.45 | 91.78 | 60.61 | 69.59 | 76.15 |
| BWN | 32 | 1 | 32 | 91.55 | 90.03 | 56.56 | 63.55 | 72.88 |
| BWN-QA | ~3 | 1 | 32 | 91.30 | 89.86 | 46.30 | 57.54 | 66.85 |
| WrapNet 1/8 | ~3 | 1 | 8 | 90.81 | 89.78 | 44.88 | 55.60 | 64.30 |
| WrapNet 1/12 | ~7 | 1 | 12 | 91.59 | 90.17 | 56.62 | 63.11 | 72.37 |
| TWN | 32 | 2 | 32 | 91.56 | 90.36 | 57.57 | 65.70 | 73.31 |
| TWN-QA | ~4 | 2 | 32 | 91.49 | 90.12 | 55.84 | 63.67 | 72.50 |
| WrapNet 2/8 | ~4 | 2 | 8 | 91.14 | 89.56 | 52.24 | 62.13 | 71.62 |
| WrapNet 2/12 | ~7 | 2 | 12 | 91.53 | 90.88 | 57.60 | 63.84 | 73.93 |

The first two networks are of CIFAR-10, the others of ImageNet, which is not among the known data sets: their rows stand with
their published numbers as `not run`. From a folder of ImageNet in train/CLASS and test/CLASS they would be made by

    modicum train --data FOLDER --image_size 224 --method meta-neighborhoods --baseline vanilla --output_layer dot \
        --backbone resnet18 --out fp
    modicum quantize fp --out wrapnet --optimizer sgd --learning_rate 0.01 --weight_decay 1e-4 \
        --schedule wrapnet-imagenet --penalty 0.001 --penalty_in_warmup

At cpu scale three rows more, "ten times as long", say what BWN-QA and WrapNet reach where the stages behind the shared
pre-training take ten times as many steps: layers that fold a fifth of their sums need time to get used to it. p = 1: steps
for 1 % of overflow at first, not 5.

The prose beside the table is the source of the orders. BWN-QA is compared with WrapNet of 8 bits at the same precision of
activations. "Within two points", "on par" (here: within one point) are orders with a margin.
"""

from __future__ import annotations

from modicum.recipes.low_bit_models import RESNET, VGG, model_name, used
from modicum.recipes.low_bit_tables import COST, NO_IMAGENET, NONE, above, fraction, number
from modicum.recipes.low_bit_tables import accuracy as accuracy_row
from modicum.recipes.recipe import Claim, Models, Order, Recipe, Row

PAPER = {
    "FP": (92.45, 91.78, 60.61, 69.59, 76.15),
    "BWN": (91.55, 90.03, 56.56, 63.55, 72.88),
    "BWN-QA": (91.30, 89.86, 46.30, 57.54, 66.85),
    "WrapNet 1/8": (90.81, 89.78, 44.88, 55.60, 64.30),
    "WrapNet 1/12": (91.59, 90.17, 56.62, 63.11, 72.37),
    "TWN": (91.56, 90.36, 57.57, 65.70, 73.31),
    "TWN-QA": (91.49, 90.12, 55.84, 63.67, 72.50),
    "WrapNet 2/8": (91.14, 89.56, 52.24, 62.13, 71.62),
    "WrapNet 2/12": (91.53, 90.88, 57.60, 63.84, 73.93),
}
SHOWN = {VGG: "VGG-7", RESNET: "ResNet-20"}
ON_IMAGENET = ("AlexNet", "ResNet-18", "ResNet-50")
LONG = {
    name: f"{model_name(VGG, 'binary', form)}-long"
    for name, form in (("BWN-QA", "qa"), ("WrapNet 1/8", "8"), ("WrapNet 1/8, p = 1", "8-p1-penalty"))
}
ENDS = {"BWN-QA": "qa", "WrapNet 1/8": "8", "WrapNet 1/12": "12", "TWN-QA": "qa", "WrapNet 2/8": "8", "WrapNet 2/12": "12"}


def model(network: str, method: str) -> str | Models:
    """What stands for a method; at full scale the plain networks are those that the others begin from."""
    if method == "FP":
        return Models(model_name(network), model_name(network, "float"))
    weights = "binary" if method in ("BWN", "BWN-QA", "WrapNet 1/8", "WrapNet 1/12") else "ternary"
    start = model_name(network, weights)
    return f"{start}-{ENDS[method]}" if method in ENDS else Models(start, f"{start}-float")


def _names(network: str) -> list[str]:
    found = [model(network, method) for method in PAPER]
    return [name for each in found for name in ((each.full, each.reduced) if isinstance(each, Models) else (each,)) if name]


def _rows() -> list[Row]:
    rows = []
    for column, (network, shown) in enumerate(SHOWN.items()):
        for method, numbers in PAPER.items():
            rows.append(accuracy_row(f"{shown}, {method}", model(network, method), numbers[column]))
            if method in ENDS:
                rows.append(number(f"{shown}, {method}, bits", model(network, method), "bits"))
    rows += [
        Row(f"{SHOWN[VGG]}, {method}, ten times as long", Models(None, name), kind="low_bit", missing="at cpu scale only")
        for method, name in LONG.items()
    ]
    for column, shown in enumerate(ON_IMAGENET, len(SHOWN)):
        rows += [
            Row(f"{shown}, {method}", NONE, kind="low_bit", paper=fraction(numbers[column]), missing=NO_IMAGENET)
            for method, numbers in PAPER.items()
        ]
    return rows


def _near(network: str) -> tuple[Order, ...]:
    """With the cyclic layer 8-bit sums stay within two points of 32-bit ones of the same activations."""
    return tuple(
        above(f"{network}, WrapNet {bits}/8", f"{network}, {base}", "8-bit sums cost at most two points", -2)
        for bits, base in ((1, "BWN-QA"), (2, "TWN-QA"))
    )


def _longer(name: str) -> Order:
    claim = "8-bit sums cost at most two points after longer trainings"
    return above(f"{SHOWN[VGG]}, {name}, ten times as long", f"{SHOWN[VGG]}, BWN-QA, ten times as long", claim, -2)


def _on_par(network: str) -> tuple[Order, ...]:
    return (
        above(f"{network}, WrapNet 1/12", f"{network}, BWN", "with 12 bits WrapNet is on par with BWN", -1),
        above(f"{network}, WrapNet 2/12", f"{network}, TWN", "with 12 bits WrapNet is on par with TWN", -1),
    )


NEAR = tuple(order for network in SHOWN.values() for order in _near(network))
ON_PAR = tuple(order for network in SHOWN.values() for order in _on_par(network))

RECIPE = Recipe(
    title="WrapNet against 32-bit accumulators",
    source="WrapNet, table 2.6",
    models=used(*_names(VGG), *_names(RESNET), *LONG.values()),
    rows=tuple(_rows()),
    cost={**COST, "smoke": "half a minute, no data needed"},
    orders=(
        *NEAR,
        *ON_PAR,
        *(_longer(name) for name in LONG if name != "BWN-QA"),
        *(above(f"{n}, FP", f"{n}, WrapNet 1/8", "full precision is better than 8-bit sums") for n in SHOWN.values()),
        *(above(f"{n}, WrapNet 1/12", f"{n}, WrapNet 1/8", "12 bits are better than 8") for n in SHOWN.values()),
    ),
    claims=(
        Claim(
            "With the cyclic layer, 8-bit accumulators stay within two points of 32-bit ones (VGG-7)",
            tuple(("table_2_6", order) for order in _near(SHOWN[VGG])),
        ),
        Claim(
            "12-bit accumulators are on par with 32-bit ones (VGG-7)",
            tuple(("table_2_6", order) for order in _on_par(SHOWN[VGG])),
        ),
    ),
)  # fmt: skip
