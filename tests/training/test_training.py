"""Outer loop: equal to a plain loop, resumable to the bit, stopped by bad input before and during training."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from modicum.configs import Evaluate, Train
from modicum.data.pictures import open_pictures
from modicum.episodes.sampler import EpisodeSampler
from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError, DataError, FileFormatError, TrainingError, WriteError
from modicum.files import read_tensors
from modicum.runtime import Ranks
from modicum.training import checkpoints, trainer
from modicum.training.episodic import EpisodicObjective
from modicum.training.evaluate import evaluate
from modicum.training.logs import read_log
from modicum.training.objectives import Part
from modicum.training.runs import load_learner, require_same
from modicum.training.schedules import learning_rate_factor
from modicum.training.steps import augmented


def config(out: Path, **changes: object) -> Train:
    options = {
        "data": "digits", "out": str(out), "backbone": "conv4-32", "ways": 3, "shots": 1, "queries": 2, "batch": 2,
        "steps": 6, "validate_every": 3, "image_size": 16, "tensorboard": False, "learning_rate": 1e-2, **changes,
    }  # fmt: skip
    return Train(**options)  # type: ignore[arg-type]


def weights(run: Path, which: Path = checkpoints.LAST) -> dict[str, torch.Tensor]:
    return read_tensors(run / which)[0]


def test_a_step_equals_the_plain_loop_over_tasks(tmp_path: Path) -> None:
    """Reference: torch's own modules in train mode, one task and one call at a time, distances in a Python loop."""
    ours = trainer.Trainer(config(tmp_path), open_pictures("digits", size=16))
    encoder, plain = ours.objective.encoder, trainer.Trainer(config(tmp_path), open_pictures("digits", size=16)).module
    tasks, losses, buffers = ours.objective.sampler.step(0, 2), [], []
    start = {name: value.clone() for name, value in plain.encoder.named_buffers()}
    for t in range(2):
        for name, value in plain.encoder.named_buffers():
            value.copy_(start[name])
        pixels = torch.from_numpy(np.asarray(ours.subject.parts.inner.pixels)).permute(0, 3, 1, 2)
        z_s = plain.encoder.train()(pixels[tasks.support[t]])
        z_q = plain.encoder(pixels[tasks.query[t]])
        means = torch.stack([z_s[torch.from_numpy(tasks.support_y[t] == n)].mean(0) for n in range(3)])
        logits = torch.stack([torch.stack([-plain.head.scale * ((z - c) ** 2).sum() for c in means]) for z in z_q])
        losses.append(F.cross_entropy(logits, torch.from_numpy(tasks.query_y[t])))
        (losses[-1] / 2).backward()
        buffers.append({name: value.clone() for name, value in plain.encoder.named_buffers()})
    loss = torch.stack(losses).mean()
    value, _ = ours.advance()
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    expected = dict(plain.named_parameters())
    for name, parameter in ours.module.named_parameters():
        assert torch.allclose(parameter.grad, expected[name].grad, atol=1e-4, rtol=1e-3), name
    for name, value_ in encoder.named_buffers():
        if "running" in name:
            assert torch.allclose(value_, (buffers[0][name] + buffers[1][name]) / 2, atol=1e-6), name


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_resumed_training_is_the_same_to_the_bit(tmp_path: Path, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = config(tmp_path / "whole", optimizer=optimizer, augment=True, backbone="conv4-r2d2", method="r2d2", shots=2)
    trainer.train(whole)
    cut = replace(whole, out=str(tmp_path / "cut"))
    advance = trainer.Trainer.advance

    def killed(self: trainer.Trainer) -> tuple[float, float]:
        if self.step == 4:
            raise RuntimeError("killed")
        return advance(self)

    monkeypatch.setattr(trainer.Trainer, "advance", killed)
    with pytest.raises(RuntimeError, match="killed"):
        trainer.train(cut)
    monkeypatch.undo()
    trainer.train(replace(cut, resume=True))
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    steps = [line["step"] for line in read_log(tmp_path / "cut/log.jsonl") if line["kind"] == "train"]
    assert steps == [6]


def test_ctrl_c_ends_after_the_step_under_way_and_resume_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes while the optimiser has stepped and the counter has not: no half step may be saved."""
    trainer.train(config(tmp_path / "whole"))
    save = torch.optim.Adam.step

    def interrupted(self: torch.optim.Adam, *args: object) -> object:
        result = save(self)
        if next(iter(self.state.values()))["step"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(config(tmp_path / "cut"))
    monkeypatch.undo()
    assert read_tensors(tmp_path / "cut" / checkpoints.LAST)[1]["step"] == 2
    trainer.train(config(tmp_path / "cut", resume=True))
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_resume_refuses_other_data_and_another_number_of_steps_of_a_schedule(tmp_path: Path) -> None:
    for label in range(6):
        (tmp_path / "p" / str(label)).mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(10 * label + i).integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "p" / str(label) / f"{i}.png")
    own = config(tmp_path / "run", data=str(tmp_path / "p"), channels=1, steps=1, schedule="cosine")
    trainer.train(own)
    with pytest.raises(ConfigError, match="would change the cosine schedule"):
        trainer.train(replace(own, steps=2, resume=True))
    plus = replace(own, schedule="constant", method="maml++")
    with pytest.raises(ConfigError, match="would change the annealing schedule"):
        require_same(plus, replace(plus, steps=2))
    require_same(replace(plus, multi_step=1, first_order_until=0), replace(plus, multi_step=1, first_order_until=0, steps=2))
    shutil.copy(tmp_path / "p/0/0.png", tmp_path / "p/1/new.png")
    with pytest.raises(ConfigError, match="other pictures, labels or splits"):
        trainer.train(replace(own, resume=True))


def test_classes_of_training_are_never_tested_by_accident(tmp_path: Path) -> None:
    """One class more would draw another split by the seeded rule; the run's own classes count."""
    for label in range(8):
        (tmp_path / "p" / f"c{label}").mkdir(parents=True)
        for i in range(4):
            pixels = np.random.default_rng(10 * label + i).integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "p" / f"c{label}" / f"{i}.png")
    trainer.train(config(tmp_path / "run", data=str(tmp_path / "p"), channels=1, steps=1, ways=2))
    ask = Evaluate(run=str(tmp_path / "run"), ways=2, shots=[1], queries=2, tasks=10)
    before = evaluate(ask)["classes"]
    shutil.copytree(tmp_path / "p/c0", tmp_path / "p/a_new_class")
    for image in (tmp_path / "p/a_new_class").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    assert evaluate(ask)["classes"] == before
    trained = json.loads((tmp_path / "run/config.json").read_text())["data"]["splits"]["train"]
    names = {"train": before, "val": [], "test": trained[:2]}
    (tmp_path / "splits.json").write_text(json.dumps(names))
    with pytest.raises(ConfigError, match="2 of the classes to test"):
        evaluate(replace(ask, splits=str(tmp_path / "splits.json")))


