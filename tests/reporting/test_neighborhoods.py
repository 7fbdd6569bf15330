"""The page of Meta-Neighborhoods: numbers of the files, absent parts as dashes, damaged files named, a real run."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.configs import Evaluate, Train
from modicum.errors import ConfigError, FileFormatError
from modicum.evaluation.long_tail import long_tail_result
from modicum.files import read_json, write_json
from modicum.reporting import write_report
from modicum.reporting.neighborhoods import compare_neighborhoods, read_neighborhoods
from modicum.reporting.neighborhoods_figures import accuracy_dots, shares, usage_curves, vote_curves
from modicum.reporting.neighborhoods_panels import likely, verdict
from modicum.training.evaluate import evaluate
from modicum.training.trainer import train

from .test_page import NASTY, read

CLASSES = ("cat", "dog", NASTY[0])
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
BEFORE = np.array([0, 0, 1, 1, 1, 1, 1, 0, 2, 2])
AFTER = np.array([0, 0, 0, 1, 1, 1, 1, 1, 2, 0])  # corrects the third and the eighth, spoils the last
IDS = np.array([f"{i}.png" for i in range(10)])


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures as their descriptions: drawing them takes most of a page's time."""
    for module in ("neighborhoods_figures", "long_tail_figures"):
        monkeypatch.setattr(f"modicum.reporting.{module}._svg", lambda _, told: f'<svg aria-label="{escape(told)}"></svg>')


def rows(**named: np.ndarray) -> list[dict[str, Any]]:
    return [{"branch": name, **long_tail_result(TRUE, guess, (50, 50, 50)).row()} for name, guess in named.items()]


def dictionary() -> dict[str, Any]:
    """4 entries, 2 of cat, 1 each of the others. Guessing: (2 * 4 + 1 * 4 + 1 * 2) / 4 / 10 = 0.35."""
    return {
        "entries": 4, "effective": 3.25, "carrying_90": 3, "shares": {"1": 0.5}, "of_class": [2, 1, 1],
        "of_class_in_use": [1, 1, 1], "usage_of_class": [0.5, 0.25, 0.25],
        "sharpness": {"mean": 0.625, "quantiles": [0.5, 0.625, 0.75]}, "votes": 0.875,
        "agreement": {"near": 2, "all": 0.5, "in_use": 0.75, "by_usage": 0.775}, "seed": 0,
    }  # fmt: skip


def record(baseline: str = "none", **changes: Any) -> dict[str, Any]:
    named = {"before": BEFORE, "adapted": AFTER} if baseline == "none" else {"vanilla": BEFORE}
    gap: dict[str, Any] = {"first": "before", "later": "adapted", "pictures": 10, "gained": 2, "lost": 1}
    gap |= {"difference": 0.1, "ci95": 0.4, "excludes_zero": False}
    return {
        "kind": "evaluate", "measure": "branches", "data": "/private/pets", "split": "test", "baseline": baseline,
        "classes": list(CLASSES), "counts": [50, 50, 50], "test_pictures": [4, 4, 2], "rows": rows(**named),
        "differences": [gap] if baseline == "none" else [], "dictionary": dictionary() if baseline == "none" else None,
        "learned": {"tau": 9.5, "rate": 0.125, "temperature": 0.2, "rate_ends": [0.125, 0.125]}, "inner_steps": 1,
        "neighbours": None, **changes,
    }  # fmt: skip


