"""Training by rac: a step against a plain loop, memory and resumption, second stages, what is evaluated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modicum.augmentation.rand_augment import centre_crop, rand_augment
from modicum.configs import Evaluate, Train
from modicum.configs.long_tail import first_stage, second_stage
from modicum.configs.supervised import with_pictures
from modicum.data.picture_set import PictureSet
from modicum.errors import ConfigError, DataError
from modicum.files import read_tensors, sha256
from modicum.memory.opening import create_memory, open_memory
from modicum.memory.types import MemoryInfo
from modicum.models import embed, fingerprint, load_encoder
from modicum.retrieval.decoupling import tau_normalised
from modicum.retrieval.embedding import fitted
from modicum.retrieval.text import RandomWords
from modicum.training import memories
from modicum.training.checkpoints import BEST, LAST
from modicum.training.evaluate import evaluate
from modicum.training.memories import memory_digest
from modicum.training.runs import load_learner, read_record
from modicum.training.subject_of import open_data
from modicum.training.supervised_data import held_out
from modicum.training.supervised_results import result_file
from modicum.training.supervised_runs import load_supervised
from modicum.training.supervised_tests import open_run_pictures, parts_of
from modicum.training.trainer import Trainer, train


def config(out: Path, **changes: object) -> Train:
    options = {
        "data": "digits", "out": str(out), "method": "rac", "backbone": "conv4-32", "encoder": "pixels", "image_size": 16,
        "batch_pictures": 12, "steps": 6, "validate_every": 3, "neighbours": 5, "imbalance": 10.0, "tensorboard": False,
        "threads": 1, **changes,
    }  # fmt: skip
    if options.get("branches") == "base":
        options = {name: value for name, value in options.items() if name not in ("encoder", "neighbours")}
    return Train(**options)  # type: ignore[arg-type]


def trainer_of(given: Train) -> Trainer:
    return Trainer(*open_data(given))


def nearest(queries: np.ndarray, keys: np.ndarray, k: int, own: list[int]) -> list[list[int]]:
    """Places of the k keys with the largest cosine to each query, its own left out, by a loop in float64."""
    unit = keys.astype(np.float64) / np.linalg.norm(keys.astype(np.float64), axis=1, keepdims=True)
    found = []
    for query, itself in zip(queries.astype(np.float64), own, strict=True):
        cosines = unit @ (query / np.linalg.norm(query))
        cosines[itself] = -np.inf
        found.append(np.argsort(-cosines)[:k].tolist())
    return found


def test_a_step_equals_a_plain_loop(tmp_path: Path) -> None:
    """Neighbours by a loop, a mean of word vectors, equation 5, LACE with smoothing, clipping at norm 1, AdamW: by hand."""
    given = config(tmp_path, learning_rate=1e-2, schedule="constant")
    ours, plain = trainer_of(given), trainer_of(replace(given, out=str(tmp_path / "plain")))
    pictures, rows, network = plain.subject.pictures, plain.subject.parts.train, plain.module
    places = plain.objective.batch(0)
    x = torch.from_numpy(np.asarray(pictures.pixels)[rows[places]]).permute(0, 3, 1, 2)
    x = rand_augment(x, given.seed, 0)
    y = torch.from_numpy(pictures.labels[rows[places]])
    encoder = load_encoder("pixels")
    keys = embed(encoder, memories.as_seen(given, encoder, pictures).pixels[rows])
    queries = embed(encoder, fitted_pixels(x))
    near = nearest(queries, keys, 5, places.tolist())
    words = RandomWords(given.seed)
    text = np.stack([np.mean([words.vector(pictures.classes[pictures.labels[rows[i]]]) for i in row], 0) for row in near])
    f_base = network.base_linear(network.base.train()(fitted(x, network.base.spec)))
    f_ret = network.retrieval_linear(torch.from_numpy(text).float())
    f = 10 / 2 * (f_ret / f_ret.norm(dim=1, keepdim=True) + f_base / f_base.norm(dim=1, keepdim=True))
    counts = np.bincount(pictures.labels[rows], minlength=10)
    assert counts.max() > 2 * counts.min()
    adjusted = f + torch.log(torch.tensor(counts / counts.sum())).float()
    loss = F.cross_entropy(adjusted, y, label_smoothing=0.1)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-2, betas=(0.9, 0.999), weight_decay=0.02)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    value, accuracy = ours.advance()
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    assert accuracy == pytest.approx(float((f.argmax(1) == y).float().mean()))
    assert float(norm) > 1  # so that clipping is tested
    for (name, own), (_, other) in zip(ours.module.named_parameters(), network.named_parameters(), strict=True):
        assert torch.allclose(own, other, atol=3e-5), name


def fitted_pixels(x: torch.Tensor) -> np.ndarray:
    """Grey pictures (n, 1, 32, 32) as the encoder `pixels` reads them: the grey value three times."""
    assert x.shape[1:] == (1, 32, 32)
    return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()


CASES: dict[str, dict[str, object]] = {
    "both": {},
    "base": {"branches": "base", "loss": "ldam"},
    "retrieval": {"branches": "retrieval", "sampler": "progressive"},
    "balanced, cached": {"sampler": "balanced", "cache_neighbours": True, "loss": "ce"},
    "by rank, square root": {"exclude": "rank", "sampler": "square-root", "loss": "focal", "rand_augment": False},
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_training_is_the_same_to_the_bit(tmp_path: Path, assert_resumes: Callable[..., None], case: str) -> None:
    """Interrupted after four of six steps and gone on with: the checkpoint, its optimiser and the best one are equal."""
    assert_resumes(*(config(tmp_path / name, **CASES[case]) for name in ("whole", "cut")), (LAST, BEST))


def test_a_checkpoint_holds_neither_the_memory_nor_its_encoder(tmp_path: Path) -> None:
    train(config(tmp_path, encoder="pictures", steps=1))
    names = {name.split(".")[1] for name in read_tensors(tmp_path / LAST)[0] if name.startswith("learner.")}
    assert names == {"base", "base_linear", "retrieval_linear"}
    assert (tmp_path / "memory" / "memory.sqlite3").is_file()
    assert fingerprint(load_encoder(tmp_path / "memory-encoder")) == fingerprint(load_encoder("pictures"))
    record = read_record(tmp_path)[1]
    assert record["pretraining"]["base"] == "none: random weights"
    assert "CIFAR-100" in record["pretraining"]["encoder"]
    with open_memory(str(tmp_path / "memory")) as memory:
        assert len(memory) == record["memory"]["items"] == record["data"]["parts"]["train"]
        assert {item.label for item in memory.items()} == set(record["data"]["classes"])


def test_the_memory_is_what_the_training_pictures_embed_to(tmp_path: Path) -> None:
    """At the encoder's own size, from the files, to the bit: as `modicum memory add` has it."""
    given = config(tmp_path, steps=1)
    train(given)
    _, pictures = open_data(given)
    rows = held_out(given, pictures).train
    encoder = load_encoder("pixels")
    seen = memories.as_seen(given, encoder, pictures)
    assert seen.pixels.shape[1:] == (32, 32, 3)
    with open_memory(str(tmp_path / "memory")) as memory:
        ids = memory.ids_of("digits", [pictures.ids[row] for row in rows])
        assert np.array_equal(memory.vectors(ids), embed(encoder, seen.pixels[rows]))
        assert [item.label for item in memory.payload(ids)] == [pictures.classes[c] for c in pictures.labels[rows]]


