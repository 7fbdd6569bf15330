"""Pictures as a program holds them (arrays, paths, PIL images) -> square uint8 pixels, prepared as files are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError


def _of_image(image: Any, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """A PIL image by the same road as a file of it, so that both give the same pixels."""
    from modicum.data.images import Preparation, decode, quiet

    buffer = io.BytesIO()
    try:
        image.save(buffer, "PNG", compress_level=1)
    except OSError:  # a mode PNG does not know, such as CMYK
        image.convert("RGB").save(buffer, "PNG", compress_level=1)
    with quiet():
        return decode(buffer.getvalue(), Preparation(size, channels))[0]


def _of_array(picture: npt.NDArray[np.uint8], size: int, channels: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    if picture.shape == (size, size, channels):
        return picture
    flat = picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture
    return _of_image(Image.fromarray(np.ascontiguousarray(flat)), size, channels)


def pixels_of(pictures: Any, size: int, channels: int) -> npt.NDArray[np.uint8]:
    """Pixels uint8 (n, size, size, channels) of an array (n, H, W) or (n, H, W, C), or of paths or PIL images.

    `DataError` for other types and for files that are no usable pictures (names the file).
    """
    from modicum.data.images import load_picture

    if isinstance(pictures, np.ndarray) and pictures.dtype.kind not in "OUS":
        if (
            pictures.dtype != np.uint8
            or pictures.ndim not in (3, 4)
            or (pictures.ndim == 4 and pictures.shape[-1] not in (1, 3))
        ):
            raise DataError(
                f"X: expected uint8 pictures (n, H, W) or (n, H, W, 1 or 3), found {pictures.dtype} {pictures.shape}; "
                "for embeddings leave out encoder"
            )
        found = [_of_array(picture, size, channels) for picture in pictures]
    elif isinstance(pictures, Sequence | np.ndarray) and not isinstance(pictures, str):
        found = []
        for picture in pictures:
            if isinstance(picture, str | Path):
                found.append(load_picture(picture, size, channels))
            elif isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
                found.append(_of_array(picture, size, channels))
            elif hasattr(picture, "save") and hasattr(picture, "convert"):
                found.append(_of_image(picture, size, channels))
            else:
                raise DataError(f"X: expected paths, PIL images or uint8 arrays, found {type(picture).__name__}")
    else:
        raise DataError(
            f"X: expected an array of pictures or a sequence of paths or images, found {type(pictures).__name__}"
        )
    if not found:
        raise DataError("X: expected at least one picture, found none")
    return np.stack(found)
