"""Files of integer networks as encoders."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.backbones.integer import IntegerBackbone
from modicum.configs.low_bit import LowBit
from modicum.errors import ConfigError, FileFormatError
from modicum.models import embed, fingerprint, load_encoder, save_encoder
from modicum.quantization.conversion import convert
from modicum.quantization.integer.network import IntegerNetwork
from modicum.quantization.layers import CODES, low_bit_layers, set_stage

SPEC = ImageSpec(28, 1, (0.3,), (0.4,), "light")


@pytest.fixture(scope="module")
def trained() -> Encoder:
    torch.manual_seed(0)
    encoder = build_encoder("conv4-64", SPEC)
    convert(encoder.backbone, LowBit(), torch.zeros(1, 1, 28, 28))
    for layer in low_bit_layers(encoder.backbone).values():
        layer.set_codes(0.1, 15, False)
    set_stage(encoder.backbone, CODES)
    return encoder.eval()


@pytest.fixture
def path(trained, tmp_path):
    about = {"backbone": f"conv4-64{LowBit().ending}", "spec": SPEC.as_record()}
    return IntegerNetwork.from_module(trained.backbone, (1, 28, 28), about=about).save(tmp_path / "a.network")


def test_the_encoder_of_a_file_gives_the_features_of_training(trained, path):
    encoder = load_encoder(path)
    assert encoder.spec == SPEC
    x = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        alone = torch.cat([trained(picture[None]) for picture in x])
    assert torch.equal(encoder(x), alone)
    pixels = x.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(embed(encoder, pixels), alone.numpy())
    assert np.array_equal(embed(encoder, pixels[1:2])[0], alone[1].numpy())


def test_an_encoders_folder_keeps_it(path, tmp_path):
    encoder = load_encoder(path)
    folder = save_encoder(encoder, tmp_path / "folder", "# Card\n")
    again = load_encoder(folder)
    assert isinstance(again.backbone, IntegerBackbone)
    assert fingerprint(again) == fingerprint(encoder)
    assert sum(file.stat().st_size for file in folder.iterdir()) < path.stat().st_size + 1000


def test_a_hub_repository_that_holds_such_a_folder_is_fetched_whole(path, tmp_path, monkeypatch):
    encoder = load_encoder(path)
    there, here = save_encoder(encoder, tmp_path / "there", "# Card\n"), tmp_path / "here"
    here.mkdir()

    def fetch(name, allow_patterns, local_files_only):
        for file in there.iterdir():
            if file.name in allow_patterns:
                shutil.copy(file, here)
        return str(here)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert fingerprint(load_encoder("someone/something")) == fingerprint(encoder)


def test_fingerprints_tell_networks_apart(trained, path, tmp_path):
    about = {"backbone": f"conv4-64{LowBit().ending}", "spec": SPEC.as_record()}
    other = build_encoder("conv4-64", SPEC)
    convert(other.backbone, LowBit(), torch.zeros(1, 1, 28, 28))
    set_stage(other.backbone, CODES)
    second = IntegerNetwork.from_module(other.backbone, (1, 28, 28), about=about).save(tmp_path / "b.network")
    assert fingerprint(load_encoder(second)) != fingerprint(load_encoder(path))


def test_errors_say_what_a_file_is(path, trained, tmp_path):
    (tmp_path / "text").write_text("no network")
    with pytest.raises(FileFormatError, match="is a file, but no integer network"):
        load_encoder(tmp_path / "text")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match="truncated"):
        load_encoder(path)
    bare = IntegerNetwork.from_module(trained.backbone, (1, 28, 28)).save(tmp_path / "bare")
    with pytest.raises(FileFormatError, match="does not say which pictures"):
        load_encoder(bare)


def test_another_size_of_pictures_is_refused(path):
    with pytest.raises(ConfigError, match="takes 28x28 pixels only, found 32x32"):
        load_encoder(path)(torch.rand(1, 1, 32, 32))
