"""The models behind the tables and figures of RAC; one training serves them all.

Alexander Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233.

Every result depends on what was trained before: the base branch's encoder B and the memory's frozen encoder E. The paper
excludes CIFAR-100-LT because there "training is typically performed from scratch, and RAC requires a pretrained network for
the retrieval module". Here it is the common small long tail, so what B and E began from stands beside every row.

E must not know the pictures that are tested. The shipped encoder `pictures` was trained on training AND test pictures of 64
classes of CIFAR-100: no model of CIFAR-100-LT uses it. Its E is `cifar10-conv4-64`, trained by cross-entropy on the training
pictures of CIFAR-10, whose classes are none of CIFAR-100's and whose pictures are others of the same collection (that no
two of them are nearly the same was not checked); or `pixels`, which has no weights. On `clothing` E is `pictures`.

| scale | data | B | E | training |
|---|---|---|---|---|
| smoke | digits, factor 20 (`clothing`: itself) | conv4-32 | conv4-32 on the same digits | 5 steps: it runs, and no more |
| cpu | CIFAR-100, exponential tail, factor 100 (10,847) | conv4-32, random | above, or `pixels` | 1,000 steps of 64 |
| cpu | clothing as it is, senders held out, 32 pixels | conv4-32, random | `pictures`, `pixels` | 1,000 steps of 64 |
| full | Places365-LT, iNaturalist 2018, CIFAR-100-LT, clothing | ViT-B/16, ImageNet-21k | the same weights | tables S6, S7 |

cpu: AdamW at 1e-3, weight decay 0.02, cosine after a warm-up of a sixth, no augmentation; then each picture's neighbours
never change and are retrieved once (`cache_neighbours`). Nothing is held out for validation and the last weights count.
Seeds change the draw of the tail, what is held out of `clothing`, weights and batches; E is one training (seed 0) for all.
full: 30 epochs (iNaturalist: 20) with CLIP's text tower, trained. Folders under the root: `places365-lt` and `inat2018`,
each with train/CLASS and test/CLASS (or val/CLASS), and `clothing` with its CSV; weights from the hub's cache on this
machine. The stochastic depth of the paper is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modicum.configs import Scale, Train
from modicum.recipes.models import Options
from modicum.recipes.resolving import referred

VIT = "timm/vit_base_patch16_224.augreg_in21k"
CLIP = "clip:openai/clip-vit-base-patch32"
E_MODEL, E_SMALL = "cifar10-conv4-64", "cifar10-conv4-32"
E = f"run:{E_MODEL}@0"
LT, CLOTHING, PLACES, INAT = "cifar100-lt", "clothing", "places365-lt", "inat2018"

SMOKE = Train(
    data="digits", out="", method="rac", backbone="conv4-32", imbalance=20.0, batch_pictures=32, steps=5, validate_every=5,
    validation_share=0.0, rand_augment=False, encoder=E, cache_neighbours=True,
)  # fmt: skip
CPU = replace(SMOKE, data="cifar100", imbalance=100.0, batch_pictures=64, steps=1_000, validate_every=1_000)
FULL = Train(
    data=PLACES, out="", method="rac", backbone=VIT, pretrained=VIT, encoder=VIT, text=CLIP, batch_pictures=200, epochs=30,
    learning_rate=5e-5, validation_share=0.0,
)  # fmt: skip
GROUPED: Mapping[str, Any] = {"data": CLOTHING, "group": "sender", "imbalance": 1.0}
INAT_EPOCH = 437_513 // 50
INAT_FULL: Mapping[str, Any] = {
    "data": INAT, "batch_pictures": 50, "epochs": 20, "warmup": 5 * INAT_EPOCH, "learning_rate": 1e-4,
}  # fmt: skip
BASES: Mapping[str, Options] = {
    LT: {"smoke": SMOKE, "cpu": CPU, "full": replace(FULL, data="cifar100", imbalance=100.0)},
    CLOTHING: {
        "smoke": replace(SMOKE, **GROUPED, image_size=32, encoder="pictures"),
        "cpu": replace(CPU, **GROUPED, image_size=32, encoder="pictures"),
        "full": replace(FULL, **GROUPED),
    },
    PLACES: {"full": FULL},
    INAT: {"full": replace(FULL, **INAT_FULL)},
}
"""RAC as it is on each data set."""

BASE_ALONE: Mapping[str, Any] = {
    "branches": "base", "encoder": None, "text": "random", "cache_neighbours": False, "memory": None,
}  # fmt: skip
SECOND: Mapping[str, Any] = {**BASE_ALONE, "loss": "ce", "sampler": "balanced", "steps": 10_000, "epochs": None}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "rac": {},
    "retrieval": {"branches": "retrieval", "pretrained": None},
    "lace": BASE_ALONE,
    **{loss: {**BASE_ALONE, "loss": loss} for loss in ("ce", "balanced-ce", "balanced-softmax", "ldam", "focal")},
    "crt": {**SECOND, "decouple": "crt"},
    "lws": {**SECOND, "decouple": "lws"},
    "rac-pixels": {"encoder": "pixels"},
    "rac-pretrained": {"backbone": "conv4-64", "learning_rate": 1e-3},
    "lace-pretrained": {**BASE_ALONE, "backbone": "conv4-64", "learning_rate": 1e-3},
}
"""Ending of a model's name -> what differs from RAC. crt and lws go on from the run of `ce` with the same seed; where B is
pre-trained, it begins from E's own weights."""
SECOND_STEPS: Mapping[Scale, int] = {"smoke": 2, "cpu": 300, "full": 500}


def model_name(data: str, method: str) -> str:
    """As `cifar100-lt-rac`."""
    return f"{data}-{method}"


def varied(data: str, options: Mapping[str, Any]) -> Options:
    """RAC on a data set with other options, at every scale it has."""
    return {scale: replace(base, **options) for scale, base in BASES[data].items()}


def model(data: str, method: str) -> Options:
    """The options of a method of `METHODS` on a data set."""
    options = METHODS[method]
    if method.endswith("-pretrained"):  # at full scale all begin from published weights
        small = {scale: base for scale, base in BASES[data].items() if scale != "full"}
        return {scale: replace(base, **options, pretrained=base.encoder) for scale, base in small.items()}
    if options.get("decouple"):
        first = f"run:{model_name(data, 'ce')}"
        return {
            scale: replace(base, **options, pretrained=first, decouple_steps=SECOND_STEPS[scale])
            for scale, base in BASES[data].items()
        }
    return varied(data, options)


def encoder_models() -> dict[str, Options]:
    """What E is trained by: cross-entropy on all classes of CIFAR-10 (smoke: digits)."""
    smoke = replace(SMOKE, **BASE_ALONE, loss="ce", imbalance=1.0)
    cpu = replace(smoke, data="cifar10", backbone="conv4-64", batch_pictures=64, steps=2_500, validate_every=2_500)
    return {
        E_MODEL: {"smoke": smoke, "cpu": cpu},
        E_SMALL: {"smoke": smoke, "cpu": replace(cpu, backbone="conv4-32")},
    }


def with_referred(models: Mapping[str, Options]) -> dict[str, Options]:
    """The models, and those that their options refer to."""
    known = {**encoder_models(), **{model_name(data, "ce"): model(data, "ce") for data in BASES}}
    names = {name for scales in models.values() for options in scales.values() for name in referred(options)}
    return {**models, **{name: known[name] for name in sorted(names) if name not in models}}
