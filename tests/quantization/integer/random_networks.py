"""Converted networks with everything random: weights, batch-norm statistics, steps."""

from __future__ import annotations

import torch
from torch import nn

from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.configs.low_bit import LowBit
from modicum.quantization.conversion import convert
from modicum.quantization.layers import CODES, low_bit_layers


def give_steps(module: nn.Module, x: torch.Tensor, top: int) -> None:
    """Steps from the values that reach each layer while those before it run on codes; signs where values have them."""
    handles = []
    for layer in low_bit_layers(module).values():

        def before(layer, args):
            a = args[0]
            signed = bool((a < 0).any())
            layer.set_codes(float(a.abs().max()) * 0.8 / top + 1e-3, min(top, 127) if signed else top, signed)
            layer.stage.fill_(CODES)

        handles.append(layer.register_forward_pre_hook(before))
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()


def randomise(module: nn.Module) -> None:
    """Statistics and parameters of batch norms of both signs."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
            part.weight.data.normal_(1, 0.5)
            part.bias.data.normal_(0, 0.3)


def converted(
    name: str, size: int = 32, channels: int = 3, form: LowBit | None = None, top: int = 15, seed: int = 0
) -> nn.Module:
    """A converted backbone in evaluation mode, on codes up to `top`."""
    torch.manual_seed(seed)
    module = build_encoder(name, ImageSpec(size, channels)).backbone
    randomise(module)
    convert(module, form or LowBit(), torch.zeros(1, channels, size, size))
    module.eval()
    give_steps(module, torch.rand(2, channels, size, size), top)
    return module