def test_a_memory_half_made_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the memory is made: the same command goes on, without --resume, and ends with the same memory."""
    monkeypatch.setattr(memories, "COMMIT", 64)
    train(config(tmp_path / "whole", steps=2))

    def kill(done: int, total: int) -> None:
        if total > 6 and done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path / "cut", steps=2), progress=kill)
    assert not (tmp_path / "cut" / "config.json").exists()
    with open_memory(str(tmp_path / "cut" / "memory")) as memory:
        assert len(memory) == 128
    train(config(tmp_path / "cut", steps=2))
    digests = []
    for name in ("whole", "cut"):
        with open_memory(str(tmp_path / name / "memory")) as memory:
            digests.append(memory_digest(memory))
    assert digests[0] == digests[1]
    first, second = (read_tensors(tmp_path / name / LAST)[0] for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_memory_left_by_another_start_is_refused(tmp_path: Path) -> None:
    """Other training pictures, or another encoder: a folder of no run that holds a memory is not taken over in silence."""
    train(config(tmp_path / "run", steps=1))
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(ConfigError, match="not only training pictures of this run"):
        train(config(tmp_path / "run", steps=1, imbalance=50.0))
    (tmp_path / "run" / "memory-encoder" / "config.json").unlink()
    with pytest.raises(ConfigError, match="another encoder"):
        train(config(tmp_path / "run", steps=1, encoder="pictures"))


def test_a_run_does_not_go_on_with_a_changed_memory(tmp_path: Path) -> None:
    given = config(tmp_path, steps=3)
    train(given)
    with open_memory(str(tmp_path / "memory")) as memory:
        item = next(memory.items())
        memory.relabel([item.id], "five" if item.label != "five" else "six")
    with pytest.raises(ConfigError, match=r"the memory .* has changed since"):
        train(replace(given, resume=True))
    with open_memory(str(tmp_path / "memory")) as memory:
        memory.relabel([item.id], item.label)
    assert train(replace(given, resume=True)).steps == 3


def test_a_training_picture_does_not_find_itself(tmp_path: Path) -> None:
    """Unaugmented, every picture of the memory has itself as its first hit; with its id it is among none of its own."""
    trainer = trainer_of(config(tmp_path, rand_augment=False, image_size=32))
    objective = trainer.objective
    places = np.arange(20)
    x = objective._pictures(places, slice(0, 20), 0)
    ids = torch.from_numpy(objective.ids[places])
    assert (ids >= 0).all()
    found, _ = objective.network.eval().neighbours(x)
    assert np.array_equal(found.id[:, 0], ids.numpy())
    left, _ = objective.network.train().neighbours(x, ids)
    assert not (left.id == ids.numpy()[:, None]).any()
    assert np.array_equal(left.id[:, :4], found.id[:, 1:5])


def test_decoupled_stages_train_linear_layers_only(tmp_path: Path) -> None:
    """cRT: new layers; LWS: one length for each row. The encoder stays as RUN/first left it, to the bit."""
    given = config(tmp_path / "crt", branches="base", loss="lace", decouple="crt", steps=9)
    assert train(given).steps == 3
    first, second = (read_tensors(tmp_path / "crt" / name)[0] for name in (Path("first") / BEST, LAST))
    base = [name for name in first if name.startswith("learner.base.")]
    assert base
    assert all(torch.equal(first[name], second[name]) for name in base)
    assert not torch.equal(first["learner.base_linear.weight"], second["learner.base_linear.weight"])
    stage = read_record(tmp_path / "crt")[0]
    assert (stage.loss, stage.sampler, stage.steps) == ("ce", "balanced", 3)
    assert read_record(tmp_path / "crt" / "first")[0].loss == "lace"

    scaled = config(tmp_path / "lws", branches="base", decouple="lws", steps=5, pretrained=str(tmp_path / "crt" / "first"))
    train(scaled)
    third = read_tensors(tmp_path / "lws" / LAST)[0]
    assert all(torch.equal(first[name], third[name]) for name in base)
    assert torch.equal(first["learner.base_linear.weight"], third["learner.base_linear.weight"])
    assert (third["learner.base_linear.scales"] != 1).all()
    assert (scaled.loss, scaled.sampler) == ("ce", "balanced")
    for name in ("crt", "lws"):
        assert len(evaluate(Evaluate(run=str(tmp_path / name)))["rows"]) == 1
    with pytest.raises(ConfigError, match="same data, branches and text"):
        train(config(tmp_path / "other", decouple="lws", pretrained=str(tmp_path / "crt" / "first")))
    for name, changes in {"seed": {"seed": 1}, "share": {"test_share": 0.4}}.items():  # its test pictures trained the first
        with pytest.raises(ConfigError, match=r"held out here may have trained .*first"):
            train(replace(scaled, out=str(tmp_path / name), **changes))


def test_options_of_the_first_loss_do_not_reach_the_second_stage() -> None:
    for changes in ({"tau": 2.0}, {"loss": "focal", "focal_gamma": 1.0}):
        whole = Train(data="d", out="o", method="rac", decouple="crt", **changes)  # type: ignore[arg-type]
        first, second = first_stage(whole), second_stage(whole, 30)
        assert first is not None
        assert (first.tau, first.focal_gamma) == (whole.tau, whole.focal_gamma)
        assert (second.loss, second.tau, second.focal_gamma, second.decouple_steps) == ("ce", 1.0, 2.0, 10)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train(config(tmp_path / "run", steps=12, validate_every=12))
    return tmp_path / "run"


def test_evaluate_has_a_row_for_each_branch(run: Path) -> None:
    """Numbers recomputed from the branches' logits; buckets by training pictures; nothing of the run is changed."""
    before = sha256(run / LAST)
    found = evaluate(Evaluate(run=str(run), votes=True))
    assert [row["branch"] for row in found["rows"]] == ["base", "retrieval", "both", "1-nn", "knn", "knn-interpolation"]
    loaded = load_supervised(run)
    pictures = open_run_pictures(loaded)
    test = parts_of(loaded, pictures).test
    y = pictures.labels[test]
    x = torch.from_numpy(np.asarray(pictures.pixels)[test]).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = loaded.network.base(fitted(centre_crop(x), loaded.network.base.spec))
        logits = loaded.network.branch_logits(x, features=features, seen=x)
    counts = np.array(found["counts"])
    for row, branch in zip(found["rows"][:3], (logits.base, logits.retrieval, logits.both), strict=True):
        right = (branch.argmax(1).numpy() == y).astype(float)
        assert row["accuracy"] == pytest.approx(right.mean())
        recalls = np.array([right[y == c].mean() for c in range(10)])
        assert row["balanced_accuracy"] == pytest.approx(recalls.mean())
        assert row["medium"] == pytest.approx(recalls[(counts >= 20) & (counts <= 100)].mean())
        assert row["per_class"] == pytest.approx(recalls.tolist())
    keys = embed(load_encoder("pixels"), fitted_pixels(x))
    with open_memory(str(run / "memory")) as memory:
        ids = memory.lookup(keys, 1).id[:, 0]
        one = np.array([item.label for item in memory.payload(ids)]) == np.array(pictures.classes)[y]
    assert found["rows"][3]["accuracy"] == pytest.approx(one.mean())
    assert found["rows"][3]["accuracy"] > 0.8
    assert sha256(run / LAST) == before
    assert list((run / "results").glob("*.json"))


