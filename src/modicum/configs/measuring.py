"""Options of the commands that measure and show. Field comments are the help texts of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modicum.configs.options import BatchNorm, Ensemble, Scale, TestNorm, require, require_known
from modicum.registry import HEADS, LEARNERS


@dataclass(frozen=True)
class Evaluate:
    """Accuracy of a run (regression: error) over many tasks, with 95 % interval; of all classes, a table: held-out items."""

    run: str  # folder of `train`
    data: str | None = None  # as in `train` (default: what the run was trained on)
    root: str | None = None  # where known data sets lie
    splits: str | None = None  # as in `train` (default: the run's)
    split: str = "test"  # train | val | test | all
    ways: int = 5  # classes per task
    shots: list[int] = field(default_factory=list)  # one row per number of shots (default: 1 5; regression: as trained)
    queries: int = 15  # query pictures per class
    points: int = 100  # regression: query points per task (a table: at most what its tasks have left)
    tasks: int = 1_000  # tasks per row
    head: str | None = None  # another head than the one trained with, or fine-tune (steps of the whole network)
    ensemble: Ensemble = "none"  # mean outputs of the checkpoints kept by train: best validated, or periodic
    batch_norm: TestNorm | None = None  # other statistics than the run's; both: support and batch, and their difference
    inner_steps: int | None = None  # gradient methods: steps on each support set (default: as trained, test_steps)
    seed: int = 0  # seed of the tasks: same seed, same tasks
    tasks_file: str | None = None  # frozen tasks: written if absent, replayed if there
    drop_small: bool = False  # leave out classes with too few pictures instead of refusing
    device: str = "auto"  # auto | cpu | cuda
    json: str | None = None  # write the result here too
    pictures: bool = True  # keep sample pictures for the report
    # runs of rac
    memory: str | None = None  # read this memory instead of the run's (of the same encoder)
    neighbours: int | None = None  # items retrieved for each picture (default: as trained)
    votes: bool = False  # also 1-NN, votes of the neighbours, and their interpolation with the base branch
    interpolation: float = 0.5  # weight of the votes in it, the rest is the base branch's
    tau_norm: float | None = None  # rows of linear layers over their length to this power, without biases (0 to 1)
    group: str | None = None  # CSV column whose pictures belong together, in --data
    without_source: str | None = None  # measure before and after a source is taken out of a copy of the memory
    # runs of meta-neighborhoods
    fine: str | None = None  # the same pictures with finer labels: k-NN on attention vectors against k-NN on features

    def __post_init__(self) -> None:
        require(self.ways >= 2, f"ways: expected at least 2, found {self.ways}")
        require(min(self.shots, default=1) >= 1, f"shots: expected numbers of at least 1, found {self.shots}")
        require(self.tasks >= 2, f"tasks: expected at least 2, for an interval needs a spread; found {self.tasks}")
        require(0 <= self.interpolation <= 1, f"interpolation: expected 0 to 1, found {self.interpolation}")
        for name in ("queries", "points", "inner_steps", "neighbours"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}: expected at least 1, found {value}")
        require_known("split", self.split, ("train", "val", "test", "all"))
        require_known("head", self.head, (*HEADS, *LEARNERS))


@dataclass(frozen=True)
class Compare:
    """Two or more models on the same tasks: paired differences, class separation, likeness of features, a page."""

    models: list[str]  # RUNs of `train`, or encoders: characters | pictures (shipped), saved folder, timm/NAME
    data: str | None = None  # as in `train` (default: what the first run was trained on)
    root: str | None = None  # where known data sets lie
    splits: str | None = None  # as in `train` (default: the runs')
    split: str = "test"  # train | val | test | all
    ways: int = 5  # classes per task
    shots: list[int] = field(default_factory=lambda: [1, 5])  # one comparison per number of shots
    queries: int = 15  # query pictures per class
    tasks: int = 1_000  # tasks per comparison
    head: str | None = None  # the head of every model (default: what `evaluate` takes for a run; protonet for encoders)
    batch_norm: BatchNorm | None = None  # another batch-norm mode than the runs'
    pictures: int = 2_000  # class separation and CKA are measured on at most so many, evenly over classes
    seed: int = 0  # seed of tasks, pictures and class pairs
    drop_small: bool = False  # leave out classes with too few pictures instead of refusing
    online: bool = False  # allow hub downloads of encoder weights
    device: str = "auto"  # auto | cpu | cuda
    out: str | None = None  # folder of the comparison and its page, made here
    json: str | None = None  # write the result here too

    def __post_init__(self) -> None:
        require(len(self.models) >= 2, f"models: expected at least 2 to compare, found {len(self.models)}")
        require(self.ways >= 2, f"ways: expected at least 2, found {self.ways}")
        require(bool(self.shots) and min(self.shots) >= 1, f"shots: expected numbers of at least 1, found {self.shots}")
        require(self.tasks >= 2, f"tasks: expected at least 2, for an interval needs a spread; found {self.tasks}")
        require(self.queries >= 1, f"queries: expected at least 1, found {self.queries}")
        require(self.pictures >= 10, f"pictures: expected at least 10, found {self.pictures}")
        require_known("split", self.split, ("train", "val", "test", "all"))
        require_known("head", self.head, HEADS)


@dataclass(frozen=True)
class Report:
    """One self-contained page about runs and classifiers, or about one comparison."""

    sources: list[str]  # folders of `train` or `fit`, or one of `compare`
    out: str = "report.html"  # the page


@dataclass(frozen=True)
class Reproduce:
    """A published table: paper | ours +- interval | seeds | scale | status. Resumes per row and seed."""

    name: str  # recipe; `modicum reproduce list` names them
    scale: Scale = "smoke"  # smoke: minutes at most; cpu: hours on 2 cores; full: as published
    root: str | None = None  # where known data sets lie
    results: str = "results"  # folder of the result files
    seeds: list[int] = field(default_factory=lambda: [0])  # seeds to run
    json: str | None = None  # write the table here

    def __post_init__(self) -> None:
        require(bool(self.seeds), "seeds: expected at least one")


@dataclass(frozen=True)
class Demo:
    """Meta-train on handwriting, evaluate, write a report; no data needed."""

    data: Literal["digits", "omniglot"] = "digits"  # digits ships with scikit-learn; omniglot is looked for under root
    root: str | None = None  # where omniglot lies
    out: str = "modicum-demo"  # folder of run and report
    steps: int | None = None  # steps of training (default: what fits in two minutes on 2 cores)
    seed: int = 0  # seed of parameters and tasks

    def __post_init__(self) -> None:
        require(self.steps is None or self.steps >= 1, f"steps: expected at least 1, found {self.steps}")


@dataclass(frozen=True)
class Cache:
    """The cache of decoded pictures."""

    action: Literal["ls", "clear"]  # ls: list; clear: delete all of it
