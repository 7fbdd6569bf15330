"""What a page is made from, as plain values. What a result file does not say is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Accuracy:
    """One measured accuracy; fractions in [0, 1]. low/high: 95 % interval. per_task (tasks,), None where not recorded.

    setup: (name, words) of what else may differ between rows of one setting; apart: those of them that do, in words.
    """

    setting: str
    value: float
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    count: str = ""
    over: str = ""
    chance: float | None = None
    ways: int | None = None
    shots: int | None = None
    notes: tuple[str, ...] = ()
    per_task: Array | None = None
    tasks_key: tuple[Any, ...] | None = None
    batch_norm: str = ""
    setup: tuple[tuple[str, str], ...] = ()
    apart: str = ""

    @property
    def label(self) -> str:
        """The setting, with what tells this row apart from others of the same setting."""
        return f"{self.setting}, {self.apart}" if self.apart else self.setting


@dataclass(frozen=True)
class Inner:
    """What the inner loops of one evaluation did: T tasks, S steps, N layers; what the file lacks is None or empty.

    losses (T, S): support loss before each step. alpha, beta (T, S, N): rate and decay that were generated, with
    theta <- beta theta - alpha g. gamma (T, N): what L2F keeps of each layer. distances: number of shots -> (T,).
    """

    place: str
    shots: int
    setup: tuple[tuple[str, str], ...]  # (name, words): number of shots, batch norm and other settings
    layers: tuple[str, ...] = ()
    losses: Array | None = None
    alpha: Array | None = None
    beta: Array | None = None
    gamma: Array | None = None
    distances: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Recall:
    """Share of a class's pictures that was recognised, in [0, 1], of n pictures; low/high: 95 % interval where measured."""

    name: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Task:
    """One task as pictures: support (k, H, W, C) and query (q, H, W, C) uint8, labels index `classes`."""

    support: Array
    support_labels: Array
    query: Array
    query_labels: Array
    predictions: Array
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Samples:
    """Pictures (n, H, W, C) uint8 with their class names and what they were called."""

    pixels: Array
    labels: tuple[str, ...]
    predictions: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Everything the result files of one folder say."""

    path: Path
    kind: str  # "run" or "classifier"
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    log: tuple[Mapping[str, Any], ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    confusion: Array | None = None  # (C, C) counts, row: true class, column: predicted
    classes: tuple[str, ...] = ()
    task: Task | None = None
    right: Samples | None = None
    wrong: Samples | None = None
    features: tuple[Array, Array, tuple[str, ...]] | None = None  # (m, D), labels (m,), class names
    per_class: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ece: float | None = None
    reliability: tuple[Mapping[str, Any], ...] = ()
    not_measurable: tuple[str, ...] = ()
    inner: tuple[Inner, ...] = ()  # one for each evaluation of a gradient method
    files: tuple[str, ...] = ()
