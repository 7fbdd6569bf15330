"""Episodic meta-training: sample a batch of tasks, adapt, score the queries, step; validate; checkpoint; go on to the bit.

Everything random in step s is a function of (seed, s), so a run killed at any moment and resumed from its last
checkpoint computes what it would have computed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modicum.backbones.probe import probe
from modicum.backbones.resnet12 import ResNet12, drop_rate_at
from modicum.configs import Train
from modicum.data.pictures import PictureSet, open_pictures
from modicum.episodes.cutting import Pixels, cut
from modicum.episodes.sampler import EpisodeSampler, Tasks
from modicum.errors import ConfigError, DataError, TrainingError
from modicum.evaluation.intervals import mean_interval
from modicum.files import make_folder
from modicum.models import save_encoder
from modicum.runtime import Progress, device, philox, ranks
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner, restore_optimizer, save_checkpoint
from modicum.training.interrupts import ctrl_c_between_steps
from modicum.training.logs import RunLog
from modicum.training.runs import (
    build_learner,
    data_digest,
    environment,
    image_spec,
    read_run,
    require_same,
    require_same_data,
    write_run,
)
from modicum.training.schedules import learning_rate_factor
from modicum.training.scoring import score_tasks
from modicum.training.steps import augmented, episode_loss, make_optimizer

LOG_EVERY = 50


@dataclass(frozen=True)
class TrainResult:
    """run: the folder; steps done; validation: best validation accuracy, None where nothing was validated."""

    run: Path
    steps: int
    validation: float | None


def _samplers(
    config: Train, pictures: PictureSet
) -> tuple[PictureSet, EpisodeSampler, PictureSet | None, Tasks | None, str]:
    """Training pictures and sampler, validation pictures and tasks (None where the split is absent or too small), a note."""
    inner = pictures.split("train")
    sampler = EpisodeSampler(
        inner.labels, config.ways, config.shots, config.queries, seed=config.seed, stream="train", names=inner.classes
    )
    held_out = pictures.split("val") if pictures.splits.get("val") else None
    if held_out is None:
        return inner, sampler, None, None, "no validation classes: the last weights count as the best"
    ways = min(config.validation_ways, len(held_out.classes))
    try:
        validation = EpisodeSampler(
            held_out.labels, ways, config.validation_shots, min(config.queries, 15), seed=config.seed, stream="val",
            names=held_out.classes, drop_small=True,
        )  # fmt: skip
    except (ConfigError, DataError) as error:
        return inner, sampler, None, None, f"not validated, the last weights count as the best: {error}"
    note = f"validated {ways}-way: the split has no more classes" if ways < config.validation_ways else ""
    return inner, sampler, held_out, validation.tasks(range(config.validation_tasks)), note


class _Trainer:
    """The state of one training: learner, optimiser, step, best validation accuracy."""

    def __init__(self, config: Train, pictures: PictureSet) -> None:
        self.config, self.run, self.device = config, Path(config.out), device(config.device)
        self.inner, self.sampler, self.held_out, self.validation, self.note = _samplers(config, pictures)
        self.digest = data_digest(pictures)
        self.spec = image_spec(self.inner)
        self.learner = build_learner(config, self.spec).to(self.device).to(memory_format=torch.channels_last)
        probe(self.learner.encoder, self._example())
        self.optimizer = make_optimizer(self.learner, config)
        self.pixels: Pixels = self.inner.pixels
        if self.device.type == "cuda":
            self.pixels = torch.from_numpy(np.ascontiguousarray(self.inner.pixels)).to(self.device)
        backbone = self.learner.encoder.backbone
        self.dropping = (backbone, backbone.drop_rate) if isinstance(backbone, ResNet12) else None
        self.step, self.best, self.started = 0, -1.0, time.monotonic()
        self.precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32

    def _example(self) -> Tensor:
        return cut(self.inner.pixels, self.sampler.tasks([0]), self.device).support.x[0, :2]

    def resume(self) -> None:
        """Go on from RUN/checkpoints/last."""
        before, _, record = read_run(self.run)
        require_same(before, self.config)
        require_same_data(record, self.digest, self.run)
        if not (self.run / LAST).is_file():
            return
        tensors, record = read_checkpoint(self.run / LAST)
        restore_learner(self.learner, tensors, self.run / LAST)
        restore_optimizer(self.optimizer, tensors, record)
        self.step, self.best = record["step"], record["best"]

    def advance(self) -> tuple[float, float]:
        """One step; returns loss and accuracy of its queries. A loss that is not finite stops with `TrainingError`."""
        config = self.config
        tasks = self.sampler.step(self.step, config.batch)
        episode = cut(self.pixels, tasks, self.device)
        if config.augment:
            episode = augmented(episode, tasks, config.seed, self.spec.strokes)
        rate = config.learning_rate * learning_rate_factor(config.schedule, self.step, config.steps, config.halve_every)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.dropping is not None:
            backbone, full = self.dropping
            backbone.block_rate = drop_rate_at(2 * self.step, full)  # support and query: two passes of the batch
        torch.manual_seed(int(philox(config.seed, "dropout", self.step).integers(2**62)))
        self.learner.train()
        try:
            logits, buffers = self.learner.episode_logits(episode, self.precision)
        except DataError as error:  # features that are not finite: pictures are uint8, so only parameters can be the cause
            raise TrainingError(self._diverged(float("nan"))) from error
        loss, accuracy = episode_loss(logits, episode)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise TrainingError(self._diverged(value))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for name, buffer in self.learner.encoder.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])
        self.step += 1
        return value, float(accuracy)

    def _diverged(self, value: float) -> str:
        bad = [name for name, p in self.learner.named_parameters() if not bool(torch.isfinite(p).all())]
        cause = f"parameter {bad[0]!r} is not finite since an earlier step" if bad else "its logits overflowed"
        return (
            f"the loss is {value} at step {self.step}: {cause}; the likely cause is a learning rate of "
            f"{self.config.learning_rate} that is too high for --optimizer {self.config.optimizer}: start again with a "
            f"tenth of it and another --out. What {self.run} holds from before is whole"
        )

    def validate(self, log: RunLog) -> None:
        """Score the validation tasks, keep the best encoder, write the last checkpoint."""
        better = self.validation is None
        if self.validation is not None and self.held_out is not None:
            scores = score_tasks(self.learner, self.held_out.pixels, self.validation, self.device)
            interval = mean_interval(scores.per_task, "draws of validation tasks")
            log.write("validation", self.step, {"accuracy": interval.mean, "ci95": interval.ci95})
            better = interval.mean > self.best
            self.best = max(self.best, interval.mean)
        if better:
            self._save(BEST, None)
            save_encoder(self.learner.encoder, self.run / "encoder", self._card())
        self._save(LAST, self.optimizer)

    def _save(self, which: Path, optimizer: torch.optim.Optimizer | None) -> None:
        record = {"step": self.step, "best": self.best}
        save_checkpoint(self.run / which, self.learner, optimizer, self.config, record)

    def _card(self) -> str:
        validated = f"{100 * self.best:.1f} % on its validation tasks" if self.best >= 0 else "not validated"
        return (
            f"# Encoder of a modicum run\n\n{self.config.backbone}, trained by {self.config.method} on "
            f"{self.inner.name}: {len(self.inner.classes)} classes, {len(self.inner.labels)} pictures, "
            f"{self.step} steps of {self.config.batch} tasks; {validated}.\n"
        )

    def loop(self, log: RunLog, progress: Progress | None, stop: threading.Event) -> None:
        """All remaining steps, with a log line every 50, and a validation and checkpoint every `validate_every`."""
        config, recent = self.config, []
        while self.step < config.steps:
            recent.append(self.advance())
            if self.step % LOG_EVERY == 0 or self.step == config.steps:
                loss, accuracy = np.mean(recent, axis=0)
                rate = self.optimizer.param_groups[0]["lr"]
                seconds = round(time.monotonic() - self.started, 3)
                values = {"loss": loss, "accuracy": accuracy, "learning_rate": rate, "seconds": seconds}
                log.write("train", self.step, values)
                recent = []
            if self.step % config.validate_every == 0 or self.step == config.steps:
                self.validate(log)
            if progress is not None:
                progress(self.step, config.steps)
            if stop.is_set():
                self._save(LAST, self.optimizer)
                raise KeyboardInterrupt


def train(config: Train, progress: Progress | None = None) -> TrainResult:
    """Meta-train as configured and leave a run folder; Ctrl-C leaves a checkpoint that `resume` goes on from.

    `ConfigError` (before training), `DataError`, `WriteError`; `TrainingError` for a loss that is not finite.
    """
    if ranks().size > 1:
        raise ConfigError("train: several processes (torchrun) are not supported by this version; start one process")
    run = Path(config.out)
    if (run / "config.json").exists() and not config.resume:
        raise ConfigError(f"out: {run} already holds a run; give --resume to go on with it, or another --out")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    pictures = open_pictures(
        config.data, root=config.root, size=config.image_size, channels=config.channels, splits=config.splits,
        seed=config.seed, progress=progress,
    )  # fmt: skip
    with torch.random.fork_rng():
        trainer = _Trainer(config, pictures)
        if config.resume and (run / "config.json").exists():
            trainer.resume()
        make_folder(run)
        more = {"environment": environment(trainer.device), "split_rule": pictures.split_rule, "note": trainer.note}
        write_run(run, config, trainer.spec, pictures, more)
        log = RunLog(run, trainer.step, config.tensorboard)
        try:
            with ctrl_c_between_steps() as stop:
                trainer.loop(log, progress, stop)
        finally:
            log.close()
    return TrainResult(run, trainer.step, trainer.best if trainer.best >= 0 else None)
