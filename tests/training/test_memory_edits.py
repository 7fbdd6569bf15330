"""evaluate --without_source: the same network before and after, on a copy; the interval of a change, by hand and drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.cli import main
from modicum.configs import Evaluate, Train
from modicum.errors import ConfigError
from modicum.evaluation.intervals import paired_interval, student_quantile
from modicum.files import read_json, write_json
from modicum.memory.opening import open_memory
from modicum.training.evaluate import evaluate
from modicum.training.memories import memory_digest
from modicum.training.memory_edits import change
from modicum.training.trainer import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits whose memory has a source "wrong" too: copies of keys of 0 and 1 that say they are 9."""
    path = tmp_path_factory.mktemp("edits") / "run"
    train(Train(
        data="digits", out=str(path), method="rac", branches="retrieval", encoder="pixels", image_size=16, batch_pictures=16,
        steps=20, validate_every=20, neighbours=5, learning_rate=0.1, tensorboard=False, threads=1,
    ))  # fmt: skip
    with open_memory(str(path / "memory")) as memory:
        wrong = [item.id for label in ("0", "1") for item in memory.items(label=label)]
        memory.add(memory.vectors(wrong), ["9"] * len(wrong), source="wrong")
    return path


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "-shm" not in path.name)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_after_is_the_memory_that_never_held_the_source(run: Path) -> None:
    """Rows before equal a plain evaluation; rows after equal, to the bit, one of a memory from which it was removed."""
    weights = digest(run / "checkpoints")
    with open_memory(str(run / "memory"), readonly=True) as memory:
        held, whole = len(memory), memory_digest(memory)
    found = evaluate(Evaluate(run=str(run), without_source="wrong", votes=True))
    with open_memory(str(run / "memory"), readonly=True) as memory:
        assert memory_digest(memory) == whole
        memory.snapshot(run.parent / "copy")
    assert digest(run / "checkpoints") == weights
    before = evaluate(Evaluate(run=str(run), votes=True))
    with open_memory(str(run.parent / "copy")) as memory:
        memory.remove_source("wrong")
        left = len(memory)
    after = evaluate(Evaluate(run=str(run), votes=True, memory=str(run.parent / "copy")))
    assert found["before"]["rows"] == before["rows"]
    assert found["rows"] == after["rows"]
    assert found["edit"] == {"removed_source": "wrong", "items": [held, left]}
    assert held > left
    kept = read_json(run / "results" / "digits-test-branches-votes-without-wrong.json")
    assert kept["rows"] == found["rows"]
    votes = {row["branch"]: row for row in found["rows"]}["knn"], {row["branch"]: row for row in before["rows"]}["knn"]
    assert votes[0]["accuracy"] > votes[1]["accuracy"] + 0.05  # what said 9 of a 0 is gone
    changed = {row["branch"]: row for row in found["changed"]}["knn"]
    assert changed["difference"] == pytest.approx(votes[0]["accuracy"] - votes[1]["accuracy"])
    assert (changed["gained"] - changed["lost"]) / changed["pictures"] == pytest.approx(changed["difference"])


def test_refusals(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        ConfigError, match="holds no source 'wrnog' \\(did you mean 'wrong'\\?\\); it holds 'digits', 'wrong'"
    ):
        evaluate(Evaluate(run=str(run), without_source="wrnog"))
    with open_memory(str(run / "memory"), readonly=True) as memory:
        memory.snapshot(tmp_path / "one")
    with open_memory(str(tmp_path / "one")) as memory:
        memory.remove_source("wrong")
    with pytest.raises(ConfigError, match="'digits' is the only source"):
        evaluate(Evaluate(run=str(run), memory=str(tmp_path / "one"), without_source="digits"))
    assert main(["evaluate", str(run), "--without_source", "wrong"]) == 0
    told = capsys.readouterr().out
    assert "without the source 'wrong'; no weight was touched" in told
    assert "became right" in told


def test_a_base_branch_has_no_memory_to_change(tmp_path: Path) -> None:
    train(Train(
        data="digits", out=str(tmp_path / "run"), method="rac", branches="base", backbone="conv4-32", image_size=16,
        batch_pictures=16, steps=1, validate_every=1, imbalance=10.0, tensorboard=False, threads=1,
    ))  # fmt: skip
    with pytest.raises(ConfigError, match="a base branch alone, which reads no memory"):
        evaluate(Evaluate(run=str(tmp_path / "run"), without_source="digits"))


def test_a_run_that_is_not_of_rac_takes_no_option_of_rac(tmp_path: Path) -> None:
    """A folder that says it is a run of protonet is enough: the options are looked at first."""
    config = {"data": "digits", "out": "run", "method": "protonet"}
    record = {"kind": "run", "version": "0", "config": config, "data": {"name": "digits"}, "encoder": {}}
    write_json(tmp_path / "config.json", record)
    with pytest.raises(ConfigError, match=r"votes, without_source: for runs of rac, and .* is none; leave it out"):
        evaluate(Evaluate(run=str(tmp_path), votes=True, without_source="digits"))


def pair(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """(before, after) of pictures right in both, gained, lost, wrong in both."""
    before, after = (True, False, True, False), (True, True, False, False)
    return np.repeat(before, counts), np.repeat(after, counts)


def test_pictures_that_come_alone_give_the_paired_interval() -> None:
    before, after = pair(10, 7, 3, 20)
    found = change(before, after, np.arange(40))
    expected = paired_interval(after.astype(float), before.astype(float), "pictures")
    assert found["ci95"] == pytest.approx(expected.ci95, rel=1e-12)
    assert {**found, "ci95": None} == {"pictures": 40, "gained": 7, "lost": 3, "difference": 0.1, "ci95": None}


def test_groups_by_hand() -> None:
    """d = (1, 1 | 0, 0 | 0): mean 0.4, u = (0.24, -0.16, -0.08), variance 3/2 * 0.0896, two degrees of freedom."""
    before, after = np.zeros(5, bool), np.array([True, True, False, False, False])
    found = change(before, after, np.array([7, 7, 2, 2, 5]))
    assert found["ci95"] == pytest.approx(student_quantile(2) * np.sqrt(1.5 * 0.0896))


def test_an_interval_covers_what_new_groups_give() -> None:
    """200 draws of 40 groups whose pictures change together: the true difference, 0.1, lies in about 95 % of intervals."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        kind = rng.choice(3, 40, p=(0.2, 0.1, 0.7)).repeat(5)
        found = change(kind == 1, kind == 0, np.arange(40).repeat(5))
        inside += abs(found["difference"] - 0.1) <= found["ci95"]
    assert 182 <= inside <= 198


@pytest.mark.parametrize("counts", [(5, 0, 0, 5), (1, 0, 0, 0)])
def test_no_interval_where_nothing_changed(counts: tuple[int, ...]) -> None:
    before, after = pair(*counts)
    found: dict[str, Any] = change(before, after, np.arange(len(before)))
    assert found["ci95"] is None
    assert found["difference"] == 0.0
