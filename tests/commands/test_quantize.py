"""`modicum quantize`: options that contradict each other, and the way from a run to a page, typed as a user types it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum.cli import main
from modicum.configs import Quantize
from modicum.data.pictures import open_pictures
from modicum.errors import ConfigError

REFUSED = [
    ({"accumulator": "3"}, "accumulator: expected 4 to 16 bits or none"),
    ({"accumulator": "17"}, "accumulator: expected 4 to 16 bits or none"),
    ({"accumulator": "eight"}, "accumulator: expected a number of bits or none, found 'eight'"),
    ({"accumulator": "9" * 5000}, "accumulator: expected a number of bits or none, found"),
    ({"activations": "\u0663"}, "activations: expected a number of bits or auto or float"),
    ({"weights": "2"}, "weights: expected one of float, binary, ternary, 3, 4, 5"),
    ({"activations": "9"}, "activations: expected 1 to 8 bits, found 9"),
    ({"activations": "0"}, "activations: expected 1 to 8 bits, found 0"),
    ({"activations": "few"}, "activations: expected a number of bits or auto or float"),
    ({"activations": "float"}, "float sums do not wrap; give --accumulator none"),
    ({"accumulator": "none", "slope": 4.0}, "cyclic, slope: of sums that wrap"),
    ({"accumulator": "none", "cyclic": "absolute"}, "cyclic, slope: of sums that wrap"),
    ({"cyclic": "absolute", "slope": 3.0}, "slope: of --cyclic smooth and relu, found absolute"),
    ({"slope": 0.5}, "slope: expected 1 or more"),
    ({"accumulator": "none", "penalty": 0.01}, "penalty: of sums that leave the accumulator"),
    ({"penalty": -1.0}, "penalty: expected 0 or more"),
    ({"carry_penalty": 0.1}, "carry_penalty: of carries that are counted"),
    ({"weights": "3", "carries": "simulate"}, "carries: packed sums are of binary or ternary weights"),
    ({"accumulator": "none", "carries": "buffer"}, "carries: of sums that wrap"),
    ({"layer_steps": 5}, "layer_steps: of --carries simulate or hybrid"),
    ({"carries": "simulate", "hybrid_drop": 1.0}, "hybrid_drop: of --carries hybrid"),
    ({"weights": "float", "carries": "buffer"}, "carries: --weights float trains the network on as it is"),
    ({"weights": "float", "accumulator": "8"}, "accumulator: --weights float"),
    ({"weights": "float", "ends": "8"}, "ends: --weights float"),
    ({"weights": "float", "keep_float": ["a"]}, "relu, keep_float: --weights float"),
    ({"overflow": 100.0}, "overflow: expected per cent"),
    ({"overflow": -1.0}, "overflow: expected per cent"),
    ({"step_bits": 3}, "step_bits: expected 4 to 16"),
    ({"steps": 0}, "steps: expected at least 1"),
    ({"warmup_steps": -1}, "warmup_steps: expected 0 or more"),
    ({"calibration": 0}, "calibration: expected at least 1"),
    ({"learning_rate": 0.0}, "learning_rate: expected more than 0"),
    ({"accumulator": "none", "activations": "float", "export": "net"}, "export: an integer network takes activations"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_options_that_make_no_sense_are_refused_in_the_options_words(options: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=re.escape(said)):
        Quantize("run", "out", **options)  # type: ignore[arg-type]


def test_defaults_follow_the_other_options_and_stay_when_replaced():
    plain = Quantize("run", "out")
    assert (plain.form.ending, plain.penalty, plain.chosen_for) == ("+low-bit-binary-8-smooth-2", 0.01, 8)
    exact = Quantize("run", "out", accumulator="none")
    assert (exact.form.ending, exact.penalty, exact.chosen_for) == ("+low-bit-binary-none", 0.0, 8)
    whole = Quantize("run", "out", weights="float")
    assert (whole.accumulator, whole.activations, whole.is_float) == ("none", "float", True)
    packed = Quantize("run", "out", carries="hybrid")
    assert (packed.carry_penalty, plain.carry_penalty) == (0.01, 0.0)
    for config in (plain, exact, whole, packed):
        assert replace(config, out="other") == replace(config, out="other")
        assert replace(config, out=config.out) == config


def modicum(line: str, code: int = 0) -> None:
    assert main(line.split()) == code


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of protonet on digits that validates nothing, and pictures of three digits."""
    folder = tmp_path_factory.mktemp("work")
    pictures = open_pictures("digits", size=16)
    for name in "789":
        (folder / "pictures" / name).mkdir(parents=True)
        for row in np.flatnonzero(pictures.labels == int(name))[:6]:
            Image.fromarray(pictures.pixels[row][..., 0]).save(folder / "pictures" / name / f"{row}.png")
    modicum(
        f"train --data digits --backbone conv4-32 --image_size 16 --ways 3 --shots 1 --queries 4 --batch 2 --steps 40 "
        f"--validation_tasks 20 --no_tensorboard --threads 1 --out {folder / 'run'}"
    )
    return folder


