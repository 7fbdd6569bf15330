"""Where a computation runs and what is random in it: device, rank, seeds, progress.

Every draw is a pure function of named integers, made by a counter-based generator (Philox 4x64, Salmon et al. 2011),
so any number of workers and ranks sees the same draws.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modicum.errors import ConfigError

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]
"""Called with (done, total) now and then during long work."""


class Ranks(NamedTuple):
    """This process among all: rank r of size R takes the tasks t with t = r mod R."""

    rank: int = 0
    size: int = 1


def ranks() -> Ranks:
    """Rank and size as torchrun sets them (RANK, WORLD_SIZE), else (0, 1)."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def require_one_process(command: str) -> None:
    """Raise `ConfigError` under torchrun, for a command whose processes would all do the same and write the same files."""
    size = ranks().size
    if size > 1:
        raise ConfigError(f"{command} runs in one process, found {size}; only train and evaluate share work under torchrun")


def philox(seed: int, stream: str, counter: int) -> np.random.Generator:
    """A generator that is a pure function of (seed, stream, counter).

    `stream` names what is drawn ("train", "test/augment", ...) and enters the 128-bit key with the seed; `counter` is
    the task or step number and enters the counter's high words, so streams of neighbouring counters never overlap.
    """
    digest = hashlib.blake2b(f"{seed}\0{stream}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8")
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, counter, 0], dtype=np.uint64)))


def torch_generator(seed: int, stream: str, counter: int = 0) -> torch.Generator:
    """A CPU `torch.Generator` seeded from `philox(seed, stream, counter)`."""
    import torch

    value = int(philox(seed, stream, counter).integers(0, 2**63 - 1))
    return torch.Generator().manual_seed(value)


def device(name: str = "auto") -> torch.device:
    """The torch device of a name; "auto" takes the GPU where there is one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device: {name!r} was asked for, but torch sees no GPU here; use --device cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: {name!r} is not a torch device; use cpu, cuda or auto") from error
