"""Batch norm + max-pool + activation as one operation against torch's layers, alone and in a second-order MAML step.

    python benchmarks/batch_norm_pool.py --json fused.json

The operation: forward; forward and first derivative; the same and second derivative (of a random pull on the gradient of x).
The step: the meta-gradient of one task, 5 ways, 5 inner steps, 15 queries a way, batch norm by each call's own statistics.
Both sides run in turn in one process; with one thread the time is that of the processor, so neighbours on the machine count
little. Medians with quartiles; "ratio" is torch's median over ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import meta_gradients
from modicum.adaptation.gradient.methods import moving
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.backbones import norm_pool
from modicum.backbones.batch_norm_pool import batch_norm_pool
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.episodes.types import Episode, LabelledSet

SHAPES = [(25, 64, 28), (25, 48, 28), (75, 64, 28), (75, 48, 28), (25, 48, 84)]
STEPS = [("conv4-64", 28, 1, 5), ("conv4-64", 28, 1, 1), ("conv4-48", 84, 3, 1), ("conv4-48", 84, 3, 5)]
SLOPE = 0.01


@contextmanager
def layers_one_by_one() -> Iterator[None]:
    """Inside, conv4 runs torch's layers."""
    with mock.patch.object(norm_pool, "usable", return_value=False):
        yield


def torchs(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> tuple[Tensor]:
    """The layers in the order conv4 runs them in."""
    normal = F.batch_norm(x, None, None, weight, bias, True, 0.0, eps)
    return (F.leaky_relu(F.max_pool2d(normal, 2), slope, inplace=True),)


def operation(function: Callable[..., Any], shape: tuple[int, int, int], order: int) -> Callable[[], None]:
    """The operation with `order` derivatives."""
    b, c, side = shape
    x = torch.randn(b, side, side, c).permute(0, 3, 1, 2).requires_grad_()
    weight, bias = nn.Parameter(torch.rand(c) + 0.5), nn.Parameter(torch.randn(c))
    own = [x, weight, bias]
    g = torch.randn(b, side // 2, side // 2, c).permute(0, 3, 1, 2).requires_grad_()
    pull = torch.randn(b, side, side, c).permute(0, 3, 1, 2)

    def run() -> None:
        y = function(x, weight, bias, 1e-5, SLOPE)[0]
        if order:
            first = torch.autograd.grad(y, own, g, create_graph=order > 1)
            if order > 1:
                torch.autograd.grad(first, [x, weight, g], [pull, torch.ones(c), torch.ones(c)])

    return run


def meta_step(backbone: str, size: int, channels: int, shots: int) -> Callable[[], None]:
    """The second-order meta-gradient of one task."""
    torch.manual_seed(0)
    model = LinearNetwork(build_encoder(backbone, ImageSpec(size, channels)), 5)
    moves = moving(model, "all")
    learner = GradientLearner(model, SharedStart(), PlainRule(0.01), moves, 5, steps=5, batch_norm="batch", strategy="loop")
    sets = [
        LabelledSet(torch.rand(1, 5 * n, channels, size, size), torch.arange(5).repeat_interleave(n).unsqueeze(0))
        for n in (shots, 15)
    ]

    def run() -> None:
        model.zero_grad()
        meta_gradients(learner, Episode(*sets, n_out=5))

    return run


def times(sides: dict[str, Callable[[], None]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of both sides in turn, at least five of each."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(found["torch"]) < 5:
        for name, run in sides.items():
            began = clock()
            run()
            found[name].append(1e3 * (clock() - began))
    return found


def row(name: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, quartiles and ratio of one measurement, printed."""
    parts = {side: statistics.quantiles(values, n=4) for side, values in found.items()}
    ratio = parts["torch"][1] / parts["fused"][1]
    spread = "  ".join(f"{side} {q[1]:8.2f} ({q[0]:.2f}-{q[2]:.2f})" for side, q in parts.items())
    print(f"{name:44s} {spread} ms  ratio {ratio:.2f}", flush=True)
    return {"name": name, "milliseconds": parts, "ratio": ratio}


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--only", choices=["operation", "step"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads")
    rows = []
    if options.only != "step":
        for shape in SHAPES:
            for order, name in enumerate(("forward", "first derivative", "second derivative")):
                sides = {side: operation(f, shape, order) for side, f in (("torch", torchs), ("fused", batch_norm_pool))}
                rows.append(row(f"{shape} {name}", times(sides, options.seconds)))
    if options.only != "operation":
        for case in STEPS:
            ours = meta_step(*case)

            def theirs(run: Callable[[], None] = ours) -> None:
                with layers_one_by_one():
                    run()

            rows.append(row(f"MAML {case}", times({"torch": theirs, "fused": ours}, 2 * options.seconds)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"torch": torch.__version__, "threads": options.threads, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
