"""Two processes do what one does: same parameters to rounding, same evaluation, checkpoints that either can go on from."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.backbones.batch_norm import copy_buffers, forward_training
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.backbones.synchronised import gathered, synchronise
from modicum.configs import Evaluate, Train
from modicum.configs.supervised import SUPERVISED
from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError, DataError, TrainingError
from modicum.files import read_tensors
from modicum.training.checkpoints import BEST, LAST
from modicum.training.evaluate import evaluate
from modicum.training.processes import processes, sum_gradients
from modicum.training.reptile import reptile_gradients
from modicum.training.trainer import train


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _child(work: Callable[[], None], rank: int, size: int, port: int) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    work()


def in_processes(work: Callable[[], None], size: int = 2) -> None:
    """Run `work` in forked processes with torchrun's variables."""
    port, context = free_port(), multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(work, rank, size, port)) for rank in range(size)]
    for child in children:
        child.start()
    multiprocessing.connection.wait([child.sentinel for child in children], 120)
    if not any(child.exitcode not in (0, None) for child in children):  # else the others wait for it in vain
        for child in children:
            child.join(120)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
        child.join()
    assert codes == [0] * size


METHODS = {
    "protonet": {"batch": 3},
    "r2d2 augmented": {"method": "r2d2", "batch": 4, "augment": True},
    "classical": {"method": "classical", "batch_pictures": 12},
    "feature clustering": {"method": "classical", "regularizer": "feature-clustering", "batch_pictures": 8, "augment": True},
    "hyperplane variation": {"method": "classical", "regularizer": "hyperplane-variation", "batch_pictures": 8},
    "reptile": {"method": "reptile", "batch": 3, "learning_rate": 0.5, "inner_rate": 0.1, "inner_batch": 2},
    "weight clustering": {
        "method": "reptile-wc", "batch": 3, "learning_rate": 0.5, "inner_rate": 0.1, "inner_steps": 3, "clustering": 0.5,
    },
    "rac": {"method": "rac", "batch_pictures": 12, "encoder": "pixels", "neighbours": 5, "clip_norm": 5.0},
    "rac, base branch": {"method": "rac", "batch_pictures": 12, "branches": "base", "sampler": "balanced"},
    # The next two: at rates at which four steps do not magnify rounding.
    "alfa": {"method": "alfa", "batch": 3, "inner_steps": 2, "inner_rate": 0.1, "init": "l2f", "learning_rate": 0.005},
    "maml++": {
        "method": "maml++", "batch": 3, "inner_steps": 2, "inner_rate": 0.1, "batch_norm": "running", "learning_rate": 0.002,
    },
}  # fmt: skip


def config(out: Path, **changes: object) -> Train:
    few_shot = {} if changes.get("method") in SUPERVISED else {"ways": 3, "shots": 1, "queries": 2}
    options = {
        "data": "digits", "out": str(out), "backbone": "conv4-32", **few_shot, "steps": 4, "validate_every": 2,
        "image_size": 16, "tensorboard": False, "optimizer": "sgd", "learning_rate": 0.05, "schedule": "constant",
        "threads": 1, **changes,
    }  # fmt: skip
    return Train(**options)  # type: ignore[arg-type]


def assert_same(a: Path, b: Path, which: Path = LAST) -> None:
    first, second = read_tensors(a / which)[0], read_tensors(b / which)[0]
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.allclose(value.double(), second[name].double(), rtol=1e-3, atol=2e-5), name


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_trains(tmp_path: Path, method: str) -> None:
    """The loss of each step is that of the same global batch; four steps must move parameters far more than rounding."""
    one = config(tmp_path / "one", **METHODS[method])
    train(one)
    in_processes(lambda: train(replace(one, out=str(tmp_path / "two"))) and None)
    assert_same(tmp_path / "one", tmp_path / "two")
    assert_same(tmp_path / "one", tmp_path / "two", BEST)
    start = config(tmp_path / "start", **{**METHODS[method], "steps": 1, "learning_rate": 1e-12})
    train(start)
    moved, unmoved = read_tensors(tmp_path / "one" / LAST)[0], read_tensors(tmp_path / "start" / LAST)[0]
    assert max(float((moved[name] - unmoved[name]).abs().max()) for name in unmoved if "weight" in name) > 1e-3
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    a, b = ([json.loads(line) for line in log] for log in logs)
    assert [line["kind"] for line in a] == [line["kind"] for line in b]
    last = [[line for line in lines if line["kind"] == "train"][-1] for lines in (a, b)]
    assert last[0]["loss"] == pytest.approx(last[1]["loss"], rel=1e-4)


@pytest.mark.parametrize("more", [{"optimizer": "adamw", "entries": 20, "inner_steps": 2}, {"baseline": "vanilla"}])
def test_two_processes_train_the_same_neighborhoods(tmp_path: Path, more: dict[str, object]) -> None:
    """In float64: a rounding that picks another of two pixels in a maximum moves a gradient by more than rounding."""
    one = config(
        tmp_path / "one", method="meta-neighborhoods", backbone="conv4-192", batch_pictures=12, learning_rate=1e-3, **more
    )
    torch.set_default_dtype(torch.float64)
    try:
        train(one)
        in_processes(lambda: train(replace(one, out=str(tmp_path / "two"))) and None)
    finally:
        torch.set_default_dtype(torch.float32)
    first, second = (read_tensors(tmp_path / name / LAST)[0] for name in ("one", "two"))
    assert first["learner.layer.weight"].dtype == torch.float64
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-9
    found, start = read_tensors(tmp_path / "one" / LAST)[0], train(replace(one, out=str(tmp_path / "start"), steps=1))
    moved = read_tensors(start.run / LAST)[0]
    assert float((found["learner.layer.weight"] - moved["learner.layer.weight"]).abs().max()) > 1e-4


