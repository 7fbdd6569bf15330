"""The pictures of a DIR as `add` goes through them: part by part, what is new told from what a memory holds already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.data.decoding import decode_all
from modicum.data.images import BadPicture, Preparation, Problem, content_hash, quiet, read_bytes
from modicum.data.pictures import NOTES, list_data, load, refuse_listing
from modicum.data.sources import Listing
from modicum.data.tables import read_table
from modicum.errors import DataError


class Part(NamedTuple):
    """Pictures that were read: names, labels, digests (n,) and pixels uint8 (n, size, size, channels)."""

    names: list[str]
    labels: list[str]
    digests: list[str]
    pixels: npt.NDArray[np.uint8]


@dataclass
class Pictures:
    """The pictures of a DIR, sorted by class and path. problems: those that could not be used so far, and why."""

    listing: Listing
    prepare: Preparation
    arrays: tuple[Sequence[str], npt.NDArray[np.uint8]] | None = None  # digests and pixels, where there are no files
    problems: list[Problem] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.listing.paths)

    def names(self, start: int, stop: int) -> list[str]:
        """Names of the pictures from start to stop: their paths inside DIR."""
        return list(self.listing.paths[start:stop])

    def digests(self, places: Sequence[int]) -> list[str]:
        """Digests of the files at places; "" for one that cannot be read."""
        if self.arrays is not None:
            return [self.arrays[0][place] for place in places]
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(self._digest, places))

    def _digest(self, place: int) -> str:
        try:
            return content_hash(read_bytes(self.listing.folder / self.listing.paths[place]))
        except BadPicture:
            return ""

    def read(self, places: Sequence[int]) -> Part:
        """The pictures at places, decoded; those that cannot be go to `problems`."""
        if self.arrays is not None:
            return self._part(places, self.digests(places), self.arrays[1][np.array(places, np.int64)])
        paths = [self.listing.paths[place] for place in places]
        with quiet():
            found = list(zip(places, decode_all(self.listing.folder, paths, self.prepare, None), strict=True))
        self.problems += [decoded.problem for _, decoded in found if decoded.problem is not None]
        good = [(place, decoded.digest.hex(), decoded.pixels) for place, decoded in found if decoded.pixels is not None]
        side, channels = self.prepare
        pixels = np.stack([own for _, _, own in good]) if good else np.zeros((0, side, side, channels), np.uint8)
        return self._part([place for place, _, _ in good], [digest for _, digest, _ in good], pixels)

    def _part(self, places: Sequence[int], digests: list[str], pixels: npt.NDArray[np.uint8]) -> Part:
        labels = [self.listing.classes[self.listing.labels[place]] for place in places]
        return Part([self.listing.paths[place] for place in places], labels, digests, pixels)


def open_data(data: str, root: str | None, size: int, channels: int) -> Pictures:
    """The pictures of DIR for an encoder's size and channels, nothing decoded yet; `DataError` says what is wrong."""
    if data == "digits":
        listing, manifest, pixels = load(data, root=root, size=size, channels=channels, min_classes=1)
        digests = [row.tobytes().hex() for row in manifest.digests]
        return Pictures(listing, manifest.prepare, (digests, pixels))
    listing = list_data(data, root=root)
    refuse_listing(listing, 1)
    lost = [problem for problem in listing.problems if problem.kind not in NOTES]
    return Pictures(listing, Preparation(size, channels), problems=lost)


def read_texts(path: str) -> Mapping[str, str]:
    """Name -> text of a CSV with columns path (or id) and text; `DataError` says what is wrong with it."""
    table = read_table(Path(path))
    key = next((name for name in ("path", "id") if name in table.columns), None)
    if key is None or "text" not in table.columns:
        raise DataError(f"texts: {path} has the columns {', '.join(table.columns)}; expected path (or id) and text")
    if table.problems:
        raise DataError(f"texts: {table.problems[0].path}: {table.problems[0].message}")
    return {cells[key]: cells["text"] for _, cells in table.rows if cells["text"]}
