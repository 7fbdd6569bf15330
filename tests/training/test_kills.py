"""Training killed with SIGKILL at random moments goes on to the bit. 50 kills in `slow`, 1,000 in `soak`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.configs import Train
from modicum.files import read_tensors
from modicum.runtime import philox
from modicum.training.checkpoints import BEST, LAST
from modicum.training.trainer import train


def _run(config: Train) -> None:
    torch.set_num_threads(1)
    train(config)


def _start(config: Train) -> multiprocessing.process.BaseProcess:
    """A child by fork, which needs no seconds to import torch again."""
    child = multiprocessing.get_context("fork").Process(target=_run, args=(config,))
    child.start()
    return child


def _kill_and_resume(tmp_path: Path, kills: int, seed: int) -> tuple[list[bool], list[int]]:
    """For each run killed at random moments until it ended: whether it equals the run that never was, to the bit; and the
    steps at which readable checkpoints were found after kills."""
    options = {"data": "digits", "backbone": "conv4-32", "ways": 3, "shots": 1, "queries": 2, "batch": 1, "threads": 1}
    config = Train(
        **options, out=str(tmp_path / "whole"), steps=60, validate_every=5, image_size=16, tensorboard=False, resume=True
    )  # type: ignore[arg-type]
    start = time.monotonic()
    _start(config).join()
    duration = time.monotonic() - start
    expected = read_tensors(tmp_path / "whole" / LAST)[0]
    rng, done, rounds, resumed, equal = philox(seed, "kills", 0), 0, 0, [], []
    while done < kills:
        run = tmp_path / f"killed{rounds}"
        rounds += 1
        while True:
            child = _start(replace(config, out=str(run)))
            child.join(float(rng.uniform(0, duration)))
            if not child.is_alive():
                assert child.exitcode == 0
                break
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            done += 1
            for which in (LAST, BEST):
                if (run / which).exists():
                    resumed.append(read_tensors(run / which)[1]["step"])
        tensors = read_tensors(run / LAST)[0]
        equal.append(all(torch.equal(tensors[name], expected[name]) for name in expected))
    return equal, resumed


@pytest.mark.slow
def test_fifty_random_kills_lose_nothing(tmp_path: Path) -> None:
    equal, resumed = _kill_and_resume(tmp_path, 50, seed=0)
    assert equal
    assert all(equal)
    assert len(np.unique(resumed)) > 3


@pytest.mark.soak
def test_a_thousand_random_kills_lose_nothing(tmp_path: Path) -> None:
    equal, resumed = _kill_and_resume(tmp_path, 1_000, seed=1)
    assert equal
    assert all(equal)
    assert len(np.unique(resumed)) > 3