def test_checkpoints_go_from_one_process_to_two_and_back(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole", batch=2, steps=6)
    train(whole)
    mixed = replace(whole, out=str(tmp_path / "mixed"), steps=2)
    in_processes(lambda: train(mixed) and None)
    train(replace(mixed, steps=4, resume=True))
    in_processes(lambda: train(replace(mixed, steps=6, resume=True)) and None)
    assert read_tensors(tmp_path / "mixed" / LAST)[1]["step"] == 6
    assert_same(tmp_path / "whole", tmp_path / "mixed")


def test_evaluation_gives_the_same_tasks_and_numbers(tmp_path: Path) -> None:
    train(config(tmp_path / "run", batch=2))
    ask = Evaluate(run=str(tmp_path / "run"), ways=3, shots=[1, 2], queries=4, tasks=21)
    alone = evaluate(ask)["rows"]
    shared = tmp_path / "shared.json"
    in_processes(lambda: evaluate(replace(ask, json=str(shared))) and None)
    together = json.loads(shared.read_text())["rows"]
    assert [row["per_task"] for row in together] == [row["per_task"] for row in alone]
    assert [row["tasks_digest"] for row in together] == [row["tasks_digest"] for row in alone]


def test_clustered_tasks_meet_over_all_processes() -> None:
    """Each task's end depends on the mean over all of them; a mean over the tasks of one process would move the losses."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)).double()
    moves = tuple(name for name, _ in model.named_parameters())
    learner = GradientLearner(model, SharedStart(), PlainRule(0.1), moves, 3, steps=4, second_order=False)
    x, y = torch.randn(3, 6, 4, dtype=torch.float64), (torch.arange(6) % 3).expand(3, 6)

    def episode(tasks: list[int]) -> Episode:
        return Episode(LabelledSet(x[tasks], y[tasks]), LabelledSet(x[tasks].flip(1), y[tasks]), 3)

    losses = reptile_gradients(learner, episode([0, 1, 2]), clustering=0.5).losses
    expected = [p.grad for p in model.parameters()]
    alone = reptile_gradients(learner, episode([0, 2]), clustering=0.5).losses
    assert (alone - losses[[0, 2]]).abs().max() > 1e-4
    model.zero_grad()

    def work() -> None:
        with processes(torch.device("cpu")) as here:
            mine = [task for task in range(3) if task % 2 == here.rank]
            found = reptile_gradients(learner, episode(mine), len(mine) / 3, clustering=0.5).losses
            sum_gradients(model.parameters())
            assert torch.allclose(found, losses[mine], atol=1e-12)
            for parameter, gradient in zip(model.parameters(), expected, strict=True):
                assert parameter.grad is not None
                assert torch.allclose(parameter.grad, gradient, atol=1e-13)

    in_processes(work)


def test_batch_norm_over_processes_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    """Features, running statistics and gradients of a batch split in two equal those of the batch in one piece."""
    torch.manual_seed(0)
    encoder = build_encoder("conv4-32", ImageSpec(16, 1)).double()
    x, target = torch.rand(6, 1, 16, 16, dtype=torch.float64), torch.randn(6, encoder.n_features, dtype=torch.float64)
    features, buffers = forward_training(encoder, x, copy_buffers(encoder))
    (features * target).sum().backward()
    expected = [features.detach(), *(p.grad for p in encoder.parameters()), *(b.double() for b in buffers.values())]
    encoder.zero_grad()

    def work() -> None:
        with processes(torch.device("cpu")) as here:
            split = synchronise(encoder)
            mine, own = forward_training(split, x[here.rank * 3 : here.rank * 3 + 3], copy_buffers(split))
            every = gathered(mine)
            ((every * target).sum() / 2).backward()
            grads = [p.grad for p in split.parameters()]
            for grad in grads:
                torch.distributed.all_reduce(grad)
            found = [every.detach(), *grads, *(b.double() for b in own.values())]
            for a, b in zip(found, expected, strict=True):
                assert torch.allclose(a, b, atol=1e-9), (a - b).abs().max()

    in_processes(work)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch: 1 tasks cannot be shared by 2 processes"),
        ({"method": "classical", "batch_pictures": 9}, "batch_pictures: 9 cannot be shared evenly by 2"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    def work() -> None:
        with pytest.raises(ConfigError, match=message):
            train(config(tmp_path, **changes))

    in_processes(work)


def test_where_the_first_process_fails_the_others_say_so_without_a_traceback(tmp_path: Path) -> None:
    def work() -> None:
        first = os.environ["RANK"] == "0"
        with pytest.raises(DataError if first else TrainingError, match="there is no" if first else "another process ended"):
            train(config(tmp_path / "run", data=str(tmp_path / "nowhere"), batch=2))

    in_processes(work)


def test_a_batch_norm_that_cannot_be_shared_is_refused() -> None:
    encoder = build_encoder("conv4-32", ImageSpec(16, 1))
    encoder.add_module("last", torch.nn.BatchNorm1d(3))
    with pytest.raises(ConfigError, match="backbone: last is a BatchNorm1d"):
        synchronise(encoder)


def test_torchrun_starts_the_command(tmp_path: Path) -> None:
    """The line of the documentation, on digits; only one process speaks."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()),
        "-m", "modicum", "train", "--data", "digits", "--ways", "3", "--shots", "1", "--queries", "2", "--batch", "2",
        "--steps", "3", "--image_size", "16", "--backbone", "conv4-32", "--out", str(tmp_path / "run"), "--threads", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("run: ") == 1
    record = json.loads((tmp_path / "run/config.json").read_text())
    assert record["environment"]["processes"] == 2
    assert np.isfinite(json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[0])["loss"])