def arrays(pictures: bool = True) -> dict[str, np.ndarray]:
    """One row of two entries of cat, the second absent; two pictures asked about, the third of which was corrected."""
    pixels = np.arange(3, dtype=np.uint8)[:, None, None, None] * 50 + np.zeros((3, 8, 8, 3), np.uint8)
    found = {
        "true": TRUE, "pictures": IDS, "predicted_before": BEFORE, "predicted_adapted": AFTER,
        "confusion": np.array([[3, 1, 0], [0, 4, 0], [1, 0, 1]]),
        "entry_usage": np.array([0.5, 0.25, 0.125, 0.125]), "entry_class": np.array([0, 1, 2, 0]),
        "entry_value": np.array([0.75, 0.5, 0.5, 0.75], np.float32), "entry_agreement": np.array([1, 0.5, 0.5, 0]),
        "group_entries": np.array([[0, -1]]), "group_classes": np.array([[[0, 2, 1], [0, 1, 2]]]),
        "group_values": np.array([[[0.75, 0.125, 0.125], [0.4, 0.3, 0.3]]], np.float32),
        "group_near": np.array([[[2, 4], [0, 0]]]), "group_cosine": np.array([[[0.875, 0.5], [0, 0]]], np.float32),
        "asked": np.array([2, 9]), "asked_drawn": np.array(["corrected", "spoiled"]),
        "asked_before": np.array([[0.375, 0.5, 0.125], [0.25, 0.125, 0.625]], np.float32),
        "asked_after": np.array([[0.75, 0.25, 0], [0.5, 0.125, 0.375]], np.float32),
        "asked_votes": np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], np.float32),
        "asked_effective": np.array([2.5, 3.5], np.float32), "asked_entries": np.array([[0, 1], [3, 2]]),
        "asked_weights": np.array([[0.5, 0.25], [0.375, 0.25]], np.float32), "asked_near": np.array([[4, -1], [2, 4]]),
    }  # fmt: skip
    return {**found, "shown": np.array([2, 4, 9]), "shown_pixels": pixels} if pictures else found


def finer(vectors: tuple[str, ...] = ("features", "attention")) -> dict[str, Any]:
    def accuracy(value: float) -> dict[str, Any]:
        return {"accuracy": value, "interval": [value - 0.1, value + 0.1], "ci95": 0.1, "balanced_accuracy": value}

    values = {"features": 0.25, "attention": 0.75}
    gap: dict[str, Any] = {"first": "features", "later": "attention", "pictures": 10, "gained": 5, "lost": 0}
    gap |= {"difference": 0.5, "ci95": 0.25, "excludes_zero": True}
    return {
        "kind": "evaluate", "measure": "subcategories", "data": "pets", "fine": "/private/breeds", "split": "test",
        "classes": 3, "fine_classes": 6, "voters": 150, "pictures": 10, "usual": 5,
        "rows": [{"vector": name, "neighbours": k, "fine": accuracy(values[name] - k / 100), "coarse": accuracy(0.5),
                  "interval_over": "new pictures"} for name in vectors for k in (1, 5)],
        "differences": [{**gap, "neighbours": k, "labels": what} for k in (1, 5) for what in ("fine", "coarse")]
                       if "attention" in vectors else [],
    }  # fmt: skip


def run(path: Path, baseline: str = "none", measured: bool = True, pictures: bool = True, **changes: Any) -> Path:
    config = {
        "method": "meta-neighborhoods", "baseline": baseline, "target": None, "data": "/private/pets", "entries": 4,
        "inner_steps": 1, "inner_rate": 0.05, "inner_rates": "scalar", "temperature": 0.2, "learn_temperature": False,
        "entry_values": "learned", "entry_dropout": 0.5, "dropout_draw": "query", "modulate": "none", "film_entries": 10,
        "output_layer": "cosine", "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 7.5e-5,
        "decay_form": "tensorflow", "neighbours": 30, "root": "/private",
    }  # fmt: skip
    write_json(
        path / "config.json",
        {
            "kind": "run", "version": "0", "config": config, "parameters": {"encoder": 1000, "others": 50},
            "encoder": {"backbone": "conv4-32", "spec": {"size": 8}}, "augmentation": "crop",
            "data": {"name": "pets", "classes": list(CLASSES), "counts": [50, 50, 50]},
        },
    )  # fmt: skip
    if not measured:
        return path
    write_json(path / "results" / "pets.json", {**record(baseline), **changes})
    parts = arrays(pictures)
    if baseline != "none":
        parts = {"true": TRUE, "pictures": IDS, "predicted_vanilla": BEFORE}
    np.savez(path / "artifacts.npz", **parts)
    (path / "log.jsonl").write_text('{"kind": "train", "step": 50, "loss": 2.0, "accuracy": 0.3}\n')
    return path


