"""From pictures to a classifier: the automatic encoder, the trained head, extension with pictures."""

from pathlib import Path

import numpy as np
import pytest

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.classifiers.classifier import Request
from modicum.classifiers.fitting import (
    automatic_encoder,
    extend_classifier,
    fit_classifier,
    is_line_drawing,
)
from modicum.classifiers.predicting import picture_files, predict_files
from modicum.classifiers.storage import _packed
from modicum.data.pictures import open_pictures
from modicum.errors import DataError


def _open(folder: Path):
    return open_pictures(str(folder), size=28, channels=1)


def test_extending_with_pictures_equals_a_fit_on_both_folders(digits: Path, encoder: Encoder, tmp_path: Path) -> None:
    """Two folders one after the other give the bits of one folder that holds both."""
    import shutil

    both = tmp_path / "both"
    shutil.copytree(digits / "first", both)
    shutil.copytree(digits / "more", both, dirs_exist_ok=True)
    request = Request("protonet", 3)
    whole = fit_classifier(_open(both), encoder, request=request)
    grown = extend_classifier(
        fit_classifier(_open(digits / "first"), encoder, request=request), _open(digits / "more"), encoder
    )
    (mine, record), (theirs, other) = _packed(grown), _packed(whole)
    assert record == other
    assert all((mine[name] == theirs[name]).all() for name in theirs)
    with pytest.raises(DataError, match="not the one the classifier was made with"):
        extend_classifier(grown, _open(digits / "more"), build_encoder("conv4-32", ImageSpec(28, 1)).eval())


def test_copies_of_a_file_are_held_out_together(digits: Path, encoder: Encoder, tmp_path: Path) -> None:
    """A class of one picture copied five times has nothing to hold out."""
    import shutil

    folder = tmp_path / "copies"
    shutil.copytree(digits / "first", folder)
    (lone,) = (folder / "3").glob("*.png")
    for i in range(4):
        shutil.copy(lone, folder / "3" / f"copy{i}.png")
    classifier = fit_classifier(_open(folder), encoder, request=Request("protonet", 3))
    measured = dict(zip(classifier.classes, classifier.estimate.measured, strict=True))
    assert measured == {"0": True, "1": True, "2": True, "3": False}


def test_what_cannot_be_read_is_named_and_the_rest_predicted(digits: Path, encoder: Encoder, tmp_path: Path) -> None:
    classifier = fit_classifier(_open(digits / "first"), encoder, request=Request("protonet", 3))
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / "text.png"), str(digits / "first" / "0"), str(tmp_path / "gone.png"), str(tmp_path / "empty")]
    found = predict_files(classifier, encoder, paths, reject=0.01)
    assert len(found.rows) == 12
    assert np.mean([answer.label == "0" for _, answer in found.rows]) > 0.9
    told = dict(found.problems)
    assert "not a picture" in told[paths[0]]
    assert "no such file" in told[paths[2]]
    assert "holds no picture" in told[paths[3]]
    assert "too few for a rate of 0.01" in found.note
    own = found.rows[0][1].neighbours[0]  # the same file as in the support, read again: the same embedding
    assert own.id == f"0/{Path(found.rows[0][0]).name}"
    assert own.similarity == pytest.approx(1, abs=1e-12)


def test_folders_are_read_in_order(digits: Path) -> None:
    files, problems = picture_files([str(digits / "more")])
    assert files == sorted(files)
    assert len(files) == 8
    assert problems == []


def _drawing(dark_on_light: bool, seed: int = 0) -> np.ndarray:
    """A circle of two pixels' width with soft edges."""
    y, x = np.mgrid[:32, :32] - 15.5 + np.random.default_rng(seed).normal(0, 1, (2, 1, 1))
    ink = np.clip(2.5 - np.abs(np.hypot(x, y) - 9), 0, 1)
    grey = (255 * (1 - ink if dark_on_light else ink)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_line_drawings_are_told_from_photographs() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 32)[None, :].repeat(32, 0)
    grey_photograph = np.repeat((ramp + rng.normal(0, 10, (32, 32))).clip(0, 255).astype(np.uint8)[..., None], 3, 2)
    assert is_line_drawing(_drawing(True))
    assert is_line_drawing(_drawing(False))
    assert not is_line_drawing(grey_photograph)
    assert not is_line_drawing(_drawing(True) // np.array([1, 2, 3], np.uint8))  # coloured
    assert not is_line_drawing(np.full((32, 32, 3), 128, np.uint8))
    drawings = np.stack([_drawing(True, seed) for seed in range(3)])
    assert automatic_encoder(np.concatenate([drawings, grey_photograph[None]])) == "characters"
    assert automatic_encoder(np.concatenate([drawings[:1], grey_photograph[None], grey_photograph[None]])) == "pictures"


@pytest.mark.parametrize(
    ("data", "expected"), [("omniglot", "characters"), ("cifar100/test", "pictures"), ("clothing", "pictures")]
)
def test_the_automatic_encoder_on_real_pictures(test_data: Path, data: str, expected: str) -> None:
    from modicum.data.images import load_picture

    files = sorted((test_data / data).rglob("*.*"))
    files = [path for path in files if path.suffix in (".png", ".jpg", ".webp")]
    chosen = files[:: max(1, len(files) // 60)]
    assert automatic_encoder(np.stack([load_picture(path, 32, 3) for path in chosen])) == expected


def test_digits_look_drawn() -> None:
    assert automatic_encoder(open_pictures("digits", size=32, channels=3).pixels) == "characters"
