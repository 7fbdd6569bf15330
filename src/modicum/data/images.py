"""Bytes of one picture -> square uint8 pixels; every way a picture can be bad becomes a `BadPicture` with a reason.

Formats are told by content, never by name. The pixel cap is ours and is checked before anything is decoded. Alpha is
composited on white, 16 bits are scaled to 8, CMYK and palettes become RGB, EXIF orientation is applied, of an animation
the first frame is taken. The centre square is resampled to the side with an antialiasing bicubic filter, which equals
"short side to the side, then centre crop" without rounding the crop. Embedded colour profiles are not applied.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modicum.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 64_000_000
MAX_BYTES = 256 * 2**20
VERSION = 2  # of the preparation below and of the store: part of every cache key
_ORIENTATION = 0x0112  # EXIF tag


@dataclass(frozen=True)
class Problem:
    """Something wrong with one path: `kind` is a short word ("truncated", "too-large", ...), `message` a sentence."""

    path: str
    kind: str
    message: str


class BadPicture(DataError):
    """A file that is no usable picture; `kind` as in `Problem`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Preparation(NamedTuple):
    """What every picture is brought to: side in pixels and channels (1 grey, 3 RGB)."""

    side: int
    channels: int


class Facts(NamedTuple):
    """What a file says about its picture: size as stored (before EXIF orientation), Pillow mode, format."""

    width: int
    height: int
    mode: str
    format: str
    animated: bool


def side_of(size: int, margin: float) -> int:
    """Side in pixels kept of a picture for crops of `size`: size * margin, rounded up."""
    return math.ceil(size * margin - 1e-9)


def content_hash(data: bytes) -> str:
    """Hex BLAKE2b-128 of a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def sniff(head: bytes) -> str | None:
    """The format of `FORMATS` that a file's first 16 bytes announce, or None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n#":
        return "PPM"
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about large or odd files: our own cap and errors stand in for them.

    Enter it in the thread that starts a pool, not in the pool: warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(data: bytes) -> Image.Image:
    """Parse the header; `BadPicture` where it is no allowed format or too large to decode."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise BadPicture("unreadable", "the file is empty")
    if sniff(data[:16]) is None:
        raise BadPicture("wrong-type", f"not a picture of an allowed type ({', '.join(FORMATS)})")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadPicture("too-large", f"too large ({error}); the limit is {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise BadPicture("unreadable", "its header cannot be read; the file is damaged or cut off") from error
    except Exception as error:  # a parser of foreign bytes may raise anything
        raise BadPicture("unreadable", f"its header cannot be read ({error})") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise BadPicture("too-large", f"{size} pixels, more than the limit of {MAX_PIXELS:,}; scale it down first")
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 or 32 bits as mode L: 65535 becomes 255. Values outside 0..65535 and floats are refused."""
    from PIL import Image

    if image.mode == "F":
        raise BadPicture("wrong-type", "floating-point pixels have no fixed range; save it with 8 or 16 bits")
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadPicture("wrong-type", f"values {values.min()}..{values.max()} do not fit 16 bits; save it with 8 or 16")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """The picture as mode L or RGB, alpha composited on white."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    wanted = "L" if channels == 1 else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF is no reason to lose the picture
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Square pixels (side, side, C) turned as EXIF orientation 1..8 says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _square(image: Image.Image, side: int) -> Image.Image:
    """The centre square of a picture, resampled to side x side."""
    from PIL import Image

    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    if (short, image.width, image.height) == (side, side, side):
        return image
    return image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + short, top + short))


def decode(data: bytes, prepare: Preparation) -> tuple[np.ndarray, Facts]:
    """Pixels uint8 (side, side, C) of a picture file's bytes, and its facts; `BadPicture` says why not.

    Call it inside `quiet()`.
    """
    image = _open(data)
    width, height, mode = image.width, image.height, image.mode
    try:
        animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        if image.format in ("JPEG", "MPO"):
            image.draft(None, (3 * prepare.side, 3 * prepare.side))  # a JPEG can be decoded at 1/2, 1/4, 1/8 for less
        image.load()
        orientation = _orientation(image)
        pixels = np.asarray(_square(_plain(image, prepare.channels), prepare.side))
    except BadPicture:
        raise
    except Exception as error:  # a decoder of foreign bytes may raise anything
        kind = "truncated" if "truncated" in str(error) else "unreadable"
        raise BadPicture(kind, f"cannot be decoded ({error})") from error
    facts = Facts(width, height, mode, image.format or "", animated)
    return np.ascontiguousarray(_upright(pixels.reshape(prepare.side, prepare.side, -1), orientation)), facts


def read_bytes(path: Path | str) -> bytes:
    """A picture file's bytes; `BadPicture` where it is missing, may not be read, or is larger than `MAX_BYTES`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BadPicture("missing", "there is no such file") from error
    except OSError as error:
        raise BadPicture("unreadable", f"cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise BadPicture("too-large", f"more than {MAX_BYTES // 2**20} MiB; scale it down first")
    return data


def load_picture(path: Path | str, size: int, channels: int, margin: float = 1.0) -> np.ndarray:
    """Pixels uint8 (side, side, C) of one picture file, prepared as `open_pictures` does; side = ceil(size * margin).

    `DataError` names the file where it is no usable picture.
    """
    try:
        with quiet():
            return decode(read_bytes(path), Preparation(side_of(size, margin), channels))[0]
    except BadPicture as error:
        raise BadPicture(error.kind, f"{path}: {error}") from error


def picture_size(path: Path | str) -> tuple[int, int] | None:
    """(width, height) from a file's header, or None where it is no usable picture. Call it inside `quiet()`."""
    try:
        with open(path, "rb") as file:
            return _open(file.read(2**18)).size
    except (BadPicture, OSError):
        return None