def test_evaluate_normalises_rows_and_takes_another_number_of_neighbours(run: Path) -> None:
    loaded = load_supervised(run)
    pictures = open_run_pictures(loaded)
    test = parts_of(loaded, pictures).test
    x = torch.from_numpy(np.asarray(pictures.pixels)[test]).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = loaded.network.base(fitted(centre_crop(x), loaded.network.base.spec))
        logits = features @ tau_normalised(loaded.network.base_linear.weight, 0.7).T
    row = evaluate(Evaluate(run=str(run), tau_norm=0.7))["rows"][0]
    assert row["accuracy"] == pytest.approx(float((logits.argmax(1).numpy() == pictures.labels[test]).mean()))
    few = evaluate(Evaluate(run=str(run), neighbours=2, votes=True))
    assert few["neighbours"] == 2
    arrays = np.load(run / "artifacts.npz")
    assert arrays["neighbour_id"].shape == (len(test), 2)


def test_training_pictures_do_not_vote_for_themselves_at_evaluation(run: Path) -> None:
    """On the training split the picture itself is left out, else its nearest item would be right always."""
    row = evaluate(Evaluate(run=str(run), split="train", votes=True))["rows"][3]
    assert row["branch"] == "1-nn"
    assert 0.5 < row["accuracy"] < 1


