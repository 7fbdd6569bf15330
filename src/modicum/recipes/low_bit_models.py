"""The models behind the tables of WrapNet; one training serves them all.

Renkun Ni, Hong-min Chu, Oscar Castaneda, Ping-yeh Chiang, Christoph Studer, Tom Goldstein, "WrapNet", ICLR 2021, arXiv
2007.13242, and chapter 2 of the dissertation, which tables here are numbered after. A model is called
low-bit-NETWORK-WEIGHTS-WHAT, as `low-bit-vgg7-binary-8`; what a name's end says is in `FORMS`.

| model | begins from | steps at full scale (epochs) | at cpu scale |
|---|---|---|---|
| NETWORK | fresh weights, full precision | 78,000 (200) | `BEFORE` |
| NETWORK-float | NETWORK | | `STAGE` + `LAST` |
| NETWORK-WEIGHTS: binary or ternary weights, float activations | NETWORK | 78,000 | `STAGE` |
| NETWORK-WEIGHTS-float: the same trained on | NETWORK-WEIGHTS | | `LAST` |
| NETWORK-WEIGHTS-qa: quantised activations too, sums of 32 bits | NETWORK-WEIGHTS | 78,000 | `LAST` |
| NETWORK-WEIGHTS-8, -12: WrapNet | NETWORK-WEIGHTS | 78,000 warm-up, 78,000 | `WARM`, `LAST` - `WARM` |
| all others: WrapNet, without penalty unless the name says so | NETWORK-WEIGHTS | the same | the same |
| NETWORK-WEIGHTS-FORM-long, of `LONG` | NETWORK-WEIGHTS | none | `LONGER` times as many |

| scale | data | network | batches |
|---|---|---|---|
| smoke | digits, 16 pixels | vgg7-16, resnet20-8 | 2 steps of 16: it runs, and no more |
| cpu | CIFAR-10 at 16 pixels: all test pictures | vgg7-16, resnet20-8 | of 64, not augmented |
| full | CIFAR-10, crops and flips | vgg7, resnet20 | of 128 |

A fiftieth of the training pictures validates. cpu is reduced in everything: pictures of half the side, an eighth of VGG-7's
width, 2,800 steps in all, under four passes over the pictures; step sizes are chosen on 200 pictures, not 1,000; the rate of
a stage falls to 0 along a cosine, for the published schedule leaves so short a stage too few steps at a high one. All rows
of a table have taken as many steps there, so that WrapNet, which has more stages, has no more training than what it is
compared with. The last map has 2 pixels a side there, which VGG-7 repeats to 4, so that its linear layer sums every feature
four times and its codes are coarse. At full scale stages are as published, where a baseline has fewer. Adam at 1e-3; full: a
tenth of it from 30, 60 and 90 % of a stage on. Batch size, augmentation and the training of the first network are not
published: ours. The last weights count. Seeds change weights and batches; models of one seed begin from the same network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modicum.configs import Quantize, Scale, Train
from modicum.configs.neighborhoods import NEIGHBORHOODS
from modicum.recipes.recipe import Options

VGG, RESNET = "vgg7", "resnet20"
NETWORKS: Mapping[str, tuple[str, str]] = {VGG: ("vgg7-16", "vgg7"), RESNET: ("resnet20-8", "resnet20")}
"""Network -> the backbone at reduced scale, and at full scale."""
RUN = "run:"
BEFORE, STAGE, LAST, WARM = 1_500, 500, 800, 200
"""Steps of a training at cpu scale: of the first network, of weights alone, of what follows, and of its warm-up."""
EPOCHS_200 = 78_000
"""200 epochs of 50,000 pictures in batches of 128."""
LONGER = 10
"""How many times as long the models last that ask what a short training leaves undone."""
LONG = ("qa", "8", "8-p1-penalty")
"""Forms that are there so long, too."""
SHARE = 0.02
"""Of the training pictures validate, at every scale."""

_ALL: Mapping[str, Any] = {
    "out": "", "method": NEIGHBORHOODS, "baseline": "vanilla", "output_layer": "dot", "optimizer": "adam",
    "weight_decay": 0.0, "schedule": "wrapnet", "validation_share": SHARE,
}  # fmt: skip


def network(name: str) -> Options:
    """The network in full precision that all others of its name begin from."""
    small, published = NETWORKS[name]
    smoke = Train(
        **_ALL,
        data="digits",
        image_size=16,
        backbone=small,
        batch_pictures=16,
        steps=2,
        validate_every=2,
        augmentation="none",
    )
    reduced = Train(
        **{**_ALL, "schedule": "cosine"}, data="cifar10", image_size=16, backbone=small, batch_pictures=64, steps=BEFORE,
        validate_every=BEFORE, augmentation="none",
    )  # fmt: skip
    full = Train(
        **_ALL, data="cifar10", backbone=published, batch_pictures=128, steps=EPOCHS_200, validate_every=7_800,
        augmentation="crop-flip",
    )  # fmt: skip
    return {"smoke": smoke, "cpu": reduced, "full": full}


def _stages(cpu: tuple[int, int], full: tuple[int, int], start: str, options: Mapping[str, Any]) -> Options:
    """A quantised network at every scale; cpu, full: steps of warm-up and of the last stage; start: a model's name."""
    base = Quantize(run=RUN + start, out="", pretrain_steps=0, measure=False, **options)
    scales: dict[Scale, Quantize] = {
        "smoke": replace(base, warmup_steps=min(cpu[0], 1), steps=2, calibration=32, **_smoke(options)),
        "cpu": replace(base, warmup_steps=cpu[0], steps=cpu[1], schedule="cosine", calibration=200),
        "full": replace(base, warmup_steps=full[0], steps=full[1]),
    }
    return scales


