"""Low-bit networks: weights of one or two bits, accumulators that wrap, conversion of any module, integer inference."""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "convert": "modicum.quantization.conversion",
    "calibrate": "modicum.quantization.calibration",
    "watching": "modicum.quantization.watching",
    "IntegerNetwork": "modicum.quantization.integer.network",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'modicum.quantization' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