def test_test_pictures_put_into_the_memory_do_not_find_themselves(run: Path) -> None:
    """All pictures are added to the memory afterwards, held-out ones too: the nearest item is never the picture itself."""
    plain = evaluate(Evaluate(run=str(run), votes=True))
    assert plain["in_memory"] == 0
    loaded = load_supervised(run)
    pictures = open_run_pictures(loaded)
    test = parts_of(loaded, pictures).test
    seen = memories.as_seen(loaded.config, loaded.found.encoder, pictures)
    with open_memory(str(run / "memory")) as memory:
        names = [pictures.ids[row] for row in test]
        memory.add(embed(loaded.found.encoder, seen.pixels[test]), ["0"] * len(test), names=names, source="digits")
    found = evaluate(Evaluate(run=str(run), votes=True))
    assert found["in_memory"] == len(test)
    arrays = np.load(run / "artifacts.npz")
    with open_memory(str(run / "memory")) as memory:
        own = np.asarray(memory.ids_of("digits", names))
    assert not (arrays["neighbour_id"] == own[:, None]).any()


def test_the_runs_own_pictures_at_another_place_keep_their_parts(tmp_path: Path) -> None:
    """`--data` with the pictures of the training: those held out are measured, not those that trained."""
    folder = small_folder(tmp_path / "data")
    few = {"image_size": 32, "batch_pictures": 4, "imbalance": 1.0, "neighbours": 3}
    train(config(tmp_path / "run", data=str(folder), steps=2, **few))
    first = evaluate(Evaluate(run=str(tmp_path / "run")))
    folder.rename(tmp_path / "moved")
    moved = evaluate(Evaluate(run=str(tmp_path / "run"), data=str(tmp_path / "moved")))
    assert moved["rows"] == first["rows"]
    assert moved["rows"][0]["pictures"] == 4
    (tmp_path / "moved" / "left" / "0.png").unlink()
    other = evaluate(Evaluate(run=str(tmp_path / "run"), data=str(tmp_path / "moved"), votes=True))
    assert other["rows"][0]["pictures"] == 19
    held = {item.digest for item in load_supervised(tmp_path / "run").found.memory.items()}
    _, pictures = open_data(config(tmp_path / "again", data=str(tmp_path / "moved"), **few))
    assert other["in_memory"] == sum(digest in held for digest in pictures.digests) > 10