def test_augmentation_keeps_one_polarity(tmp_path: Path) -> None:
    """Dark strokes on light paper, cropped with dark padding: the encoder must still see light strokes everywhere."""
    from modicum.backbones.encoder import light_strokes

    x = torch.full((1, 40, 1, 16, 16), 255, dtype=torch.uint8)
    x[..., 6:10, 6:10] = 0
    episode = Episode(LabelledSet(x, torch.zeros(1, 40)), LabelledSet(x, torch.zeros(1, 40)), 1)
    tasks = EpisodeSampler(np.repeat([0, 1], 3), 2, 1, 1).tasks([0])
    shown = light_strokes(augmented(episode, tasks, 0, "light").support.x)
    assert (shown.amax((2, 3, 4)) > 0.3).all()
    assert (shown.median(-1).values.median(-1).values < 0.2).all()


def test_nan_loss_stops_with_step_and_cause_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    good = config(tmp_path, steps=3, optimizer="sgd", schedule="constant", learning_rate=1e-3)
    trainer.train(good)
    before = (tmp_path / checkpoints.LAST).read_bytes()
    path = tmp_path / "config.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "config": {**record["config"], "learning_rate": 1e30}}))
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step \d+: .* learning rate of 1e\+30 .* too high"):
        trainer.train(replace(good, learning_rate=1e30, steps=9, resume=True))
    assert (tmp_path / checkpoints.LAST).read_bytes() == before


