"""How far networks travel while they adapt: figure 5.3 of the thesis behind weight clustering.

Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein, "Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks", ICML 2020, arXiv 2002.06753, sec. 5: d(theta, theta_i^k) of 1,000 tasks, 1-shot and 5-shot. Distance and its
unstated choices: `modicum.losses.filter_distance`, measured by the filters of theta, from where all tasks begin.

Where a start makes a last layer of its own for a task (prototypes), the distance is from the shared one. A last layer of
another size than the shared one is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.errors import DataError
from modicum.losses.filter_distance import layer_squares


class Travelled(NamedTuple):
    """whole (T,): distance of each task, without unit; layers (T, L): of each layer by itself, in the order of names."""

    whole: NDArray[np.float64]
    layers: NDArray[np.float64]
    names: tuple[str, ...]


@torch.no_grad()
def distances(before: Mapping[str, Tensor], after: Sequence[Mapping[str, Tensor]]) -> Travelled:
    """Distances between shared parameters (name -> (...)) and those of T tasks after adaptation.

    The squares of a task's layers add up to that of the whole. `DataError` for no tasks, or nothing to compare.
    """
    if not after:
        raise DataError("after: expected the parameters of one adapted task at least, found none")
    same = {name: value for name, value in before.items() if name in after[0] and after[0][name].shape == value.shape}
    squares = []
    for task in after:
        found = layer_squares(
            {name: task[name].double() for name in same}, {name: value.double() for name, value in same.items()}
        )
        squares.append(torch.stack(list(found.values())))
    return of_layers(torch.stack(squares).sqrt().cpu().numpy(), tuple(found))


def of_layers(layers: NDArray[np.float64], names: tuple[str, ...]) -> Travelled:
    """The whole from the distances (T, L) of the layers with these names."""
    return Travelled(np.sqrt(np.square(layers).sum(1)), layers, names)


def distance_arrays(found: Travelled, shots: int) -> dict[str, NDArray[Any]]:
    """What `artifacts.npz` holds of the tasks with so many shots: distance_<K>shot (T,), distance_<K>shot_layers (T, L), and
    distance_layers, the L names."""
    name = f"distance_{shots}shot"
    return {name: found.whole, f"{name}_layers": found.layers, "distance_layers": np.array(found.names)}
