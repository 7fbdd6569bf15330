"""Padded crop, flip, AutoAugment's policy of CIFAR-10 and Cutout of whole batches: what Meta-Neighborhoods is trained with.

Cubuk, Zoph, Mané, Vasudevan, Le, "AutoAugment: Learning augmentation policies from data", CVPR 2019, arXiv 1805.09501, table
7; DeVries, Taylor, "Improved regularization of convolutional neural networks with Cutout", arXiv 1708.04552; as in the code
released with Shan, Li, Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, and in its order:

    x -> padded by an eighth of the side with zeros, a window of its size drawn -> mirrored or not, 0.5 ->
    one of 25 pairs of operations, each of the two with its own probability and magnitude m in 0..9 ->
    a square of half the side about a pixel drawn, cut off at the border, set to 0

| operation | at strength a = m / 9 |
|---|---|
| shear-x, shear-y | +-0.3 a, the top (left) edge stays; cubic |
| translate-x, translate-y | +-(150 / 331) a of the side, whole pixels |
| rotate | 30 a degrees counter-clockwise about the middle, nearest pixel |
| brightness, colour, contrast, sharpness | factor 1 +- 0.9 a |
| posterize | 8 - round(4 a) bits |
| solarize | values from 256 (1 - a) on are inverted |
| auto-contrast, equalize, invert | have none |

A sign +- is drawn anew for every operation. What lies outside of a picture is grey, 128. Padding is 4 and the square 16 for
pictures of 32 pixels. `kind` says how much of this: "auto-augment" all, "crop-flip", "crop", "none".

Draws are per picture, a pure function of (seed, step, place in the step's batch); the crop is the same whatever the kind.
Moves are those of the released code to the bit (Pillow's; rotations but for pixels whose place is rounded), the others are
`rand_augment`'s, which differ from Pillow's by rounding.

Deviations: released are 4 pixels and 16 for 32 only. Rotations turn one way only, as released (AutoAugment's own code draws
a sign), and the second operation of `POLICY[16]` has the released probability of 0.8, where torchvision's policy says 0.6.
Pictures of one channel have no colour operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.augmentation.baseline import crop_and_flip, padding_of
from modicum.augmentation.rand_augment import FILL, apply_drawn, apply_operation, check_pictures
from modicum.configs.options import require
from modicum.runtime import philox

Kind = Literal["auto-augment", "crop-flip", "crop", "none"]
Step = tuple[float, str, int]
"""Probability, operation, magnitude 0..9."""
POLICY: tuple[tuple[Step, Step], ...] = (
    ((0.1, "invert", 7), (0.2, "contrast", 6)),
    ((0.7, "rotate", 2), (0.3, "translate-x", 9)),
    ((0.8, "sharpness", 1), (0.9, "sharpness", 3)),
    ((0.5, "shear-y", 8), (0.7, "translate-y", 9)),
    ((0.5, "auto-contrast", 8), (0.9, "equalize", 2)),
    ((0.2, "shear-y", 7), (0.3, "posterize", 7)),
    ((0.4, "colour", 3), (0.6, "brightness", 7)),
    ((0.3, "sharpness", 9), (0.7, "brightness", 9)),
    ((0.6, "equalize", 5), (0.5, "equalize", 1)),
    ((0.6, "contrast", 7), (0.6, "sharpness", 5)),
    ((0.7, "colour", 7), (0.5, "translate-x", 8)),
    ((0.3, "equalize", 7), (0.4, "auto-contrast", 8)),
    ((0.4, "translate-y", 3), (0.2, "sharpness", 6)),
    ((0.9, "brightness", 6), (0.2, "colour", 8)),
    ((0.5, "solarize", 2), (0.0, "invert", 3)),
    ((0.2, "equalize", 0), (0.6, "auto-contrast", 0)),
    ((0.2, "equalize", 8), (0.8, "equalize", 4)),
    ((0.9, "colour", 9), (0.6, "equalize", 6)),
    ((0.8, "auto-contrast", 4), (0.2, "solarize", 8)),
    ((0.1, "brightness", 3), (0.7, "colour", 0)),
    ((0.4, "solarize", 5), (0.9, "auto-contrast", 3)),
    ((0.9, "translate-y", 9), (0.7, "translate-y", 9)),
    ((0.9, "auto-contrast", 2), (0.8, "solarize", 3)),
    ((0.8, "equalize", 8), (0.1, "invert", 3)),
    ((0.7, "translate-y", 9), (0.9, "auto-contrast", 1)),
)
"""The 25 sub-policies of CIFAR-10."""
NAMES: tuple[str, ...] = ("identity", *sorted({name for pair in POLICY for _, name, _ in pair}))
_PROBABILITY = np.array([[step[0] for step in pair] for pair in POLICY])
_OPERATION = np.array([[NAMES.index(step[1]) for step in pair] for pair in POLICY])
_STRENGTH = np.array([[step[2] / 9 for step in pair] for pair in POLICY])


class PictureDraws(NamedTuple):
    """Of n pictures: window's top, left (n,), flip (n,), square's centre (n, 2), each layer's operation, strength (n, 2)."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    flip: NDArray[np.bool_]
    centre: NDArray[np.int64]
    operation: NDArray[np.int64]
    strength: NDArray[np.float64]


def draw_pictures(first: int, last: int, side: int, seed: int, step: int) -> PictureDraws:
    """Draws of the places first..last - 1 of a step's batch, for pictures of that side: a place has the same in any range.

    operation: indices into `NAMES`, "identity" where the sub-policy's coin said no; strength: signed, in -1..1.
    """
    u = philox(seed, "auto-augment", step).random((last, 10))[first:]
    pair = (u[:, 5] * len(POLICY)).astype(np.int64)
    window = 2 * padding_of(side) + 1
    return PictureDraws(
        (u[:, 0] * window).astype(np.int64),
        (u[:, 1] * window).astype(np.int64),
        u[:, 2] < 0.5,
        (u[:, 3:5] * side).astype(np.int64),
        np.where(u[:, 6:8] < _PROBABILITY[pair], _OPERATION[pair], 0),
        np.where(u[:, 8:10] < 0.5, -1, 1) * _STRENGTH[pair],
    )


