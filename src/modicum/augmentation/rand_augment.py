"""RandAugment, flip, random scale and centre crop of whole batches: what RAC is trained with.

Cubuk, Zoph, Shlens, Le, "RandAugment: Practical automated data augmentation with a reduced search space", NeurIPS 2020,
arXiv 1909.13719; the numbers are those of Long et al., CVPR 2022, arXiv 2202.11233, table S7: 3 layers, magnitude 1 with
noise of standard deviation 0.5, flip 0.5, random scale 0.75 to 1.33, crop 0.95 in training and at test, no random crop.

    x -> window of side crop * W / s about the middle, resampled to W, mirrored or not;
    then `layers` times one of `OPERATIONS`, all as likely, with strength a = m / 10, m ~ N(magnitude, noise^2) in 0..10

| operation | at strength a |
|---|---|
| identity, auto-contrast, equalize | have none |
| rotate | +-30 a degrees about the middle |
| shear-x, shear-y | +-0.3 a, the top (left) edge stays |
| translate-x, translate-y | +-0.45 a of the side |
| brightness, colour, contrast, sharpness | factor 1 +- 0.9 a |
| posterize | 8 - round(4 a) bits |
| solarize | values from 256 (1 - a) on are inverted |

| symbol | variable | shape |
|---|---|---|
| x | x, uint8 | (B, C, H, W), H = W |
| s | log-uniform, drawn | (B,) |
| a | strength | (B,) of each layer |

Draws are per picture, a pure function of (seed, step, place in the step's batch), so a process that augments a part of the
batch gets what one alone would. Operations are torchvision's, computed for all pictures of a batch that drew one.

Deviations: at magnitude 1 posterize mostly keeps all 8 bits, and on grey pictures colour does nothing. Long et al. print a
scale and no random crop; here the picture is scaled about its middle, uniformly on a logarithmic axis, and what lies outside
is grey (their mean). In timm, whose names of options the table uses, 0.75 to 1.33 is the ratio of a random crop's sides, and
each operation is applied with probability 0.5 (`probability`; Cubuk et al. always). Affine operations are bilinear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from modicum.configs.options import require
from modicum.errors import DataError
from modicum.runtime import philox

FILL = 128
"""What lies outside of a picture: grey, the mean 0.5 that pictures are normalised with."""
OPERATIONS: tuple[str, ...] = (
    "identity", "auto-contrast", "equalize", "rotate", "solarize", "colour", "posterize", "contrast", "brightness",
    "sharpness", "shear-x", "shear-y", "translate-x", "translate-y",
)  # fmt: skip


class RandomDraws(NamedTuple):
    """Of n pictures: flip (n,), scale (n,), and of each layer an operation (n, L), strength (n, L) in 0..1, sign (n, L)."""

    flip: NDArray[np.bool_]
    scale: NDArray[np.float64]
    operation: NDArray[np.int64]
    strength: NDArray[np.float64]
    sign: NDArray[np.int64]


def draw_operations(
    n: int,
    seed: int,
    step: int,
    *,
    magnitude: float = 1.0,
    layers: int = 3,
    noise: float = 0.5,
    flip: float = 0.5,
    scale: tuple[float, float] = (0.75, 1.33),
    probability: float = 1.0,
) -> RandomDraws:
    """Draws of the first n places of a step's batch: more of them do not change the first. `ConfigError` for bad numbers."""
    require(0 <= magnitude <= 10, f"magnitude: expected 0 to 10, found {magnitude}")
    require(layers >= 0 and noise >= 0, f"layers, noise: expected 0 or more, found {layers}, {noise}")
    require(0 < scale[0] <= scale[1], f"scale: expected two rising numbers above 0, found {scale}")
    for name, share in (("flip", flip), ("probability", probability)):
        require(0 <= share <= 1, f"{name}: expected 0 to 1, found {share}")
    from scipy.special import ndtri

    u = philox(seed, "rand-augment", step).random((n, 2 + 4 * layers))
    which, applied, normal, sign = u[:, 2:].reshape(n, layers, 4).transpose(2, 0, 1)
    operation = np.where(applied < probability, (which * len(OPERATIONS)).astype(np.int64), 0)
    low, high = np.log(scale)
    return RandomDraws(
        u[:, 0] < flip,
        np.exp(low + (high - low) * u[:, 1]),
        operation,
        np.clip(magnitude + noise * ndtri(normal) if noise else np.full_like(normal, magnitude), 0, 10) / 10,
        np.where(sign < 0.5, -1, 1),
    )


