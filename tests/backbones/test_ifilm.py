"""iFiLM by hand, its gradients, and that any backbone can be converted, saved, frozen, synchronised and transformed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from modicum.backbones.batch_norm import copy_buffers, forward_frozen, forward_own, forward_training, support_buffers
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.backbones.ifilm import ModulatedNorm, Modulation, attention, modulate, modulate_norms, split_name
from modicum.backbones.probe import probe
from modicum.backbones.synchronised import SynchronisedBatchNorm2d, synchronise
from modicum.errors import ConfigError
from modicum.models import fingerprint, load_encoder, save_encoder
from modicum.registry import BACKBONES


def encoder_of(name: str, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return build_encoder(name, ImageSpec(32, 3, (0.5,), (0.25,)))


def lively(encoder: Encoder) -> Encoder:
    """With modulations that matter."""
    for part in encoder.modules():
        if isinstance(part, ModulatedNorm):
            nn.init.normal_(part.gamma, std=0.5)
            nn.init.normal_(part.beta, std=0.5)
    return encoder


def test_a_modulated_map_by_hand() -> None:
    """Batch norm (v - 1) / 2 of two pixels: (8, -2) and (5, 3), means 3 and 4, so cosines 0.6 and 0.8 and weights 1 : e.

    Means after a ReLU would be 4 and 4, before batch norm 7 and 9; without the 1 of 1 + gamma the first value is 2.15.
    """
    norm = nn.BatchNorm2d(2, eps=0.0)
    norm.running_mean.fill_(1)  # type: ignore[union-attr]
    norm.running_var.fill_(4)  # type: ignore[union-attr]
    layer = ModulatedNorm(norm, 2).double().eval()
    assert layer.inverse_temperature.item() == 5
    with torch.no_grad():
        layer.keys.copy_(torch.tensor([[7.0, 0.0], [0.0, 0.1]]))  # only directions count
        layer.gamma.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        layer.beta.copy_(torch.tensor([[10.0, 0.0], [0.0, 20.0]]))
    x = 2 * torch.tensor([[[8.0, -2.0]], [[5.0, 3.0]]], dtype=torch.float64)[None] + 1
    w1, w2 = 1 / (1 + math.e), math.e / (1 + math.e)
    by_hand = [[(1 + w1) * 8 + 10 * w1, (1 + w1) * -2 + 10 * w1], [(1 + 2 * w2) * 5 + 20 * w2, (1 + 2 * w2) * 3 + 20 * w2]]
    torch.testing.assert_close(layer(x)[0, :, 0], torch.tensor(by_hand, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(layer.attend(norm(x))[0], torch.tensor([w1, w2], dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_map_without_a_direction_attends_to_all_alike() -> None:
    weights = attention(torch.zeros(1, 3), torch.randn(4, 3), torch.tensor(5.0))
    assert weights.tolist() == [[0.25] * 4]


def test_keys_start_with_deviation_one_twentieth_and_modulations_at_zero() -> None:
    torch.manual_seed(0)
    layer = ModulatedNorm(nn.BatchNorm2d(500), 40)
    assert layer.keys.std().item() == pytest.approx(0.05, rel=0.02)
    assert abs(layer.keys.mean().item()) < 0.002
    assert not layer.gamma.any()
    assert not layer.beta.any()


ALIKE = ("-signed", "-32", "-48", "-lee", "56", "vgg7-16", "-8", "alexnet", "resnet50")
"""Backbones whose layers are those of another one."""
CONVERTED = [name for name in sorted(BACKBONES) if not name.endswith(ALIKE)]
CONVERTED += ["timm/test_efficientnet", "torchvision/shufflenet_v2_x0_5"]


@pytest.mark.parametrize("name", CONVERTED)
def test_a_fresh_modulation_is_the_network_as_it_was(name: str) -> None:
    """To the bit where the layers run one by one; where a block was fused (`norm_pool`) to rounding. In training too."""
    plain, modulated = encoder_of(name), encoder_of(f"{name}+ifilm-all-3")
    missing, unexpected = modulated.load_state_dict(
        {key if key in modulated.state_dict() else _inside(key): value for key, value in plain.state_dict().items()},
        strict=False,
    )
    assert not unexpected
    assert {key.rpartition(".")[2] for key in missing} == {"keys", "gamma", "beta", "inverse_temperature"}
    norms = sum(isinstance(part, nn.BatchNorm2d) for part in plain.modules())
    assert sum(isinstance(part, ModulatedNorm) for part in modulated.modules()) == norms
    x = torch.rand(2, 3, *(16, 16) if name in BACKBONES else (32, 32))
    for training in (False, True):
        features = []
        for encoder in (plain, modulated):
            torch.manual_seed(1)  # dropout
            features.append(encoder.train(training)(x))
        rounded = name.startswith("conv4-") and "192" not in name
        torch.testing.assert_close(*features, **({"rtol": 1e-4, "atol": 1e-5} if rounded else {"rtol": 0, "atol": 0}))
    with torch.no_grad():
        torch.testing.assert_close(modulated.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-5)


def _inside(key: str) -> str:
    layer, _, value = key.rpartition(".")
    return f"{layer}.norm.{value}"


@pytest.mark.parametrize(
    "name", ["resnet29-signed+ifilm-all-4", "conv4-64+ifilm-all-4", "timm/test_efficientnet+ifilm-all-4"]
)
def test_an_inputs_modulation_does_not_depend_on_the_others(name: str) -> None:
    encoder = lively(encoder_of(name)).eval()
    x, other = torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32)
    other[1] = x[1]
    assert torch.equal(encoder(x)[1], encoder(other)[1])
    assert not torch.allclose(encoder(x)[0], encoder(other)[0])


def test_gradient_reaches_keys_modulations_and_temperature() -> None:
    encoder = lively(encoder_of("resnet29+ifilm-all-4"))
    features, _ = forward_training(encoder, torch.rand(4, 3, 32, 32), copy_buffers(encoder))
    features.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.ne(0).any(), name


def test_gradients_once_and_twice_against_differences() -> None:
    """The layer's own backward, and through the attention by a plain writing of the equations."""
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    gamma, beta = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(modulate, (x, gamma, beta))
    assert torch.autograd.gradgradcheck(modulate, (x, gamma, beta))
    layer = ModulatedNorm(nn.BatchNorm2d(3), 4).double()
    nn.init.normal_(layer.gamma)
    nn.init.normal_(layer.beta)
    u = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    w = (5 * F.cosine_similarity(u.mean((2, 3))[:, None], layer.keys[None], dim=2)).softmax(1)
    expected = u * (1 + torch.einsum("bs,sc->bc", w, layer.gamma))[:, :, None, None]
    expected = expected + torch.einsum("bs,sc->bc", w, layer.beta)[:, :, None, None]
    pull = torch.randn_like(x)
    wanted = torch.autograd.grad((expected * pull).sum(), [x, layer.keys, layer.gamma, layer.beta])
    found = torch.autograd.grad((layer(x) * pull).sum(), [x, layer.keys, layer.gamma, layer.beta])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_where_to_modulate() -> None:
    def converted(name: str) -> list[str]:
        return [key for key, part in encoder_of(name).backbone.named_modules() if isinstance(part, ModulatedNorm)]

    assert len(converted("resnet29+ifilm-all-2")) == 28
    blocks = [f"stages.{stage}.2.norm{k}" for stage in range(3) for k in (1, 2, 3)]
    assert converted("resnet29+ifilm-last-2") == [*blocks, "final"]
    assert sorted(converted("densenet40-bc+ifilm-last-2")) == ["final", "transitions.0.norm", "transitions.1.norm"]
    assert converted("resnet29+ifilm-before-fc-2") == ["final"]
    assert converted("conv4-64+ifilm-before-fc-2") == ["blocks.3.norm"]
    assert converted("conv4-192+ifilm-before-fc-2") == ["norms.3"]