def diverging_at(monkeypatch: pytest.MonkeyPatch, bad: dict[int, Exception | float | None]) -> None:
    """Make the objective's part at some steps raise, its loss a multiple, or (None) its gradient alone not finite."""
    real = EpisodicObjective.part

    def part(self: EpisodicObjective, step: int, here: Ranks) -> Part:
        found = real(self, step, here)
        kind = bad.get(step, 1.0)
        if isinstance(kind, Exception):
            raise kind
        if kind is None:
            parameter = next(self.module.parameters())
            return found._replace(loss=found.loss + (0 * parameter).sum().abs().sqrt())
        return found._replace(loss=found.loss * kind)

    monkeypatch.setattr(EpisodicObjective, "part", part)


def test_steps_that_diverge_are_left_out_as_often_as_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = trainer.Trainer(config(tmp_path / "run", steps=6, skip_diverged=3), open_pictures("digits"))
    diverging_at(monkeypatch, {1: TrainingError("a task"), 2: float("nan"), 3: None, 5: float("inf")})
    for step in range(6):
        before = [p.clone() for p in learner.module.parameters()] + [b.clone() for b in learner.module.buffers()]
        if step == 5:
            with pytest.raises(TrainingError, match="loss is inf at step 5"):
                learner.advance()
            continue
        value, _ = learner.advance()
        after = [*learner.module.parameters(), *learner.module.buffers()]
        same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert same == (step in (1, 2, 3)) == bool(np.isnan(value))
    assert learner.skipped == 4
    assert learner.step == 5


def test_left_out_steps_are_counted_logged_and_survive_resumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverging_at(monkeypatch, {0: TrainingError("a task"), 2: float("nan")})
    first = trainer.train(config(tmp_path, steps=2, skip_diverged=2, schedule="constant"))
    assert first.skipped == 1
    both = trainer.train(config(tmp_path, steps=4, skip_diverged=2, schedule="constant", resume=True))
    assert both.skipped == 2
    assert [line["skipped"] for line in read_log(tmp_path / "log.jsonl") if line["kind"] == "train"] == [1, 2]


def test_bad_tasks_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="largest ways that works is 5"):
        trainer.train(config(tmp_path / "a", ways=6))
    with pytest.raises(DataError, match=r"classes with fewer pictures than shots \+ queries = 300: 0 \(178\)"):
        trainer.train(config(tmp_path / "b", shots=100, queries=200))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match="at least 16"):
        trainer.train(config(tmp_path / "c", image_size=8))


def test_a_run_is_not_overwritten_and_resumed_only_with_its_own_options(tmp_path: Path) -> None:
    trainer.train(config(tmp_path, steps=1))
    with pytest.raises(ConfigError, match="already holds a run"):
        trainer.train(config(tmp_path))
    with pytest.raises(ConfigError, match=r"shots \(run: 1, now: 2\)"):
        trainer.train(config(tmp_path, shots=2, resume=True))


def test_tampered_truncated_and_foreign_runs_are_refused(tmp_path: Path) -> None:
    trainer.train(config(tmp_path, steps=1))
    path = tmp_path / checkpoints.BEST
    good = path.read_bytes()
    for bad, message in ((good[:-100], "truncated"), (good[:-9] + b"\x01" + good[-8:], "checksum")):
        path.write_bytes(bad)
        with pytest.raises(FileFormatError, match=message):
            load_learner(tmp_path)
    path.write_bytes(good)
    record = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**record, "schema": 99}))
    with pytest.raises(FileFormatError, match="schema 99, this version reads 1"):
        load_learner(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**record, "config": {**record["config"], "colour": 1}}))
    with pytest.raises(FileFormatError, match="does not know: colour"):
        load_learner(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"schema": 1, "kind": "run"}))
    with pytest.raises(FileFormatError, match="incomplete or of another version"):
        load_learner(tmp_path)


def test_full_disk_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer.train(config(tmp_path, steps=3))
    before = (tmp_path / checkpoints.LAST).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modicum.files.os.fsync", full)
    learner, run, _ = load_learner(tmp_path)
    with pytest.raises(WriteError, match="No space left on device"):
        checkpoints.save_checkpoint(tmp_path / checkpoints.LAST, learner, None, run, {"step": 9, "best": 0.0})
    monkeypatch.undo()
    assert (tmp_path / checkpoints.LAST).read_bytes() == before
    assert not list((tmp_path / "checkpoints").glob("*.tmp"))


