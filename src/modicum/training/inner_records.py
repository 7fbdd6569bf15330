"""What the inner loops of an evaluation did, task by task: the arrays that a report's box plots and curves are made from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.adaptation.gradient.inner_loop import Trajectory
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.tensors import Tensors
from modicum.episodes.cutting import Pixels, cut
from modicum.episodes.sampler import Tasks
from modicum.losses.filter_distance import filter_distance
from modicum.runtime import Progress

RECORDED = 100
"""Tasks at most; every step of every one is kept for a moment, so they are adapted one by one."""
Arrays = dict[str, NDArray[np.float64]]


def _of_task(began: Tensors, path: Trajectory) -> Arrays:
    """losses (S,), distance (), what the rule recorded (S, N) and what the start did (N,), of one task."""
    found = {"losses": torch.stack(path.losses).reshape(-1)}
    first, last = path.parameters[0], path.last
    lead = path.losses[0].dim()
    found["distance"] = filter_distance(last, first, lead).reshape(())
    for name in path.outputs[0] if path.outputs else ():
        found[name] = torch.stack([output[name] for output in path.outputs]).flatten(0, lead)
    found |= {name: value.reshape(-1) for name, value in began.items()}
    return {name: value.double().cpu().numpy() for name, value in found.items()}


def inner_records(
    learner: GradientLearner,
    pixels: Pixels,
    tasks: Tasks,
    device: torch.device,
    progress: Progress | None = None,
    most: int = RECORDED,
) -> dict[str, NDArray[np.float64] | NDArray[np.str_]]:
    """Arrays of the first T <= `most` tasks, S inner steps, N moving tensors ("layers"), by name:

    `inner_layers` (N,) names; `inner_losses` (T, S), the support loss before each step; `inner_distance` (T,), filter-
    normalised, from the first parameters to the last; and what rule and start record, `inner_alpha` and `inner_beta`
    (T, S, N) with theta <- beta theta - alpha g, `inner_gamma` (T, N) of L2F. A plain rule records neither.
    """
    rows: list[Arrays] = []
    count = min(most, len(tasks.number))
    for t in range(count):
        episode = cut(pixels, Tasks._make(value[t : t + 1] for value in tasks), device)
        ((began, path),) = learner.adapt(episode.support, episode.n_out, episode.out_mask, trace=True).paths
        rows.append(_of_task(began, path))
        if progress is not None:
            progress(t + 1, count)
    stacked = {f"inner_{name}": np.stack([row[name] for row in rows]) for name in rows[0]}
    return {"inner_layers": np.array(learner.moves), **stacked}
