"""The models behind the tables of chapters 5 and 6 of the dissertation this package grew from; one training serves them all.

Full scale, published settings (dissertation 5.7.2, 6.6.3; Lee et al. 2019, arXiv 1904.03758; Goldblum et al. 2020, arXiv
2002.06753), named <data>-<backbone>-<method>:

- episodic: 60,000 steps of 8 tasks (60 epochs of 8,000), SGD with Nesterov momentum, rate 0.1, then 0.006, 0.0012, 0.00024
  from 1/3, 2/3 and 5/6 of the steps on, weight decay 5e-4, flip, crop and colour jitter on support and query; 5-way, 6
  queries, 5 shots on CIFAR-FS and 15 on mini-ImageNet. MCT: 50,000 steps of one 15-way task.
- classical: 300 epochs of SGD with Nesterov momentum, weight decay 1e-4, rate 0.1, a tenth of it from epoch 100 on and again
  every 50; CIFAR-FS in batches of 128, mini-ImageNet of 256 after 15 epochs at 0.01. What follows those 15 is not published;
  ours is the schedule of CIFAR-FS. Coefficients: R_FC 0.05 (R2-D2 network) and 0.02 (ResNet-12); R_HV 0.1, but 0.05 for
  ResNet-12 on CIFAR-FS.

Reduced scale, named <backbone>-<method>, CIFAR-FS: conv4-64 in place of every published backbone (conv4-32 for MAML's), and
the same 1,000 steps for every row: episodic one task a step, 5-way (MCT 15-way) 5-shot, 6 queries, Adam at 1e-3 brought to
0 along a cosine; classical 64 pictures a step, SGD at 0.05 likewise; no augmentation.

Deviations: with a query pool of 5 pictures a task has 5 queries a class in place of 6, for none may stand twice. The tables
of data diversity train with 5 shots on mini-ImageNet too, for a support pool of 5 has no 15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from modicum.configs import Scale, Train
from modicum.recipes import cifar_fs_protonet, cifar_fs_r2d2

Options = Mapping[Scale, Train]
CIFAR, MINI = "cifar-fs", "mini-imagenet"
PICTURES = 64 * 600  # training pictures of either
EPISODES = 8_000  # of a published epoch

EPISODIC = cifar_fs_r2d2.FULL
CLASSICAL = replace(
    EPISODIC, method="classical", batch_pictures=128, steps=300 * PICTURES // 128, weight_decay=1e-4, schedule="classical",
)  # fmt: skip
REDUCED = Train(
    data=CIFAR, out="", method="r2d2", backbone="conv4-64", ways=5, shots=5, queries=6, batch=1, steps=1_000,
    optimizer="adam", learning_rate=1e-3, schedule="cosine", validate_every=1_000, validation_tasks=100, validation_shots=5,
)  # fmt: skip
REDUCED_CLASSICAL = replace(
    REDUCED, method="classical", batch_pictures=64, optimizer="sgd", learning_rate=0.05, weight_decay=1e-4
)
DIVERSITY: Mapping[str, Mapping[str, int | bool]] = {
    "support5": {"support_pool": 5},
    "support5noise": {"support_pool": 5, "support_noise": True},
    "query5": {"query_pool": 5, "queries": 5},
    "task13": {"task_pool": 13},
}
"""What is restricted in tables 6.1 and 6.8: ending of the model's name -> options."""


def epoch_steps(options: Train) -> int:
    """Steps of an epoch: all training pictures once (classical), or the published 8,000 tasks (episodic)."""
    classical = options.method == "classical"
    return math.ceil(PICTURES / options.batch_pictures if classical else EPISODES / options.batch)