@pytest.mark.parametrize("name", ["resnet29+ifilm-last-3", "timm/test_efficientnet+ifilm-all-2"])
def test_save_and_load_by_name(name: str, tmp_path: Path) -> None:
    encoder = lively(encoder_of(name))
    loaded = load_encoder(save_encoder(encoder, tmp_path / "e", "# card\n"))
    assert loaded.name == loaded.config["backbone"] == name
    assert fingerprint(loaded) == fingerprint(encoder)
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(loaded(x), encoder.eval()(x))


@pytest.mark.parametrize("name", ["conv4-192-signed+ifilm-all-3", "conv4-64+ifilm-all-3"])
def test_the_modes_of_batch_norm(name: str) -> None:
    """A support set under its own statistics, frozen ones that give it back, copies that training moves; no change here."""
    encoder = lively(encoder_of(name))
    probe(encoder, torch.rand(4, 3, 32, 32))
    before, x = fingerprint(encoder), torch.rand(6, 3, 32, 32)
    trained, moved = forward_training(encoder, x, copy_buffers(encoder))
    own, buffers = support_buffers(encoder, x)
    torch.testing.assert_close(own, trained, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(forward_frozen(encoder, x, buffers), own, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(forward_own(encoder, x, dict(encoder.named_parameters()))[0], own, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(forward_frozen(encoder, x, moved), own, rtol=1e-3)
    assert fingerprint(encoder) == before


def test_parameters_of_several_tasks_under_vmap() -> None:
    encoder = lively(encoder_of("resnet29+ifilm-last-2")).eval()
    x = torch.rand(2, 3, 32, 32)
    parameters = {name: torch.stack([p.detach(), 1.1 * p.detach()]) for name, p in encoder.named_parameters()}

    def features(of_task: dict[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(encoder, of_task, (x,))
        return found

    alone = torch.stack([features({name: p[i] for name, p in parameters.items()}) for i in (0, 1)])
    torch.testing.assert_close(vmap(features)(parameters), alone, rtol=1e-4, atol=1e-5)


def test_synchronised_batch_norm_lies_inside() -> None:
    """In a group of one process statistics are the same, so are features."""
    x = torch.rand(4, 3, 32, 32)
    alone = lively(encoder_of("conv4-192+ifilm-all-3")).train()(x)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        encoder = synchronise(lively(encoder_of("conv4-192+ifilm-all-3"))).train()
        assert sum(isinstance(part, SynchronisedBatchNorm2d) for part in encoder.modules()) == 4
        torch.testing.assert_close(encoder(x), alone, rtol=1e-4, atol=1e-5)
    finally:
        dist.destroy_process_group()


def test_an_activation_inside_a_batch_norm_comes_after() -> None:
    """timm's `BatchNormAct2d`: negative values reach the query and the modulation, and none leave."""
    from timm.layers import BatchNormAct2d

    inside = BatchNormAct2d(3, act_layer=nn.ReLU)
    layer = ModulatedNorm(inside, 2).eval()
    nn.init.constant_(layer.beta, 1.0)
    x = torch.randn(2, 3, 4, 4)
    u = F.batch_norm(x, inside.running_mean, inside.running_var, eps=inside.eps)
    torch.testing.assert_close(layer(x), (u + 1).clamp(min=0))


def test_half_precision_by_autocast() -> None:
    encoder = lively(encoder_of("resnet29+ifilm-all-4")).train()
    x = torch.rand(4, 3, 32, 32)
    exact = encoder(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(x).float()
    rounded.square().sum().backward()
    assert ((rounded - exact).norm() / exact.norm()).item() < 0.1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_a_layer_that_stands_in_two_places_is_modulated_once() -> None:
    norm = nn.BatchNorm2d(2)
    model = nn.Sequential(norm, nn.ReLU(), norm)
    assert modulate_norms(model, "all", 2) == ("0",)
    assert model[0] is model[2]
    assert isinstance(model[0], ModulatedNorm)


def test_names() -> None:
    assert split_name("resnet29") == ("resnet29", None)
    assert split_name("timm/resnet18+ifilm-before-fc-7") == ("timm/resnet18", Modulation("before-fc", 7))
    for wrong in ("film-all-10", "ifilm-all", "ifilm-all-0", "ifilm-first-10", "", "ifilm-all-10+ifilm-all-10"):
        with pytest.raises(
            ConfigError, match=r"after 'resnet29' expected \+ifilm-all-N, .* as resnet29\+ifilm-all-10; found"
        ):
            encoder_of(f"resnet29+{wrong}")


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="Conv4 does not say which batch norms are the last of its stages; use ifilm-all"):
        encoder_of("conv4-64+ifilm-last-10")
    with pytest.raises(ConfigError, match="the backbone has no batch norm over maps"):
        encoder_of("timm/test_vit+ifilm-all-10")
    with pytest.raises(ConfigError, match="pixels has no batch norm"):
        encoder_of("pixels+ifilm-all-10")
    with pytest.raises(ConfigError, match="did you mean 'resnet29'"):
        encoder_of("resnet2+ifilm-all-10")
    with pytest.raises(ConfigError, match="entries: expected at least 1, found 0"):
        ModulatedNorm(nn.BatchNorm2d(2), 0)
    with pytest.raises(ConfigError, match="modulated already"):
        modulate_norms(encoder_of("conv4-32+ifilm-all-2").backbone, "all", 2)
