"""Options of the commands about a user's own pictures. Field comments are the help texts of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from modicum.configs.options import require, require_known
from modicum.registry import HEADS

FITTED = ("auto", *HEADS, "fine-tune")
"""What `head` may say; that some of these make no classifier, and why, is said when they are asked for."""


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
    encoder: str = "auto"  # auto | characters | pictures (shipped) | RUN | folder | FILE of `quantize` | timm/NAME | hub id
    head: str = "auto"  # auto | a head's name: ridge, linear, metaoptnet-svm, ...; its settings are still chosen
    group: str | None = None  # CSV column (or NAME of a CSV beside the pictures) whose pictures must not be split
    root: str | None = None  # where known data sets lie
    folds: int = 5  # outer folds of the nested cross-validation
    seed: int = 0  # seed of folds and intervals
    online: bool = False  # allow hub downloads of encoder weights
    pictures: bool = True  # keep thumbnails in the classifier; off for private data
    json: str | None = None  # write the result here

    def __post_init__(self) -> None:
        require(self.folds >= 2, f"folds: expected at least 2, found {self.folds}")
        require_known("head", self.head, FITTED)


@dataclass(frozen=True)
class Predict:
    """Labels, probabilities and the nearest support pictures of pictures; of runs on all classes, what they read."""

    classifier: str  # folder made by `fit`, `extend` or `adapt`, or a RUN of rac or meta-neighborhoods
    images: list[str]  # picture files or folders of pictures; of a run on a table, one CSV
    top: int = 3  # how many labels to show
    reject: float | None = None  # say "none of these" at this rate of wrongly rejected pictures of known classes, 0..1
    neighbours: int = 3  # how many support pictures, items that were retrieved, or entries attended to, to show
    memory: str | None = None  # runs of rac: read this memory instead of the run's (of the same encoder)
    device: str = "auto"  # runs of rac or meta-neighborhoods: auto | cpu | cuda
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


@dataclass(frozen=True)
class Adapt:
    """A classifier from a run and a folder of support pictures: the run's head or another one, or its network adapted."""

    run: str  # folder of `train`
    support: str  # folder of class folders, CSV or zip
    out: str  # folder of the classifier
    head: str | None = None  # auto | another head than the one trained with, its settings chosen as in `fit`
    group: str | None = None  # as in `fit`
    json: str | None = None  # write the result here

    def __post_init__(self) -> None:
        require_known("head", self.head, FITTED)
