"""Every command, one after the other, on real handwriting: what the README's commands do, small.

train -> evaluate -> report -> fit -> predict -> extend -> forget -> adapt -> check -> cache.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from modicum.cli import main
from modicum.training.checkpoints import read_checkpoint

WORDS = ("zero", "one", "two", "three")
TRAIN = "--data digits --ways 3 --shots 1 --queries 5 --batch 2 --backbone conv4-32 --validate_every 10"


def write_pictures(folder: Path, digit: int, numbers: range) -> None:
    digits = load_digits()
    (folder / WORDS[digit]).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = (digits.images[digits.target == digit][number] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).resize((28, 28), Image.Resampling.BICUBIC).save(folder / WORDS[digit] / f"{number}.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with pictures, in which the commands of this module run one after the other."""
    folder = tmp_path_factory.mktemp("journey")
    for digit in range(3):
        write_pictures(folder / "pictures", digit, range(12))
    write_pictures(folder / "more", 3, range(8))
    write_pictures(folder / "new", 0, range(12, 14))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MODICUM_CACHE", str(folder / "cache"))
        yield folder


def modicum(line: str) -> None:
    assert main(line.split()) == 0


def rows(path: Path) -> list[dict[str, Any]]:
    record = json.loads(path.read_text())
    assert record["schema"] == 1
    found: list[dict[str, Any]] = record["rows"]
    return found


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    modicum(f"train {TRAIN} --steps 20 --out run --threads 1")
    return work / "run"


@pytest.fixture(scope="module")
def classifier(work: Path, run: Path) -> Path:
    modicum("fit pictures --out classifier --encoder run --head protonet --folds 2 --json fit.json")
    return work / "classifier"


def test_train_leaves_a_run_and_says_what_it_held_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.json", "log.jsonl", "checkpoints/last.safetensors", "checkpoints/best.safetensors", "encoder"):
        assert (run / name).exists()
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 20
    modicum(f"train {TRAIN} --steps 22 --out run --threads 1 --resume")
    shown = capsys.readouterr().out
    assert "classes: 5 train, 5 test" in shown
    assert "0-4 train, 5-9 test" in shown
    assert "(22 steps)" in shown


