"""Encoders as files: save, load by name, fingerprint; and pictures -> embeddings that do not depend on their neighbours.

An encoder's folder holds `config.json` (what to build), `model.safetensors` (its tensors, with the same configuration and
a digest in the header) and `README.md` (the model card). Nothing is unpickled. A name is one of

- "characters", "pictures": shipped in the package, checked against the recorded SHA-256 sums;
- "pixels": the standardised 32-pixel picture itself, without weights;
- a folder written by `save_encoder`, or the RUN of a training, whose encoder lies in RUN/encoder;
- the file of an integer network (`modicum quantize ... --export FILE`), or an encoder's folder with one in it;
- "timm/NAME", published weights from the hub's local cache, or "timm/NAME@FILE.safetensors" (also "torchvision/..."), a
  local file;
- "owner/name", a hub repository that holds such a folder.

The network is used only where `online` says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modicum.backbones.batch_norm import forward_frozen
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.backbones.integer import IntegerBackbone, load_integer_encoder
from modicum.errors import ConfigError, DataError, FileFormatError
from modicum.files import make_folder, read_json, read_tensors, sha256, tensor_digest, write_json, write_tensors, write_text
from modicum.quantization.integer.file import is_network_file
from modicum.registry import suggest
from modicum.runtime import Progress

SHIPPED = ("characters", "pictures")
PIXELS = "pixels"
PRETRAINED = Path(__file__).parent / "pretrained"
"""Beside this file, because importlib.resources finds another folder in an editable install."""
CONFIG, WEIGHTS, CARD, SUMS = "config.json", "model.safetensors", "README.md", "SHA256SUMS"
INTEGERS = "integers.network"
"""In place of `WEIGHTS` in the folder of an integer network's encoder."""
BATCH = 8
"""Pictures per pass of `embed`: few, so that one picture costs little; larger networks gain throughput from more."""


def _described(encoder: Encoder) -> dict[str, Any]:
    if "backbone" not in encoder.config or "spec" not in encoder.config:
        raise ConfigError(
            "encoder: its config lacks 'backbone' or 'spec', so it could not be built again; use build_encoder"
        )
    dtype = str(next(encoder.parameters(), encoder.mean).dtype).removeprefix("torch.")
    return {"kind": "encoder", **encoder.config, "n_features": encoder.n_features, "dtype": dtype}


def save_encoder(encoder: Encoder, folder: Path | str, card: str, *, half: bool = False) -> Path:
    """Write an encoder's folder and return it; every file whole or not at all.

    card: the model card, Markdown. half: store weights as float16, half the size; loading gives their first precision back,
    with values rounded to 11 bits.
    """
    folder = make_folder(folder)
    record = _described(encoder)
    if isinstance(encoder.backbone, IntegerBackbone):
        encoder.backbone.network.save(folder / INTEGERS)
        write_json(folder / CONFIG, record)
        write_text(folder / CARD, card)
        return folder
    tensors = {name: tensor.detach() for name, tensor in encoder.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    write_tensors(folder / WEIGHTS, tensors, record)
    write_json(folder / CONFIG, record)
    write_text(folder / CARD, card)
    return folder


def write_sums(folder: Path | str) -> None:
    """Record the SHA-256 sums of an encoder's files beside them, in the form `sha256sum -c` reads."""
    folder = Path(folder)
    write_text(folder / SUMS, "".join(f"{sha256(folder / name)}  {name}\n" for name in (CONFIG, WEIGHTS)))


def _check_sums(folder: Path) -> None:
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except OSError as error:
        raise FileFormatError(f"cannot read {folder / SUMS}: {error.strerror}") from error
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file() or known.get(name) != sha256(folder / name):
            raise FileFormatError(f"{folder / name}: not the file that was shipped (SHA-256 differs); install modicum again")


def _load_folder(folder: Path) -> Encoder:
    record = read_json(folder / CONFIG)
    if record.get("kind") != "encoder":
        raise FileFormatError(f"{folder / CONFIG}: not an encoder's configuration (kind is {record.get('kind')!r})")
    if (folder / INTEGERS).is_file():
        return load_integer_encoder(folder / INTEGERS)
    tensors, header = read_tensors(folder / WEIGHTS)
    if header != record:
        raise FileFormatError(f"{folder}: {CONFIG} and the record in {WEIGHTS} differ; one of them was changed")
    try:
        encoder = _built(record["backbone"], ImageSpec(**record["spec"]))
        encoder.to(getattr(torch, record["dtype"]))
        encoder.load_state_dict(tensors)
    except (RuntimeError, KeyError, TypeError, AttributeError, ConfigError) as error:
        reason = " ".join(str(error).split())[:300]
        raise FileFormatError(f"{folder}: its configuration and weights do not make an encoder ({reason})") from error
    return encoder.eval()


def _built(backbone: str, spec: ImageSpec) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        return build_encoder(backbone, spec)


def _load_shipped(name: str) -> Encoder:
    folder = PRETRAINED / name
    if not folder.is_dir():
        raise ConfigError(f"encoder: {name!r} is not in this installation of modicum; use a RUN of `train` or a timm model")
    _check_sums(folder)
    return _load_folder(folder)


def _load_external(name: str, online: bool) -> Encoder:
    from modicum.backbones.external import External, hub_weights, preparation

    model, _, file = name.partition("@")
    size, mean, std = preparation(model)
    weights = Path(file) if file else hub_weights(model, online=online)
    spec = ImageSpec(size, 3, mean, std)
    with torch.random.fork_rng(devices=[]):
        backbone = External(model, spec.channels, size, weights)
    config = {"backbone": model, "spec": spec.as_record()}
    return Encoder(backbone, spec, backbone.n_features(size), model, config).eval()


def _load_hub(name: str, online: bool) -> Encoder:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, INTEGERS, CARD], local_files_only=not online)
    except (OSError, ValueError) as error:
        reason = "could not be fetched" if online else "is not on this machine; allow downloads with --online"
        raise ConfigError(f"encoder: no folder {name!r} here, and as a hub repository it {reason}") from error
    return _load_folder(Path(folder))


