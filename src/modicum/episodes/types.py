"""What flows between the parts: labelled sets, episodes, traits. All are pytrees, so vmap and torch.func take them.

Shapes: E episodes (any leading dimensions), S support items, Q query items, N ways, *item one input (C, H, W).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LabelledSet(NamedTuple):
    """Items and labels; tasks are leading dimensions.

    x (..., n, *item); y (..., n) int64 in 0..N-1 (or (..., n, outputs) float for regression); mask (..., n) bool, False
    where an entry only pads the set; soft (..., n, N) label weights that replace y; id (..., n) int64 picture ids.
    """

    x: Tensor
    y: Tensor
    mask: Tensor | None = None
    soft: Tensor | None = None
    id: Tensor | None = None


class Episode(NamedTuple):
    """A task or a batch of tasks. n_out: ways N (or output size); out_mask (..., N): which ways are there, None = all."""

    support: LabelledSet
    query: LabelledSet
    n_out: int
    out_mask: Tensor | None = None


class Traits(NamedTuple):
    """What may be assumed of a learner; contract tests are chosen by it.

    transductive: a query's output depends on the other queries. differentiable: gradients flow through `adapt`.
    tasks_independent: a task's output does not depend on other tasks of the batch. soft_labels: `soft` is honoured.
    any_n_out: works for any number of ways, not only the trained one.
    """

    transductive: bool = False
    differentiable: bool = True
    tasks_independent: bool = True
    soft_labels: bool = True
    any_n_out: bool = True
