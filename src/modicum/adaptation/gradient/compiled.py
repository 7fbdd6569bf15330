"""The meta-gradient of a batch of tasks as one compiled function."""

from __future__ import annotations

from collections.abc import Sequence

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import Outcome
from modicum.episodes.types import Episode
from modicum.errors import ConfigError


def compiled_gradients(
    learner: GradientLearner, episode: Episode, weights: Sequence[float] | None = None, share: float = 1.0
) -> Outcome:
    """As `meta.meta_gradients`; `ConfigError` until it is there."""
    raise ConfigError("strategy: compiled is not there yet; take loop or grouped")