def test_evaluations_that_differ_are_kept_apart(run: Path) -> None:
    """Another weight of the votes, and memories that have the same name in other runs."""
    result = {"data": "d"}
    names = {
        result_file(Evaluate(run=str(run), votes=True, memory=memory, interpolation=share), result).name
        for memory in (None, "one/memory", "two/memory", "three")
        for share in (0.3, Evaluate.interpolation)
    }
    assert len(names) == 8


def test_a_base_branch_votes_by_the_memory_of_another_run(run: Path, tmp_path: Path) -> None:
    train(config(tmp_path / "base", branches="base", steps=6))
    with pytest.raises(ConfigError, match="give one with --memory"):
        evaluate(Evaluate(run=str(tmp_path / "base"), votes=True))
    found = evaluate(Evaluate(run=str(tmp_path / "base"), votes=True, memory=str(run / "memory")))
    assert [row["branch"] for row in found["rows"]] == ["base", "1-nn", "knn", "knn-interpolation"]
    assert found["rows"][1]["accuracy"] == evaluate(Evaluate(run=str(run), votes=True))["rows"][3]["accuracy"]


def test_a_memory_that_holds_test_pictures_is_refused(run: Path, tmp_path: Path) -> None:
    """One of the training pictures alone is taken; pictures in it are told and excluded by what is in their file."""
    given = config(tmp_path / "next", steps=2, encoder=None, memory=str(tmp_path / "whole"))
    _, pictures = open_data(config(tmp_path / "same"))
    rows = held_out(given, pictures).train
    encoder = load_encoder("pixels")
    seen = memories.as_seen(given, encoder, pictures)
    info = MemoryInfo(encoder.n_features, "cosine", "pixels", fingerprint(encoder))
    with create_memory(str(tmp_path / "whole"), info) as memory:
        memory.add(embed(encoder, seen.pixels), names=list(pictures.ids), source="digits")
        with pytest.raises(ConfigError, match="held out for validation and test"):
            train(given)
        memory.remove(memory.ids_of("digits", [pictures.ids[row] for row in set(range(len(pictures))) - set(rows)]))
    assert train(given).steps == 2
    assert f"{len(rows)} of the {len(rows)} training pictures are in the memory" in read_record(tmp_path / "next")[1]["note"]
    with pytest.raises(ConfigError, match="another encoder"):
        train(config(tmp_path / "third", steps=2, encoder="pictures", memory=str(tmp_path / "whole")))


