"""A few-shot WrapNet: ProtoNet with conv4-64 on Omniglot, of 1- and 2-bit weights and 8-bit sums, against its float twin.

Paper: none has these numbers; WrapNet is Renkun Ni et al., ICLR 2021, arXiv 2007.13242, ProtoNet Jake Snell et al., NeurIPS
2017, arXiv 1703.05175. Settings of low-bit training: `low_bit_models`.
Command: modicum reproduce wrapnet_omniglot --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke seconds, on Omniglot; cpu about ten minutes a seed on one idle core; full some hours of 2 cores a seed.
Target: nothing published; rows say accuracy, bytes of the file, and milliseconds to classify one picture (`deployed`).

28x28, Vinyals split with rotations as classes of their own; 20-way 1-shot training tasks with 5 queries a class, Adam at
1e-3 brought to 0 along a cosine; the network begun from is trained for 1,000 steps (full: 60-way, 20,000 steps, halving).
Then come 400 steps of weights alone, 100 of warm-up and 300 on codes (full: 5,000, 2,500, 5,000); the float twin takes as
many steps more. Rates of these stages fall along a cosine too (full: as published). The first convolution stays float.
Latencies are of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modicum.configs import Quantize, Train
from modicum.recipes import omniglot_protonet
from modicum.recipes.low_bit_models import RUN
from modicum.recipes.recipe import DEPLOYED, Options, Order, Recipe, Row

START = "low-bit-omniglot"
CPU = replace(
    omniglot_protonet.FULL,
    ways=20,
    steps=1_000,
    schedule="cosine",
    validation_ways=5,
    validate_every=1_000,
    validation_tasks=100,
)
SMOKE = replace(CPU, steps=4, validate_every=4, validation_tasks=5)
STAGES: Mapping[str, tuple[int, int, int]] = {"smoke": (2, 1, 2), "cpu": (400, 100, 300), "full": (5_000, 2_500, 5_000)}
FORMS: Mapping[str, Mapping[str, Any]] = {
    "float": {"weights": "float"},
    "binary, 8-bit sums": {"weights": "binary"},
    "ternary, 8-bit sums": {"weights": "ternary"},
}
SETTINGS = ((5, 1), (5, 5), (20, 1))


def _model(shown: str) -> str:
    return f"{START}-{FORMS[shown]['weights']}"


def _quantised(shown: str) -> Options:
    form = FORMS[shown]
    found: dict[Any, Train | Quantize] = {}
    for scale, (pre, warm, last) in STAGES.items():
        is_float = form["weights"] == "float"
        steps = (0, 0, pre + warm + last) if is_float else (pre, warm, last)
        found[scale] = Quantize(
            run=RUN + START, out="", pretrain_steps=steps[0], warmup_steps=steps[1], steps=steps[2],
            schedule="wrapnet" if scale == "full" else "cosine", calibration=32 if scale == "smoke" else 1_000,
            measure=False, **form,
        )  # fmt: skip
    return found


def _rows(shown: str) -> tuple[Row, ...]:
    model = _model(shown)
    return (
        *(Row(f"{shown}, {ways}way-{shots}shot", model, ways, shots) for ways, shots in SETTINGS),
        *(Row(f"{shown}, {what}", model, kind=kind) for what, kind in zip(("bytes", "ms"), DEPLOYED, strict=True)),  # type: ignore[arg-type]
    )


RECIPE = Recipe(
    title="Omniglot, ProtoNet of few bits against its float twin",
    source="ours",
    models={
        START: {"smoke": SMOKE, "cpu": CPU, "full": omniglot_protonet.FULL},
        **{_model(shown): _quantised(shown) for shown in FORMS},
    },
    rows=tuple(row for shown in FORMS for row in _rows(shown)),
    cost={
        "smoke": "seconds, on Omniglot",
        "cpu": "about ten minutes a seed on one idle core",
        "full": "some hours of 2 cores a seed",
    },
    orders=tuple(
        Order(f"{shown}, {ways}way-{shots}shot", f"float, {ways}way-{shots}shot", "at most two points are lost", -0.02)
        for shown in FORMS
        if shown != "float"
        for ways, shots in SETTINGS
    ),
)
