"""The encoder of a memory: by name, or as a copy beside the items; and what it makes of pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modicum.commands.memory.stores import is_milvus
from modicum.errors import ConfigError
from modicum.memory.pixels import CHANNELS, DIM, FINGERPRINT, NAME, SIZE, embed_pixels
from modicum.memory.store_schema import DATABASE
from modicum.memory.types import MemoryInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from modicum.backbones.encoder import Encoder
    from modicum.runtime import Progress

    Pixels = npt.NDArray[np.uint8]
    Embeddings = npt.NDArray[np.float32]

TITLE = "# Encoder of a memory"
ABOUT = "A copy of `{name}` (fingerprint {fingerprint}), kept beside the items that it embedded."
CARD = f"{TITLE}\n\n{ABOUT}\n"


@dataclass(frozen=True)
class Embedder:
    """Pictures uint8 (n, size, size, channels) -> embeddings float32 (n, dim). encoder: None for pixels."""

    name: str
    size: int
    channels: int
    dim: int
    fingerprint: str
    embed: Callable[[Pixels, Progress | None], Embeddings]
    encoder: Encoder | None = None


def embedder(name: str, *, online: bool = False) -> Embedder:
    """An encoder by name, as in `modicum.models.load_encoder`; `pixels` without torch."""
    if name == NAME:
        return Embedder(NAME, SIZE, CHANNELS, DIM, FINGERPRINT, lambda pixels, _: embed_pixels(pixels))
    from modicum import models

    encoder = models.load_encoder(name, online=online)
    spec = encoder.spec

    def embed(pixels: Pixels, progress: Progress | None) -> Embeddings:
        found: Embeddings = models.embed(encoder, pixels, progress=progress)
        return found

    return Embedder(name, spec.size, spec.channels, encoder.n_features, models.fingerprint(encoder), embed, encoder)


def kept_name(store: str, name: str) -> str:
    """The name a memory keeps of its encoder: as given; for a folder its full path where the memory has no folder itself."""
    return os.path.abspath(name) if is_milvus(store) and Path(name).is_dir() else name


def keep(found: Embedder, store: str) -> Path | None:
    """Put a copy of an encoder beside the items, so that the store is whole; None where its name is enough."""
    if is_milvus(store) or found.encoder is None:
        return None
    from modicum.models import SHIPPED, save_encoder

    if found.name in SHIPPED:
        return None
    folder = Path(store) / "encoder"
    return save_encoder(found.encoder, folder, CARD.format(name=found.name, fingerprint=found.fingerprint))


def is_kept(folder: Path) -> bool:
    """Whether a folder is the copy of an encoder that `keep` made, such as an interrupted `create` leaves."""
    try:
        return (folder / "README.md").read_text(encoding="utf-8").startswith(TITLE) or not any(folder.iterdir())
    except OSError:
        return False


def drop_kept(store: str) -> None:
    """Delete the copy of an encoder beside a memory that could not be made; not where another process made it meanwhile."""
    if not (Path(store) / DATABASE).exists():
        shutil.rmtree(Path(store) / "encoder", ignore_errors=True)


def beside_run(store: str, name: str) -> Path | None:
    """The encoder that `train` put beside RUN/memory, as RUN/memory-encoder; None where a memory has it by other means."""
    if is_milvus(store) or name == NAME or (Path(store) / "encoder").is_dir():
        return None
    from modicum.models import SHIPPED

    found = Path(f"{os.path.abspath(store)}-encoder")
    return found if name not in SHIPPED and found.is_dir() else None


def _place(store: str, name: str) -> str:
    """Where the encoder of a memory is to be had: a copy in or beside it, else what its name means."""
    if is_milvus(store) or name == NAME:
        return name
    own = Path(store) / "encoder"
    return str(own) if own.is_dir() else str(beside_run(store, name) or name)


def embedder_of(store: str, info: MemoryInfo) -> Embedder:
    """The encoder that a memory was made for; `ConfigError` where it is not there or is not the same any more."""
    if not info.encoder:
        raise ConfigError(f"store: {store} holds embeddings of your own; pictures have no place in it without their encoder")
    kept = _place(store, info.encoder)
    found = embedder(kept)
    if found.fingerprint != info.fingerprint:
        raise ConfigError(
            f"encoder: {kept} is not the encoder that {store} was made with (fingerprint {found.fingerprint[:12]}, expected "
            f"{info.fingerprint[:12]}); embeddings of two encoders cannot be compared, so make a new memory"
        )
    return found
