"""Modicum learns image classifiers from little data and runs them on little hardware.

The names below are imported on first use (PEP 562), so `import modicum` and `modicum --help` load no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "FewShotClassifier": "modicum.estimator",
    "LabelledSet": "modicum.episodes.types",
    "Episode": "modicum.episodes.types",
    "Traits": "modicum.episodes.types",
    "EpisodeSampler": "modicum.episodes.sampler",
    "HeadLearner": "modicum.adaptation.learner",
    "PictureSet": "modicum.data.pictures",
    "open_pictures": "modicum.data.pictures",
    "load_encoder": "modicum.models",
    "save_encoder": "modicum.models",
    "embed": "modicum.models",
    "Classifier": "modicum.classifiers.classifier",
    "fit_classifier": "modicum.classifiers.fitting",
    "train": "modicum.training.trainer",
    "evaluate": "modicum.training.evaluate",
}
__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'modicum' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