def load_encoder(name_or_path: Path | str, *, online: bool = False) -> Encoder:
    """An encoder in evaluation mode on the CPU, by a name of the module's list. Torch's random state is left alone.

    `ConfigError`: nothing has that name; `FileFormatError`: damaged, changed or another version's files.
    """
    name = str(name_or_path)
    if name in SHIPPED:
        return _load_shipped(name)
    if name == PIXELS:
        return build_encoder(PIXELS, ImageSpec(32, 3)).eval()
    if name.startswith(("timm/", "torchvision/")):
        return _load_external(name, online)
    folder = Path(name_or_path)
    if (folder / "encoder").is_dir():
        folder = folder / "encoder"
    if folder.is_dir():
        return _load_folder(folder)
    if folder.is_file():
        if not is_network_file(folder):
            raise FileFormatError(f"encoder: {folder} is a file, but no integer network of modicum; give a folder or a RUN")
        return load_integer_encoder(folder)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        return _load_hub(name, online)
    expected = (
        f"{', '.join(SHIPPED)}, {PIXELS}, a folder of an encoder or a run, an integer network's file, timm/NAME or a hub id "
        "owner/name"
    )
    raise ConfigError(f"encoder: expected {expected}; found {name!r}{suggest(name, (*SHIPPED, PIXELS))}")


def fingerprint(encoder: Encoder) -> str:
    """Hex SHA-256 over an encoder's configuration and tensors: equal fingerprints, equal encoders."""
    return tensor_digest(encoder.state_dict(), json.dumps(_described(encoder), sort_keys=True))


def _check_pixels(pixels: np.ndarray, spec: ImageSpec) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise DataError(f"pixels: expected uint8 (n, H, W, C), found {pixels.dtype} of shape {pixels.shape}")
    height, width, channels = pixels.shape[1:]
    if channels != spec.channels:
        raise DataError(f"pixels: this encoder reads {spec.channels} channels, found {channels}; open the pictures so")
    if min(height, width) < spec.size:
        raise DataError(f"pixels: this encoder reads {spec.size}x{spec.size} pixels, found {height}x{width}; enlarge them")


def embed(encoder: Encoder, pixels: np.ndarray, batch: int = BATCH, progress: Progress | None = None) -> np.ndarray:
    """Embeddings, float32 (n, D), of pictures (n, H, W, C) uint8 (a memory map will do), cropped to the encoder's size.

    A row is the same to the bit whatever stands beside it: every pass has `batch` pictures, the last filled up with black
    ones, for another shape may take another kernel. So embeddings to be compared need one `batch`, one number of threads.
    """
    spec = encoder.spec
    _check_pixels(pixels, spec)
    if batch < 1:
        raise ConfigError(f"batch: expected at least 1, found {batch}")
    top, left = (pixels.shape[1] - spec.size) // 2, (pixels.shape[2] - spec.size) // 2
    buffers = dict(encoder.named_buffers())
    batch = 1 if isinstance(encoder.backbone, IntegerBackbone) else batch  # it runs one by one: nothing to fill up
    out = np.empty((len(pixels), encoder.n_features), np.float32)
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            chunk = pixels[start : start + batch, top : top + spec.size, left : left + spec.size]
            out[start : start + len(chunk)] = _features(encoder, chunk, batch, buffers)
            if progress is not None:
                progress(start + len(chunk), len(pixels))
    return out


def _features(encoder: Encoder, chunk: np.ndarray, batch: int, buffers: Mapping[str, Tensor]) -> np.ndarray:
    padded = np.zeros((batch, *chunk.shape[1:]), np.uint8)
    padded[: len(chunk)] = chunk
    x = torch.from_numpy(padded).to(encoder.mean.device).permute(0, 3, 1, 2)
    features: np.ndarray = forward_frozen(encoder, x, buffers)[: len(chunk)].float().cpu().numpy()
    if not np.isfinite(features).all():
        raise FileFormatError(f"encoder: {encoder.name} gave features that are not finite; its weights are damaged")
    return features