def _on(data: str, options: Train) -> Train:
    """The published options on a data set."""
    if data == CIFAR:
        return options
    if options.method != "classical":
        return replace(options, data=data, shots=15)
    return replace(options, data=data, batch_pictures=256, steps=300 * PICTURES // 256, warmup=15 * PICTURES // 256)


def _restricted(name: str, scale: Scale, options: Train) -> dict[str, Options]:
    """The models of less diverse training tasks, name -> scale -> options."""
    return {f"{name}-{ending}": {scale: replace(options, **more)} for ending, more in DIVERSITY.items()}  # type: ignore[arg-type]


def _full() -> dict[str, Options]:
    protonet = replace(EPISODIC, method="protonet", normalize=True)
    mct = replace(EPISODIC, method="mct", backbone="resnet12", batch=1, steps=50_000, ways=15)
    svm = replace(EPISODIC, method="metaoptnet-svm", backbone="resnet12")
    found: dict[str, Options] = {
        "cifar-fs-conv4-64-protonet": cifar_fs_protonet.MODEL,
        "cifar-fs-conv4-r2d2-r2d2": cifar_fs_r2d2.MODEL,
    }
    for data in (CIFAR, MINI):
        for name, options in {
            "conv4-r2d2-r2d2": EPISODIC,
            "resnet12-r2d2": replace(EPISODIC, backbone="resnet12"),
            "conv4-64-protonet": replace(protonet, backbone="conv4-64"),
            "resnet12-protonet": replace(protonet, backbone="resnet12"),
            "resnet12-metaoptnet-svm": svm,
            "resnet12-mct": mct,
        }.items():
            found.setdefault(f"{data}-{name}", {"full": _on(data, options)})
        for backbone, published in (("conv4-r2d2", "conv4-r2d2-lee"), ("resnet12", "resnet12")):
            found |= _transfer(data, backbone, _on(data, replace(CLASSICAL, backbone=published)))
    found["mini-imagenet-conv4-32-classical"] = {"full": _on(MINI, replace(CLASSICAL, backbone="conv4-32"))}
    found |= _restricted("cifar-fs-resnet12-r2d2", "full", replace(EPISODIC, backbone="resnet12"))
    few = replace(EPISODIC, data=MINI)
    for name, options in {
        "conv4-r2d2-r2d2": few,
        "resnet12-r2d2": replace(few, backbone="resnet12"),
        "resnet12-protonet": replace(few, method="protonet", normalize=True, backbone="resnet12"),
    }.items():
        found[f"mini-imagenet-{name}-5shot"] = {"full": options}
        found |= _restricted(f"mini-imagenet-{name}-5shot", "full", options)
    return found


def _transfer(data: str, backbone: str, options: Train) -> dict[str, Options]:
    """Classical training without and with each regulariser, by the published coefficients."""
    small = backbone == "conv4-r2d2"
    clustering = replace(options, regularizer="feature-clustering", coefficient=0.05 if small else 0.02)
    variation = replace(options, regularizer="hyperplane-variation", coefficient=0.1 if small or data == MINI else 0.05)
    name = f"{data}-{backbone}-classical"
    return {name: {"full": options}, f"{name}-fc": {"full": clustering}, f"{name}-hv": {"full": variation}}


def _reduced() -> dict[str, Options]:
    protonet = replace(REDUCED, method="protonet", normalize=True)
    found = {
        "conv4-64-r2d2": REDUCED,
        "conv4-64-protonet": protonet,
        "conv4-64-metaoptnet-svm": replace(REDUCED, method="metaoptnet-svm"),
        "conv4-64-mct": replace(REDUCED, method="mct", ways=15),
        "conv4-64-classical": REDUCED_CLASSICAL,
        "conv4-64-classical-fc": replace(REDUCED_CLASSICAL, regularizer="feature-clustering", coefficient=0.05),
        "conv4-64-classical-hv": replace(REDUCED_CLASSICAL, regularizer="hyperplane-variation", coefficient=0.1),
        "conv4-32-classical": replace(REDUCED_CLASSICAL, backbone="conv4-32"),
    }
    for name, options in (("conv4-64-r2d2", REDUCED), ("conv4-64-protonet", protonet)):
        found |= {model: scales["cpu"] for model, scales in _restricted(name, "cpu", options).items()}
    return {name: _with_smoke(options) for name, options in found.items()}


def _with_smoke(options: Train) -> Options:
    return {"smoke": replace(options, steps=5, validate_every=5, validation_tasks=10), "cpu": options}


MODELS: Mapping[str, Options] = {**_full(), **_reduced()}


def used(*names: str | None) -> dict[str, Options]:
    """The models of the given names, None left out, as `Recipe.models` takes them."""
    return {name: MODELS[name] for name in names if name is not None}