def test_the_encoder_of_a_run_serves_few_shot_heads_and_fit(run: Path) -> None:
    """`adapt`, `compare` and `fit --encoder RUN` take the base branch's encoder as that of any run."""
    learner, trained, _ = load_learner(run)
    assert trained.method == "rac"
    assert fingerprint(learner.encoder) == fingerprint(load_encoder(run))


def test_defaults_depend_on_the_method_and_what_is_given_wins() -> None:
    rac, proto = Train(data="d", out="o", method="rac"), Train(data="d", out="o")
    assert (rac.optimizer, rac.weight_decay, rac.schedule, rac.clip_norm) == ("adamw", 0.02, "cosine-warm", 1.0)
    assert (proto.optimizer, proto.weight_decay, proto.schedule, proto.steps) == ("adam", 0.0, "halving", 10_000)
    assert type(proto.steps) is int
    assert type(proto.optimizer) is str
    given = Train(data="d", out="o", method="rac", optimizer="adam", weight_decay=0.0, learning_rate=1e-3, steps=10_000)
    assert (given.optimizer, given.weight_decay) == ("adam", 0.0)
    assert with_pictures(given, 50).steps == 10_000
    settled = with_pictures(rac, 12_800)  # 100 steps an epoch
    assert (settled.steps, settled.warmup, settled.validate_every) == (3_000, 500, 100)
    small = with_pictures(rac, 60)
    assert (small.batch_pictures, small.steps, small.warmup, small.validate_every) == (60, 1_000, 167, 50)
    assert with_pictures(replace(rac, epochs=4), 12_800).steps == 400
    assert Train(data="d", out="o", method="rac", pretrained="pictures").learning_rate == 1e-4
    with pytest.raises(ConfigError, match="batch_pictures: 64 asked for"):
        with_pictures(replace(rac, batch_pictures=64), 60)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": "protonet", "imbalance": 10.0}, "imbalance: belongs to --method rac"),
        ({"method": "classical", "loss": "ce"}, "loss: belongs to --method rac"),
        ({"branches": "base", "encoder": "pixels"}, "encoder: --branches base reads no memory"),
        ({"augment": True}, "augment: not with rac"),
        ({"imbalance": 0.5}, "imbalance: expected 1"),
        ({"test_share": 0.6, "validation_share": 0.5}, "nothing is left to train on"),
        ({"decouple_steps": 5}, "give --decouple"),
        ({"ways": 3, "batch": 64}, "ways, batch: not with rac.*; pictures of a step are --batch_pictures"),
        ({"loss": "ce", "tau": 2.0}, r"tau: belongs to --loss lace"),
        ({"focal_gamma": 1.0}, "focal_gamma: belongs to --loss focal"),
        ({"imbalance_kind": "pareto"}, "imbalance_kind: belongs to --imbalance"),
        ({"branches": "retrieval", "pretrained": "pictures"}, "pretrained: belongs to a base branch"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected 0 or more and below 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Train(**{"data": "d", "out": "o", "method": "rac", **changes})  # type: ignore[arg-type]


def test_few_shot_options_of_evaluate_are_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="ways: about few-shot tasks"):
        evaluate(Evaluate(run=str(run), ways=3))
    with pytest.raises(ConfigError, match="split: expected one of train, val, test"):
        evaluate(Evaluate(run=str(run), split="all"))


