"""The compiled kernels of `csrc/`, where a compiler was there at installation.

They have a plain C interface and are loaded through ctypes, so one wheel serves every Python. Whoever calls a kernel has
another way to the same result where `library` gives None.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from pathlib import Path

KERNELS_ABI = 4


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none or they speak another interface."""
    spec = importlib.util.find_spec("modicum")
    suffix = ".pyd" if sys.platform == "win32" else ".so"
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / f"_kernels{suffix}"
        if not path.is_file():
            continue
        try:
            found = ctypes.CDLL(str(path))
            found.modicum_kernels_abi.restype = ctypes.c_int32
            if found.modicum_kernels_abi() == KERNELS_ABI:
                return found
        except (OSError, AttributeError):  # built for another system, or not ours
            continue
    return None
