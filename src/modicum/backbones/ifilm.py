"""iFiLM: batch norms whose output is modulated for each input by a small dictionary of their own.

Siyuan Shan, Yang Li, Junier Oliva: Meta-Neighborhoods, NeurIPS 2020, arXiv 1909.09140, section 3.4 and appendix A.2, after
FiLM (Perez et al., AAAI 2018, arXiv 1709.07871). For a batch norm with C channels and the map v (H, W, C) of one input,

    u = BN(v),   q = mean of u over pixels,   w = softmax over j of cos(q, k_j) / T
    out = (1 + sum_j w_j gamma_j) u + sum_j w_j beta_j,      then the network's ReLU as before

| symbol | variable | shape | at the start |
|---|---|---|---|
| k_j | `keys` | (S, C) | normal, deviation 0.05 |
| gamma_j, beta_j | `gamma`, `beta` | (S, C) | 0: the network as it was, to the bit |
| 1 / T | `inverse_temperature`, learned | () | 5 |
| S | `entries` | | 10 |

| where | batch norms that are modulated |
|---|---|
| all | all |
| last | those which the backbone calls the last of its stages, and the one before its last pooling |
| before-fc | the one before the last pooling; where the backbone does not say, the last that it registers |

`modulate_norms` puts a `ModulatedNorm` in the place of each, in any module. An input's modulation depends on the other
inputs only as its batch norm does.

*Deviations*. The released code also modulates two maps of ResNet's blocks where it has no batch norm: what the very first
block gets, and the shortcut's convolution; here, as the paper says, only batch norms are. In its DenseNet the modulated map
of a transition is computed and then not used, and the last batch norm has none; here both are modulated. Its ConvNet knows
"all" only.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.backbones.batch_norm_kernels import plain
from modicum.errors import ConfigError

Where = Literal["all", "last", "before-fc"]
START = 5.0
"""1 / T at the start."""
DEVIATION = 0.05
"""Of the keys at the start."""
LEAST = 1e-6
"""Norm below which a vector counts as having no direction: TensorFlow's l2_normalize bounds the square by 1e-12."""


def attention(query: Tensor, keys: Tensor, inverse_temperature: Tensor) -> Tensor:
    """Weights (B, S) of the entries with keys (S, C) for queries (B, C): softmax of cosines times 1 / T ()."""
    cosine = F.normalize(query, dim=-1, eps=LEAST) @ F.normalize(keys, dim=-1, eps=LEAST).mT
    return torch.softmax(inverse_temperature * cosine, -1)


def modulate(x: Tensor, gamma: Tensor, beta: Tensor, overwrite: bool = False) -> Tensor:
    """(1 + gamma) x + beta of maps x (B, C, H, W) by gamma, beta (B, C), which are taken in x's precision.

    overwrite: the result may lie where x lies, where no gradient is asked for.
    """
    scale, shift = (1 + gamma).to(x.dtype), beta.to(x.dtype)
    if not plain(x, scale, shift):
        return torch.addcmul(shift[..., None, None], x, scale[..., None, None])
    if torch.is_grad_enabled():
        out: Tensor = _Modulate.apply(x, scale, shift)
        return out
    return torch.addcmul(shift[..., None, None], x, scale[..., None, None], out=x if overwrite else None)


