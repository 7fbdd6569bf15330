"""A run folder: what is in it, how a learner is built from its configuration and read back from its checkpoints."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modicum import __version__
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.methods import gradient_learner
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.learner import HeadLearner
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.configs import BatchNorm, Ensemble, Train, require
from modicum.configs.regression import is_regression
from modicum.data.pictures import PictureSet
from modicum.episodes.interfaces import AbstractHead
from modicum.errors import ConfigError, FileFormatError
from modicum.files import read_json, write_json
from modicum.registry import GRADIENT_METHODS, HEADS, LEARNERS, resolve
from modicum.training.checkpoints import BEST, LAST, OF_ALL_CLASSES, read_checkpoint, restore_learner
from modicum.training.kept import kept_files
from modicum.training.scoring import Learner

RESUMABLE = {"resume", "out", "root", "steps", "threads", "device", "tensorboard", "data", "splits", "skip_diverged"}
"""Fields that may differ between a run and its resumption: they change no step (data and splits are compared by what they
hold, and `steps` only where neither schedule nor annealing depends on it)."""


def data_digest(pictures: PictureSet) -> str:
    """Hex digest of what a training reads: picture ids and contents, labels, and the classes of each split."""
    splits = {name: list(classes) for name, classes in pictures.splits.items()}
    state = hashlib.sha256(json.dumps([pictures.ids, pictures.digests, splits]).encode())
    state.update(np.ascontiguousarray(pictures.labels, dtype="<i8").tobytes())
    return state.hexdigest()


def require_same_data(record: dict[str, Any], digest: str, run: Path) -> None:
    """Raise `ConfigError` where a run is to go on with other pictures, labels or splits than it began with."""
    if record["data"].get("digest") != digest:
        raise ConfigError(
            f"resume: {run} was trained on other pictures, labels or splits of {record['data']['name']} than are there now; "
            "restore them, or give another --out"
        )


def own_splits(record: dict[str, Any], pictures: PictureSet) -> dict[str, tuple[str, ...]] | None:
    """The splits a run was trained with, where these are its own pictures (same name, all its classes there), else None."""
    splits = {name: tuple(classes) for name, classes in record["data"]["splits"].items()}
    known = {name for classes in splits.values() for name in classes}
    return splits if pictures.name == record["data"]["name"] and known <= set(pictures.classes) else None


def image_spec(pictures: PictureSet) -> ImageSpec:
    """How an encoder reads these pictures: line drawings with light strokes in [0, 1], colour standardised."""
    size, channels = pictures.pixels.shape[1], pictures.pixels.shape[3]
    if channels == 1:
        return ImageSpec(size, 1, (0.0,), (1.0,), strokes="light")
    sample = pictures.pixels[:: max(1, len(pictures.pixels) // 2_000)]
    mean = (sample.mean((0, 1, 2)) / 255).round(4)
    std = (sample.std((0, 1, 2)) / 255).round(4).clip(min=1e-2)
    return ImageSpec(size, 3, tuple(mean.tolist()), tuple(std.tolist()))


TEST_HEAD = "metaoptnet-svm"
"""The head that classically trained encoders are tested with, as in Goldblum et al. 2020, table 3; rac's too."""


def test_head(config: Train) -> str:
    """The head a run is tested with where no other is asked for: its own, or `TEST_HEAD` after classical training."""
    return TEST_HEAD if config.method in OF_ALL_CLASSES else config.method


def build_head(config: Train, n_features: int, name: str | None = None) -> AbstractHead:
    """The head of a name (default: the run's) for features (..., n_features), with what the configuration says of it."""
    head = resolve("head", HEADS, name or test_head(config))
    options = {
        "penalty": config.penalty,
        "C": config.svm_c,
        "probe_c": config.probe_c,
        "normalize": config.normalize,
        "n_features": n_features,
    }
    accepted = inspect.signature(head).parameters
    built: AbstractHead = head(**{key: value for key, value in options.items() if key in accepted})
    return built


def build_gradient_learner(config: Train, spec: ImageSpec, batch_norm: BatchNorm | None = None) -> GradientLearner:
    """A fresh learner that adapts an encoder and a linear layer by gradient; a function of config.seed.

    batch_norm: another mode than the configuration's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = LinearNetwork(build_encoder(config.backbone, spec), config.ways)
        return gradient_learner(config, network, config.ways, batch_norm=batch_norm)


def build_learner(config: Train, spec: ImageSpec) -> HeadLearner:
    """A fresh learner; its parameters are a function of config.seed and touch no global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder = build_encoder(config.backbone, spec)
        return HeadLearner(encoder, build_head(config, encoder.n_features), config.norm_mode)


