"""Learning-rate factors as pure functions of the step.

`lee`: Lee et al. 2019 (arXiv 1904.03758) trained 60 epochs at 0.1, 0.006, 0.0012, 0.00024 from epochs 0, 20, 40, 50;
here the same factors 1, 0.06, 0.012, 0.0024 from the same fractions of all steps. `classical`: Goldblum et al. 2020
(arXiv 2002.06753) trained CIFAR-FS for 300 epochs at 0.1, a tenth of it from epoch 100 and of that every 50 more; here
the same fractions. `halving`: Snell et al. 2017. Warm-up (their mini-ImageNet: 15 epochs at 0.01): a tenth. `linear`:
to 0, as the outer steps of Nichol et al. 2018 (arXiv 1803.02999). `cosine-warm`: Long et al. 2022 (arXiv 2202.11233), table
S7: a line from the rate 1e-7 to the full one over the warm-up, then half a cosine down to 1e-7. They do not say whether the
cosine begins before or after the warm-up; here after, without a jump. `three-quarters`: Shan et al. 2020 (arXiv 1909.09140)
trained 400 epochs, the last 100 at a tenth of the rate; here the same fractions of all steps. `wrapnet`, `wrapnet-imagenet`:
Ni et al. 2021 (arXiv 2007.13242) trained each stage for 200 epochs, a tenth of the rate every 60; on ImageNet for 60 epochs,
a tenth at 20, 40 and 50; here the same fractions of a stage's steps.
"""

from __future__ import annotations

import math

from modicum.configs import Schedule

_LEE = ((5 / 6, 0.0024), (2 / 3, 0.012), (1 / 3, 0.06))

_CLASSICAL = ((5 / 6, 1e-4), (2 / 3, 1e-3), (1 / 2, 1e-2), (1 / 3, 1e-1))
_WRAPNET = ((0.9, 1e-3), (0.6, 1e-2), (0.3, 1e-1))
_WRAPNET_IMAGENET = ((5 / 6, 1e-3), (2 / 3, 1e-2), (1 / 3, 1e-1))
_FALLING = {"classical": _CLASSICAL, "lee": _LEE, "wrapnet": _WRAPNET, "wrapnet-imagenet": _WRAPNET_IMAGENET}
"""Schedule -> (from this share of all steps, factor), latest first."""
WARM = 0.1
FLOOR = 1e-7
"""Learning rate at both ends of `cosine-warm`."""


def cosine_warm(step: int, steps: int, warmup: int, rate: float) -> float:
    """Factor on the full rate `rate` at `step` (from 0) of `steps`, the first `warmup` of which rise."""
    floor = min(FLOOR / rate, 1.0)
    if step < warmup:
        return floor + (1 - floor) * step / warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def learning_rate_factor(
    schedule: Schedule, step: int, steps: int, halve_every: int = 2_000, warmup: int = 0, rate: float = 1e-3
) -> float:
    """Factor on the starting rate `rate` at `step` (from 0) of `steps`; `WARM` in the first `warmup` steps.

    Only `cosine-warm` warms up otherwise, and needs the rate: its ends are given as rates.
    """
    if schedule == "cosine-warm":
        return cosine_warm(step, steps, warmup, rate)
    if step < warmup:
        return WARM
    if schedule in _FALLING:
        return next((factor for start, factor in _FALLING[schedule] if step >= start * steps), 1.0)
    if schedule == "three-quarters":
        return 1.0 if step < 0.75 * steps else 0.1
    if schedule == "halving":
        return 0.5 ** (step // halve_every)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule == "linear":
        return 1 - step / steps
    return 1.0
