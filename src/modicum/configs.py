"""Options of every command as typed dataclasses; no torch, no numpy, so `--help` answers at once.

Field comments are the help texts of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from modicum.errors import ConfigError
from modicum.registry import BACKBONES, HEADS, LEARNERS, METHODS, suggest

BatchNorm = Literal["running", "support", "batch"]
Precision = Literal["float32", "bfloat16"]
Schedule = Literal["lee", "classical", "halving", "cosine", "constant"]
Regularizer = Literal["none", "feature-clustering", "hyperplane-variation"]
Ensemble = Literal["none", "best", "periodic"]
Scale = Literal["smoke", "cpu", "full"]
KNOWN_SETS = ("digits", "omniglot", "cifar-fs", "fc100", "mini-imagenet")


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with the message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_known(option: str, name: str | None, known: Iterable[str], prefixes: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` with the nearest known name unless the name is known, begins with a prefix, or is None."""
    names = list(known)
    if name is not None and name not in names and not name.startswith(prefixes or ("\0",)):
        others = [f"{prefix}NAME" for prefix in prefixes]
        raise ConfigError(f"{option}: unknown {name!r}{suggest(name, names)}; known: {', '.join([*names, *others])}")


@dataclass(frozen=True)
class Check:
    """What is in a data set and what is wrong with it. Exit code 1 when training would be unsafe."""

    data: str  # folder of class folders, CSV (path,label[,split][,group]), zip of either, or a known name
    root: str | None = None  # where known data sets lie (default: MODICUM_DATA)
    group: str | None = None  # CSV column (or a CSV beside the pictures) that says which pictures belong together
    splits: str | None = None  # JSON file: {"train": [class, ...], "val": [...], "test": [...]}
    deep: bool = False  # read and hash every file again instead of trusting the cache
    json: str | None = None  # write the findings here


@dataclass(frozen=True)
class Fit:
    """A classifier from a folder of pictures: embeds them, picks head and settings by nested cross-validation, reports."""

    data: str  # folder of class folders, CSV or zip
    out: str  # folder of the classifier, made here
    encoder: str = "auto"  # auto | characters | pictures (shipped) | RUN of `train` | saved folder | timm/NAME | hub id
    head: str = "auto"  # auto | protonet | cosine | ridge | r2d2
    group: str | None = None  # CSV column (or NAME of a CSV beside the pictures) whose pictures must not be split
    root: str | None = None  # where known data sets lie
    folds: int = 5  # outer folds of the nested cross-validation
    seed: int = 0  # seed of folds and intervals
    online: bool = False  # allow hub downloads of encoder weights
    pictures: bool = True  # keep thumbnails in the classifier; off for private data
    json: str | None = None  # write the result here

    def __post_init__(self) -> None:
        require(self.folds >= 2, f"folds: expected at least 2, found {self.folds}")
        require_known("head", self.head, ("auto", *HEADS))


@dataclass(frozen=True)
class Predict:
    """Labels, probabilities and the nearest support pictures of pictures."""

    classifier: str  # folder made by `fit`, `extend` or `adapt`
    images: list[str]  # picture files or folders of pictures
    top: int = 3  # how many labels to show
    reject: float | None = None  # say "none of these" at this rate of wrongly rejected pictures of known classes, 0..1
    neighbours: int = 3  # how many support pictures to show
    json: str | None = None  # write the result here

    def __post_init__(self) -> None:
        require(self.top >= 1, f"top: expected at least 1 label, found {self.top}")
        require(self.neighbours >= 0, f"neighbours: expected 0 or more, found {self.neighbours}")
        inside = self.reject is None or 0 < self.reject < 1
        require(inside, f"reject: expected a rate between 0 and 1 (0.05 rejects one in twenty), found {self.reject}")


@dataclass(frozen=True)
class Extend:
    """More pictures or new classes for a classifier; the encoder is not retrained."""

    classifier: str  # folder made by `fit`
    data: str  # folder of class folders, CSV or zip with the new pictures
    group: str | None = None  # as in `fit`
    out: str | None = None  # write the new classifier here instead of over the old one
    json: str | None = None  # write the result here