def _smoke(options: Mapping[str, Any]) -> dict[str, Any]:
    """So few pictures show no accuracy lost: every layer of a hybrid lets carries through, and has some to report."""
    found: dict[str, Any] = {"layer_steps": 1} if options.get("carries") in ("simulate", "hybrid") else {}
    return found | ({"hybrid_drop": 100.0} if options.get("carries") == "hybrid" else {})


def _longer(options: Options) -> Options:
    """The same with more steps at cpu scale; at full scale there is none."""
    last = options["cpu"]
    assert isinstance(last, Quantize)
    more = replace(last, warmup_steps=LONGER * (last.warmup_steps or 0), steps=LONGER * (last.steps or 0))
    return {"smoke": options["smoke"], "cpu": more}


WHOLE: Mapping[str, Any] = {"accumulator": "none"}
FLOATS: Mapping[str, Any] = {**WHOLE, "activations": "float"}
ABLATED: Mapping[str, Any] = {"penalty": 0.0}
"""Settings of the ablations, but for what each one changes."""
FORMS: Mapping[str, Mapping[str, Any]] = {
    "8": {},
    "12": {"accumulator": "12"},
    "8-k2": ABLATED,
    **{f"8-k{k}": {**ABLATED, "slope": float(k)} for k in (1, 4, 10)},
    "8-modulo": {**ABLATED, "cyclic": "modulo"},
    **{f"8-p{p}": {**ABLATED, "overflow": float(p)} for p in (0, 2, 10, 20, 30, 40, 50)},
    **{f"8-p{p}-penalty": {"overflow": float(p)} for p in (1, 20)},
    **{f"8-penalty-{value:g}": {"penalty": value} for value in (0.001, 0.1)},
    **{f"8-none-penalty-{value:g}": {"cyclic": "none", "penalty": value} for value in (0.01, 0.1, 1.0, 2.0)},
    "8-absolute": {**ABLATED, "cyclic": "absolute"},
    **{f"8-relu-k{k}": {**ABLATED, "cyclic": "relu", "slope": float(k)} for k in (1, 2, 3)},
    "8-k2-bare": {**ABLATED, "relu": False},
    "8-absolute-bare": {**ABLATED, "cyclic": "absolute", "relu": False},
    **{f"8-relu-k{k}-bare": {**ABLATED, "cyclic": "relu", "slope": float(k), "relu": False} for k in (1, 2, 3)},
    "8-buffer": {"carries": "buffer"},
    "8-carries": {"carries": "simulate"},
    "8-hybrid": {"carries": "hybrid"},
    "qa": WHOLE,
    **{f"qa-{bits}": {**WHOLE, "activations": str(bits)} for bits in (2, 3)},
}
"""End of a model's name -> how it differs from WrapNet's defaults. bare: without ReLU; none: no cyclic function."""
WEIGHTS = ("binary", "ternary", "3", "4", "5")


def quantised(name: str, weights: str, form: str) -> Options:
    """A network of quantised weights and activations, as `FORMS` says."""
    options = {"weights": weights, **FORMS[form]}
    wraps = options.get("accumulator") != "none"
    cpu = (WARM, LAST - WARM) if wraps else (0, LAST)
    full = (EPOCHS_200 if wraps else 0, EPOCHS_200)
    start = model_name(name, weights, "bare") if "relu" in options else model_name(name, weights)
    return _stages(cpu, full, start, options)


def model_name(name: str, *parts: str) -> str:
    """As `low-bit-vgg7-binary-8`."""
    return "-".join(("low-bit", name, *parts))


def _models(name: str) -> dict[str, Options]:
    found = {model_name(name): network(name)}
    trained_on = _stages((0, STAGE + LAST), (0, EPOCHS_200), model_name(name), {"weights": "float"})
    found[model_name(name, "float")] = trained_on
    for weights in WEIGHTS:
        start = model_name(name, weights)
        found[start] = _stages((0, STAGE), (0, EPOCHS_200), model_name(name), {"weights": weights, **FLOATS})
        bare = {"weights": weights, "relu": False, **FLOATS}
        found[f"{start}-bare"] = _stages((0, STAGE), (0, EPOCHS_200), model_name(name), bare)
        found[f"{start}-float"] = _stages((0, LAST), (0, EPOCHS_200), start, {"weights": weights, **FLOATS})
        forms = FORMS if weights in ("binary", "ternary") else ("8",)  # carries are of these weights alone
        found |= {f"{start}-{form}": quantised(name, weights, form) for form in forms}
        found |= {f"{start}-{form}-long": _longer(found[f"{start}-{form}"]) for form in LONG if form in forms}
    return found


MODELS: Mapping[str, Options] = {model: options for name in NETWORKS for model, options in _models(name).items()}


def used(*names: str) -> dict[str, Options]:
    """The models of the given names and those that they begin from, as `Recipe.models` takes them."""
    found: dict[str, Options] = {}
    for name in names:
        options = MODELS[name]
        first = options["cpu"]
        if isinstance(first, Quantize):
            found |= used(first.run.removeprefix(RUN))
        found[name] = options
    return found
