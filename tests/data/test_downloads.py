"""Torchvision's layout and downloads, with torchvision's classes stood in for: nothing is fetched in tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from modicum.data.benchmarks import published
from modicum.data.downloads import may_download
from modicum.data.pictures import open_pictures
from modicum.errors import DataError


class Cifar:
    """torchvision's CIFAR100 as far as it is used: 100 classes, one picture each for training and test."""

    made = 0

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        Cifar.made += 1
        if download:
            (Path(root) / "cifar-100-python").mkdir()
        splits, _ = published("cifar-fs")
        self.classes = sorted(name for classes in splits.values() for name in classes)
        self.data = np.random.default_rng(train).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
        self.targets = list(range(100))[::-1]


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODICUM_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(datasets, "CIFAR100", Cifar)
    monkeypatch.setattr(Cifar, "made", 0)


def test_who_may_be_downloaded(monkeypatch: pytest.MonkeyPatch):
    assert not may_download("omniglot")  # MODICUM_OFFLINE is set in tests
    monkeypatch.delenv("MODICUM_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert may_download("omniglot")
    assert may_download("cifar100")
    assert not may_download("mini-imagenet")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not may_download("cifar-fs")


def test_cifar_in_torchvisions_layout_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "CIFAR100", Cifar)
    monkeypatch.setattr(Cifar, "made", 0)
    (tmp_path / "cifar-100-python").mkdir()
    found = open_pictures("cifar-fs", root=str(tmp_path))
    assert len(found) == 200
    assert found.ids[:2] == ("test/apple/00099.png", "train/apple/00099.png")
    train = Cifar("", train=True)
    assert np.array_equal(found.pixels[1], train.data[99])
    made = Cifar.made
    assert len(open_pictures("fc100", root=str(tmp_path))) == 200
    assert Cifar.made == made


def test_what_is_nowhere_is_downloaded_below_the_root(tmp_path: Path, online: None):
    assert len(open_pictures("cifar-fs", root=str(tmp_path))) == 200
    assert (tmp_path / "cifar-100-python").is_dir()


def test_omniglot_is_downloaded_in_two_parts(tmp_path: Path, online: None, monkeypatch: pytest.MonkeyPatch):
    def omniglot(root: str, background: bool, download: bool) -> None:
        part = Path(root) / "omniglot-py" / ("images_background" if background else "images_evaluation")
        folder = part / ("Angelic/character01" if background else "Kannada/character03")
        folder.mkdir(parents=True)
        for index in range(2):
            Image.new("L", (105, 105), index).save(folder / f"{index}.png")

    monkeypatch.setattr(datasets, "Omniglot", omniglot)
    assert len(open_pictures("omniglot", root=str(tmp_path), splits="lake")) == 4


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, online: None, monkeypatch: pytest.MonkeyPatch):
    def broken(root: str, download: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR100", broken)
    with pytest.raises(DataError, match=r"could not be downloaded \(no route to host\); bring it by hand"):
        open_pictures("cifar-fs", root=str(tmp_path))


def test_a_damaged_torchvision_copy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(root: str, train: bool) -> None:
        raise RuntimeError("Dataset not found or corrupted")

    monkeypatch.setattr(datasets, "CIFAR100", broken)
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(DataError, match="cifar-100-python is incomplete or damaged"):
        open_pictures("cifar-fs", root=str(tmp_path))
