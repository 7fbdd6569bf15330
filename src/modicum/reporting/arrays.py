"""Arrays of result files: npz archives without pickle, errors that name the file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from modicum.errors import FileFormatError
from modicum.reporting.records import Array


def read_arrays(path: Path, files: list[Path]) -> dict[str, Array]:
    """Arrays of an npz file without pickle; empty where there is none."""
    if not path.is_file():
        return {}
    files.append(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path}: not a readable archive of arrays ({error}); evaluate or fit anew") from error
