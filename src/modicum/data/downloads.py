"""Known data sets in torchvision's own layout, or fetched by torchvision; the only module of this layer that needs it.

Nothing is fetched at import, nor where `MODICUM_OFFLINE` or `HF_HUB_OFFLINE` is set. CIFAR's own archives hold
pickles: torchvision compares their MD5 sums with the published ones before it reads them, and we read them once only, to
write plain PNG files (ids "train/CLASS/NUMBER.png") into the cache folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from modicum.errors import DataError, WriteError
from modicum.files import cache_dir, make_folder
from modicum.runtime import Progress

# Omniglot: MIT. CIFAR states no licence: its authors pass it on freely for research and ask to be cited.
FREELY_GIVEN = ("omniglot", "cifar10", "cifar100", "cifar100-coarse", "cifar-fs", "fc100")


def may_download(name: str) -> bool:
    """Whether a data set may be fetched here: those who made it pass it on freely, and nobody asked to stay offline."""
    offline = any(os.environ.get(variable, "") not in ("", "0") for variable in ("MODICUM_OFFLINE", "HF_HUB_OFFLINE"))
    return name in FREELY_GIVEN and not offline


def download(name: str, top: Path | None, progress: Progress | None = None) -> Path | None:
    """Fetch a data set with torchvision below `top` (None: below the cache folder); its folder, or `DataError`."""
    place = top if top is not None else make_folder(cache_dir() / "sets")
    if name == "omniglot" and (place / "omniglot-py" / "images_evaluation").is_dir():
        return place / "omniglot-py"
    try:
        from torchvision import datasets

        if name == "omniglot":
            for background in (True, False):
                datasets.Omniglot(str(place), background=background, download=True)
            return place / "omniglot-py"
        getattr(datasets, _made_by(name)[0])(str(place), download=True)
    except (OSError, RuntimeError) as error:  # no network, no room, or a checksum that does not match
        raise DataError(f"data: {name} is not in {place} and could not be downloaded ({error}); bring it by hand and give "
                        "the folder above it with --root or MODICUM_DATA") from error  # fmt: skip
    return cifar_folder(name, place, progress)


def _made_by(name: str) -> tuple[str, str]:
    """torchvision's class of a CIFAR set, and the folder its archive unpacks to."""
    return ("CIFAR10", "cifar-10-batches-py") if name == "cifar10" else ("CIFAR100", "cifar-100-python")


def cifar_folder(name: str, top: Path | None, progress: Progress | None = None) -> Path | None:
    """CIFAR as class folders made from torchvision's layout below `top` or the cache folder; None where it is not."""
    kind, unpacked = _made_by(name)
    done = cache_dir() / "sets" / f"{kind.lower()}-folders"
    if done.is_dir():
        return done
    for place in (top, cache_dir() / "sets"):
        if place is not None and (place / unpacked).is_dir():
            _convert(kind, place, unpacked, done, progress)
            return done
    return None


def _convert(kind: str, place: Path, unpacked: str, done: Path, progress: Progress | None) -> None:
    """Write torchvision's CIFAR as PNG files into a folder that appears when it is whole."""
    from torchvision import datasets

    make_folder(done.parent)
    temporary = Path(tempfile.mkdtemp(dir=done.parent, prefix=f".{kind.lower()}-"))
    try:
        for index, train in enumerate((True, False)):
            part = getattr(datasets, kind)(str(place), train=train)
            _write_part(part, temporary / ("train" if train else "test"))
            if progress is not None:
                progress(index + 1, 2)
        os.rename(temporary, done)
    except RuntimeError as error:
        raise DataError(f"data: {place / unpacked} is incomplete or damaged ({error})") from error
    except OSError as error:
        if not done.is_dir():
            raise WriteError(f"cannot write {done}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_part(part: Any, folder: Path) -> None:
    """`part`: torchvision's data set with data uint8 (n, 32, 32, 3), targets and class names."""
    from PIL import Image

    for class_name in part.classes:
        (folder / class_name).mkdir(parents=True)
    for index, (pixels, target) in enumerate(zip(part.data, part.targets, strict=True)):
        Image.fromarray(np.asarray(pixels)).save(folder / part.classes[target] / f"{index:05d}.png", compress_level=1)