def resample(x: Tensor, matrix: Tensor, fill: int = FILL) -> Tensor:
    """Pictures (B, C, H, W) uint8 whose pixel p, from the middle, is that of x at matrix (B, 2, 3) [p, 1]; bilinear."""
    height, width = x.shape[-2:]
    rows = torch.arange(height, device=x.device) + 0.5 - height / 2
    columns = torch.arange(width, device=x.device) + 0.5 - width / 2
    at = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], -1)  # (H, W, 2)
    grid = torch.einsum("bij,hwj->bhwi", matrix[:, :, :2], at) + matrix[:, None, None, :, 2]
    grid = grid * torch.tensor([2 / width, 2 / height], device=x.device)
    found = F.grid_sample(x.float() - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill
    return found.round_().clamp_(0, 255).to(torch.uint8)


def centre_crop(x: Tensor, crop: float = 0.95) -> Tensor:
    """The middle of pictures (B, C, H, W) uint8, a window of `crop` of their side, at their size: RAC's pictures at test."""
    require(0 < crop <= 1, f"crop: expected more than 0 and at most 1, found {crop}")
    return x if crop == 1 else _window(x, torch.full((len(x),), crop), torch.zeros(len(x), dtype=torch.bool))


def _window(x: Tensor, side: Tensor, flip: Tensor) -> Tensor:
    matrix = torch.zeros(len(x), 2, 3)
    matrix[:, 0, 0] = torch.where(flip, -side, side)
    matrix[:, 1, 1] = side
    return resample(x, matrix.to(x.device))


def _affine(name: str, a: Tensor, size: int) -> Tensor:
    """Matrices (b, 2, 3) of signed strengths a (b,) on pictures of this side."""
    matrix = torch.eye(2, 3).repeat(len(a), 1, 1)
    if name == "rotate":
        angle = torch.deg2rad(30 * a)
        matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
        matrix[:, 1, 0], matrix[:, 0, 1] = angle.sin(), -angle.sin()
        return matrix
    axis = 0 if name.endswith("x") else 1
    if name.startswith("shear"):
        matrix[:, axis, 1 - axis] = 0.3 * a
        matrix[:, axis, 2] = 0.3 * a * size / 2
    else:
        matrix[:, axis, 2] = 0.45 * a * size
    return matrix


def _blend(x: Tensor, other: Tensor, a: Tensor) -> Tensor:
    """other + (1 + 0.9 a) (x - other), cut to 0..255 as torchvision does, for pictures (b, C, H, W) and signed a (b,)."""
    factor = (1 + 0.9 * a.to(x.device))[:, None, None, None]
    return (x * factor + other * (1 - factor)).clamp_(0, 255).to(torch.uint8)


def _grey(x: Tensor) -> Tensor:
    return tv.rgb_to_grayscale(x) if x.shape[1] == 3 else x


def _posterize(x: Tensor, a: Tensor) -> Tensor:
    lost = (4 * a.abs()).round().to(torch.int64)
    mask = (256 - 2**lost).to(torch.uint8).to(x.device)
    return x & mask[:, None, None, None]


def _solarize(x: Tensor, a: Tensor) -> Tensor:
    threshold = (256 * (1 - a.abs())).to(x.device)[:, None, None, None]
    return torch.where(x >= threshold, 255 - x, x)


_COLOURS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "auto-contrast": lambda x, a: tv.autocontrast(x),
    "equalize": lambda x, a: tv.equalize(x),
    "solarize": _solarize,
    "posterize": _posterize,
    "colour": lambda x, a: _blend(x, _grey(x), a) if x.shape[1] == 3 else x,
    "contrast": lambda x, a: _blend(x, _grey(x).float().mean((1, 2, 3), keepdim=True), a),
    "brightness": lambda x, a: _blend(x, torch.zeros_like(x), a),
    "sharpness": lambda x, a: _blend(x, tv.adjust_sharpness(x, 0.0), a),
}


def apply_operation(name: str, x: Tensor, a: Tensor) -> Tensor:
    """One of `OPERATIONS` on pictures (b, C, H, W) uint8 with signed strengths a (b,) in -1..1; new pictures."""
    if name == "identity":
        return x
    a = a.float()
    if name in _COLOURS:
        return _COLOURS[name](x, a)
    return resample(x, _affine(name, a, x.shape[-1]).to(x.device))


def apply_drawn(
    x: Tensor,
    names: Sequence[str],
    operation: NDArray[np.int64],
    signed: NDArray[np.float64],
    apply: Callable[[str, Tensor, Tensor], Tensor] = apply_operation,
) -> None:
    """Each picture of x (B, C, H, W) uint8 by the operation names[operation (B,)] with signed strength (B,); in place.

    Pictures of one operation go through it together.
    """
    strength = torch.from_numpy(signed)
    for index in np.unique(operation).tolist():
        if names[index] != "identity":
            rows = torch.from_numpy(np.flatnonzero(operation == index))
            there = rows.to(x.device)
            x[there] = apply(names[index], x[there], strength[rows])


def check_pictures(x: Tensor) -> None:
    """Raise `DataError` unless x is uint8, square pictures of 1 or 3 channels (B, C, H, H)."""
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3]:
        raise DataError(f"x: expected square uint8 pictures (B, 1 or 3, H, H), found {x.dtype} {tuple(x.shape)}")


def rand_augment(
    x: Tensor,
    seed: int,
    step: int,
    mine: slice | None = None,
    *,
    crop: float = 0.95,
    magnitude: float = 1.0,
    layers: int = 3,
    noise: float = 0.5,
    flip: float = 0.5,
    scale: tuple[float, float] = (0.75, 1.33),
    probability: float = 1.0,
) -> Tensor:
    """Augmented pictures (B, C, H, W) uint8 of x, uint8 and square; a pure function of (x, seed, step, mine).

    mine: the places (start, stop) that x has in the step's batch, where it is a part of it (default: all from 0 on).
    `DataError` for other pictures, `ConfigError` for numbers outside their ranges.
    """
    check_pictures(x)
    require(0 < crop <= 1, f"crop: expected more than 0 and at most 1, found {crop}")
    first = 0 if mine is None else mine.start
    every = draw_operations(
        first + len(x), seed, step, magnitude=magnitude, layers=layers, noise=noise, flip=flip, scale=scale,
        probability=probability,
    )  # fmt: skip
    signed = every.strength * every.sign
    x = _window(x, torch.from_numpy(crop / every.scale[first:]).float(), torch.from_numpy(every.flip[first:]))
    for layer in range(layers):
        apply_drawn(x, OPERATIONS, every.operation[first:, layer], signed[first:, layer])
    return x
