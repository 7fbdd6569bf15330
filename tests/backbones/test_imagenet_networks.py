"""AlexNet's maps and parameters by hand; ResNet-18 and ResNet-50 are torchvision's with the classifier left out."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from modicum.backbones.alexnet import AlexNet
from modicum.backbones.imagenet_resnet import ImageNetResNet, resnet18, resnet50


def test_alexnet_maps_are_those_of_its_table() -> None:
    model = AlexNet(3).eval()
    sides: list[int] = []
    for layer in (*model.convs, model.pool):
        layer.register_forward_hook(lambda layer, given, out: sides.append(out.shape[-1]))
    read: list[tuple[int, ...]] = []
    model.linears[0].register_forward_pre_hook(lambda layer, given: read.append(tuple(given[0].shape)))
    with torch.no_grad():
        assert model(torch.randn(1, 3, 224, 224)).shape == (1, 4_096)
    assert sides == [55, 27, 27, 13, 13, 13, 13, 6]  # convolutions, and a pool behind the first, second and fifth
    assert read == [(1, 256 * 36)]


def test_alexnet_parameters_by_hand() -> None:
    convolutions = 96 * 3 * 121 + 256 * 96 * 25 + 384 * 256 * 9 + 384 * 384 * 9 + 256 * 384 * 9
    linears = 4_096 * 256 * 36 + 4_096 * 4_096
    norms = 2 * (96 + 256 + 384 + 384 + 256 + 2 * 4_096)
    model = AlexNet(3)
    assert sum(p.numel() for p in model.parameters()) == convolutions + linears + norms
    assert sum(isinstance(part, nn.ReLU) for part in model.modules()) == 7


@pytest.mark.parametrize(("make", "name", "width"), [(resnet18, "resnet18", 512), (resnet50, "resnet50", 2_048)])
def test_resnets_are_torchvisions(make: object, name: str, width: int) -> None:
    torch.manual_seed(0)
    model = ImageNetResNet(3, int(name.removeprefix("resnet"))).eval()
    theirs = torchvision.models.get_model(name).eval()
    missing, unexpected = theirs.load_state_dict(
        {key.removeprefix("network."): value for key, value in model.state_dict().items()}, strict=False
    )
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs(x), rtol=1e-4, atol=1e-5)  # layouts round differently
    assert model.n_features(224) == width


def test_last_norms_of_resnets_exist_and_end_stages() -> None:
    for model, blocks in ((resnet18(3), 2), (resnet50(3), 3)):
        assert len(model.last_norms) == 4 * blocks
        assert model.last_norms[-1] == f"network.layer4.{1 if blocks == 2 else 2}.bn{blocks}"
        for name in model.last_norms:
            assert isinstance(model.get_submodule(name), nn.BatchNorm2d)


def test_other_numbers_of_channels_change_the_first_layer_alone() -> None:
    grey: dict[str, Tensor] = resnet18(1).state_dict()
    colour: dict[str, Tensor] = resnet18(3).state_dict()
    assert [key for key in colour if colour[key].shape != grey[key].shape] == ["network.conv1.weight"]