@pytest.mark.usefixtures("undrawn")
def test_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    """7 of 10 right before, 8 after; the page says so, and what was corrected and spoiled, and guesses 35 % by hand."""
    found = read_neighborhoods(run(tmp_path / "one"), 0, "one")
    (measured,) = found.measurements
    assert [(row.key, row.main, row.accuracy.value) for row in measured.branches] == [
        ("before", False, 0.7), ("adapted", True, 0.8)
    ]  # fmt: skip
    (change,) = measured.changes
    assert (change.corrected, change.spoiled, change.interval) == (2, 1, "\u221230.0 to +50.0")
    assert measured.dictionary is not None
    assert measured.dictionary.guess == pytest.approx(0.35)
    assert [(row.name, row.entries, row.used) for row in measured.dictionary.classes] == [
        ("cat", 2, 1), ("dog", 1, 1), (NASTY[0], 1, 1)
    ]  # fmt: skip
    reader, text = read(write_report([tmp_path / "one"], tmp_path / "page.html"))
    for told in (
        "corrects 2 and spoils 1 of 10 answers: +10.00 points (95 % interval \u221230.0 to +50.0; undecided)",
        "3 of 4 entries carry 90 % of the attention, which is spread as if 3 were used alike",
        "75.0 % are labelled with its class (guessing: 35.0 %).",
        "alone names 87.5 % of pictures rightly",
        "learned: 0.125",
        "times 9.5 (learned)",
    ):
        assert told in text, told
    assert "no more than by chance" not in text
    assert "/private" not in text
    assert reader.mute == []


@pytest.mark.usefixtures("undrawn")
def test_entries_that_do_not_stand_for_what_is_near_are_told(tmp_path: Path) -> None:
    low = {**dictionary(), "agreement": {"near": 2, "all": 0.1, "in_use": 0.125, "by_usage": 0.1}}
    _, text = read(write_report([run(tmp_path / "one", dictionary=low)], tmp_path / "page.html"))
    assert "no more than by chance, so here an entry does not stand for what is near it" in text


@pytest.mark.usefixtures("undrawn")
def test_entries_with_their_pictures_and_the_attention_behind_answers(tmp_path: Path) -> None:
    """Entry 0 of cat: a cat and a dog are nearest; used 0.5 of 4 entries is twice the even share."""
    panels = read_neighborhoods(run(tmp_path / "one"), 0, "one").panels
    assert panels is not None
    [(name, [entry])] = panels.groups
    assert (name, entry.number, entry.usage, entry.own, entry.cosines) == ("cat", 0, 2.0, 1, [0.875, 0.5])
    assert entry.likely == [("cat", 0.75), (NASTY[0], 0.125), ("dog", 0.125)]
    assert [(item.label, item.right) for item in entry.near] == [("cat", True), ("dog", False)]
    assert entry.near[0].uri != entry.near[1].uri
    first, second = panels.asked  # the third picture was corrected, the last spoiled
    assert (first.label, first.before, first.after, first.verdict) == ("cat", "dog", "cat", "corrected")
    assert (second.label, second.before, second.after, second.verdict) == (NASTY[0], NASTY[0], "cat", "spoiled")
    assert first.rows[0] == ("cat", 0.375, 0.5, 0.75, True)
    assert [(e.number, e.name, e.right, e.weight, e.even) for e in first.entries] == [
        (0, "cat", True, 0.5, 2.0), (1, "dog", False, 0.25, 1.0)
    ]  # fmt: skip
    assert (first.top, first.effective) == (0.75, 2.5)
    assert first.entries[0].near is not None
    assert first.entries[1].near is None
    reader, text = read(write_report([tmp_path / "one"], tmp_path / "page.html"))
    assert reader.tags.count("img") == 2 + 2 + 3
    assert "drawn from those adaptation corrected" in text


