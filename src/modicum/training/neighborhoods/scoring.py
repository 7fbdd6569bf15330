"""Many pictures through a network of Meta-Neighborhoods: features, logits before and after each step, attention.

Pictures pass in batches of one shape, the last one filled up with black ones: other shapes may take other kernels, and equal
pictures are to have equal bits. (One step of a cosine layer leaves out what float32 cannot show, by a bound over the pass:
there the others of a pass may move a logit by half a rounding.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.episodes.cutting import Pixels, gather
from modicum.runtime import Progress
from modicum.training.neighborhoods.networks import Network

Ints = NDArray[np.int64]
SCORED = 64
"""Pictures that pass together."""


class Scored(NamedTuple):
    """features (n, D) and logits (k + 1, n, C) before and after each of k steps (baselines: (1, n, C)), on the CPU."""

    features: Tensor
    logits: Tensor


class Attended(NamedTuple):
    """What n pictures attend to: their m heaviest entries (n, m), heaviest first, with weights (n, m); usage (S,).

    usage: the mean weight of every entry over the pictures, which sums to 1.
    """

    entry: Tensor
    weight: Tensor
    usage: Tensor


def passes(pixels: Pixels, rows: Ints, device: torch.device, size: int = SCORED) -> Iterator[tuple[Tensor, int]]:
    """(pictures (size, C, H, W) at rows (n,), how many of them count), `size` at a time."""
    for start in range(0, len(rows), size):
        x = gather(pixels, rows[start : start + size], device)
        there = len(x)
        if there < size:
            x = torch.cat([x, x.new_zeros(size - there, *x.shape[1:])])
        yield x.contiguous(memory_format=torch.channels_last), there


def score_pictures(
    network: Network,
    pixels: Pixels,
    rows: Ints,
    device: torch.device,
    *,
    steps: int | None = None,
    size: int = SCORED,
    progress: Progress | None = None,
) -> Scored:
    """Features and logits of pictures at rows (n,) of pixels (m, H, W, C), in evaluation mode, by all entries.

    steps: another number of inner steps than trained; size: pictures in a pass. The network is on that device.
    """
    training = network.training
    network.eval()
    features, logits, done = [], [], 0
    with torch.inference_mode():
        for x, there in passes(pixels, rows, device, size):
            z = network.features(x)
            features.append(z[:there].cpu())
            logits.append(network.trajectory(z, steps=steps)[:, :there].cpu())
            done += there
            if progress is not None:
                progress(done, len(rows))
    network.train(training)
    return Scored(torch.cat(features), torch.cat(logits, 1))


def predicted(network: Network, pixels: Pixels, rows: Ints, device: torch.device) -> Tensor:
    """Classes (n,) of pictures at rows (n,), after adaptation, on the device; as `score_pictures`, and cheaper."""
    training = network.training
    network.eval()
    with torch.inference_mode():
        found = [network.predict(network.features(x))[:there] for x, there in passes(pixels, rows, device)]
    network.train(training)
    return torch.cat(found)


def attended(network: MetaNeighborhoods, features: Tensor, top: int = 5, size: int = SCORED) -> Attended:
    """What pictures with features (n, D) attend to; on the CPU. `ConfigError` for a network without a dictionary."""
    where = network.layer.weight.device
    entries, weights = [], []
    usage: Tensor | float = 0.0
    with torch.inference_mode():
        for start in range(0, len(features), size):
            z = features[start : start + size].to(where)
            w = network.attention(F.pad(z, (0, 0, 0, size - len(z))))[: len(z)]  # passes of one shape here too
            heaviest = w.topk(min(top, w.shape[-1]), dim=-1)
            entries.append(heaviest.indices.cpu())
            weights.append(heaviest.values.cpu())
            usage = usage + w.double().sum(0)
    assert isinstance(usage, Tensor)
    return Attended(torch.cat(entries), torch.cat(weights), (usage / len(features)).float().cpu())