class _Modulate(torch.autograd.Function):
    """(x, scale, shift) -> scale x + shift; backward in one fresh map, where torch's takes four."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Maps like x."""
        ctx.save_for_backward(x, scale)
        return torch.addcmul(shift[..., None, None], x, scale[..., None, None])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients scale g, sum of g x over pixels, sum of g over pixels; differentiable where asked to be."""
        x, scale = ctx.saved_tensors
        product = g * x
        of_scale, of_shift = product.sum((2, 3)), g.sum((2, 3))
        if torch.is_grad_enabled():
            return g * scale[..., None, None], of_scale, of_shift
        return torch.mul(g, scale[..., None, None], out=product), of_scale, of_shift


@final
class ModulatedNorm(nn.Module):
    """A batch norm and its dictionary: (B, C, H, W) -> (B, C, H, W). entries: S, at least 1, else `ConfigError`.

    An activation or dropout inside the batch norm (timm's `BatchNormAct2d`) is taken out of it and comes after.
    """

    def __init__(self, norm: nn.BatchNorm2d, entries: int) -> None:
        super().__init__()
        if entries < 1:
            raise ConfigError(f"iFiLM entries: expected at least 1, found {entries}")
        given = norm.running_mean if norm.weight is None else norm.weight
        like = torch.empty(0) if given is None else given.detach()
        shape = (entries, norm.num_features)
        self.norm = norm
        self.after = nn.Sequential()
        for name in ("drop", "act"):
            inside = getattr(norm, name, None)
            if isinstance(inside, nn.Module):
                self.after.append(inside)
                setattr(norm, name, nn.Identity())
        self.keys = nn.Parameter(DEVIATION * torch.randn(shape, dtype=like.dtype).to(like.device))
        self.gamma = nn.Parameter(like.new_zeros(shape))
        self.beta = nn.Parameter(like.new_zeros(shape))
        self.inverse_temperature = nn.Parameter(like.new_tensor(START))

    def attend(self, normalised: Tensor) -> Tensor:
        """Weights of the entries (B, S) for maps after batch norm (B, C, H, W)."""
        # A sum first: the gradient of a mean would divide the whole map.
        pooled = normalised.sum((2, 3)) / normalised.shape[2:].numel()
        return attention(pooled, self.keys, self.inverse_temperature)

    def forward(self, x: Tensor) -> Tensor:
        """The modulated map; see the module's equations."""
        x = self.norm(x)
        weights = self.attend(x)
        out: Tensor = self.after(modulate(x, weights @ self.gamma, weights @ self.beta, overwrite=True))
        return out


class Modulation(NamedTuple):
    """What "+ifilm-WHERE-ENTRIES" behind a backbone's name says."""

    where: Where
    entries: int


def split_name(backbone: str) -> tuple[str, Modulation | None]:
    """The plain name and the modulation of a name like "resnet29+ifilm-all-10"; None without one.

    `ConfigError` for another ending, which says the form.
    """
    name, plus, ending = backbone.partition("+")
    if not plus:
        return name, None
    found = re.fullmatch(r"ifilm-(all|last|before-fc)-([1-9]\d*)", ending)
    if found is None:
        forms = ", ".join(f"+ifilm-{where}-N" for where in get_args(Where))
        raise ConfigError(
            f"backbone: after {name!r} expected {forms} with N >= 1 entries a layer, as {name}+ifilm-all-10; found +{ending}"
        )
    where: Where = found[1]  # type: ignore[assignment]
    return name, Modulation(where, int(found[2]))


def chosen_norms(model: nn.Module, where: Where) -> tuple[str, ...]:
    """Qualified names of the batch norms to modulate; `ConfigError` where there are none, or nobody says which are last."""
    norms = [name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)]
    said = model.last_norms if isinstance(model, Backbone) else ()
    if not norms:
        raise ConfigError("iFiLM: the backbone has no batch norm over maps (BatchNorm2d) to modulate; choose another one")
    if where == "last" and not said:
        raise ConfigError(
            f"iFiLM: {type(model).__name__} does not say which batch norms are the last of its stages; "
            "use ifilm-all or ifilm-before-fc"
        )
    return {"all": tuple(norms), "last": said, "before-fc": (said or norms)[-1:]}[where]  # type: ignore[return-value]


def modulate_norms(model: nn.Module, where: Where, entries: int) -> tuple[str, ...]:
    """Put a `ModulatedNorm` in the place of chosen batch norms, in the model itself; returns their names.

    Keys are drawn by torch's generator, in the order of the names. `ConfigError`: as `chosen_norms`, or modulated already.
    """
    if any(isinstance(part, ModulatedNorm) for part in model.modules()):
        raise ConfigError("iFiLM: the backbone is modulated already")
    names = chosen_norms(model, where)
    places: dict[int, list[str]] = {}
    for name, part in model.named_modules(remove_duplicate=False):
        places.setdefault(id(part), []).append(name)
    for name in names:
        norm = model.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        made = ModulatedNorm(norm, entries).train(norm.training)
        for place in places[id(norm)]:  # a layer that stands in two places keeps doing so
            model.set_submodule(place, made)
    return names