def test_what_adapting_did_to_an_answer() -> None:
    told = [verdict(*case) for case in ((0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0), (1, 2, 0))]
    assert told == [
        "right before and after", "wrong before and after", "corrected", "spoiled", "changed, wrong before and after"
    ]  # fmt: skip
    assert [likely(share).replace("\u00a0", " ") for share in (0, 0.0001, 0.125, 0.9999, 1)] == [
        "0.0 %", "< 0.1 %", "12.5 %", "> 99.9 %", "100.0 %"
    ]  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_without_pictures_the_page_names_classes(tmp_path: Path) -> None:
    reader, text = read(write_report([run(tmp_path / "one", pictures=False)], tmp_path / "page.html"))
    assert "img" not in reader.tags
    assert "Pictures were not kept." in text
    assert "0.88 cat 0.50 dog" in text


@pytest.mark.usefixtures("undrawn")
def test_finer_classes(tmp_path: Path) -> None:
    path = run(tmp_path / "one")
    write_json(path / "results" / "fine.json", finer())
    (found,) = read_neighborhoods(path, 0, "one").subcategories
    assert [(row.vector, row.votes, row.fine.value, row.usual) for row in found.rows] == [
        ("attention", 1, 0.74, False), ("attention", 5, 0.7, True), ("features", 1, 0.24, False), ("features", 5, 0.2, True)
    ]  # fmt: skip
    assert found.differences[0] == ("attention minus features", 1, "+50.0", "+25.0 to +75.0", True)
    _, text = read(write_report([path], tmp_path / "page.html"))
    told = "Found by features they are right for 20.0 % of pictures, by attention for 70.0 %: +50.0 points (+25.0 to +75.0)."
    assert told in text
    assert "the 6 of breeds were not" in text


@pytest.mark.usefixtures("undrawn")
def test_missing_parts_are_dashes(tmp_path: Path) -> None:
    """A run that was not measured; and a baseline, which has no dictionary and no change by adaptation."""
    reader, text = read(write_report([run(tmp_path / "one", measured=False)], tmp_path / "page.html"))
    assert "Not measured yet" in text
    assert "svg" not in reader.tags
    assert sum(word.strip().startswith("-") for word in reader.words) >= 6
    _, text = read(write_report([run(tmp_path / "two", "vanilla")], tmp_path / "page.html"))
    assert text.count("- (a baseline has no dictionary)") == 3
    assert "What does adapting" not in text


@pytest.mark.usefixtures("undrawn")
def test_runs_side_by_side(tmp_path: Path) -> None:
    """Adapted against vanilla on the same ten pictures: 8 against 7, of which two became right and one wrong."""
    one, two = run(tmp_path / "a" / "one"), run(tmp_path / "b" / "one", "vanilla")
    vanilla = read_neighborhoods(two, 0, "v")
    compared = compare_neighborhoods([vanilla, read_neighborhoods(one, 1, "m")])
    (gap,) = compared.gaps
    assert (gap.what, gap.pictures, gap.points, gap.decided) == ("B minus A", 10, "+10.0", False)
    (place,) = compared.places
    assert [(row.letter, row.branch.key) for row in place.rows] == [("A", "vanilla"), ("B", "before"), ("B", "adapted")]
    assert len(compared.dictionaries) == 1
    reader, text = read(write_report([two, one], tmp_path / "page.html"))
    for told in ("2 classifiers compared", "a/one", "b/one", "Side by side on pets test", "B minus A"):
        assert told in text, told
    assert reader.open == []
    other = run(tmp_path / "other", "vanilla", data="birds")
    np.savez(other / "artifacts.npz", true=TRUE, pictures=IDS[::-1], predicted_vanilla=BEFORE)
    apart = compare_neighborhoods([vanilla, read_neighborhoods(other, 1, "o")])
    assert (apart.places, apart.gaps) == ([], [])


