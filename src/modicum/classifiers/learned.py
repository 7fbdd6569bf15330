"""phi of `modicum.adaptation.mct` for a classifier: phi(z) = z / (||z|| sigma(z)) with the sigma that a run has learned.

The same formula in numpy, every sum in an order that depends on D and H alone, so that a row's bits do not depend on the
rows beside it. A matrix product of torch would give another picture's batch other last bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.evaluation.accuracy import Floats
from modicum.similarity import dot_similarities

if TYPE_CHECKING:
    from modicum.adaptation.mct import MCTScale

Rows = npt.NDArray[np.float32]
_ARRAYS, _NUMBERS = ("hidden_weight", "hidden_bias", "out_weight"), ("out_bias", "log_spread", "log_floor")
_EPSILON = 1e-5  # of torch's layer norm


def _whitened(x: Floats) -> Rows:
    """Layer norm of rows (q, D) without parameters."""
    y = x - x.sum(1, keepdims=True) / x.shape[1]
    variance = (y * y).sum(1, keepdims=True) / x.shape[1]
    white: Rows = (y / np.sqrt(variance + _EPSILON)).astype(np.float32)
    return white


@dataclass(frozen=True, eq=False)
class LearnedLength:
    """sigma's parameters as arrays: hidden_weight (H, D), hidden_bias (H,), out_weight (H,), and three numbers."""

    hidden_weight: Rows
    hidden_bias: Rows
    out_weight: Rows
    out_bias: float
    log_spread: float
    log_floor: float

    def sigma(self, features: npt.ArrayLike) -> Floats:
        """sigma (q,) > 0 of features (q, D); `DataError` for another width than it was learned with."""
        x = np.ascontiguousarray(features, np.float64)
        width = self.hidden_weight.shape[1]
        if x.shape[1] != width:
            raise DataError(f"features: expected width {width}, which mct was trained for, found {x.shape[1]}")
        hidden = np.maximum(dot_similarities(_whitened(x), self.hidden_weight) + self.hidden_bias, 0)
        out = dot_similarities(hidden, self.out_weight[None])[:, 0] + self.out_bias
        result: Floats = np.exp(self.log_spread) / (1 + np.exp(-out)) + np.exp(self.log_floor)
        return result

    def __call__(self, features: npt.ArrayLike) -> Rows:
        """phi (q, D) of features (q, D); a row of zeros stays."""
        x = np.ascontiguousarray(features, np.float64)
        length = np.sqrt((x * x).sum(1)) * self.sigma(x)
        phi: Floats = np.divide(x, length[:, None], out=np.zeros_like(x), where=length[:, None] > 0)
        return phi.astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name, the three numbers as arrays without dimensions; `from_arrays` reads them back."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> LearnedLength:
        """The lengths that `arrays` wrote; `KeyError` where one is missing."""
        hidden_weight, hidden_bias, out_weight = (arrays[name].astype(np.float32) for name in _ARRAYS)
        return LearnedLength(hidden_weight, hidden_bias, out_weight, *(float(arrays[name]) for name in _NUMBERS))


def learned_length(metric: MCTScale) -> LearnedLength:
    """The instance-wise sigma of a trained `MCTHead` or `MCTTransductiveHead`."""
    tensors = metric.tensors()._asdict().items()
    return LearnedLength.from_arrays({name: tensor.detach().cpu().numpy() for name, tensor in tensors})
