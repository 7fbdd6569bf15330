"""What several tests of trainings do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modicum.configs import Train
from modicum.files import read_tensors
from modicum.training.checkpoints import LAST
from modicum.training.trainer import train

AssertResumes = Callable[[Train, Train, tuple[Path, ...]], None]


@pytest.fixture
def assert_resumes() -> AssertResumes:
    """Trains six steps, and others that are cut after four and gone on with: equal files, to the bit."""

    def check(whole: Train, cut: Train, files: tuple[Path, ...]) -> None:
        train(whole)

        def interrupt(done: int, total: int) -> None:
            if (done, total) == (4, 6):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(cut, progress=interrupt)
        assert read_tensors(Path(cut.out) / LAST)[1]["step"] == 3
        train(replace(cut, resume=True))
        for which in files:
            first, second = (read_tensors(Path(run.out) / which) for run in (whole, cut))
            assert first[0].keys() == second[0].keys()
            assert [name for name in first[0] if not torch.equal(first[0][name], second[0][name])] == []
            assert [first[1].get(name) for name in ("step", "best")] == [second[1].get(name) for name in ("step", "best")]

    return check
