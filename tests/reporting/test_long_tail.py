"""The page of rac: numbers of the files, absent parts as dashes, damaged files named, one real run from training to page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.configs import Evaluate, Train
from modicum.errors import ConfigError, FileFormatError
from modicum.evaluation.long_tail import long_tail_result
from modicum.files import read_json, write_json
from modicum.memory.opening import open_memory
from modicum.reporting import write_report
from modicum.reporting.long_tail import read_long_tail
from modicum.reporting.long_tail_edits import signed
from modicum.reporting.long_tail_rows import class_window
from modicum.training.evaluate import evaluate
from modicum.training.trainer import train

from .test_page import NASTY, read

CLASSES = ("cat", "dog", NASTY[0], "emu", "fly")
COUNTS = (200, 50, 30, 4, 120)
TRUE = np.repeat(np.arange(5), 4)


def guesses(right: Sequence[int]) -> np.ndarray:
    """Predictions of four pictures of each class, so many of them right."""
    wrong = (TRUE + 1) % 5
    return np.where(np.tile(np.arange(4), 5) < np.repeat(right, 4), TRUE, wrong)


def rows(**right: Sequence[int]) -> list[dict[str, Any]]:
    return [{"branch": name, **long_tail_result(TRUE, guesses(hit), COUNTS).row()} for name, hit in right.items()]


def record(branches: str, **right: Sequence[int]) -> dict[str, Any]:
    memory = {"items": 404, "digest": "abcdef", "sources": {"pets": 400, "/private/zoo": 4}}
    return {
        "kind": "evaluate", "measure": "branches", "data": "pets", "split": "test", "neighbours": 30, "tau_norm": None,
        "interval_over": "new pictures of these 5 classes", "memory": None if branches == "base" else memory,
        "classes": list(CLASSES), "counts": list(COUNTS), "test_pictures": [4] * 5, "rows": rows(**right),
    }  # fmt: skip


def edit(**right: Sequence[int]) -> dict[str, Any]:
    """What stood there without the source zoo, where `right` stood before."""
    made = record("both", base=right["base"], both=right["after"])
    before = rows(base=right["base"], both=right["both"])
    moved = [{"branch": "base", "pictures": 20, "gained": 0, "lost": 0, "difference": 0.0, "ci95": None},
             {"branch": "both", "pictures": 20, "gained": 2, "lost": 5, "difference": -0.15, "ci95": 0.1}]  # fmt: skip
    return {**made, "kind": "memory-edit", "edit": {"removed_source": "zoo", "items": [404, 400]}, "changed": moved,
            "before": {"rows": before, "memory": made["memory"]}}  # fmt: skip


def panels() -> dict[str, np.ndarray]:
    """One picture of a fly that retrieved a fly and two emus."""
    rng = np.random.default_rng(0)
    return {
        "panel_pixels": rng.integers(0, 255, (1, 16, 16, 3), np.uint8), "panel_ids": np.array(["fly/7.png"]),
        "panel_labels": np.array(["fly"]), "panel_branches": np.array(["base", "retrieval", "both"]),
        "panel_predictions": np.array([["cat", "emu", "fly"]]), "panel_similarity": np.array([[0.9, 0.625, 0.5]]),
        "panel_words": np.array([["emu", "fly", "emu"]]), "panel_own": np.array([[False, True, False]]),
        "panel_sources": np.array([["pets", "zoo", "zoo"]]), "panel_near": rng.integers(0, 255, (1, 2, 16, 16, 3), np.uint8),
        "panel_near_there": np.array([[True, False]]),
    }  # fmt: skip


def run(path: Path, branches: str = "both", measured: bool = True, **changes: Any) -> Path:
    memory = {"store": "/private/store", "items": 400, "encoder": "/private/encoders/eye", "digest": "000000"}
    config = {
        "method": "rac", "branches": branches, "loss": "lace", "sampler": "plain", "decouple": "none", "imbalance": 50.0,
        "imbalance_kind": "exponential", "neighbours": 30, "text": "clip:/private/clip", "pretrained": "/private/runs/start",
        "encoder": "/private/encoders/eye", "memory": "milvus+http://someone:secret@host:19530", "data": "/private/pets",
    }  # fmt: skip
    before = {"base": "/private/runs/start: Trained on omniglot.", "encoder": "unknown: /private/encoders/eye has no card"}
    write_json(
        path / "config.json",
        {
            "kind": "run", "version": "0", "config": config, "pretraining": before,
            "encoder": {"backbone": "conv4-32", "spec": {"size": 16}}, "memory": None if branches == "base" else memory,
            "data": {"name": "pets", "classes": list(CLASSES), "counts": list(COUNTS)},
        },
    )  # fmt: skip
    if not measured:
        return path
    right: dict[str, Sequence[int]] = {"base": (4, 3, 2, 0, 4)}
    if branches == "both":
        right |= {"retrieval": (1, 2, 3, 4, 0), "both": (4, 4, 3, 3, 3), "knn": (2, 2, 2, 2, 2)}
        write_json(path / "results" / "without.json", edit(**right, after=(4, 4, 3, 0, 3)))
        np.savez(path / "artifacts.npz", **panels())
    write_json(path / "results" / "pets.json", {**record(branches, **right), **changes})
    (path / "log.jsonl").write_text(
        '{"kind": "train", "step": 50, "loss": 2.0, "accuracy": 0.3}\n'
        '{"kind": "validation", "step": 50, "accuracy": 0.4, "ci95": 0.1}\n{"kind": "tra'
    )
    return path


def test_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    """Both branches by hand: 4, 4, 3, 3, 3 of 4: many (cat, fly) 87.5 %, medium (dog, script) 87.5 %, few (emu) 75 %."""
    found = read_long_tail(run(tmp_path / "one"), 0, "one")
    (measured,) = found.measurements
    assert [branch.key for branch in measured.branches] == ["both", "base", "retrieval", "knn"]
    assert [cell.value for cell in measured.branches[0].cells] == [0.875, 0.875, 0.75, 0.85]
    assert measured.branches[0].balanced.value == pytest.approx(0.85)
    assert [(head.title, head.classes, head.pictures) for head in measured.buckets] == [
        ("many", 2, 8), ("medium", 2, 8), ("few", 1, 4), ("all", 5, 20)
    ]  # fmt: skip
    assert [row.name for row in measured.classes] == ["cat", "fly", "dog", NASTY[0], "emu"]
    assert measured.classes[-1].values == [0.75, 0.0, 1.0, 0.5]
    reader, text = read(write_report([tmp_path / "one"], tmp_path / "page.html"))
    for told in ("87.5 %", "new pictures of these 5 classes", "vote of the neighbours (k-NN)", "both branches", "404 items"):
        assert told in text, told
    assert "Few: retrieval branch, 100.0 %, before both branches, 75.0 %" in text
    assert "404 items: pets 400, zoo 4 (changed since" in text
    assert reader.mute == []
    assert reader.open == []


def test_pretraining_stands_there_and_no_place_of_the_maker(tmp_path: Path) -> None:
    _, text = read(write_report([run(tmp_path / "one")], tmp_path / "page.html"))
    assert "start: Trained on omniglot." in text
    assert "unknown: eye has no card" in text
    assert "clip:clip" in text
    for secret in ("/private", "someone", "19530"):
        assert secret not in text


def test_what_was_retrieved(tmp_path: Path) -> None:
    """Labels by similarity and by count, matches marked, the thumbnail that is known and not the one that is not."""
    found = read_long_tail(run(tmp_path / "one"), 0, "one")
    (panel,) = found.panels
    assert panel.nearest == [("emu", 0.9, False), ("fly", 0.625, True), ("emu", 0.5, False)]
    assert panel.counted == [("emu", 2, False), ("fly", 1, True)]
    assert panel.predictions == [("both", "fly", True), ("base", "cat", False), ("retrieval", "emu", False)]
    assert (panel.own, panel.k, panel.count_told, len(panel.near)) == (1, 3, "120 training pictures", 1)
    assert panel.sources == [("zoo", 2), ("pets", 1)]
    reader, text = read(write_report([tmp_path / "one"], tmp_path / "page.html"))
    assert reader.tags.count("img") == 2
    assert "1 of 3 of its class" in text
    assert '<span class="own">fly</span> <span class="soft">0.62</span>' in (tmp_path / "page.html").read_text()


def test_what_a_change_of_the_memory_did(tmp_path: Path) -> None:
    found = read_long_tail(run(tmp_path / "one"), 0, "one")
    (change,) = found.edits
    both, base = change.rows
    assert both.cells == [(0.875, 0.875), (0.875, 0.875), (0.75, 0.0), (0.85, 0.7), pytest.approx((0.85, 0.7))]
    assert (both.gained, both.lost, both.interval, base.interval) == (2, 5, "\u221225.0 to \u22125.0", "")
    assert [(row.name, row.train, row.before, row.after) for row in change.classes] == [("emu", 4, 0.75, 0.0)]
    _, text = read(write_report([tmp_path / "one"], tmp_path / "page.html"))
    for told in (
        "Without the source “zoo”",
        "404 items and holds 400",
        "75.0 → 0.0",
        "Of 5 classes the accuracy of 1 changed",
    ):
        assert told in text, told


def test_missing_parts_are_dashes(tmp_path: Path) -> None:
    """A run that was not measured; and a base branch alone, which has no memory to show."""
    reader, text = read(write_report([run(tmp_path / "one", measured=False)], tmp_path / "page.html"))
    assert "Not measured yet" in text
    assert "svg" not in reader.tags
    assert sum(word.strip().startswith("-") for word in reader.words) >= 5
    reader, text = read(write_report([run(tmp_path / "two", "base")], tmp_path / "page.html"))
    assert text.count("a base branch alone reads no memory") == 2
    assert "base branch alone" in text
    assert "Which branch knows what?" not in text
    assert reader.tags.count("svg") == 3


def test_a_class_without_test_pictures_and_an_empty_bucket(tmp_path: Path) -> None:
    """Only cat and fly are tested: the medium and few columns hold dashes, the curve leaves gaps, nothing fails."""
    tested = np.isin(TRUE, (0, 4))
    part = {"branch": "both", **long_tail_result(TRUE[tested], guesses((4, 0, 0, 0, 2))[tested], COUNTS).row()}
    path = run(tmp_path / "one", rows=[part], test_pictures=[4, 0, 0, 0, 4])
    (measured,) = read_long_tail(path, 0, "one").measurements
    assert [cell.value for cell in measured.branches[0].cells] == [0.75, None, None, 0.75]
    assert [row.values for row in measured.classes] == [[1.0], [0.5], [None], [None], [None]]
    write_report([path], tmp_path / "page.html")


def test_runs_side_by_side(tmp_path: Path) -> None:
    one, two = run(tmp_path / "a" / "one"), run(tmp_path / "b" / "one", "base")
    reader, text = read(write_report([one, two], tmp_path / "page.html"))
    for told in (
        "2 classifiers under a long tail compared",
        "a/one",
        "b/one",
        "Side by side on pets test",
        "base branch alone",
    ):
        assert told in text, told
    assert "A: both branches" in (tmp_path / "page.html").read_text()
    assert reader.open == []
    other = run(tmp_path / "other", "base", data="birds")
    _, text = read(write_report([two, other], tmp_path / "page.html"))
    assert "no data on which two of them were measured" in text


def test_the_page_is_their_own(tmp_path: Path) -> None:
    write_json(tmp_path / "pictures" / "config.json", {"config": {}})
    with pytest.raises(ConfigError, match="one is a run of rac; put such runs on a page of their own"):
        write_report([run(tmp_path / "one"), tmp_path / "pictures"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("results/pets.json", {"rows": None}, "pets.json: incomplete"),
        ("results/pets.json", {"rows": []}, "pets.json: incomplete"),
        ("results/pets.json", {"classes": None}, None),
        ("results/without.json", {"before": {}}, "without.json: incomplete"),
        ("config.json", {"data": {"name": "pets"}}, "config.json: incomplete"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, change: dict[str, Any], named: str | None) -> None:
    """What the page needs and a file lacks is an error with its name; what the page does not need is not."""
    path = run(tmp_path / "one")
    write_json(path / file, {**read_json(path / file), **change})
    if named is None:
        write_report([path], tmp_path / "page.html")
        return
    with pytest.raises(FileFormatError, match=named):
        write_report([path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_rows_of_other_numbers_of_classes_are_damage(tmp_path: Path) -> None:
    path = run(tmp_path / "one")
    broken = read_json(path / "results" / "pets.json")
    broken["rows"][0]["per_class"] = [0.5]
    write_json(path / "results" / "pets.json", broken)
    with pytest.raises(FileFormatError, match=r"pets\.json: incomplete"):
        write_report([path], tmp_path / "page.html")
    write_json(path / "results" / "pets.json", record("both", both=(4, 4, 3, 3, 3)))
    np.savez(path / "artifacts.npz", **{**panels(), "panel_own": np.zeros((0, 3), bool)})
    with pytest.raises(FileFormatError, match=r"artifacts\.npz: incomplete"):
        write_report([path], tmp_path / "page.html")
    (path / "artifacts.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(FileFormatError, match=r"artifacts\.npz: not a readable archive"):
        write_report([path], tmp_path / "page.html")


def test_a_setup_that_two_files_hold_is_shown_once(tmp_path: Path) -> None:
    """The file with votes too replaces the one without; another number of neighbours stands beside it, with its name."""
    path = run(tmp_path / "one")
    write_json(path / "results" / "again.json", record("both", both=(4, 4, 3, 3, 3)))
    assert [one.title for one in read_long_tail(path, 0, "one").measurements] == ["pets test"]
    write_json(path / "results" / "k.json", {**record("both", both=(4, 4, 3, 3, 3)), "neighbours": 5})
    titles = [one.title for one in read_long_tail(path, 0, "one").measurements]
    assert sorted(titles) == ["pets test, 30 neighbours", "pets test, 5 neighbours"]


def test_small_functions() -> None:
    assert [class_window(n) for n in (1, 17, 60, 100, 365)] == [3, 3, 12, 20, 20]
    assert [signed(value) for value in (0.0, -0.0001, 0.012, -0.25)] == ["0.0", "0.0", "+1.2", "\u221225.0"]


def test_from_training_to_page(tmp_path: Path) -> None:
    """A real run on a long-tailed version of digits, its memory added to, measured with and without the addition."""
    path = tmp_path / "real"
    train(Train(
        data="digits", out=str(path), method="rac", backbone="conv4-32", encoder="pixels", image_size=16, batch_pictures=16,
        steps=4, validate_every=4, neighbours=5, imbalance=10.0, tensorboard=False, threads=1,
    ))  # fmt: skip
    with open_memory(str(path / "memory")) as memory:
        item = next(memory.items(label="0"))
        rng = np.random.default_rng(0)
        near = memory.vectors([item.id]) + rng.normal(0, 0.02, (40, memory.info.dim))
        memory.add(near.astype(np.float32), ["9"] * 40, source="typed in")
    asked = Evaluate(run=str(path), votes=True, without_source="typed in")
    found = evaluate(asked)
    evaluate(Evaluate(run=str(path), votes=True))
    page = read_long_tail(path, 0, "real")
    (measured,), (change,) = page.measurements, page.edits
    assert change.told.startswith(f"The memory held {found['edit']['items'][0]:,} items")
    assert [row.name for row in change.rows][:3] == ["both branches", "base branch", "retrieval branch"]
    assert (change.rows[1].gained, change.rows[1].lost) == (0, 0)  # the base branch reads no memory
    assert dict(zip(("many", "medium", "few", "all"), measured.main.cells, strict=True))["all"].value == pytest.approx(
        found["before"]["rows"][[row["branch"] for row in found["before"]["rows"]].index("both")]["accuracy"]
    )
    assert len(page.panels) == 12
    assert all(panel.k == 5 for panel in page.panels)
    reader, text = read(write_report([path], tmp_path / "page.html"))
    assert "typed in 40" in text
    assert str(tmp_path) not in text
    assert reader.mute == []
