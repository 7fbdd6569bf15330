"""Options of every command as typed dataclasses; no torch, no numpy, so `--help` answers at once."""

from modicum.configs.classifying import Adapt, Check, Extend, Fit, Forget, Predict
from modicum.configs.measuring import Cache, Compare, Demo, Evaluate, Report, Reproduce
from modicum.configs.options import (
    KNOWN_SETS,
    Adaptivity,
    BatchNorm,
    Ensemble,
    Init,
    Moves,
    Precision,
    Regularizer,
    Scale,
    Schedule,
    Strategy,
    require,
    require_known,
)
from modicum.configs.training import Train

__all__ = [
    "KNOWN_SETS",
    "Adapt",
    "Adaptivity",
    "BatchNorm",
    "Cache",
    "Check",
    "Compare",
    "Demo",
    "Ensemble",
    "Evaluate",
    "Extend",
    "Fit",
    "Forget",
    "Init",
    "Moves",
    "Precision",
    "Predict",
    "Regularizer",
    "Report",
    "Reproduce",
    "Scale",
    "Schedule",
    "Strategy",
    "Train",
    "require",
    "require_known",
]
