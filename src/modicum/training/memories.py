"""The memory of a run: made of its training pictures in RUN/memory, or one that is there already; and its frozen encoder.

A memory made here is what `modicum memory create` and `modicum memory add` would have made of the training pictures: the
pictures as their files are, at the encoder's own size, without augmentation; a picture whose embedding is all zeros is left
out. Its encoder lies in RUN/memory-encoder, where those commands look for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.backbones.encoder import Encoder
from modicum.configs import Train
from modicum.data.picture_set import PictureSet
from modicum.data.picture_splits import open_split_pictures
from modicum.errors import ConfigError
from modicum.memory.opening import create_memory, open_memory
from modicum.memory.types import AbstractMemory, MemoryInfo
from modicum.models import CARD, CONFIG, PRETRAINED, SHIPPED, embed, fingerprint, load_encoder, save_encoder
from modicum.runtime import Progress

Ints = NDArray[np.int64]
MEMORY, ENCODER = "memory", "memory-encoder"
DEFAULT_ENCODER = "pictures"
COMMIT = 512
"""Pictures embedded and made safe together."""


class RunMemory(NamedTuple):
    """A memory with the encoder that its items were embedded by. store: where it lies; own: whether the run made it."""

    memory: AbstractMemory
    encoder: Encoder
    store: str
    own: bool


def encoder_name(config: Train) -> str:
    """The encoder asked for; else the one that --memory was made with; else the shipped one."""
    if config.encoder is not None:
        return config.encoder
    return DEFAULT_ENCODER if config.memory is None else encoder_of_store(config.memory)


def encoder_of_store(store: str) -> str:
    """The encoder that a memory was made with: as it is kept beside the memory, else as the memory names it."""
    for kept in (Path(store) / "encoder", Path(f"{os.path.abspath(store)}-encoder")):
        if kept.is_dir():
            return str(kept)
    with open_memory(store, readonly=True) as memory:
        name: str = memory.info.encoder
    if not name:
        raise ConfigError(f"encoder: {store} does not say which encoder made it; give --encoder")
    return name


def keep_encoder(config: Train, encoder: Encoder) -> None:
    """Copy a memory's encoder into the run, once."""
    kept = Path(config.out) / ENCODER
    if not (kept / CONFIG).is_file():
        save_encoder(encoder, kept, f"# Encoder of a memory\n\n{trained_before(encoder_name(config))}\n")


def trained_before(name: str | None) -> str:
    """What is known of an encoder's pre-training, in a line, for the record of a run; None: random weights."""
    if name is None:
        return "none: random weights"
    if name == "pixels":
        return "none: the standardised picture itself"
    if name.startswith(("timm/", "torchvision/")):
        return f"published weights of {name}"
    folder = PRETRAINED / name if name in SHIPPED else Path(name)
    folder = folder / "encoder" if (folder / "encoder").is_dir() else folder
    try:
        lines = (folder / CARD).read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"unknown: {name} has no card"
    about = [line.strip() for line in lines if "rained" in line and not line.startswith(("#", "|"))]
    return f"{name}: {about[0]}" if about else f"unknown: the card of {name} does not say"


def own_memory(
    config: Train, encoder: Encoder, pictures: PictureSet, rows: Ints, progress: Progress | None = None
) -> RunMemory:
    """The memory in RUN/memory, made or completed from pictures at rows (n,); that of a run under way is taken as it is.

    `ConfigError` where a memory lies there that holds something else.
    """
    run, told = Path(config.out), fingerprint(encoder)
    store, name = run / MEMORY, encoder_name(config)
    if not (store / "memory.sqlite3").is_file():
        create_memory(str(store), MemoryInfo(encoder.n_features, "cosine", name, told, time.time())).close()
    memory = open_memory(str(store), fingerprint=told)
    if (run / "config.json").is_file():
        return RunMemory(memory, encoder, str(store), own=True)
    source, names = pictures.name, [pictures.ids[row] for row in rows]
    missing = np.flatnonzero(memory.ids_of(source, names) < 0)
    held = len(memory)
    if held + len(missing) != len(rows):
        memory.close()
        raise ConfigError(
            f"out: {store} holds {held} items, and not only training pictures of this run; it is left from another "
            "one that was interrupted before its first step: delete the folder, or give another --out"
        )
    seen = as_seen(config, encoder, pictures) if len(missing) else pictures
    for start in range(0, len(missing), COMMIT):
        part = rows[missing[start : start + COMMIT]]
        keys = embed(encoder, seen.pixels[part])
        pointing = keys.any(1)  # zeros, such as of a picture of one colour, have no direction and cannot be found
        part = part[pointing]
        memory.add(
            keys[pointing], [pictures.classes[label] for label in pictures.labels[part]],
            names=[pictures.ids[row] for row in part], source=source,
            digests=[pictures.digests[row] for row in part] if pictures.digests else None,
        )  # fmt: skip
        if progress is not None:
            progress(min(start + COMMIT, len(missing)), len(missing))
    return RunMemory(memory, encoder, str(store), own=True)


