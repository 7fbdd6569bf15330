"""`modicum quantize`: a run again with low-bit weights, few-bit activations and accumulators that wrap."""

from __future__ import annotations

from modicum.configs import Quantize


def run(config: Quantize) -> int:
    """Quantise a run, then say what its layers and its accuracy became."""
    raise NotImplementedError
