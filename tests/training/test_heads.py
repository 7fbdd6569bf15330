"""Every head in `train` and in `evaluate --head OTHER`, on digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modicum.configs import Evaluate, Train
from modicum.configs.supervised import SUPERVISED
from modicum.files import read_tensors
from modicum.registry import GRADIENT_METHODS, HEADS, LEARNERS, METHODS
from modicum.training.checkpoints import LAST
from modicum.training.evaluate import evaluate
from modicum.training.runs import load_members
from modicum.training.trainer import train


def config(out: Path, **changes: object) -> Train:
    options = {
        "data": "digits", "out": str(out), "backbone": "conv4-32", "ways": 4, "shots": 2, "queries": 3, "batch": 2,
        "batch_pictures": 16, "steps": 3, "validate_every": 3, "image_size": 16, "tensorboard": False, "learning_rate": 3e-3,
        **changes,
    }  # fmt: skip
    return Train(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [name for name in METHODS if name not in SUPERVISED])  # those train on no tasks
def test_every_method_trains_and_is_evaluated(tmp_path: Path, method: str) -> None:
    """Twenty steps must move every parameter that a loss can see, and leave an encoder that tells unseen digits apart."""
    few = {"batch": 1, "inner_steps": 3, "inner_rate": 0.1} if method in GRADIENT_METHODS else {}
    train(config(tmp_path / "start", method=method, steps=1, learning_rate=1e-12, **few))
    train(config(tmp_path / "run", method=method, steps=20, **few))
    before, after = (read_tensors(tmp_path / name / LAST)[0] for name in ("start", "run"))
    names = [name for name in before if name.startswith("learner.") and before[name].is_floating_point()]
    unseen = "model.linear" if "proto-maml" in method else "head.bias"  # prototypes take the last layer's place
    still = [name for name in names if torch.allclose(before[name], after[name], atol=1e-6) and unseen not in name]
    assert still == []  # the bias of ridge and R2-D2 shifts all logits alike: the softmax does not see it
    found = evaluate(Evaluate(run=str(tmp_path / "run"), ways=4, shots=[2], queries=4, tasks=30))
    assert found["head"] == ("metaoptnet-svm" if method == "classical" else method)
    row = found["rows"][0]
    assert row["transductive"] == (method == "mct-transductive")
    assert row["accuracy"] > 0.4  # chance: 0.25


def test_every_head_evaluates_a_run_trained_otherwise(tmp_path: Path) -> None:
    """All on the same tasks; a head of its own name is the trained one."""
    train(config(tmp_path, steps=30))
    ask = Evaluate(run=str(tmp_path), ways=4, shots=[2], queries=4, tasks=12)
    found = {head: evaluate(replace(ask, head=head)) for head in (*HEADS, *LEARNERS)}
    assert len({result["rows"][0]["tasks_digest"] for result in found.values()}) == 1
    assert all(result["head"] == head for head, result in found.items())
    assert found["protonet"]["rows"] == evaluate(ask)["rows"]
    assert min(result["rows"][0]["accuracy"] for result in found.values()) > 0.4
    svm = found["metaoptnet-svm"]["rows"][0]
    assert 0 <= svm["solver_residual"] < 1e-4


def test_a_fresh_head_has_the_runs_width_and_options(tmp_path: Path) -> None:
    train(config(tmp_path, steps=1, svm_c=0.7, penalty=3.0))
    (svm,), _, _ = load_members(tmp_path, "metaoptnet-svm")
    (ridge,), _, _ = load_members(tmp_path, "metaoptnet-rr")
    assert svm.head.C == 0.7  # type: ignore[union-attr]
    assert ridge.head.penalty == 3.0  # type: ignore[union-attr]
