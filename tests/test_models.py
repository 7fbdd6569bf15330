"""Encoders as files and names, and embeddings that do not depend on their neighbours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from modicum import models
from modicum.backbones.batch_norm import copy_buffers, forward_training
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.data.pictures import open_pictures
from modicum.data.splits import shipped
from modicum.errors import ConfigError, DataError, FileFormatError, WriteError
from modicum.files import sha256
from modicum.models import embed, fingerprint, load_encoder, save_encoder, write_sums

PRETRAINED = Path(models.__file__).parent / "pretrained"


def trained(name: str = "conv4-32", size: int = 20, channels: int = 1) -> Encoder:
    """An encoder whose statistics are not the fresh ones."""
    encoder = build_encoder(name, ImageSpec(size, channels, (0.5,), (0.25,)))
    _, buffers = forward_training(encoder, torch.rand(8, channels, size, size), copy_buffers(encoder))
    encoder.load_state_dict(buffers, strict=False)
    return encoder.eval()


def pixels(n: int, size: int = 20, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_encoder(trained(), tmp_path / "encoder", "# A card\n")


def test_what_is_written(saved: Path):
    record = json.loads((saved / "config.json").read_text())
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (record["schema"], record["kind"], record["backbone"], record["n_features"]) == (1, "encoder", "conv4-32", 32)
    assert record["spec"] == {"size": 20, "channels": 1, "mean": [0.5], "std": [0.25], "strokes": "as-is"}
    assert (saved / "README.md").read_text() == "# A card\n"


def test_loading_leaves_random_numbers_alone_and_evaluates(saved: Path):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    encoder = load_encoder(saved)
    assert torch.equal(torch.rand(2), expected)
    assert not any(part.training for part in encoder.modules())


def test_a_run_folder_is_an_encoder(saved: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(saved, run / "encoder")
    (run / "config.json").write_text('{"schema": 1, "kind": "run"}')
    assert fingerprint(load_encoder(str(run))) == fingerprint(load_encoder(saved))


def test_half_is_half_the_size_and_nearly_the_same(tmp_path: Path):
    encoder = trained()
    half = save_encoder(encoder, tmp_path / "half", "", half=True)
    full = save_encoder(encoder, tmp_path / "full", "")
    size = [(folder / "model.safetensors").stat().st_size for folder in (half, full)]
    assert size[0] < 0.6 * size[1]
    loaded = load_encoder(half)
    assert next(loaded.parameters()).dtype == torch.float32
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=2**-11, atol=1e-7)
    assert fingerprint(loaded) != fingerprint(encoder)


def test_precision_is_kept(tmp_path: Path):
    encoder = trained().double()
    loaded = load_encoder(save_encoder(encoder, tmp_path / "e", ""))
    assert fingerprint(loaded) == fingerprint(encoder)


def test_a_fingerprint_is_of_configuration_and_tensors():
    encoder = trained()
    first = fingerprint(encoder)
    assert fingerprint(encoder) == first
    other = Encoder(encoder.backbone, encoder.spec, 32, encoder.name, {**encoder.config, "spec": {"size": 21}})
    assert fingerprint(other) != first
    with torch.no_grad():
        next(encoder.parameters())[0] += 1e-6
    assert fingerprint(encoder) != first


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


DAMAGE = {
    "one bit of the weights": (lambda f: flip(f / "model.safetensors", -5), "checksum does not match"),
    "weights cut off": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-100]),
        "truncated",
    ),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "truncated or not a safetensors"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no such file"),
    "another's weights": (lambda f: save_file({"a": torch.zeros(1)}, f / "model.safetensors"), "not one of modicum's"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "cannot read"),
    "configuration cut off": (lambda f: (f / "config.json").write_text('{"schema": 1,'), "not valid JSON"),
    "another version": (lambda f: edit(f / "config.json", schema=2), "schema 2, this version reads 1"),
    "another kind": (lambda f: edit(f / "config.json", kind="classifier"), "kind is 'classifier'"),
    "configuration edited": (
        lambda f: edit(f / "config.json", backbone="conv4-64"),
        "config.json and the record in model.safetensors differ",
    ),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damaged_folders_are_refused(saved: Path, damage: str):
    action, message = DAMAGE[damage]
    action(saved)
    with pytest.raises(FileFormatError, match=message):
        load_encoder(saved)


def test_consistent_but_wrong_configurations_are_refused(tmp_path: Path):
    """Signed with a right digest, but no encoder of ours."""
    for changes in (
        {"backbone": "conv4-64"},
        {"backbone": "conv9"},
        {"spec": {"size": 20}},
        {"spec": {"size": 8, "channels": 1}},
    ):
        encoder = trained()
        encoder.config.update(changes)
        folder = save_encoder(encoder, tmp_path / "e", "")
        with pytest.raises(FileFormatError, match="do not make an encoder"):
            load_encoder(folder)


def test_an_encoder_nobody_could_build_again_is_not_saved(tmp_path: Path):
    encoder = trained()
    encoder.config = {}
    with pytest.raises(ConfigError, match="lacks 'backbone' or 'spec'"):
        save_encoder(encoder, tmp_path / "e", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot create the folder"):
        save_encoder(trained(), tmp_path / "file" / "e", "")


def test_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"found 'charakters' \(did you mean 'characters'\?\)"):
        load_encoder("charakters")
    with pytest.raises(
        ConfigError, match=r"no folder 'someone/something' here, and as a hub repository it is not on this machine"
    ):
        load_encoder("someone/something")
    with pytest.raises(ConfigError, match=r"timm has no model 'resnet81'"):
        load_encoder("timm/resnet81")
    with pytest.raises(FileFormatError, match="no such file"):
        load_encoder("timm/test_resnet@nowhere.safetensors")
    with pytest.raises(FileFormatError, match=r"cannot read .*config.json"):
        load_encoder(tmp_path)


def test_timm_with_a_local_file_then_saved(tmp_path: Path):
    theirs = timm.create_model("test_resnet", num_classes=3).eval()
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "w.safetensors")
    encoder = load_encoder(f"timm/test_resnet@{tmp_path / 'w.safetensors'}")
    size, mean, std = encoder.spec.size, encoder.spec.mean, encoder.spec.std
    x = torch.rand(1, 3, size, size)
    prepared = (x - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    torch.testing.assert_close(
        encoder(x), theirs.forward_head(theirs.forward_features(prepared), pre_logits=True), rtol=1e-3, atol=1e-4
    )
    again = load_encoder(save_encoder(encoder, tmp_path / "e", ""))
    assert fingerprint(again) == fingerprint(encoder)


def test_shipped_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "PRETRAINED", tmp_path / "pretrained")
    with pytest.raises(ConfigError, match="'pictures' is not in this installation"):
        load_encoder("pictures")
    folder = save_encoder(trained(), tmp_path / "pretrained" / "characters", "# Characters\n")
    with pytest.raises(FileFormatError, match="SHA256SUMS"):
        load_encoder("characters")
    write_sums(folder)
    assert fingerprint(load_encoder("characters")) == fingerprint(load_encoder(folder))
    other = save_encoder(trained("conv4-64"), folder, "# Exchanged\n")
    with pytest.raises(FileFormatError, match="SHA-256 differs"):
        load_encoder("characters")
    assert load_encoder(other).name == "conv4-64"


@pytest.mark.parametrize("name", sorted(models.SHIPPED))
def test_the_shipped_encoders_are_whole(name: str):
    folder = PRETRAINED / name
    card = (folder / "README.md").read_text()
    assert card.startswith("# ")
    assert all(f"## {part}" in card for part in ("Data", "Licence", "Training", "Measured", "Limits"))
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {file: sha256(folder / file) for file in ("config.json", "model.safetensors")}
    encoder, told = load_encoder(name), json.loads((folder / "config.json").read_text())
    assert (encoder.name, encoder.n_features) == (told["backbone"], told["n_features"])
    assert encoder.spec.channels == {"characters": 1, "pictures": 3}[name]


@pytest.mark.parametrize("name", sorted(models.SHIPPED))
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_shipped_encoder_with_a_changed_file_is_refused(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(PRETRAINED / name, tmp_path / "pretrained" / name)
    monkeypatch.setattr(models, "PRETRAINED", tmp_path / "pretrained")
    load_encoder(name)
    with open(tmp_path / "pretrained" / name / file, "ab") as out:
        out.write(b" ")
    with pytest.raises(FileFormatError, match="SHA-256 differs"):
        load_encoder(name)


def test_all_that_ships_is_under_10_megabytes():
    assert sorted(path.name for path in PRETRAINED.iterdir() if path.is_dir()) == sorted(models.SHIPPED)
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < 10_000_000


def test_characters_tells_unseen_characters_apart_by_one_example(test_data: Path, tmp_path: Path):
    """5-way 1-shot, nearest example, 400 tasks over 480 pictures of 60 characters of Vinyals' test split."""
    found = {"/".join(path.parts[-2:]): path for path in (test_data / "omniglot").glob("images_*/*/character*")}
    alphabets = shipped("omniglot-vinyals")["test"].items()
    names = [f"{alphabet}/character{index:02d}" for alphabet, indices in alphabets for index in indices][::7][:60]
    lines = [f"{path},{name}" for name in names for path in sorted(found[name].iterdir())[:8]]
    (tmp_path / "some.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    shown = open_pictures(tmp_path / "some.csv", size=28, channels=1)
    assert (len(shown), len(shown.classes)) == (480, 60)
    rows = embed(load_encoder("characters"), shown.pixels).reshape(60, 8, -1)
    rng, right = np.random.default_rng(0), []
    for _ in range(400):
        task = rows[rng.choice(60, 5, replace=False)]
        distances = ((task[:, 1:, None] - task[None, None, :, 0]) ** 2).sum(-1)  # (way, query, mean of a class)
        right.append((distances.argmin(-1) == np.arange(5)[:, None]).mean())
    assert np.mean(right) >= 0.9


@pytest.mark.parametrize("name", ["conv4-64", "conv4-r2d2", "resnet12-alfa", "timm/test_resnet", "timm/test_vit"])
def test_a_row_does_not_depend_on_its_neighbours(name: str):
    """To the bit: other neighbours, other places, other numbers of pictures, one picture alone."""
    encoder, shown = trained(name, 32, 3), pixels(11, 32, 3)
    rows = embed(encoder, shown)
    order = np.random.default_rng(1).permutation(len(shown))
    assert np.array_equal(embed(encoder, shown[order]), rows[order])
    changed = shown.copy()
    changed[::2] = 255 - changed[::2]
    assert np.array_equal(embed(encoder, changed)[1::2], rows[1::2])
    for count in (1, 9):
        assert np.array_equal(embed(encoder, shown[:count]), rows[:count])


def test_embeddings_are_the_encoders_features(tmp_path: Path):
    encoder, shown = trained().train(), pixels(11)
    before = fingerprint(encoder)
    file = tmp_path / "pixels.npy"
    np.save(file, shown)
    calls: list[tuple[int, int]] = []
    rows = embed(encoder, np.load(file, mmap_mode="r"), batch=4, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 11), (8, 11), (11, 11)]
    assert rows.dtype == np.float32
    assert encoder.training
    assert fingerprint(encoder) == before
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(shown).permute(0, 3, 1, 2))
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert embed(encoder, shown[:0]).shape == (0, 32)


def test_larger_pictures_are_cropped_at_the_centre():
    encoder, shown = trained(), pixels(3, 25)
    assert np.array_equal(embed(encoder, shown), embed(encoder, shown[:, 2:22, 2:22]))


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        (pixels(2, 19), "reads 20x20 pixels, found 19x19"),
        (pixels(2, 20, 3), "reads 1 channels, found 3"),
        (pixels(2).astype(np.float32), "expected uint8 .n, H, W, C., found float32"),
        (pixels(2)[0], r"found uint8 of shape \(20, 20, 1\)"),
    ],
)
def test_pictures_of_another_kind_are_refused(shown: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        embed(trained(), shown)


def test_weights_that_are_no_numbers_are_noticed():
    encoder = trained()
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    with pytest.raises(FileFormatError, match="not finite"):
        embed(encoder, pixels(1))
