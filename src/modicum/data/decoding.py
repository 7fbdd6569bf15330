"""Many picture files decoded by a pool of threads (Pillow releases the interpreter lock), in order, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modicum.data.images import BadPicture, Facts, Preparation, Problem, content_hash, decode, read_bytes
from modicum.runtime import Progress

BATCH = 64  # pictures per task of the pool


class Decoded(NamedTuple):
    """One picture after an attempt to decode it: pixels and facts, or the problem."""

    pixels: np.ndarray | None
    digest: bytes
    facts: Facts
    problem: Problem | None


def _decode_file(folder: Path, path: str, prepare: Preparation) -> Decoded:
    digest, nothing = bytes(16), Facts(0, 0, "-", "-", False)
    try:
        data = read_bytes(folder / path)
        digest = bytes.fromhex(content_hash(data))
        pixels, facts = decode(data, prepare)
        return Decoded(pixels, digest, facts, None)
    except BadPicture as error:
        return Decoded(None, digest, nothing, Problem(path, error.kind, str(error)))


def decode_all(folder: Path, paths: list[str], prepare: Preparation, progress: Progress | None) -> Iterator[Decoded]:
    """Decode files below a folder, in order; a file that is no usable picture gives its problem. Call it in `quiet()`."""
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    workers = min(32, os.cpu_count() or 1)

    def work(batch: list[str]) -> list[Decoded]:
        return [_decode_file(folder, path, prepare) for path in batch]

    done = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, len(batches), 4 * workers):
                for decoded in pool.map(work, batches[start : start + 4 * workers]):
                    done += len(decoded)
                    if progress is not None:
                        progress(done, len(paths))
                    yield from decoded
        finally:
            pool.shutdown(cancel_futures=True)