def as_seen(config: Train, encoder: Encoder, pictures: PictureSet) -> PictureSet:
    """The same pictures at the size and with the channels that an encoder reads, in the same order."""
    spec = encoder.spec
    if pictures.pixels.shape[1:] == (spec.size, spec.size, spec.channels):
        return pictures
    again = open_split_pictures(
        config.data, root=config.root, size=spec.size, channels=spec.channels, group=config.group, seed=config.seed
    )
    if again.ids != pictures.ids:
        raise ConfigError(f"data: {config.data} has changed while it was read; start again")
    return again


def given_memory(encoder: Encoder, store: str) -> RunMemory:
    """A memory that is there already; `ConfigError` where another encoder made it or it is empty."""
    memory = open_memory(store, fingerprint=fingerprint(encoder), readonly=True)
    if len(memory) == 0:
        memory.close()
        raise ConfigError(f"memory: {store} is empty; add pictures to it first (modicum memory add)")
    return RunMemory(memory, encoder, store, own=False)


def require_not_held(found: RunMemory, pictures: PictureSet, rows: Ints) -> None:
    """`ConfigError` where a memory holds pictures at rows (n,), which are held out to measure by."""
    held = rows[ids_in(found.memory, pictures, rows) >= 0]
    if len(held):
        raise ConfigError(
            f"memory: {found.store} holds {len(held)} of the pictures that are held out for validation and test, such as "
            f"{pictures.ids[held[0]]}; remove them (modicum memory remove), or leave --memory out"
        )


def require_unchanged(found: RunMemory, record: Mapping[str, Any], run: Path) -> None:
    """`ConfigError` where a memory is another one than when a run was begun: resumed steps would not be those left out."""
    if memory_digest(found.memory) != (record.get("memory") or {}).get("digest"):
        raise ConfigError(
            f"resume: the memory {found.store} has changed since {run} was begun; undo that, or give another --out"
        )


def loaded_encoder(config: Train) -> Encoder:
    """The frozen encoder of a run: kept in its folder, or by name."""
    kept = Path(config.out) / ENCODER
    return load_encoder(kept if (kept / CONFIG).is_file() else encoder_name(config))


def memory_digest(memory: AbstractMemory) -> str:
    """Hex digest of what a memory holds, without the embeddings, which an item's id and picture decide."""
    state = hashlib.sha256()
    for item in memory.items():
        state.update(json.dumps([item.id, item.label, item.text, item.digest]).encode())
    return state.hexdigest()


def memory_record(found: RunMemory) -> dict[str, Any]:
    """What config.json says of a memory."""
    info = found.memory.info
    return {
        "store": MEMORY if found.own else found.store, "items": len(found.memory), "dim": info.dim, "metric": info.metric,
        "encoder": info.encoder, "fingerprint": info.fingerprint, "digest": memory_digest(found.memory),
    }  # fmt: skip


def ids_in(memory: AbstractMemory, pictures: PictureSet, rows: Ints) -> Ints:
    """Item ids (n,) of pictures at rows (n,), -1 where a memory does not hold them.

    By source and name; a picture that has no item so, by the digest of its file: memories of other folders are told too.
    """
    found = np.asarray(memory.ids_of(pictures.name, [pictures.ids[row] for row in rows]), np.int64).copy()
    lacking = np.flatnonzero(found < 0)
    if len(lacking) and pictures.digests:
        wanted = {pictures.digests[row] for row in rows[lacking]} - {""}
        by_digest = {item.digest: item.id for item in memory.items() if item.digest in wanted}
        found[lacking] = [by_digest.get(pictures.digests[row], -1) for row in rows[lacking]]
    return found