def environment(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """What a number depends on besides the configuration."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "modicum": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def write_run(run: Path, config: Train, more: dict[str, Any]) -> None:
    """Write RUN/config.json."""
    write_json(run / "config.json", {"kind": "run", "version": __version__, "config": asdict(config), **more})


def read_record(run: Path | str) -> tuple[Train, dict[str, Any]]:
    """Configuration and whole record of a run; `FileFormatError` where it is none or of another version."""
    run = Path(run)
    if not (run / "config.json").is_file():
        raise FileFormatError(f"{run}: not a run folder (no config.json); give a folder that `modicum train` made")
    record = read_json(run / "config.json")
    if record.get("kind") != "run":
        raise FileFormatError(f"{run}: holds {record.get('kind')!r}, expected a run of `modicum train`")
    known = {field.name for field in fields(Train)}
    unknown = set(record.get("config", {})) - known
    if unknown:
        raise FileFormatError(
            f"{run}: made by modicum {record.get('version')} with options this version ({__version__}) does not know: "
            + ", ".join(sorted(unknown))
        )
    try:
        return Train(**record["config"]), {**record, "data": dict(record["data"])}
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{run}: its config.json is incomplete or of another version ({error})") from error


def read_run(run: Path | str) -> tuple[Train, ImageSpec, dict[str, Any]]:
    """Configuration, picture form and whole record of a run on pictures; `ConfigError` for one without an encoder."""
    config, record = read_record(run)
    if is_regression(config) or record.get("encoder", {}) is None:
        raise ConfigError(f"{run}: a run on regression, or of a retrieval branch alone, has no encoder of pictures")
    try:
        return config, ImageSpec(**record["encoder"]["spec"]), record
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{run}: its config.json is incomplete or of another version ({error})") from error


def load_learner(
    run: Path | str, head: str | None = None, batch_norm: BatchNorm | None = None, checkpoint: Path | None = None
) -> tuple[HeadLearner, Train, dict[str, Any]]:
    """A head on the encoder of a run at its best checkpoint, the run's configuration and record.

    head: another head than the trained one, fresh; after training by gradient there is none but `TEST_HEAD` or this one.
    batch_norm: another mode than the run's. checkpoint: a kept one instead of the best.
    """
    config, spec, record, tensors, path = _found(run, checkpoint)
    mode = batch_norm or config.norm_mode
    if config.method in GRADIENT_METHODS:
        encoder = build_gradient_learner(config, spec).encoder
        restore_learner(encoder, tensors, path, "model.encoder.")
        learner = HeadLearner(encoder, build_head(config, encoder.n_features, head or TEST_HEAD), mode)
        return learner.eval(), config, record
    learner = build_learner(config, spec)
    if config.method in OF_ALL_CLASSES:
        restore_learner(learner.encoder, tensors, path, OF_ALL_CLASSES[config.method])
    else:
        restore_learner(learner, tensors, path)
    own = head is None or head == test_head(config)
    kept = learner.head if own else build_head(config, learner.encoder.n_features, head)
    return HeadLearner(learner.encoder, kept, mode).eval(), config, record


def load_gradient_learner(
    run: Path | str, batch_norm: BatchNorm | None = None, checkpoint: Path | None = None
) -> tuple[GradientLearner, Train, dict[str, Any]]:
    """The learner of a run of a gradient method, as `load_learner`; `ConfigError` for a run of another method."""
    config, spec, record, tensors, path = _found(run, checkpoint)
    if config.method not in GRADIENT_METHODS:
        raise ConfigError(f"{run}: was trained by {config.method}, expected one of {', '.join(GRADIENT_METHODS)}")
    learner = build_gradient_learner(config, spec, batch_norm)
    restore_learner(learner, tensors, path)
    return learner.eval(), config, record


def _found(run: Path | str, checkpoint: Path | None) -> tuple[Train, ImageSpec, dict[str, Any], dict[str, Tensor], Path]:
    """Configuration, picture form, record with its `step`, tensors and file of a run's best checkpoint or a kept one."""
    run = Path(run)
    config, spec, record = read_run(run)
    path = checkpoint or (run / BEST if (run / BEST).is_file() else run / LAST)
    if not path.is_file():
        raise FileFormatError(f"{run}: has no checkpoint yet; train it first, or let it reach its first validation")
    tensors, found = read_checkpoint(path)
    return config, spec, {**record, "step": found["step"]}, tensors, path


def load_members(
    run: Path | str, head: str | None = None, batch_norm: BatchNorm | None = None, ensemble: Ensemble = "none"
) -> tuple[list[Learner], Train, dict[str, Any]]:
    """The learners whose mean output is evaluated: one, or those of an ensemble's checkpoints, in order of step.

    The record's `steps` are theirs. head: also a name of `registry.LEARNERS`.
    """
    files = [None] if ensemble == "none" else kept_files(Path(run), ensemble)
    adapter = resolve("head", LEARNERS, head) if head is not None and head in LEARNERS else None
    own = None if adapter else head
    if head in (None, *GRADIENT_METHODS) and read_run(run)[0].method in GRADIENT_METHODS:
        by_gradient = [load_gradient_learner(run, batch_norm, file) for file in files]
        _, config, record = by_gradient[-1]
        steps = [each["step"] for _, _, each in by_gradient]
        return [learner for learner, _, _ in by_gradient], config, {**record, "steps": steps}
    found = [load_learner(run, own, batch_norm, file) for file in files]
    learners: list[Learner] = [learner for learner, _, _ in found]
    if adapter:
        learners = [adapter(learner.encoder, batch_norm=learner.batch_norm).eval() for learner, _, _ in found]
    _, config, record = found[-1]
    return learners, config, {**record, "steps": [each["step"] for _, _, each in found]}


def require_same(old: Train, new: Train) -> None:
    """Raise `ConfigError` naming the options that differ between a run and the command that resumes it."""
    a, b = asdict(old), asdict(new)
    own = new.method == "maml++" and None in (new.multi_step, new.first_order_until)
    require(
        old.steps == new.steps or (new.schedule in ("halving", "constant") and not own),
        f"resume: steps (run: {old.steps}, now: {new.steps}) would change the {'annealing' if own else new.schedule} "
        "schedule of the steps already done; give the same number, or another --out",
    )
    differing = [name for name in a if name not in RESUMABLE and a[name] != b[name]]
    if differing:
        listed = ", ".join(f"{name} (run: {a[name]}, now: {b[name]})" for name in differing)
        raise ConfigError(f"resume: the run was made with other options: {listed}; give the same ones or another --out")