def test_evaluate_prints_a_table_and_writes_rows(work: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modicum("evaluate run --ways 3 --shots 1 5 --tasks 20 --queries 5 --json result.json")
    found = rows(work / "result.json")
    assert [(row["ways"], row["shots"], row["tasks"], len(row["per_task"])) for row in found] == [
        (3, 1, 20, 20),
        (3, 5, 20, 20),
    ]
    for row in found:
        assert row["accuracy"] == pytest.approx(np.mean(row["per_task"]), abs=1e-5)
        assert row["accuracy"] > 1 / 3 + 2 * row["stderr"]  # better than guessing
        assert row["ci95"] > row["stderr"] > 0
    shown = capsys.readouterr().out
    assert f"{100 * found[1]['accuracy']:.2f} %" in shown
    assert "draws of 20 tasks from the 5 classes of digits (test)" in shown


def test_the_same_seed_gives_the_same_tasks(work: Path, run: Path) -> None:
    for name in ("a", "b"):
        modicum(f"evaluate run --ways 3 --shots 1 --tasks 5 --queries 5 --json {name}.json")
    assert rows(work / "a.json") == rows(work / "b.json")


def test_fit_measures_and_writes_classifier_and_page(work: Path, classifier: Path) -> None:
    (row,) = rows(work / "fit.json")
    assert {"balanced_accuracy", "ci95", "head", "encoder", "per_class", "ece"} <= set(row)
    assert row["head"] == "protonet"
    assert set(row["per_class"]) == set(WORDS[:3])
    assert row["balanced_accuracy"] > 0.6
    assert "<html" in (classifier / "report.html").read_text()


def test_predict_names_labels_and_neighbours(work: Path, classifier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modicum("predict classifier new/zero/12.png new/zero/13.png --top 2 --json predictions.json")
    found = rows(work / "predictions.json")
    assert [Path(row["image"]).name for row in found] == ["12.png", "13.png"]
    for row in found:
        assert row["label"] == row["top"][0]["label"]
        assert len(row["top"]) == 2
        assert {"id", "label", "similarity"} <= set(row["neighbours"][0])
    assert found[0]["label"] in capsys.readouterr().out


def test_predict_names_what_it_cannot_read_and_predicts_the_rest(
    work: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "text.png").write_text("no picture")
    assert main(["predict", "classifier", "text.png", "new/zero/12.png", "nothing.png", "--json", "some.json"]) == 1
    assert len(rows(work / "some.json")) == 1
    err = capsys.readouterr().err
    assert "cannot predict: text.png: " in err
    assert "cannot predict: nothing.png: there is no such file" in err
    assert "Traceback" not in err


def test_report_puts_run_and_classifier_on_one_page(work: Path, run: Path, classifier: Path) -> None:
    modicum("evaluate run --ways 3 --shots 1 --tasks 5 --queries 5")
    modicum("report run classifier --out page.html")
    page = (work / "page.html").read_text()
    assert "protonet" in page
    assert re.search(r'(src|href)="https?://', page) is None


def test_extend_then_forget_gives_the_first_classifier_back(work: Path, classifier: Path) -> None:
    modicum("extend classifier more --out extended")
    modicum("predict extended more/three/0.png --json three.json")
    assert rows(work / "three.json")[0]["label"] == "three"
    modicum("forget extended --class three --out again")
    for name in ("classifier", "again"):
        modicum(f"predict {name} new/zero/12.png --json {name}.json")
    assert rows(work / "classifier.json") == rows(work / "again.json")


def test_forgetting_pictures_makes_their_ids_unknown(
    work: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modicum("forget classifier --id zero/0.png zero/1.png --out smaller")
    capsys.readouterr()
    assert main(["forget", "smaller", "--id", "zero/0.png"]) == 2
    assert "zero/0.png" in capsys.readouterr().err
    assert main(["forget", "smaller", "--class", "zerro"]) == 2
    assert "did you mean 'zero'?" in capsys.readouterr().err


def test_adapt_makes_a_classifier_with_the_head_of_the_run(work: Path, run: Path) -> None:
    modicum("adapt run --support pictures --out adapted --json adapted.json")
    assert rows(work / "adapted.json")[0]["head"] == "protonet"
    modicum("predict adapted new/zero/12.png")


def test_check_and_cache(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(work / "own-cache"))
    modicum("check pictures --json findings.json")
    assert rows(work / "findings.json")[0]["pictures"] == 36
    assert main(["check", "pictures/zero"]) == 1
    capsys.readouterr()
    modicum("cache ls")
    assert "pictures" in capsys.readouterr().out
    modicum("cache clear")
    capsys.readouterr()
    modicum("cache ls")
    assert "pictures" not in capsys.readouterr().out


WRONG = [
    ("train --data nowhere --out x", r"nowhere"),
    ("train --data digits --out run", r"already holds a run; give --resume"),
    (f"train {TRAIN} --out run --resume --ways 4", r"ways \(run: 3, now: 4\)"),
    ("train --data digits --out x --ways 6", r"'train' has 5 usable classes; the largest ways that works is 5"),
    ("train --data digits --out x --shots 200", r"fewer pictures than shots \+ queries = 215: 0 \(178\)"),
    ("train --data digits --out x --image_size 8", r"at least 16x16 pixels, found 8x8"),
    ("train --data digits --out pictures/zero/0.png", r"0\.png"),
    ("evaluate nowhere", r"nowhere: not a run folder"),
    ("evaluate pictures", r"pictures: not a run folder"),
    ("evaluate run --ways 9", r"largest ways that works is 5"),
    ("evaluate run --split val", r"digits has no split 'val'; it has: train, test, all"),
    ("report nowhere", r"nowhere"),
    ("report pictures", r"pictures: expected the folder of a run .* or of a classifier"),
    ("fit nowhere --out x", r"nowhere"),
    ("fit pictures/zero --out x", r"pictures/zero lie in no class folder"),
    ("fit pictures --out x --encoder nowhere", r"nowhere"),
    ("fit pictures --out x --group nobody", r"nobody"),
    ("predict nowhere new/zero/12.png", r"nowhere"),
    ("predict run new/zero/12.png", r"run: not a classifier"),
    ("extend classifier nowhere", r"nowhere"),
    ("forget classifier --id zero/99.png", r"zero/99\.png"),
    ("adapt nowhere --support pictures --out x", r"nowhere"),
    ("adapt run --support nowhere --out x", r"nowhere"),
    ("reproduce digits", r"unknown recipe 'digits' \(did you mean 'digits_protonet'\?\)"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_wrong_input_is_one_message_and_exit_code_2(
    line: str, message: str, work: Path, run: Path, classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert "error: " in err
    assert "Traceback" not in err
    assert re.search(message, err.split("error: ")[-1])
    assert not (work / "x").exists()


def test_ctrl_c_leaves_a_checkpoint_that_resume_goes_on_from(work: Path) -> None:
    words = f"train {TRAIN} --steps 100000 --out stopped --threads 1".split()
    listen = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from modicum.cli import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    checkpoint = work / "stopped" / "checkpoints" / "last.safetensors"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 130, err
    assert "stopped holds the checkpoints so far; go on with the same command and --resume" in err
    assert "Traceback" not in err
    step = read_checkpoint(checkpoint)[1]["step"]
    modicum(f"train {TRAIN} --steps {step + 1} --out stopped --threads 1 --resume")
    assert read_checkpoint(checkpoint)[1]["step"] == step + 1
