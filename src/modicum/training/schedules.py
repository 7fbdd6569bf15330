"""Learning-rate factors as pure functions of the step.

`lee`: Lee et al. 2019 (arXiv 1904.03758) trained 60 epochs at 0.1, 0.006, 0.0012, 0.00024 from epochs 0, 20, 40, 50;
here the same factors 1, 0.06, 0.012, 0.0024 from the same fractions of all steps. `halving`: Snell et al. 2017.
"""

from __future__ import annotations

import math

from modicum.configs import Schedule

_LEE = ((5 / 6, 0.0024), (2 / 3, 0.012), (1 / 3, 0.06))


def learning_rate_factor(schedule: Schedule, step: int, steps: int, halve_every: int = 2_000) -> float:
    """Factor on the starting rate at `step` (from 0) of `steps`."""
    if schedule == "lee":
        return next((factor for start, factor in _LEE if step >= start * steps), 1.0)
    if schedule == "halving":
        return 0.5 ** (step // halve_every)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    return 1.0
