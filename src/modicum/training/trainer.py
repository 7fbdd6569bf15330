"""The outer loop: step, validate, checkpoint, log; stop at Ctrl-C; go on to the bit; alone or as one of several processes.

Everything random in step s is a function of (seed, s), so a run killed at any moment and resumed from its last
checkpoint computes what it would have computed. Under torchrun every process holds the whole network and a share of each
step's batch; gradients are summed, the first process writes. Checkpoints do not say how many processes made them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from modicum.configs import Train
from modicum.configs.long_tail import first_stage, second_stage
from modicum.configs.supervised import SUPERVISED
from modicum.errors import ConfigError, DataError, TrainingError
from modicum.files import make_folder
from modicum.runtime import Progress, Ranks, device
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner, restore_optimizer, save_checkpoint
from modicum.training.interrupts import ctrl_c_between_steps
from modicum.training.kept import Kept
from modicum.training.logs import RunLog
from modicum.training.patience import Patience
from modicum.training.processes import first_alone, local_device, processes, sum_buffers, sum_gradients, summed, wait
from modicum.training.regression import RegressionTasks
from modicum.training.runs import environment, read_record, require_same, require_same_data, write_run
from modicum.training.schedules import learning_rate_factor
from modicum.training.steps import clip_gradients, diverged, finite_gradients, make_optimizer
from modicum.training.subject_of import Data, Make, fit_at_once, make_subject, open_data
from modicum.training.subjects import AbstractSubject

LOG_EVERY = 50
ALONE = Ranks()


@dataclass(frozen=True)
class TrainResult:
    """run: the folder; validation: best accuracy or mean squared error, None without one; skipped: steps left out."""

    run: Path
    steps: int
    validation: float | None
    skipped: int = 0


class Trainer:
    """The state of one training: subject, optimiser, step, best validation measure, seconds spent."""

    def __init__(
        self, config: Train, data: Data, here: Ranks = ALONE, progress: Progress | None = None, make: Make = make_subject
    ) -> None:
        self.run, self.here = Path(config.out), here
        self.device = local_device(device(config.device))
        self.subject: AbstractSubject = make(config, data, self.device, here, progress)
        self.config = config = self.subject.config
        self.objective = self.subject.objective
        self.module = self.objective.module
        self.optimizer = self.objective.optimizer or make_optimizer(self.module, config)
        self.kept = Kept(config, self.subject.validated)
        self.best: float | None = None
        self.patience = Patience(config.patience)
        self.step, self.skipped, self.seconds, self.started = 0, 0, 0.0, time.monotonic()

    def resume(self) -> None:
        """Go on from RUN/checkpoints/last."""
        before, record = read_record(self.run)
        require_same(before, self.config)
        require_same_data(record, self.subject.digest, self.run)
        if not (self.run / LAST).is_file():
            return
        tensors, record = read_checkpoint(self.run / LAST)
        restore_learner(self.module, tensors, self.run / LAST)
        restore_optimizer(self.optimizer, tensors, record)
        self.step, self.best, self.seconds = record["step"], record["best"], record.get("seconds", 0.0)
        self.skipped = record.get("skipped", 0)
        self.kept.resume(record.get("kept", []))
        self.patience.since = record.get("since_best", 0)

    def spent(self) -> float:
        """Seconds of training so far, over all starts."""
        return self.seconds + time.monotonic() - self.started

    def advance(self) -> tuple[float, float]:
        """One step; loss and accuracy (or squared error) of its whole batch, NaN for a step that was left out.

        `TrainingError` where a loss or gradient is not finite, once `skip_diverged` such steps were left out.
        """
        config = self.config
        factor = learning_rate_factor(
            config.schedule, self.step, config.steps, config.halve_every, config.warmup, config.learning_rate
        )
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        error, found = None, torch.full((2,), float("nan"), device=self.device)
        try:
            part = self.objective.part(self.step, self.here)
            found = torch.stack([part.loss.detach(), part.accuracy]).float()
        except DataError as cause:  # features that are not finite: pictures are uint8, so only parameters can be the cause
            error = TrainingError(self._diverged(float("nan")))
            error.__cause__ = cause
        except TrainingError as cause:  # an inner loop that diverged
            error = cause
        value, accuracy = summed(found).tolist()  # so that the other processes, which wait for a sum, learn of it
        if error is not None or not np.isfinite(value):
            return self._left_out(error or TrainingError(self._diverged(value)))
        if part.loss.requires_grad:
            part.loss.backward()  # type: ignore[no-untyped-call]
        trained = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        sum_gradients(trained)
        if config.skip_diverged and not finite_gradients(trained):
            return self._left_out(TrainingError(self._diverged(value, "its gradient is not finite")))
        clip_gradients(trained, config)
        self.optimizer.step()
        buffers = sum_buffers(part.buffers, part.share)
        for name, buffer in self.objective.buffered.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])
        self.step += 1
        return value, accuracy

    def _left_out(self, error: TrainingError) -> tuple[float, float]:
        """Count a step that diverged and so changes nothing; raises the error where there were enough of them."""
        self.skipped += 1
        if self.skipped > self.config.skip_diverged:
            raise error
        self.step += 1
        return float("nan"), float("nan")

    def _diverged(self, value: float, otherwise: str = "its logits overflowed") -> str:
        return diverged(self.module, self.config, self.step, value, otherwise)

    def validate(self, log: RunLog | None) -> None:
        """Score the validation tasks, keep the best weights, write the last checkpoint."""
        better = not self.subject.validated
        if self.subject.validated:
            measure, interval = self.subject.measure, self.subject.validate(self.here)
            if log is not None:
                log.write("validation", self.step, {measure: interval.mean, "ci95": interval.ci95})
            sign = -1 if measure == "mse" else 1
            better = self.best is None or sign * interval.mean > sign * self.best
            self.best = interval.mean if better else self.best
            self.patience.after_validation(better)
            if self.config.keep_best:
                self.kept.after_validation(self.step, sign * interval.mean, self._write_kept)
        if better:
            self._save(BEST, None)
            if self.here.rank == 0:
                self.subject.keep(self.run, self.step, self.best)
        self._save(LAST, self.optimizer)
        if self.here.rank == 0:
            self.kept.tidy()

    def _save(self, which: Path, optimizer: torch.optim.Optimizer | None) -> None:
        if self.here.rank == 0:
            record = {"step": self.step, "skipped": self.skipped, "best": self.best, "kept": self.kept.scores}
            record |= {"seconds": round(self.spent(), 3), "since_best": self.patience.since}
            save_checkpoint(self.run / which, self.module, optimizer, self.config, record)

    def _write_kept(self, path: Path) -> None:
        if self.here.rank == 0:
            make_folder(path.parent)
            self._save(path.relative_to(self.run), None)

    def _log(self, log: RunLog | None, recent: list[tuple[float, float]]) -> None:
        """A line of means over the steps since the last one; nothing where all of them were left out."""
        if log is None or not recent:
            return
        loss, measured = np.mean(recent, axis=0)
        values = {"loss": loss, self.subject.measure: measured, "learning_rate": self.optimizer.param_groups[0]["lr"]}
        log.write("train", self.step, {**values, "seconds": round(self.spent(), 3), "skipped": self.skipped})

    def loop(self, log: RunLog | None, progress: Progress | None, stop: threading.Event) -> None:
        """All remaining steps, with a log line every 50, and a validation and checkpoint every `validate_every`.

        Ends before where `patience` validations brought nothing better.
        """
        config, recent = self.config, []
        while self.step < config.steps and not self.patience.over:
            recent.append(self.advance())
            if self.step % LOG_EVERY == 0 or self.step == config.steps:
                self._log(log, [each for each in recent if np.isfinite(each[0])])
                recent = []
            self.kept.after_step(self.step, self._write_kept)
            if self.step % config.validate_every == 0 or self.step == config.steps:
                self.validate(log)
            if progress is not None:
                progress(self.step, config.steps)
            if float(summed(torch.tensor(float(stop.is_set()), device=self.device))) > 0:
                self._save(LAST, self.optimizer)
                raise KeyboardInterrupt


def train(
    config: Train, progress: Progress | None = None, tasks: RegressionTasks | None = None, make: Make = make_subject
) -> TrainResult:
    """Train as configured and leave a run folder; Ctrl-C leaves a checkpoint that `resume` goes on from.

    tasks: regression tasks of one's own instead of those that `config.data` names (with any `target`). make: what makes the
    subject of the training. Every process of a torchrun calls it; the first one writes. `ConfigError` (before training),
    `DataError`, `WriteError`; `TrainingError` for a loss that is not finite.
    """
    run = Path(config.out)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if (before := first_stage(config)) is not None:
        config = second_stage(config, train(before, progress).steps)
    with processes(device(config.device)) as here:
        if (run / "config.json").exists() and not config.resume:
            raise ConfigError(f"out: {run} already holds a run; give --resume to go on with it, or another --out")
        if config.method not in ("classical", *SUPERVISED) and config.batch < here.size:
            raise ConfigError(f"batch: {config.batch} tasks cannot be shared by {here.size} processes; take {here.size}")
        told = progress if here.rank == 0 else None
        with first_alone(here):
            config, data = open_data(config, tasks, told)
            if (fit := fit_at_once(config, data)) is not None:
                return TrainResult(run, 0, *fit)
        with torch.random.fork_rng():
            return _trained(Trainer(config, data, here, told, make), told)


def _trained(trainer: Trainer, progress: Progress | None) -> TrainResult:
    config, run, first = trainer.config, trainer.run, trainer.here.rank == 0
    if config.resume and (run / "config.json").exists():
        trainer.resume()
    wait()
    log = None
    if first:
        make_folder(run)
        spent = {"environment": environment(trainer.device, trainer.here.size)}
        write_run(run, config, {**trainer.subject.record(), **spent})
        log = RunLog(run, trainer.step, config.tensorboard)
    try:
        with ctrl_c_between_steps() as stop:
            trainer.loop(log, progress, stop)
        if first:
            trainer.subject.finish(run)
    finally:
        if log is not None:
            log.close()
        trainer.subject.close()
    wait()
    return TrainResult(run, trainer.step, trainer.best, trainer.skipped)