@dataclass(frozen=True)
class Forget:
    """Remove pictures or a whole class; the classifier then equals one fitted without them."""

    classifier: str  # folder made by `fit`
    id: list[str] = field(default_factory=list)  # picture ids (relative paths as `predict` shows them)
    class_name: str | None = None  # a class to forget (--class NAME)
    out: str | None = None  # write the new classifier here instead of over the old one
    json: str | None = None  # write the result here

    def __post_init__(self) -> None:
        require(bool(self.id or self.class_name), "nothing to forget: give picture ids by --id or a class by --class")


_COUNTS = (
    "ways", "shots", "queries", "batch", "batch_pictures", "steps", "validate_every", "validation_tasks", "halve_every",
    "support_pool", "query_pool", "task_pool", "keep_every",
)  # fmt: skip


@dataclass(frozen=True)
class Train:
    """Meta-training of an encoder and a head on few-shot tasks, or classical training on all classes at once.

    Start it under `torchrun --nproc-per-node N` to share every step's tasks (or pictures) among N processes.
    """

    data: str  # folder, CSV, zip, or digits | omniglot | cifar-fs | fc100 | mini-imagenet
    out: str  # folder of the run, made here
    root: str | None = None  # where known data sets lie (default: MODICUM_DATA)
    splits: str | None = None  # JSON file with the classes of each split; without one 64/16/20 by a seeded rule
    method: str = "protonet"  # a head's name (protonet, r2d2, metaoptnet-svm, mct, ...), or classical
    backbone: str = "conv4-64"  # conv4-64 | -32 | -48 | -r2d2, resnet12, resnet12-alfa, timm/NAME, torchvision/NAME
    ways: int = 5  # classes per training task
    shots: int = 5  # support pictures per class
    queries: int = 15  # query pictures per class
    batch: int = 4  # tasks per step
    batch_pictures: int = 128  # classical: pictures per step
    steps: int = 10_000  # steps of training
    optimizer: Literal["sgd", "adam"] = "adam"  # sgd: Nesterov momentum 0.9
    learning_rate: float = 1e-3  # learning rate at the start
    weight_decay: float = 0.0  # L2 penalty
    schedule: Schedule = (
        "halving"  # lee: x .06, .012, .0024 after 1/3, 2/3, 5/6; classical: a tenth after 1/3, 1/2, 2/3, 5/6
    )
    halve_every: int = 2_000  # steps between two halvings of the learning rate under the schedule halving
    warmup: int = 0  # steps at the start that run at a tenth of the learning rate
    augment: bool = False  # horizontal flip, random crop, colour jitter on support and query
    image_size: int | None = None  # side in pixels (default: the data set's usual one)
    channels: int | None = None  # 1 or 3 (default: the data set's usual one)
    batch_norm: BatchNorm = "running"  # statistics at test time: of training, of each support set, of each batch
    precision: Precision = "float32"  # numbers of the forward pass; bfloat16: automatic mixed precision
    penalty: float = 50.0  # ridge, r2d2, metaoptnet-rr: lambda (at the start where it is learned)
    svm_c: float = 0.1  # metaoptnet-svm: C, the weight of the hinge losses
    probe_c: float = 1.0  # linear, svm: C, the weight of the losses against the L2 penalty
    normalize: bool = False  # protonet: divide squared distances by the number of features
    regularizer: Regularizer = "none"  # classical: what is added to the cross-entropy
    coefficient: float = 0.05  # classical: weight of the regularizer
    support_pool: int | None = None  # support pictures come from so many fixed ones of each class (default: all)
    query_pool: int | None = None  # query pictures come from so many fixed ones of each class (default: all)
    task_pool: int | None = None  # so many fixed sets of classes, which use every class (default: any set)
    support_noise: bool = False  # the support pool of each class is fixed random noise instead of pictures
    with_val: bool = False  # train on the validation classes too ("+val"); then nothing is validated
    keep_best: int = 0  # keep so many checkpoints with the best validation, for evaluate --ensemble best
    keep_every: int | None = None  # keep a checkpoint every so many steps, for evaluate --ensemble periodic
    validate_every: int = 500  # training steps between validations
    validation_tasks: int = 200  # tasks of a validation
    validation_ways: int = 5  # ways of validation tasks (fewer where the split has fewer classes)
    validation_shots: int = 1  # shots of validation tasks
    seed: int = 0  # seed of parameters and tasks
    device: str = "auto"  # auto | cpu | cuda
    threads: int | None = None  # CPU threads of torch
    resume: bool = False  # go on from the last checkpoint in the run folder
    tensorboard: bool = True  # also write TensorBoard logs where tensorboard is installed

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}: expected at least 1, found {value}")
        for name in ("keep_best", "warmup"):
            require(getattr(self, name) >= 0, f"{name}: expected 0 or more, found {getattr(self, name)}")
        for name in ("learning_rate", "penalty", "svm_c", "probe_c"):
            require(getattr(self, name) > 0, f"{name}: expected more than 0, found {getattr(self, name)}")
        for name in ("weight_decay", "coefficient"):
            require(getattr(self, name) >= 0, f"{name}: expected 0 or more, found {getattr(self, name)}")
        require(self.ways >= 2, f"ways: expected at least 2 classes to tell apart, found {self.ways}")
        require(self.channels in (None, 1, 3), f"channels: expected 1 or 3, found {self.channels}")
        require(
            self.method != "fine-tune",
            "method: fine-tune is for test time (evaluate --head fine-tune); meta-training through steps of the whole "
            "network is MAML, which this version does not have yet",
        )
        require_known("method", self.method, METHODS)
        require_known("backbone", self.backbone, BACKBONES, ("timm/", "torchvision/"))
        regularized = self.regularizer != "none"
        require(
            self.method == "classical" or not regularized,
            f"regularizer: {self.regularizer} belongs to --method classical, found --method {self.method}",
        )
        require(
            not regularized or (self.batch_pictures >= 4 and self.batch_pictures % 2 == 0),
            f"batch_pictures: expected an even number from 4 on, two pictures of each class; found {self.batch_pictures}",
        )
        require(
            not self.support_noise or self.support_pool is not None,
            "support_noise: give --support_pool too, the number of noise pictures of each class",
        )


