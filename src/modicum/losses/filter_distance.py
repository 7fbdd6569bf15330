"""Distance between two settings of a network's parameters, each filter measured by its own length.

Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein, "Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks", ICML 2020, arXiv 2002.06753, sec. 5; filter normalisation: Li, Xu, Taylor, Studer, Goldstein, "Visualizing
the Loss Landscape of Neural Nets", NeurIPS 2018, arXiv 1712.09913.

    d(theta, c)^2 = sum_f ||theta_f - c_f||^2 / ||c_f||^2,   f over the filters of all layers

| symbol | variable | shape |
|---|---|---|
| theta | parameters | name -> (*task, ...) |
| c | reference | name -> (...), the same for all tasks, or (*task, ...) |
| theta_f, c_f | row f of a tensor | the weights of one output channel of a convolution, or of one output of a linear layer |

Networks with batch norm compute the same whatever the length of a filter, so a distance should not see it: multiplying both
theta_f and c_f by a number changes nothing.

Deviations: the paper names the distance and prints no formula. Ours is a sum over filters, not a mean, and measures by the
filter of the second argument, which stands for both. Biases and the affine parameters of batch norm, one number per
output, are no filters and do not count (the authors' code for loss landscapes leaves them out too). A filter shorter than a
tenth of the root mean square length of its layer's is measured by that tenth, and in a layer of zeros by 1: 1 / ||c_f||^2
has a pole, and a step down its slope would throw a filter that passes near zero far away. Nothing is detached here:
gradients reach both arguments.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from modicum.errors import DataError

SHORT = 0.1
"""Length below which a filter is not measured by itself, as a share of the root mean square length in its layer."""


def filter_squares(values: Tensor, reference: Tensor, lead: int = 0) -> Tensor:
    """||theta_f - c_f||^2 / ||c_f||^2 of every filter, (*task, F), from (*task, F, ...) and (F, ...) or (*task, F, ...).

    lead: number of task dimensions. Filters shorter than `SHORT` are measured by that. `DataError` for other shapes.
    """
    shared = reference.dim() < values.dim()
    if values.shape[lead if shared else 0 :] != reference.shape or values.dim() < lead + 2:
        raise DataError(
            f"reference: expected filters of the shape {tuple(values.shape[lead:])}, two dimensions or more, found "
            f"{tuple(reference.shape)}"
        )
    moved = (values - reference).flatten(lead + 1).square().sum(-1)
    scale = reference.flatten(1 if shared else lead + 1).square().sum(-1)
    scale = torch.maximum(scale, SHORT**2 * scale.mean(-1, keepdim=True))
    return moved / torch.where(scale > 0, scale, torch.ones_like(scale))


def layer_squares(parameters: Mapping[str, Tensor], reference: Mapping[str, Tensor], lead: int = 0) -> dict[str, Tensor]:
    """Sum of `filter_squares` over each tensor's filters, name -> (*task); tensors without filters are not among them.

    `DataError` where the reference lacks one, or none has filters.
    """
    wanted = [name for name, value in parameters.items() if value.dim() >= lead + 2]
    lacking = [name for name in wanted if name not in reference]
    if lacking or not wanted:
        raise DataError(f"reference: has no {lacking[0]!r}" if lacking else "parameters: none has filters to measure")
    return {name: filter_squares(parameters[name], reference[name], lead).sum(-1) for name in wanted}


def filter_distance_squared(parameters: Mapping[str, Tensor], reference: Mapping[str, Tensor], lead: int = 0) -> Tensor:
    """d^2 >= 0, (*task), without unit; gradient in theta_f: 2 (theta_f - c_f) / ||c_f||^2. Errors of `layer_squares`."""
    return torch.stack(list(layer_squares(parameters, reference, lead).values())).sum(0)


def filter_distance(parameters: Mapping[str, Tensor], reference: Mapping[str, Tensor], lead: int = 0) -> Tensor:
    """d >= 0, (*task); a distance of 0 passes gradient 0. Errors of `layer_squares`."""
    return _root(filter_distance_squared(parameters, reference, lead))


def layer_distances(parameters: Mapping[str, Tensor], reference: Mapping[str, Tensor], lead: int = 0) -> dict[str, Tensor]:
    """d of each layer by itself, name -> (*task); their squares add up to that of the whole. Errors of `layer_squares`."""
    return {name: _root(square) for name, square in layer_squares(parameters, reference, lead).items()}


def _root(square: Tensor) -> Tensor:
    there = square > 0
    return torch.where(there, torch.where(there, square, torch.ones_like(square)).sqrt(), torch.zeros_like(square))
