"""What a recipe is: rows of a table, the models they are measured with, and the orders of rows that the paper claims.

Nothing here or in a recipe's file imports torch, so `modicum reproduce list` answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from modicum.configs import BatchNorm, Ensemble, Quantize, Scale, Train

Kind = Literal[
    "accuracy", "mse", "r_fc", "r_hv", "cka", "epoch_seconds", "train_seconds", "long_tail", "gap", "lookup", "query_ms",
    "construction_seconds", "edited", "changed", "rmse", "branch", "agreement", "votes", "low_bit", "overflow", "bits",
    "carry", "file_bytes", "predict_ms", "layer_ms", "unit",
]  # fmt: skip
"""What a row measures: accuracy, or mean squared error of regression, over tasks; R_FC and 4 R_HV^2 over class pairs
(`evaluation.class_separation`); linear CKA of two models' features; seconds of training per epoch (`models.epoch_steps`)
and in all. Of rac, on held-out pictures: a branch's accuracy by bucket, and the retrieval branch's less the base branch's
(`long_tail_measuring`); the nearest item's label, what asking and making the memory costs (`lookups`); accuracy while the
memory is edited, and how many predictions changed (`edits`). Of a table, root mean squared error (`regression_tables`).
Of meta-neighborhoods, on held-out pictures: a branch's accuracy, how many test pictures near an entry have its class, and
accuracy of k-NN on finer labels than the trained ones (`mn_measuring`). Of low-bit networks: accuracy on held-out pictures,
overflow, bits, carries; size of a file and time of a prediction (`low_bit_measuring`); of no network at all, milliseconds of
a layer on this machine and the cost of a unit in hardware (`machine_rows`)."""

OVER_TASKS = ("accuracy", "mse")
"""Kinds that are means over test tasks."""
SEPARATION = ("r_fc", "r_hv")
"""Kinds that one look at the features gives together."""
LOOKUPS = ("lookup", "query_ms", "construction_seconds")
"""Kinds that need an encoder and pictures, but no training; given together."""
EDITS = ("edited", "changed")
"""Kinds that one experiment gives together."""
LONG_TAIL = ("long_tail", "gap")
"""Kinds that one evaluation of a run of rac gives together."""
NEIGHBORHOODS = ("branch", "agreement")
"""Kinds that one evaluation of a run of meta-neighborhoods gives together."""
LOW_BIT = ("low_bit", "overflow", "bits", "carry")
"""Kinds that one look at a low-bit network gives together."""
DEPLOYED = ("file_bytes", "predict_ms")
"""Kinds that one exported network gives together."""
MACHINE = ("layer_ms", "unit")
"""Kinds that need no network; those of one source are given together."""
FRACTIONS = ("accuracy", "long_tail", "gap", "lookup", "edited", *NEIGHBORHOODS, "votes", "low_bit", "overflow")
"""Kinds that are shown as per cent."""
TOGETHER = (SEPARATION, LOOKUPS, EDITS, LONG_TAIL, NEIGHBORHOODS, LOW_BIT, DEPLOYED, MACHINE)
"""Kinds whose rows share a measurement."""

TASKS: Mapping[Scale, int] = {"smoke": 20, "cpu": 1_000, "full": 1_000}
"""Test tasks of a row; published tables use 600 to 1,000."""


@dataclass(frozen=True)
class Machine:
    """What stands for a model where nothing is trained: what the rows are taken from (`machine_rows`)."""

    source: Literal["low_bit_conv", "hardware"]
    seed: int = 0


Trained = Train | Quantize
Options = Mapping[Scale, Train | Quantize | Machine]
"""Scale -> how a model is made."""


@dataclass(frozen=True)
class Models:
    """full: the published model; reduced: what stands for it at the scales smoke and cpu. None: there is none."""

    full: str | None
    reduced: str | None

    def at(self, scale: Scale) -> str | None:
        """Name of the model at a scale."""
        return self.full if scale == "full" else self.reduced


@dataclass(frozen=True)
class Row:
    """One number of a table: a model measured in one setting. paper: published value in the unit of `kind`, None for none.

    Accuracies are fractions, times seconds. paper_ci95: radius of the published 95 % interval; where a paper prints one
    standard error, 1.96 times that. model: a name in `Recipe.models`, the same at all scales, or `Models`. missing: why a
    scale has no model. head, batch_norm: as in `evaluate`. other: second model of a CKA. tasks: scale -> number of tasks,
    where they are not the recipe's. data: the set to test on, where it is not the one the model learned on: a known name,
    or a folder under the root. ensemble: scale -> rule of an ensemble of checkpoints, none where not named.

    Of rac: branch as `evaluate` calls it (both, base, retrieval, 1-nn, knn), or stage of an edit; bucket: all, many, medium,
    few (`long_tail_measuring`), or part of a look-up; index and metric of a look-up; tau_norm as in `evaluate`.

    Of meta-neighborhoods: branch as `evaluate` calls it (before, adapted, vanilla, knn); of an agreement, bucket says of
    which entries: all, in_use, by_usage; of votes, branch is the vector and bucket the labels, fine or coarse.

    Of low-bit networks: branch as it was trained (""), with sums that wrap and nothing behind them ("wrapped"), or with
    carries let through ("carries"); bucket of a carry: mean or deviation. Of rows without a network, branch and bucket name
    the number in its source.
    """

    name: str
    model: str | Models
    ways: int = 5
    shots: int = 1
    paper: float | None = None
    paper_ci95: float | None = None
    queries: int = 15
    split: str = "test"
    kind: Kind = "accuracy"
    head: str | None = None
    batch_norm: BatchNorm | None = None
    other: str | Models | None = None
    missing: str = ""
    tasks: Mapping[Scale, int] | None = None
    data: str | None = None
    ensemble: Mapping[Scale, Ensemble] | None = None
    branch: str = ""
    bucket: str = ""
    index: Literal["exact", "hnsw"] = "exact"
    metric: Literal["cosine", "l2"] = "cosine"
    tau_norm: float | None = None

    @property
    def figure(self) -> str:
        """Which figure of its measurement a row shows, where that gives several."""
        return " ".join(part for part in (self.kind, self.branch, self.bucket) if part)

    def model_at(self, scale: Scale) -> str | None:
        """Name of the model at a scale, None where the row has none; layers are not timed at smoke scale."""
        if self.kind == "layer_ms" and scale == "smoke":
            return None
        return self.model.at(scale) if isinstance(self.model, Models) else self.model

    def other_at(self, scale: Scale) -> str | None:
        """Name of the second model at a scale, None where the row has none."""
        return self.other.at(scale) if isinstance(self.other, Models) else self.other

    def ensemble_at(self, scale: Scale) -> Ensemble:
        """The rule of the ensemble that is tested at a scale."""
        return self.ensemble.get(scale, "none") if self.ensemble else "none"

    def measurement(self, scale: Scale) -> tuple[object, ...]:
        """What decides the number: rows that agree in it are one measurement (R_FC and R_HV: its two figures)."""
        together = next((kinds for kinds in TOGETHER if self.kind in kinds), (self.kind,))
        setting = (together[0], self.model_at(scale), self.other_at(scale), self.split)
        if self.kind in LOW_BIT:
            return (*setting, self.branch)
        if self.kind not in OVER_TASKS:
            return (*setting, self.index, self.metric, self.tau_norm)
        tasks, ensemble = self.tasks[scale] if self.tasks else None, self.ensemble_at(scale)
        return (*setting, self.ways, self.shots, self.queries, self.head, self.batch_norm, tasks, self.data, ensemble)


CHANCE = "chance"
"""Stands in an order for a classifier of ten classes that knows nothing, 10 %."""


@dataclass(frozen=True)
class Order:
    """A published order: the number of row `upper` lies above that of row `lower`. claim: what that says, in words.

    upper may be `CHANCE`. margin, in the rows' unit: by how much above; negative: at most so much below.
    """

    upper: str
    lower: str
    claim: str
    margin: float = 0.0


@dataclass(frozen=True)
class Claim:
    """A sentence that holds where all its orders do. parts: (recipe, order), of one or more tables."""

    sentence: str
    parts: tuple[tuple[str, Order], ...]


@dataclass(frozen=True)
class Recipe:
    """A table. models: name -> scale -> options of `train` or `quantize`; `out`, `root`, `seed` are filled in by the runner.

    A model's name stands for the same options in every recipe, for its run serves all of them; options may refer to other
    models and to memories that are made first (`resolving`). absent: rows of the published table that are left out, and why.
    """

    title: str
    source: str
    models: Mapping[str, Options]
    rows: tuple[Row, ...]
    cost: Mapping[Scale, str]
    tasks: Mapping[Scale, int] = field(default_factory=lambda: TASKS)
    orders: tuple[Order, ...] = ()
    claims: tuple[Claim, ...] = ()
    absent: str = ""
