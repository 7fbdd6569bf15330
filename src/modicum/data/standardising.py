"""Columns of numbers at mean 0 and variance 1, by the rows that a model is trained on and by no others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CONSTANT = 1e-10
"""Share of a column's largest number below which its deviation is rounding."""


class Scaling(NamedTuple):
    """mean (D,) and deviation (D,) of columns; a constant column has deviation 0 and becomes 0, whatever it holds later."""

    mean: Floats
    deviation: Floats

    def apply(self, x: Floats) -> Floats:
        """Columns (n, D) at mean 0 and variance 1."""
        inverse = np.divide(1.0, self.deviation, out=np.zeros_like(self.deviation), where=self.deviation > 0)
        return (x - self.mean) * inverse

    def undo(self, z: Floats) -> Floats:
        """Standardised columns (..., D) in their own units."""
        return z * self.deviation + self.mean


def scaling_of(x: Floats) -> Scaling:
    """The scaling of columns (n, D), with the variance over n as the paper's "unit variances" has it."""
    deviation = x.std(0)
    largest = np.abs(x).max(0, initial=0.0)
    return Scaling(x.mean(0), np.where(deviation <= CONSTANT * largest, 0.0, deviation))
