"""A classifier's folder: round trip, damage, kills, privacy."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modicum.backbones.encoder import Encoder
from modicum.classifiers.classifier import Classifier, EncoderReference, Request, build_classifier
from modicum.classifiers.fitting import reference
from modicum.classifiers.learned import learned_length
from modicum.classifiers.storage import (
    WHOLE,
    _packed,
    check_target,
    encoder_folder,
    load_classifier,
    load_encoder_of,
    save_classifier,
)
from modicum.errors import ConfigError, FileFormatError, WriteError
from modicum.files import read_tensors, tensor_digest


def _classifier(support, counts: tuple[int, ...] = (6, 5, 4), encoder: EncoderReference | None = None) -> Classifier:
    return build_classifier(support(counts), Request("protonet", 3), encoder or EncoderReference())


def _content(folder: Path) -> str:
    """Digest of everything in the one file that counts; safetensors itself writes header entries in any order."""
    tensors, record = read_tensors(folder / WHOLE)
    return tensor_digest(tensors, json.dumps(record))


def test_round_trip_is_exact_and_saving_is_a_pure_function(support, tmp_path: Path) -> None:
    classifier = _classifier(support)
    query = support([5, 5, 5], seed=3).features
    again = Classifier.load(classifier.save(tmp_path / "a"))
    assert again.predict(query, reject=0.2) == classifier.predict(query, reject=0.2)
    assert _packed(again)[1] == _packed(classifier)[1]
    save_classifier(again, tmp_path / "b")
    assert _content(tmp_path / "a") == _content(tmp_path / "b")
    for name in ("results.json", "classifier.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_lengths_of_mct_are_written_and_read(support, mct, tmp_path: Path) -> None:
    learned = learned_length(mct(6).metric)
    classifier = build_classifier(support([6, 5, 4]), Request("mct", 3, learned=learned), EncoderReference())
    again = load_classifier(classifier.save(tmp_path / "a"))
    query = support([5, 5, 5], seed=3).features
    assert again.predict(query, reject=0.2) == classifier.predict(query, reject=0.2)
    more = support([2, 2, 0], seed=1, start=50)
    save_classifier(again.extended(more), tmp_path / "b")
    save_classifier(classifier.extended(more), tmp_path / "c")
    assert _content(tmp_path / "b") == _content(tmp_path / "c")
    assert json.loads((tmp_path / "a" / "classifier.json").read_text())["settings"]["head"] == "mct"


def test_extending_a_loaded_classifier_writes_the_same_bytes_as_fitting_all(support, tmp_path: Path) -> None:
    first, more = support([6, 5, 0]), support([2, 0, 4], seed=1, start=50)
    save_classifier(build_classifier(first, Request("auto", 3), EncoderReference()), tmp_path / "a")
    save_classifier(load_classifier(tmp_path / "a").extended(more), tmp_path / "a")
    save_classifier(build_classifier(first.joined(more), Request("auto", 3), EncoderReference()), tmp_path / "b")
    assert _content(tmp_path / "a") == _content(tmp_path / "b")


def test_damage_and_foreign_folders_are_named(support, tmp_path: Path) -> None:
    save_classifier(_classifier(support), tmp_path)
    whole = (tmp_path / WHOLE).read_bytes()
    (tmp_path / WHOLE).write_bytes(whole[:-100])
    with pytest.raises(FileFormatError, match="truncated"):
        load_classifier(tmp_path)
    changed = bytearray(whole)
    changed[-3] ^= 1
    (tmp_path / WHOLE).write_bytes(changed)
    with pytest.raises(FileFormatError, match="checksum"):
        load_classifier(tmp_path)
    with pytest.raises(FileFormatError, match="not a classifier"):
        load_classifier(tmp_path / "nowhere")


def test_a_record_of_another_version_is_an_error_not_a_traceback(support, tmp_path: Path) -> None:
    import torch

    from modicum.files import write_tensors

    arrays, record = _packed(_classifier(support))
    del record["request"]
    write_tensors(
        tmp_path / WHOLE, {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}, {**record, "version": "9"}
    )
    with pytest.raises(FileFormatError, match="written by modicum 9"):
        load_classifier(tmp_path)


def test_the_encoder_is_kept_and_another_one_is_refused(support, encoder: Encoder, tmp_path: Path) -> None:
    classifier = _classifier(support, encoder=reference(encoder, "mine"))
    save_classifier(classifier, tmp_path, encoder)
    place = encoder_folder(tmp_path, classifier.encoder)
    assert reference(load_encoder_of(tmp_path, classifier), "mine") == classifier.encoder
    from modicum.backbones.encoder import ImageSpec, build_encoder
    from modicum.models import save_encoder

    save_encoder(build_encoder("conv4-32", ImageSpec(28, 1)).eval(), place, "another")
    with pytest.raises(FileFormatError, match="not the encoder"):
        load_encoder_of(tmp_path, classifier)
    shutil.rmtree(place)
    with pytest.raises(FileFormatError, match="missing"):
        load_encoder_of(tmp_path, classifier)
    with pytest.raises(ConfigError, match="made from embeddings"):
        load_encoder_of(tmp_path, _classifier(support))


def test_fitting_again_with_another_encoder_leaves_only_that_one(support, encoder: Encoder, tmp_path: Path) -> None:
    save_classifier(_classifier(support, encoder=reference(encoder, "mine")), tmp_path, encoder)
    (tmp_path / "encoder-000000000000").mkdir()
    save_classifier(_classifier(support, encoder=reference(encoder, "mine")), tmp_path, encoder)
    assert [path.name for path in tmp_path.glob("encoder-*")] == [encoder_folder(tmp_path, reference(encoder, "")).name]


def test_where_a_classifier_may_be_written(support, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        save_classifier(_classifier(support), tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        check_target(tmp_path / "notes.txt")
    assert check_target(tmp_path / "new") == tmp_path / "new"
    with pytest.raises(WriteError):
        save_classifier(_classifier(support), tmp_path / "notes.txt" / "below")


def test_private_classifiers_hold_no_pixels(support, tmp_path: Path) -> None:
    from modicum.classifiers.support import keep_no_pictures

    pictures = support([6, 5])
    private = build_classifier(keep_no_pictures(pictures), Request("protonet", 3), EncoderReference())
    save_classifier(private, tmp_path)
    with np.load(tmp_path / "artifacts.npz", allow_pickle=False) as arrays:
        assert not any(name.endswith("pixels") for name in arrays.files)
    assert load_classifier(tmp_path).support.thumbnails is None
    assert json.loads((tmp_path / "classifier.json").read_text())["private"] is True
    assert private.extended(support([0, 0, 3], seed=1)).support.thumbnails is None


def test_what_a_report_reads(support, tmp_path: Path) -> None:
    classifier = _classifier(support)
    save_classifier(classifier, tmp_path)
    row = json.loads((tmp_path / "results.json").read_text())["rows"][0]
    assert {"balanced_accuracy", "ci95", "head", "encoder", "per_class", "ece"} <= row.keys()
    with np.load(tmp_path / "artifacts.npz", allow_pickle=False) as arrays:
        assert np.trace(arrays["confusion"]) == sum(entry["right"] for entry in row["per_class"].values())
        assert len(arrays["right_pixels"]) + len(arrays["wrong_pixels"]) == 15
        first = arrays["right_pixels"][0]
        assert any((first == thumbnail).all() for thumbnail in classifier.support.thumbnails)
        assert arrays["lda_classes"].tolist() == ["c0", "c1", "c2"]


def test_a_full_disk_leaves_the_old_one(support, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _classifier(support)
    save_classifier(old, tmp_path)

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(WriteError, match="No space left"):
        save_classifier(old.forgetting([old.support.ids[0]]), tmp_path)
    assert len(load_classifier(tmp_path).support) == 15
    assert not list(tmp_path.glob(".*.tmp"))


def test_an_interrupted_first_fit_leaves_nothing(support, encoder: Encoder, tmp_path: Path, monkeypatch) -> None:
    from modicum.classifiers import storage

    def interrupted(*things: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_classifier(_classifier(support, encoder=reference(encoder, "mine")), tmp_path / "new", encoder)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
import numpy as np
from modicum.classifiers.storage import load_classifier, save_classifier
folder = sys.argv[1]
old = load_classifier(folder)
print("ready", flush=True)
flip = 0
while True:
    flip = 1 - flip
    save_classifier(old.forgetting([old.support.ids[0]]) if flip else old, folder)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(support, tmp_path: Path) -> None:
    """A process that rewrites a classifier without end is killed three times, at random moments."""
    folder = save_classifier(_classifier(support), tmp_path / "classifier")
    rng = np.random.default_rng(0)
    sizes = set()
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, env={**os.environ})
        assert writer.stdout is not None
        assert writer.stdout.readline().strip() == b"ready"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=float(rng.uniform(0.05, 0.6)))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        sizes.add(len(load_classifier(folder).support))
        assert sizes <= {14, 15}
        save_classifier(_classifier(support), folder)
