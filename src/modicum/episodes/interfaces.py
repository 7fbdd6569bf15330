"""The interfaces of adaptation: a support set goes in, a predictor comes out. Abstract here, final where implemented."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from modicum.episodes.types import LabelledSet, Traits


class Adapted(nn.Module, ABC):
    """A predictor as a value: tensors are buffers, `config` holds the rest, `support_ids` (..., S) says whom it read.

    Saved as class name + config + tensors; `Adapted.forward` maps x (..., Q, *item) to logits (..., Q, N).
    """

    config: dict[str, Any]
    support_ids: Tensor | None

    def __init__(self, config: dict[str, Any] | None = None, support_ids: Tensor | None = None) -> None:
        super().__init__()
        self.config = dict(config or {})
        self.support_ids = support_ids

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N) of x (..., Q, *item); the ways of out_mask that are absent get -inf."""


class AbstractHead(nn.Module, ABC):
    """Support features -> classifier, batched over tasks."""

    traits: Traits

    @abstractmethod
    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> Adapted:
        """A predictor on features (..., Q, D) from labelled features x (..., S, D); pure, changes nothing in self."""


class AbstractLearner(nn.Module, ABC):
    """Support pictures -> classifier of pictures."""

    traits: Traits

    @abstractmethod
    def adapt(self, support: LabelledSet, n_out: int, out_mask: Tensor | None = None, *, trace: bool = False) -> Adapted:
        """A predictor on pictures (..., Q, C, H, W); pure, changes nothing in self. trace keeps intermediate values."""


class AbstractClassifier(nn.Module, ABC):
    """A classifier trained by ordinary supervision that may read a memory; id (B,) lets it exclude the picture itself."""

    @abstractmethod
    def forward(self, x: Tensor, id: Tensor | None = None) -> Tensor:
        """Logits (..., C) of x (..., *item)."""