@dataclass(frozen=True)
class Evaluate:
    """Accuracy of a run over many tasks, with both radii: 95 % interval and one standard error."""

    run: str  # folder of `train`
    data: str | None = None  # as in `train` (default: what the run was trained on)
    root: str | None = None  # where known data sets lie
    splits: str | None = None  # as in `train` (default: the run's)
    split: str = "test"  # train | val | test | all
    ways: int = 5  # classes per task
    shots: list[int] = field(default_factory=lambda: [1, 5])  # one row per number of shots
    queries: int = 15  # query pictures per class
    tasks: int = 1_000  # tasks per row
    head: str | None = None  # another head than the one trained with, or fine-tune (steps of the whole network)
    ensemble: Ensemble = "none"  # mean outputs of the checkpoints kept by train: best validated, or periodic
    batch_norm: BatchNorm | None = None  # another batch-norm mode than the run's
    seed: int = 0  # seed of the tasks: same seed, same tasks
    tasks_file: str | None = None  # frozen tasks: written if absent, replayed if there
    drop_small: bool = False  # leave out classes with too few pictures instead of refusing
    device: str = "auto"  # auto | cpu | cuda
    json: str | None = None  # write the result here too
    pictures: bool = True  # keep sample pictures for the report

    def __post_init__(self) -> None:
        require(self.ways >= 2, f"ways: expected at least 2, found {self.ways}")
        require(bool(self.shots) and min(self.shots) >= 1, f"shots: expected numbers of at least 1, found {self.shots}")
        require(self.tasks >= 2, f"tasks: expected at least 2, for an interval needs a spread; found {self.tasks}")
        require(self.queries >= 1, f"queries: expected at least 1, found {self.queries}")
        require_known("split", self.split, ("train", "val", "test", "all"))
        require_known("head", self.head, (*HEADS, *LEARNERS))


@dataclass(frozen=True)
class Adapt:
    """A classifier from a run and a folder of support pictures, with the head the run was trained with."""

    run: str  # folder of `train`
    support: str  # folder of class folders, CSV or zip
    out: str  # folder of the classifier
    group: str | None = None  # as in `fit`
    json: str | None = None  # write the result here


@dataclass(frozen=True)
class Report:
    """One self-contained page about runs and classifiers."""

    sources: list[str]  # folders of `train` or `fit`
    out: str = "report.html"  # the page


@dataclass(frozen=True)
class Reproduce:
    """A published table: paper | ours +- interval | seeds | scale | status. Resumes per row and seed."""

    name: str  # recipe; `modicum reproduce list` names them
    scale: Scale = "smoke"  # smoke: under a minute; cpu: hours on 2 cores; full: as published
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