def test_schedules_by_hand() -> None:
    lee = [learning_rate_factor("lee", s, 60) for s in (0, 19, 20, 39, 40, 49, 50, 59)]
    assert lee == [1, 1, 0.06, 0.06, 0.012, 0.012, 0.0024, 0.0024]
    assert [learning_rate_factor("halving", s, 9, 4) for s in (0, 3, 4, 8)] == [1, 1, 0.5, 0.25]
    assert learning_rate_factor("cosine", 30, 60) == pytest.approx(0.5)
    assert learning_rate_factor("constant", 59, 60) == 1


@pytest.mark.parametrize("batch_norm", ["running", "support", "batch"])
def test_evaluation_equals_adapting_task_by_task(tmp_path: Path, batch_norm: str) -> None:
    """Shared features and batches of tasks against adapt and forward on one task's pictures at a time."""
    trainer.train(config(tmp_path, steps=2))
    options = {"run": str(tmp_path), "ways": 3, "shots": [2], "queries": 4, "tasks": 40, "batch_norm": batch_norm}
    row = evaluate(Evaluate(**options))["rows"][0]  # type: ignore[arg-type]
    learner, _, _ = load_learner(tmp_path, batch_norm=batch_norm)  # type: ignore[arg-type]
    pictures = open_pictures("digits", size=16).split("test")
    from modicum.episodes.cutting import cut

    sampler = EpisodeSampler(pictures.labels, 3, 2, 4, seed=0, stream="test")
    right = []
    for t in range(40):
        episode = cut(pictures.pixels, sampler.tasks([t]))
        with torch.no_grad():
            logits = learner.adapt(episode.support, 3)(episode.query.x)
        right.append(float((logits.argmax(-1) == episode.query.y).float().mean()))
    assert np.abs(np.array(right) - row["per_task"]).max() < 1e-5
    assert row["accuracy"] == pytest.approx(np.mean(right))
    assert row["stderr"] == pytest.approx(np.std(right, ddof=1) / np.sqrt(40))
    assert row["batch_norm"] == batch_norm
    assert row["transductive"] == (batch_norm == "batch")


def test_evaluation_replays_frozen_tasks_and_names_bad_requests(tmp_path: Path) -> None:
    trainer.train(config(tmp_path, steps=1))
    ask = Evaluate(run=str(tmp_path), ways=3, shots=[1], queries=4, tasks=10, tasks_file=str(tmp_path / "t.safetensors"))
    first = evaluate(ask)["rows"][0]["per_task"]
    assert evaluate(replace(ask, seed=5))["rows"][0]["per_task"] == first
    assert evaluate(replace(ask, seed=5, tasks_file=None))["rows"][0]["per_task"] != first
    with pytest.raises(ConfigError, match="holds 10 tasks, 3-way 1-shot with 4 queries; asked for were 20 tasks, 3-way"):
        evaluate(replace(ask, tasks=20))
    with pytest.raises(ConfigError, match="largest ways that works is 5"):
        evaluate(replace(ask, ways=6, tasks_file=None))
    evaluate(replace(ask, head="ridge"))
    heads = {path.name.split("-")[4] for path in (tmp_path / "results").glob("digits-test-3way-1shot-*.json")}
    assert heads == {"protonet", "ridge"}
    with pytest.raises(DataError, match="no split 'val'"):
        evaluate(replace(ask, split="val", tasks_file=None))


def test_logs_hold_training_and_validation_and_tensorboard_gets_the_same(tmp_path: Path) -> None:
    """Digits have no validation split, so a folder with one is made: 10 classes split 6/2/2 by the seeded rule."""
    for label in range(10):
        folder = tmp_path / "pictures" / str(label)
        folder.mkdir(parents=True)
        for i in range(6):
            shade = np.random.default_rng(10 * label + i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(shade).save(folder / f"{i}.png")
    run = tmp_path / "run"
    result = trainer.train(config(run, data=str(tmp_path / "pictures"), tensorboard=True, validation_tasks=20, ways=2))
    lines = read_log(run / "log.jsonl")
    validations = [line for line in lines if line["kind"] == "validation"]
    assert [line["step"] for line in validations] == [3, 6]
    assert max(line["accuracy"] for line in validations) == result.validation
    train_line = next(line for line in lines if line["kind"] == "train")
    assert train_line["step"] == 6
    assert train_line["learning_rate"] == 1e-2
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("validation/accuracy")] == [3, 6]
    assert board.Scalars("train/loss")[0].value == pytest.approx(train_line["loss"], rel=1e-6)
