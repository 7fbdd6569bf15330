"""What a comparison needs of its models: each loaded with a head, opened on the same pictures, refused where unfair.

Models may read pictures of other sizes and channels; the pictures, their order and so the tasks must be the same. Refused:
classes that a run was trained on, runs whose splits differ, models of which only some see other queries (transductive),
and runs of a gradient method that were trained for another number of ways, unless their learner takes any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from modicum.adaptation.learner import HeadLearner
from modicum.configs import Compare, Train, require
from modicum.data.pictures import PictureSet, open_pictures
from modicum.errors import ConfigError
from modicum.files import read_json
from modicum.models import load_encoder
from modicum.runtime import Progress
from modicum.training.evaluate import asked_pictures, require_ways
from modicum.training.runs import build_head, load_members, own_splits, test_head
from modicum.training.scoring import Learner

ENCODER_HEAD = "protonet"
"""The head of an encoder that no run gives one to."""


class Loaded(NamedTuple):
    """A model and, where it is a run, its configuration and record."""

    learner: Learner
    head: str
    trained: Train | None
    record: dict[str, Any]


class Compared(NamedTuple):
    """A model ready to be measured; `described` is what the result file says of it."""

    name: str
    learner: Learner
    pictures: PictureSet
    described: dict[str, Any]


def _is_run(name: str) -> bool:
    config = Path(name) / "config.json"
    return config.is_file() and read_json(config).get("kind") == "run"


def _load(name: str, config: Compare) -> Loaded:
    """A run's learner, or an encoder under the asked-for head."""
    if _is_run(name):
        (learner,), trained, record = load_members(name, config.head, config.batch_norm)
        require_ways(learner, config.ways, name)
        return Loaded(learner, config.head or test_head(trained), trained, record)
    encoder, head = load_encoder(name, online=config.online), config.head or ENCODER_HEAD
    built = build_head(Train(data="", out="", method=head), encoder.n_features)
    return Loaded(HeadLearner(encoder, built, config.batch_norm or "running").eval(), head, None, {})


def compared_models(config: Compare) -> list[Loaded]:
    """The models of config.models in order; `ConfigError` where only some of them are transductive."""
    loaded = [_load(name, config) for name in config.models]
    marks = [model.learner.traits.transductive for model in loaded]
    if any(marks) and not all(marks):
        seeing = ", ".join(name for name, mark in zip(config.models, marks, strict=True) if mark)
        raise ConfigError(
            f"models: {seeing} sees the other queries of a task (transductive) and the others do not, so a difference would "
            "not be one of models; give all the same --head or --batch_norm"
        )
    return loaded


def short_names(models: Sequence[str]) -> list[str]:
    """Folder names, or the names of encoders; with the folder above where two folders share one, else numbered."""
    paths = [Path(model).resolve() if Path(model).is_dir() else None for model in models]
    names = [_shown(model) if path is None else path.name for path, model in zip(paths, models, strict=True)]
    folders = {name: {path for path, other in zip(paths, names, strict=True) if other == name} for name in names}
    names = [
        name if path is None or len(folders[name]) == 1 else f"{path.parent.name}/{name}"
        for path, name in zip(paths, names, strict=True)
    ]
    return [name if names.count(name) == 1 else f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names)]


def _shown(encoder: str) -> str:
    """An encoder's name; of a file of weights behind an @ its last part, for results are passed on."""
    model, at, file = encoder.partition("@")
    return f"{model}{at}{Path(file).name}"


def same_pictures(models: Sequence[Loaded], config: Compare, progress: Progress | None = None) -> list[Compared]:
    """Every model with the pictures of the split as it reads them; `ConfigError` where they are not the same pictures."""
    runs = [model for model in models if model.trained is not None]
    first = runs[0].trained if runs else None
    require(
        config.data is not None or first is not None, "data: none of the models is a run, so say what to test on: --data"
    )
    names, opened, found = short_names(config.models), {}, []
    for name, model in zip(names, models, strict=True):
        spec = model.learner.encoder.spec
        form = (spec.size, spec.channels)
        if form not in opened:
            opened[form] = _with_recorded(_open(config, first, *form, progress), runs, config)
        pictures = opened[form]
        part = pictures.split(config.split)
        if model.trained is not None:
            part = asked_pictures(config, model.trained, model.record, pictures)
        found.append(Compared(name, model.learner, part, _described(name, model)))
        if found[0].pictures.ids != part.ids:
            raise ConfigError(
                f"models: {names[0]} and {name} would be tested on other pictures ({len(found[0].pictures)}, {len(part)}), "
                "for they were trained with different splits; give one file with --splits"
            )
    return found


def _open(config: Compare, first: Train | None, size: int, channels: int, progress: Progress | None) -> PictureSet:
    same = first is not None and config.data in (None, first.data)
    data = config.data or (first.data if first is not None else "")
    return open_pictures(
        data, root=config.root or (first.root if first is not None and same else None), size=size, channels=channels,
        splits=config.splits or (first.splits if first is not None and same else None),
        seed=config.seed if first is None else first.seed, progress=progress,
    )  # fmt: skip


def _with_recorded(pictures: PictureSet, runs: Sequence[Loaded], config: Compare) -> PictureSet:
    """With the splits of the first run that was trained on these pictures, unless others were asked for."""
    recorded = [splits for run in runs if (splits := own_splits(run.record, pictures)) is not None]
    return replace(pictures, splits=recorded[0]) if recorded and config.splits is None else pictures


def _described(name: str, model: Loaded) -> dict[str, Any]:
    encoder, trained = model.learner.encoder, model.trained
    return {
        "name": name,
        "kind": "encoder" if trained is None else "run",
        "method": None if trained is None else trained.method,
        "head": model.head,
        "backbone": encoder.name if trained is None else trained.backbone,
        "steps": model.record.get("step"),
        "size": encoder.spec.size,
        "channels": encoder.spec.channels,
        "features": encoder.n_features,
        "batch_norm": model.learner.batch_norm,
        "transductive": model.learner.traits.transductive,
    }
