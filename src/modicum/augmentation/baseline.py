"""The baseline augmentation of meta-training, on support AND query: random crop, horizontal flip, colour jitter.

Lee et al., "Meta-Learning with Differentiable Convex Optimization", CVPR 2019, arXiv 1904.03758, section 4.1: crops of
pictures padded by an eighth of their side, jitter of brightness, contrast and saturation by factors in [0.6, 1.4].
Draws are per picture and a pure function of (seed, stream, task number); the work is one gather and a few batched
products. Deviation: the three jitters come in fixed order (torchvision draws their order).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from modicum.runtime import philox

LUMA = (0.299, 0.587, 0.114)


class Draws(NamedTuple):
    """Random parameters of E tasks of n pictures: top, left (E, n) in pixels, flip (E, n), jitter (E, n, 3) factors."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    flip: NDArray[np.bool_]
    jitter: NDArray[np.float32]


def draw(numbers: NDArray[np.int64], n: int, padding: int, seed: int, stream: str, jitter: float = 0.4) -> Draws:
    """Parameters for n pictures of each task number (E,): a pure function of (seed, stream, number)."""
    parts = []
    for t in numbers:
        rng = philox(seed, stream, int(t))
        offsets = rng.integers(0, 2 * padding + 1, size=(2, n))
        flip = rng.random(n) < 0.5
        factors = rng.uniform(1 - jitter, 1 + jitter, size=(n, 3)).astype(np.float32)
        parts.append((offsets[0], offsets[1], flip, factors))
    return Draws(*(np.stack(part) for part in zip(*parts, strict=True)))


def crop_and_flip(x: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int) -> Tensor:
    """Crops (B, C, H, W) of x padded by zeros: rows from top (B,), columns from left (B,), mirrored where flip (B,)."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (padding,) * 4).permute(0, 2, 3, 1)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = torch.arange(width, device=x.device).expand(len(x), width)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - columns, columns)
    picture = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def colour_jitter(x: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast, saturation of x (B, C, H, W) in [0, 1] by factors (B, 3), clamped after each.

    y = f x;  y = f x + (1 - f) mean(grey(x));  y = f x + (1 - f) grey(x) (three channels only).
    """
    luma = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(3, 1, 1)

    def grey(picture: Tensor) -> Tensor:
        return (picture * luma).sum(1, keepdim=True) if picture.shape[1] == 3 else picture

    brightness, contrast, saturation = factors.to(x.dtype)[..., None, None, None].unbind(1)
    x = (brightness * x).clamp(0, 1)
    x = torch.lerp(grey(x).mean((1, 2, 3), keepdim=True), x, contrast).clamp(0, 1)
    return torch.lerp(grey(x), x, saturation).clamp(0, 1) if x.shape[1] == 3 else x


def augment(x: Tensor, draws: Draws, padding: int) -> Tensor:
    """Augmented float pictures in [0, 1] of x (E, n, C, H, W), uint8 or float in [0, 1], under draws of (E, n)."""
    flat = x.flatten(0, 1)

    def tensor(value: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(value.reshape(-1, *value.shape[2:])).to(x.device)

    cropped = crop_and_flip(flat, tensor(draws.top), tensor(draws.left), tensor(draws.flip), padding)
    pixels = cropped.float() / 255 if cropped.dtype == torch.uint8 else cropped
    return colour_jitter(pixels, tensor(draws.jitter)).reshape(x.shape)


def padding_of(size: int) -> int:
    """Padding before the crop: an eighth of the side: 4 at 32 as in Lee et al., 10 at 84 where they take 8."""
    return max(1, size // 8)