def _looked_up(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels (b, C, H, W) of x at rows and columns (b, H, W), `FILL` where they lie outside."""
    side = x.shape[-1]
    outside = (rows < 0) | (rows >= side) | (columns < 0) | (columns >= side)
    place = (rows * side + columns).masked_fill_(outside, 0).flatten(1)[:, None].expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, place).reshape(x.shape).masked_fill_(outside[:, None], FILL)


def _grid(x: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Middles of pixels: rows (H, 1) and columns (H,) in pixels, and a (b, 1, 1), in float64 where x lies."""
    middles = torch.arange(x.shape[-1], dtype=torch.float64, device=x.device) + 0.5
    return middles[:, None], middles, a.to(x.device, torch.float64)[:, None, None]


def _whole(value: Tensor, like: Tensor) -> Tensor:
    return value.floor().to(torch.int64).expand(like.shape[0], like.shape[2], like.shape[3])


def _translate(x: Tensor, a: Tensor, rightwards: bool) -> Tensor:
    rows, columns, a = _grid(x, a)
    by = 150 / 331 * x.shape[-1] * a
    return _looked_up(x, _whole(rows if rightwards else rows + by, x), _whole(columns + by if rightwards else columns, x))


def _rotate(x: Tensor, a: Tensor) -> Tensor:
    """By 30 |a| degrees counter-clockwise."""
    rows, columns, a = _grid(x, a)
    middle, angle = x.shape[-1] / 2, torch.deg2rad(30 * a.abs())
    down, right = rows - middle, columns - middle
    across = angle.cos() * right - angle.sin() * down + middle
    return _looked_up(x, _whole(angle.sin() * right + angle.cos() * down + middle, x), _whole(across, x))


def _shear_y(x: Tensor, a: Tensor) -> Tensor:
    """Row r + 0.5 + 0.3 a (c + 0.5) of column c, by the cubic through four rows whose slopes are central differences.

    Pillow's: slopes v_(i+1) - v_(i-1), twice those of Catmull and Rom; rows beyond the edge are those at it; cut to whole.
    """
    rows, columns, a = _grid(x, a)
    at = rows + 0.3 * a * columns  # (b, H, W)
    outside = ((at < 0) | (at >= x.shape[-1]))[:, None]
    first = (at - 0.5).floor()
    d = (at - 0.5 - first)[:, None]
    index = first.to(torch.int64)[:, None].expand(-1, x.shape[1], -1, -1)
    v0, v1, v2, v3 = (x.gather(2, (index + k).clamp(0, x.shape[-1] - 1)).double() for k in (-1, 0, 1, 2))
    cubic = v1 + d * (v2 - v0 + d * (2 * (v0 - v1) + v2 - v3 + d * (v1 - v0 + v3 - v2)))
    return cubic.clamp_(0, 255).to(torch.uint8).masked_fill_(outside, FILL)


_OWN: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "invert": lambda x, a: 255 - x,
    "rotate": _rotate,
    "translate-x": lambda x, a: _translate(x, a, True),
    "translate-y": lambda x, a: _translate(x, a, False),
    "shear-x": lambda x, a: _shear_y(x.mT, a).mT,
    "shear-y": _shear_y,
}


def apply_policy_operation(name: str, x: Tensor, a: Tensor) -> Tensor:
    """One operation of the module's table on square pictures (b, C, H, H) uint8 with signed strengths a (b,) in -1..1."""
    return _OWN[name](x, a) if name in _OWN else apply_operation(name, x, a)


def cutout(x: Tensor, centre: Tensor) -> None:
    """Zeros within a quarter of the side of the pixel centre (B, 2: row, column), in place: [c - side/4, c + side/4)."""
    reach = x.shape[-1] // 4
    at = torch.arange(x.shape[-1], device=x.device)
    off = at - centre[:, :, None].to(x.device)  # (B, 2, H)
    within = (off >= -reach) & (off < reach)
    x.masked_fill_((within[:, 0, :, None] & within[:, 1, None, :])[:, None], 0)


def augment_pictures(x: Tensor, seed: int, step: int, mine: slice | None = None, kind: Kind = "auto-augment") -> Tensor:
    """Augmented pictures (B, C, H, W) uint8 of x, uint8 and square; a pure function of (x, seed, step, mine, kind).

    mine: the places (start, stop) that x has in the step's batch, where it is a part of it (default: all from 0 on).
    `DataError` for other pictures, `ConfigError` for another kind. x itself is returned for "none".
    """
    check_pictures(x)
    require(kind in get_args(Kind), f"kind: expected one of {', '.join(get_args(Kind))}; found {kind!r}")
    if kind == "none":
        return x
    first = 0 if mine is None else mine.start
    draws = draw_pictures(first, first + len(x), x.shape[-1], seed, step)
    flip = draws.flip if kind != "crop" else np.zeros_like(draws.flip)
    top, left, flipped = (torch.from_numpy(value).to(x.device) for value in (draws.top, draws.left, flip))
    x = crop_and_flip(x, top, left, flipped, padding_of(x.shape[-1])).contiguous()
    if kind == "auto-augment":
        for layer in (0, 1):
            apply_drawn(x, NAMES, draws.operation[:, layer], draws.strength[:, layer], apply_policy_operation)
        cutout(x, torch.from_numpy(draws.centre))
    return x
