"""What is special about two sets of handwriting: digits come from scikit-learn, Omniglot's rotations are classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from modicum.data.images import Preparation, content_hash
from modicum.data.picture_set import PictureSet
from modicum.data.sources import Listing
from modicum.data.store import Manifest

TURNS = (0, 90, 180, 270)


def digits(prepare: Preparation) -> tuple[Listing, Manifest, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits (UCI, its test part), light on dark: listing, manifest and pixels.

    8x8 with 17 grey levels, scaled to 0..255 and upsampled bilinearly to uint8 (1797, side, side, C). ids are
    "DIGIT/NUMBER", NUMBER being the place in scikit-learn's array.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.argsort(bunch.target, kind="stable")
    small = np.round(bunch.images[order] * (255 / 16)).astype(np.uint8)
    size = (prepare.side, prepare.side)
    large = np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in small])
    pixels = np.repeat(large[..., None], prepare.channels, axis=-1)
    count, labels = len(small), bunch.target[order].astype(np.int64)
    paths = tuple(f"{label}/{place:04d}" for label, place in zip(labels, order, strict=True))
    stats = np.zeros((count, 2), np.int64)
    listing = Listing("digits", "digits", Path(), paths, stats, labels, tuple("0123456789"))
    hashes = b"".join(bytes.fromhex(content_hash(image.tobytes())) for image in small)
    digests = np.frombuffer(hashes, np.uint8).reshape(count, 16)
    shape = np.tile(np.array([8, 8, 0], np.int32), (count, 1))
    nothing = np.zeros(count, np.uint32)
    looks = np.zeros(count, np.uint8)
    rows = np.arange(count)
    manifest = Manifest("digits", prepare, paths, stats, rows, digests, nothing, shape, looks, ("array L",), ())
    return listing, manifest, pixels


def rotated(pictures: PictureSet) -> PictureSet:
    """Every class in four rotations as classes of their own (Vinyals et al. 2016), made in RAM.

    Class "Alphabet/characterNN" becomes ".../rot000" to ".../rot270", counter-clockwise; a picture's id gets "@rot090"
    and so on, its digest becomes a hash of both. Splits follow their characters.
    """
    count = len(pictures)
    place = np.argsort(np.argsort(np.concatenate([pictures.labels * 4 + k for k in range(4)]), kind="stable"))
    origin = np.empty(4 * count, np.int64)
    origin[place] = np.tile(np.arange(count), 4)
    pixels = np.empty((4 * count, *pictures.pixels.shape[1:]), np.uint8)
    labels = np.empty(4 * count, np.int64)
    for k in range(4):
        rows = place[k * count : (k + 1) * count]
        pixels[rows] = np.rot90(pictures.pixels, k, axes=(1, 2))
        labels[rows] = pictures.labels * 4 + k
    names = [f"rot{turn:03d}" for turn in TURNS]
    sources = [(int(i), names[k]) for i, k in zip(origin, labels % 4, strict=True)]
    return replace(
        pictures,
        pixels=pixels,
        labels=labels,
        classes=_each(pictures.classes, names),
        ids=tuple(f"{pictures.ids[i]}@{turn}" for i, turn in sources),
        digests=tuple(content_hash(f"{pictures.digests[i]}@{turn}".encode()) for i, turn in sources),
        groups=None if pictures.groups is None else pictures.groups[origin],
        splits={split: _each(classes, names) for split, classes in pictures.splits.items()},
    )


def _each(classes: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
    return tuple(f"{class_name}/{name}" for class_name in classes for name in names)
