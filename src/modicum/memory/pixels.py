"""The encoder `pixels`: the standardised picture itself. No weights, no torch.

A picture (32, 32, 3) uint8 with pixels p_i, n = 3072, S = sum of p_i, Q = sum of p_i^2:

    z_i = (p_i - mean) / std = (n p_i - S) / sqrt(n Q - S^2)

Numerator and radicand are whole numbers, so every z_i is one rounded square root and one rounded quotient in float64,
then rounded to float32: the same bits everywhere. `modicum.backbones.pixels` does this in torch. A picture whose pixels
all have one value, such as a black one, has no direction; its z is zeros.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError

NAME = "pixels"
SIZE, CHANNELS = 32, 3
DIM = SIZE * SIZE * CHANNELS
RECORD: dict[str, Any] = {
    "kind": "encoder",
    "backbone": NAME,
    "spec": {"size": SIZE, "channels": CHANNELS, "mean": [0.0], "std": [1.0], "strokes": "as-is"},
    "n_features": DIM,
    "dtype": "float32",
}
FINGERPRINT = hashlib.sha256(json.dumps(RECORD, sort_keys=True).encode()).hexdigest()
"""What `modicum.models.fingerprint` says of this encoder, which has no tensors."""


def embed_pixels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Embeddings, float32 (n, 3072), of pictures (n, H, W, 3) uint8, cropped to the middle 32 x 32; zeros for one value.

    `DataError`: another type, fewer pixels or channels.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != CHANNELS or min(pixels.shape[1:3]) < SIZE:
        raise DataError(f"pixels: expected uint8 (n, 32 or more, 32 or more, 3), found {pixels.dtype} {pixels.shape}")
    top, left = (pixels.shape[1] - SIZE) // 2, (pixels.shape[2] - SIZE) // 2
    whole = pixels[:, top : top + SIZE, left : left + SIZE].reshape(len(pixels), DIM).astype(np.int64)
    total = whole.sum(1, keepdims=True)
    radicand = DIM * (whole * whole).sum(1, keepdims=True) - total * total
    scale = np.sqrt(np.maximum(radicand, 1).astype(np.float64))
    embedded: npt.NDArray[np.float32] = ((DIM * whole - total) / scale).astype(np.float32)
    return embedded