def test_from_a_run_to_a_page_and_a_classifier(work: Path, capsys: pytest.CaptureFixture[str]):
    """Each command as a user types it; what they say is what the files hold."""
    out, page = work / "low-bit", work / "page.html"
    modicum(f"quantize {work / 'run'} --steps 3 --calibration 100 --threads 1 --json {work / 'result.json'} --out {out}")
    printed = capsys.readouterr()
    assert [line for line in printed.err.splitlines() if line.startswith("stage")] == [
        f"stage {name}: 3 steps, not validated" for name in ("weights", "warm-up", "codes")
    ]
    record = json.loads((work / "result.json").read_text())
    assert record == json.loads((out / "results" / "low_bit.json").read_text())
    lines = printed.out.splitlines()
    for row in record["layers"][1:]:
        line = next(line for line in lines if line.split()[:1] == [row["name"]])
        assert f"{100 * row['overflow']:.2f} %" in line
        assert f"{row['carry_mean']:.1f} ± {row['carry_deviation']:.1f}" in line
    test = record["accumulators"][1]["test"]
    assert any(
        line.split()[:3] == ["exact", "32-bit", "sums"] and f"{100 * test['accuracy']:.2f} %" in line for line in lines
    )
    assert lines[-2:] == [f"run: {out}", f"next: modicum evaluate {out}"]
    modicum(f"evaluate {out} --ways 3 --tasks 20 --shots 1")
    modicum(f"compare {out} {work / 'run'} --ways 3 --tasks 10 --shots 1 --pictures 60")
    modicum(f"adapt {out} --support {work / 'pictures'} --out {work / 'classifier'}")
    capsys.readouterr()
    modicum(f"predict {work / 'classifier'} {next((work / 'pictures' / '8').iterdir())} --json {work / 'named.json'}")
    modicum(f"evaluate {out / 'warm-up'} --ways 3 --tasks 20 --shots 1")
    modicum(f"report {out} {work / 'run'} --out {page}")
    text = page.read_text()
    assert "Low-bit arithmetic" in text
    assert "blocks.1.conv" in text
    assert text.count("<svg") >= 5


def test_errors_name_the_option(work: Path, capsys: pytest.CaptureFixture[str]):
    modicum(f"quantize {work / 'run'} --out {work / 'run'}", 2)
    assert "out: the run itself" in capsys.readouterr().err
    modicum(f"quantize {work / 'run'} --keep_float blocks.7 --out {work / 'other'}", 2)
    assert "keep_float: expected names of layers" in " ".join(capsys.readouterr().err.split())
    modicum(f"quantize {work / 'pictures'} --out {work / 'other'}", 2)
    assert "not a run folder" in capsys.readouterr().err
    assert not (work / "other").exists()
