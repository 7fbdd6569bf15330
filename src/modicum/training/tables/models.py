"""What every model of a table answers: outputs, the scaling of its targets, and what an answer rests on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from modicum.data.standardising import Floats, Scaling


class Near(NamedTuple):
    """An entry of the dictionary, or with k-NN a row of the table: its number, weight, and target values in own units."""

    number: int
    weight: float
    values: tuple[float, ...]


class AbstractTableModel(ABC):
    """A trained or fitted model of rows with D inputs and O targets."""

    outputs: Scaling
    """The scaling of the targets."""

    @abstractmethod
    def outputs_of(self, x: Floats) -> Floats:
        """Standardised outputs (K, n, O) of rows (n, D) as they stand: before the first inner step and after each.

        K is 1 for a model that is not adapted.
        """

    def nearest(self, x: Floats, count: int) -> list[list[Near]]:
        """Of every row (n, D) what its answer rests on most, at most `count` each; none where a model has no such thing."""
        return [[] for _ in range(len(x))]
