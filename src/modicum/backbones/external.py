"""Any timm or torchvision classification model as a backbone: "timm/NAME", "torchvision/NAME".

The classifier at the end is left out, so the features are what it would have got (the pooled ones). Fresh parameters
unless weights are given. Weights are safetensors, from a local file or, only when asked, from the hub; nothing is unpickled,
so torchvision's own downloads (pickles) are not used: timm has the same networks. A grey picture is shown to a model of
three channels three times over, which is the same as adding up its first filters over the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.errors import ConfigError, FileFormatError
from modicum.registry import suggest

HEADS = ("fc", "classifier", "heads", "head")
"""Where torchvision's classification models keep their classifier."""


class Preparation(NamedTuple):
    """How the pictures of a model's published weights were prepared: side in pixels, mean and std per channel of [0, 1]."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class External(Backbone):
    """(B, C, size, size) -> (B, D) by a timm or torchvision model; C is 1 or 3.

    Made for one picture size; other sizes work where the model allows them. weights: safetensors file of the model.
    `ConfigError`: an unknown name (says the nearest), a size it cannot take; `FileFormatError`: weights of another model.
    """

    def __init__(self, name: str, in_channels: int, size: int, weights: Path | None = None) -> None:
        library, _, model = name.partition("/")
        state = None if weights is None else read_weights(weights)
        if in_channels not in (1, 3):
            raise ConfigError(f"in_channels: {name} takes 1 or 3, found {in_channels}")
        check_name(name)
        network, fixed = _timm(model, size, state) if library == "timm" else _torchvision(model, size, state)
        super().__init__(in_channels, min_size=size if fixed else 1)
        self.name = name
        self.fixed = size if fixed else None
        self.network = network.to(memory_format=torch.channels_last)
        self._made_for = size
        self._width = self._tried(size)

    def check_size(self, height: int, width: int) -> None:
        """As `Backbone.check_size`; a model of one fixed size refuses every other one."""
        if self.fixed is not None and (height, width) != (self.fixed, self.fixed):
            only = f"{self.fixed}x{self.fixed}"
            raise ConfigError(
                f"image size: {self.name} takes {only} pixels only, found {height}x{width}; resize the pictures"
            )

    def _tried(self, size: int) -> int:
        """Width of the features at a size, found by trying: libraries document neither it nor the least size."""
        was = self.network.training
        self.network.eval()
        example = next(self.network.parameters()).new_zeros(1, 3, size, size)
        try:
            with torch.no_grad():
                shape = self.network(example).shape
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"image size: {self.name} cannot take {size}x{size} pixels ({reason}); larger ones?"
            ) from error
        finally:
            self.network.train(was)
        if len(shape) != 2 or shape[1] < 1:
            raise ConfigError(f"backbone: {self.name} gives features of shape {tuple(shape)}, expected (1, D)")
        return int(shape[1])

    def _n_features(self, size: int) -> int:
        return self._width if size == self._made_for else self._tried(size)

    def _features(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x.expand(-1, 3, -1, -1))
        return features


def names(library: str) -> Sequence[str]:
    """All names of "timm" or "torchvision", without the library's name before them.

    Not torchvision's MNASNets: they take weights from pickles only, which carry a version mark. timm has them too.
    """
    if library == "timm":
        import timm

        return list(timm.list_models()) + list(timm.list_pretrained())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models, exclude="mnasnet*"))


def check_name(name: str) -> None:
    """Raise `ConfigError` with the nearest known name where a library does not have it."""
    library, _, model = name.partition("/")
    if library not in ("timm", "torchvision"):
        raise ConfigError(f"backbone: expected timm/NAME or torchvision/NAME, found {name!r}")
    known = names(library)
    if model not in known:
        hint = suggest(model, known)
        raise ConfigError(f"backbone: {library} has no model {model!r}{hint}; names are those of {library}'s model list")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Tensors of a safetensors file; `FileFormatError` for anything else, pickles above all."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise FileFormatError(
            f"weights: expected a .safetensors file, found {path}; other formats can run code and are not read"
        )
    if not path.is_file():
        raise FileFormatError(f"weights: cannot read {path}: there is no such file")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"weights: cannot read {path}: truncated or not a safetensors file ({error})") from error


def preparation(name: str) -> Preparation:
    """How pictures are prepared for the published weights of a model; ImageNet's usual values where nothing is known."""
    check_name(name)
    library, _, model = name.partition("/")
    if library == "timm":
        import timm

        settings = timm.get_pretrained_cfg(model)
        if settings is not None:
            return Preparation(int(settings.input_size[-1]), tuple(settings.mean), tuple(settings.std))
    return Preparation(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def hub_weights(name: str, *, online: bool) -> Path:
    """The safetensors file of a timm model's published weights: the hub's local cache, or downloaded where `online`.

    `ConfigError` where there is none, says what else to do.
    """
    import timm
    from huggingface_hub import hf_hub_download

    check_name(name)
    library, _, model = name.partition("/")
    settings = timm.get_pretrained_cfg(model) if library == "timm" else None
    local = f"give a local file ({name}@FILE.safetensors)"
    if settings is None or not settings.hf_hub_id:
        raise ConfigError(f"encoder: {name} has no safetensors weights on the hub; {local}")
    try:
        return Path(hf_hub_download(settings.hf_hub_id, "model.safetensors", local_files_only=not online))
    except (OSError, ValueError) as error:
        reason = "could not be downloaded" if online else "are not on this machine, and downloads were not asked for"
        raise ConfigError(f"encoder: the weights of {name} {reason}; {local} or allow downloads (--online)") from error


def _timm(model: str, size: int, state: Mapping[str, Tensor] | None) -> tuple[nn.Module, bool]:
    """The model without classifier, and whether it takes this picture size only."""
    import timm

    settings = timm.get_pretrained_cfg(model)
    fixed = bool(settings is not None and settings.fixed_input_size)
    shape: dict[str, Any] = {"img_size": size} if fixed else {}
    classes = 0
    given: dict[str, Any] = {}
    if state is not None:
        classes = _classes(state, settings.classifier if settings is not None else None)
        given = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state), "num_classes": classes}}
    try:
        network: nn.Module = timm.create_model(model, in_chans=3, num_classes=classes, **given, **shape)
    except (RuntimeError, ValueError, AssertionError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        if state is not None:
            raise FileFormatError(f"weights: not those of timm/{model} ({reason})") from error
        raise ConfigError(f"image size: timm/{model} cannot take {size}x{size} pixels ({reason})") from error
    if classes:
        network.reset_classifier(0)  # type: ignore[operator]
    return network, fixed


def _classes(state: Mapping[str, Tensor], classifier: str | tuple[str, ...] | None) -> int:
    """How many classes the classifier saved with some weights has, 0 where none was saved."""
    first = classifier if isinstance(classifier, str) or classifier is None else classifier[0]
    weight = state.get(f"{first}.weight")
    return 0 if weight is None else int(weight.shape[0])


def _torchvision(model: str, size: int, state: Mapping[str, Tensor] | None) -> tuple[nn.Module, bool]:
    import torchvision

    options: dict[str, Any] = {"init_weights": True} if model in ("googlenet", "inception_v3") else {}
    fixed = model.startswith(("vit_", "maxvit"))
    if model.startswith("vit_"):
        options["image_size"] = size
    if model.startswith("maxvit"):
        options["input_size"] = (size, size)
    try:
        network: nn.Module = torchvision.models.get_model(model, weights=None, **options)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"image size: torchvision/{model} cannot take {size}x{size} pixels ({' '.join(str(error).split())[:300]})"
        ) from error
    for extra in ("aux1", "aux2", "AuxLogits"):
        if hasattr(network, extra):
            setattr(network, extra, None)
    if hasattr(network, "aux_logits"):
        network.aux_logits = False  # type: ignore[assignment]
    head = _last_layer(network, model)
    if state is not None:
        _load(network, state, head, model)
    network.set_submodule(head, nn.Identity())
    return network, fixed


def _last_layer(network: nn.Module, model: str) -> str:
    """Qualified name of the layer that maps features to classes: the last linear one (SqueezeNet: convolution)."""
    for head in HEADS:
        found = [
            f"{head}.{inner}".rstrip(".")
            for inner, part in (getattr(network, head).named_modules() if hasattr(network, head) else ())
            if isinstance(part, nn.Linear | nn.Conv2d)
        ]
        if found:
            return found[-1]
    raise ConfigError(f"backbone: torchvision/{model} has no classifier this version knows how to leave out; use timm's")


def _load(network: nn.Module, state: Mapping[str, Tensor], head: str, model: str) -> None:
    auxiliary = ("aux1.", "aux2.", "AuxLogits.", f"{head}.")
    wanted = {key for key in network.state_dict() if not key.startswith(f"{head}.")}
    kept = {key: value for key, value in state.items() if not key.startswith(auxiliary)}
    odd = sorted(wanted.symmetric_difference(kept))
    if odd:
        raise FileFormatError(f"weights: not those of torchvision/{model}: {len(odd)} names differ, the first is {odd[0]!r}")
    try:
        network.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise FileFormatError(f"weights: not those of torchvision/{model} ({' '.join(str(error).split())[:300]})") from error
