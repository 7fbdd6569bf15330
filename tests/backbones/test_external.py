"""timm and torchvision by name: features, weights files, and every way a name or a file can be wrong. No network."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from modicum.backbones.external import External, hub_weights, preparation
from modicum.errors import ConfigError, FileFormatError


def saved(path: Path, module: torch.nn.Module) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)
    return path


def test_timm_features_are_the_pooled_ones_of_the_same_weights(tmp_path: Path):
    theirs = timm.create_model("test_resnet", num_classes=7).eval()
    ours = External("timm/test_resnet", 3, 40, saved(tmp_path / "w.safetensors", theirs)).eval()
    x = torch.rand(2, 3, 40, 40)
    expected = theirs.forward_features(x).mean((2, 3))
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)
    assert ours.n_features(40) == expected.shape[1]


def test_timm_weights_without_classifier(tmp_path: Path):
    theirs = timm.create_model("test_resnet", num_classes=0).eval()
    ours = External("timm/test_resnet", 3, 40, saved(tmp_path / "w.safetensors", theirs)).eval()
    x = torch.rand(2, 3, 40, 40)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("shufflenet_v2_x0_5", "fc"), ("squeezenet1_1", "classifier.1"), ("mobilenet_v3_small", "classifier.3")],
)
def test_torchvision_features_are_what_the_classifier_gets(tmp_path: Path, name: str, classifier: str):
    theirs = torchvision.models.get_model(name, weights=None).eval()
    ours = External(f"torchvision/{name}", 3, 40, saved(tmp_path / "w.safetensors", theirs)).eval()
    seen: list[torch.Tensor] = []
    theirs.get_submodule(classifier).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(2, 3, 40, 40)
    theirs(x)
    expected = seen[0] if seen[0].dim() == 2 else seen[0].relu().mean((2, 3))
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_grey_is_the_same_as_three_equal_channels():
    torch.manual_seed(0)
    grey = External("timm/test_resnet", 1, 32).eval()
    torch.manual_seed(0)
    colour = External("timm/test_resnet", 3, 32).eval()
    x = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)))


def test_transformers_are_built_for_the_size_asked_for():
    model = External("timm/test_vit", 3, 48).eval()
    assert model.n_features(48) == 64
    assert model.network.patch_embed.num_patches == 9
    with pytest.raises(ConfigError, match=r"takes 48x48 pixels only, found 64x64"):
        model(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet81", r"timm has no model 'resnet81' \(did you mean 'resnet18'\?\)"),
        ("torchvision/resnet19", r"torchvision has no model 'resnet19' \(did you mean 'resnet1(8|01|52)'\?\)"),
        ("torchvision/mnasnet0_5", "torchvision has no model 'mnasnet0_5'"),
        ("keras/resnet18", "expected timm/NAME or torchvision/NAME, found 'keras/resnet18'"),
    ],
)
def test_unknown_names(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        External(name, 3, 32)


def test_a_size_the_model_cannot_take():
    with pytest.raises(ConfigError, match="torchvision/alexnet cannot take 32x32 pixels"):
        External("torchvision/alexnet", 3, 32)
    with pytest.raises(ConfigError, match="in_channels: timm/test_resnet takes 1 or 3, found 2"):
        External("timm/test_resnet", 2, 32)


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/squeezenet1_1"])
def test_weights_of_another_model(tmp_path: Path, name: str):
    path = saved(tmp_path / "w.safetensors", torchvision.models.get_model("mobilenet_v3_small", weights=None))
    with pytest.raises(FileFormatError, match=f"not those of {name}"):
        External(name, 3, 32, path)


def test_one_tensor_missing_is_not_overlooked(tmp_path: Path):
    for name, model in (
        ("timm/test_resnet", timm.create_model("test_resnet")),
        ("torchvision/squeezenet1_1", torchvision.models.squeezenet1_1()),
    ):
        state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
        del state[next(iter(state))]
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(FileFormatError, match=next(iter(model.state_dict()))):
            External(name, 3, 32, tmp_path / "w.safetensors")


def test_files_that_are_not_weights(tmp_path: Path):
    pickled = tmp_path / "w.pth"
    torch.save({}, pickled)
    with pytest.raises(FileFormatError, match=r"expected a .safetensors file, found .*w.pth; other formats can run code"):
        External("timm/test_resnet", 3, 32, pickled)
    pickled.rename(tmp_path / "w.safetensors")
    with pytest.raises(FileFormatError, match="truncated or not a safetensors file"):
        External("timm/test_resnet", 3, 32, tmp_path / "w.safetensors")
    with pytest.raises(FileFormatError, match="no such file"):
        External("timm/test_resnet", 3, 32, tmp_path / "none.safetensors")


def test_published_weights_are_not_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"test_resnet are not on this machine.*timm/test_resnet@FILE.safetensors.*--online"
    ):
        hub_weights("timm/test_resnet", online=False)
    with pytest.raises(ConfigError, match="torchvision/resnet18 has no safetensors weights on the hub"):
        hub_weights("torchvision/resnet18", online=False)


def test_preparation_is_the_weights_own():
    assert preparation("timm/vit_tiny_patch16_224") == (224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert preparation("torchvision/resnet18") == (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
