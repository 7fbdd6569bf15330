"""Checkpoints kept for ensembles, beside the last and the best one: weights only, one file each.

- best: the `keep_best` checkpoints with the highest validation accuracy; five in Baik et al., "Meta-Learning with Adaptive
  Hyperparameters" (ALFA), NeurIPS 2020, arXiv 2011.00209, E.1;
- periodic: one every `keep_every` steps; every tenth epoch in Ni et al., "Data Augmentation for Meta-Learning", ICML 2021,
  arXiv 2010.07092 ("+ens").

`modicum evaluate RUN --ensemble best|periodic` takes the mean of their outputs, then the largest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from modicum.configs import Ensemble, Train
from modicum.errors import ConfigError, FileFormatError
from modicum.training.checkpoints import LAST, read_checkpoint

FOLDER = Path("checkpoints/kept")
Write = Callable[[Path], None]


def kept_file(rule: str, step: int) -> Path:
    """Where the checkpoint of a step lies in a run."""
    return FOLDER / f"{rule}-{step:08d}.safetensors"


def kept_files(run: Path, rule: Ensemble) -> list[Path]:
    """The files of a rule in order of step; `FileFormatError` where there are none.

    Of the best only those that the last checkpoint counts among them: a kill may have left others, which `tidy` deletes.
    """
    files = sorted((run / FOLDER).glob(f"{rule}-*.safetensors"))
    if rule == "best" and files and (run / LAST).is_file():
        steps = {step for _, step in read_checkpoint(run / LAST)[1].get("kept", [])}
        files = [file for file in files if step_of(file) in steps]
    if not files:
        option = "--keep_best 5" if rule == "best" else "--keep_every STEPS"
        raise FileFormatError(f"{run}: holds no checkpoints for --ensemble {rule}; train it with {option}")
    return files


def step_of(file: Path) -> int:
    """The step in a kept checkpoint's name."""
    return int(re.fullmatch(r"\w+-(\d+)\.safetensors", file.name)[1])  # type: ignore[index]


class Kept:
    """What a training keeps. scores: (validation accuracy, step) of the best ones, as the last checkpoint records them."""

    def __init__(self, config: Train, validated: bool) -> None:
        if config.keep_best and not validated:
            raise ConfigError(
                "keep_best: nothing is validated in this training (no validation classes, or too few pictures in them), so "
                "no checkpoint is better than another; use --keep_every"
            )
        self.config, self.run = config, Path(config.out)
        self.scores: list[tuple[float, int]] = []

    def resume(self, scores: list[tuple[float, int]]) -> None:
        """Go on from recorded scores."""
        self.scores = [(float(accuracy), int(step)) for accuracy, step in scores]

    def after_step(self, step: int, write: Write) -> None:
        """Keep the checkpoint of a step that `keep_every` divides."""
        if self.config.keep_every and step % self.config.keep_every == 0:
            write(self.run / kept_file("periodic", step))

    def after_validation(self, step: int, accuracy: float, write: Write) -> None:
        """Keep a step's checkpoint where it is among the best; of equal ones the earlier.

        The file that falls out is deleted only by `tidy`, when the new record is on disk: a kill in between loses nothing.
        """
        ranked = sorted([*self.scores, (accuracy, step)], key=lambda item: (-item[0], item[1]))[: self.config.keep_best]
        if (accuracy, step) in ranked:
            write(self.run / kept_file("best", step))
        self.scores = ranked

    def tidy(self) -> None:
        """Delete files of the rule `best` that are not among the scores."""
        steps = {step for _, step in self.scores}
        for file in (self.run / FOLDER).glob("best-*.safetensors"):
            if step_of(file) not in steps:
                file.unlink(missing_ok=True)