@pytest.mark.usefixtures("undrawn")
def test_the_page_is_their_own(tmp_path: Path) -> None:
    write_json(tmp_path / "pictures" / "config.json", {"config": {}})
    with pytest.raises(ConfigError, match="one is a run of meta-neighborhoods on pictures; put such runs on a page"):
        write_report([run(tmp_path / "one"), tmp_path / "pictures"], tmp_path / "page.html")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("results/pets.json", {"rows": []}),
        ("results/pets.json", {"dictionary": {"entries": 4}}),
        ("results/pets.json", {"dictionary": {**dictionary(), "of_class": [2, 1]}}),
        ("results/pets.json", {"differences": [{"first": "before"}]}),
        ("results/pets.json", {"rows": [{**rows(adapted=AFTER)[0], "per_class": [0.5]}]}),
        ("results/fine.json", {"rows": [{"vector": "pixels"}]}),
        ("config.json", {"data": {"name": "pets"}}),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, change: dict[str, Any]) -> None:
    path = run(tmp_path / "one")
    write_json(path / "results" / "fine.json", finer())
    write_json(path / file, {**read_json(path / file), **change})
    with pytest.raises(FileFormatError, match=rf"{file}: incomplete".replace(".", r"\.")):
        write_report([path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    path = run(tmp_path / "one")
    for change in (
        {"asked_near": np.zeros((0, 2), int)},
        {"group_classes": np.full((1, 2, 3), 7)},
        {"shown": np.array([1])},
    ):
        np.savez(path / "artifacts.npz", **{**arrays(), **change})
        with pytest.raises(FileFormatError, match=r"artifacts\.npz: incomplete"):
            write_report([path], tmp_path / "page.html")
    (path / "artifacts.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(FileFormatError, match=r"artifacts\.npz: not a readable archive"):
        write_report([path], tmp_path / "page.html")


def test_figures_draw_nothing_of_nothing() -> None:
    assert usage_curves([]) is None
    assert usage_curves([(0, "none", np.zeros(3))]) is None
    assert shares(np.zeros(0), np.zeros(0), 5, 0) is None
    assert accuracy_dots(["all"], []) is None
    assert vote_curves([(0, "one", [(1, 0.5, 0.4, 0.6)])]) is None
    drawn = usage_curves([(0, "A", np.array([0.75, 0.25, 0.0]))])
    assert drawn is not None
    assert "A from 2.25 to 0 times the even share" in drawn


def test_from_training_to_page(tmp_path: Path) -> None:
    """A real run on digits, with finer labels: the page has the numbers that evaluate returned."""
    path = tmp_path / "mn"
    train(Train(
        data="digits", out=str(path), method="meta-neighborhoods", backbone="conv4-32", image_size=16, batch_pictures=16,
        steps=8, validate_every=8, entries=40, tensorboard=False, threads=1,
    ))  # fmt: skip
    found = evaluate(Evaluate(run=str(path)))
    evaluate(Evaluate(run=str(path), fine="digits", neighbours=5))
    page = read_neighborhoods(path, 0, "mn")
    (measured,) = page.measurements
    assert measured.main is not None
    assert measured.main.accuracy.value == found["rows"][-1]["accuracy"]
    assert measured.dictionary is not None
    assert measured.dictionary.effective == found["dictionary"]["effective"]
    assert page.panels is not None
    assert len(page.panels.asked) == 12
    reader, text = read(write_report([path], tmp_path / "page.html"))
    assert "finer classes" in text
    assert str(tmp_path) not in text
    assert reader.mute == []