def test_more_neighbours_than_items_are_refused_and_the_default_shrinks(tmp_path: Path) -> None:
    """Fourteen training pictures: thirty neighbours cannot be retrieved; unasked, thirteen are."""
    few = {"data": str(small_folder(tmp_path / "few")), "image_size": 32, "batch_pictures": 4, "imbalance": 1.0}
    with pytest.raises(ConfigError, match=r"30 asked for, but .* holds 14 items"):
        train(config(tmp_path / "thirty", steps=1, neighbours=30, **few))
    given = config(tmp_path / "unasked", steps=1, **few)
    given = Train(**{**{k: v for k, v in vars(given).items() if k not in ("neighbours", "steps")}, "steps": 1})
    train(given)
    record = read_record(tmp_path / "unasked")
    assert record[0].neighbours == record[1]["memory"]["items"] - 1 == 13


def small_folder(folder: Path) -> Path:
    """Two classes of ten pictures of noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_a_word_file_and_sums_are_text_encoders(tmp_path: Path) -> None:
    """Digits' class names are numerals: vectors of a file by the word of each label; an unknown name is refused."""
    lines = [f"{digit} " + " ".join(f"{float(digit == d):.1f}" for d in range(10)) for digit in range(10)]
    (tmp_path / "words.txt").write_text("\n".join(lines) + "\n")
    trainer = trainer_of(config(tmp_path / "run", text=str(tmp_path / "words.txt"), rand_augment=False))
    network = trainer.module.eval()
    x = trainer.objective._pictures(np.arange(6), slice(0, 6), 0)
    _, items = network.neighbours(x)
    share = torch.tensor([[sum(item.label == str(d) for item in row) / 5 for d in range(10)] for row in items])
    assert torch.allclose(network.text([[item.words for item in row] for row in items]), share)
    summed = trainer_of(config(tmp_path / "sum", text="random-sum")).module.text
    assert torch.allclose(summed([["1", "2", "1"]]), 3 * RandomWords(0)([["1", "2", "1"]]))
    with pytest.raises(ConfigError, match="text: expected random"):
        trainer_of(config(tmp_path / "none", text="bert"))


def test_evaluation_on_other_pictures_goes_by_the_names_of_classes(run: Path, tmp_path: Path) -> None:
    """Pictures of two of the run's classes; a class the run does not know is named."""
    from PIL import Image

    loaded = load_supervised(run)
    pictures: PictureSet = open_run_pictures(loaded)
    rows = parts_of(loaded, pictures).test
    for name in ("3", "7"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for row in [row for row in rows if pictures.classes[pictures.labels[row]] == name][:5]:
            Image.fromarray(np.asarray(pictures.pixels[row])[..., 0]).save(tmp_path / "own" / name / f"{row}.png")
    found = evaluate(Evaluate(run=str(run), data=str(tmp_path / "own"), votes=True))
    assert found["rows"][0]["pictures"] == 10
    assert [index for index, value in enumerate(found["rows"][0]["per_class"]) if value is not None] == [3, 7]
    assert found["rows"][3]["accuracy"] > 0.7
    (tmp_path / "own" / "3").rename(tmp_path / "own" / "three")
    with pytest.raises(DataError, match="none of the run's, such as 'three'"):
        evaluate(Evaluate(run=str(run), data=str(tmp_path / "own")))


def test_the_log_and_record_are_json(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"train", "validation"}
    assert json.loads((run / "config.json").read_text())["memory"]["store"] == "memory"
