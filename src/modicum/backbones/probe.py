"""Whether a module can be run as a pure function of its parameters, its buffers and the picture.

`torch.func.functional_call` hands a module copies of its buffers, so what it does to them stays in the copies. It cannot
contain numbers, lists or tensors kept as plain attributes, and statistics that are frozen must not be written to. Such a
module would give other features on every call; it is found here by running copies of it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modicum.backbones.batch_norm import copy_buffers, forward_frozen, forward_training
from modicum.errors import ConfigError

MACHINERY = frozenset(nn.Module().__dict__) - {"training"}
HINT = "state may change in registered buffers only, and in training only"


def _value(value: Any) -> Any:
    """Something comparable that differs where state differs; objects that hold no numbers compare by their type."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest = hashlib.sha256(plain.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        return str(value.dtype), tuple(value.shape), digest
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, torch.Generator):
        return _value(value.get_state())
    if isinstance(value, Mapping):
        return [(str(key), _value(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(item) for item in value]
    if isinstance(value, bool | int | float | str | bytes | None):
        return value if value == value else "nan"
    return type(value).__qualname__


def _state(module: nn.Module) -> dict[tuple[str, str], Any]:
    """(submodule, attribute) -> comparable value, for parameters, buffers and plain attributes."""
    found: dict[tuple[str, str], Any] = {}
    for name, part in module.named_modules():
        plain = {key: item for key, item in vars(part).items() if key not in MACHINERY}
        for key, item in {**plain, **part._parameters, **part._buffers}.items():
            found[name, key] = _value(item)
    return found


def _check(module: nn.Module, example: Tensor, training: bool) -> None:
    trial = copy.deepcopy(module)
    before, given = _state(trial), copy_buffers(trial)
    with torch.no_grad():
        if training:
            forward_training(trial, example, given)
        else:
            forward_frozen(trial, example, given)
    changed = [where for where, value in _state(trial).items() if before.get(where, _state) != value]
    changed += [
        (name.rpartition(".")[0], name.rpartition(".")[2]) for name, value in given.items() if _differs(trial, name, value)
    ]
    if changed:
        owner, attribute = changed[0]
        mode = "training" if training else "evaluation"
        raise ConfigError(
            f"module: submodule {owner or 'the outermost'!r} changes {attribute!r} when it runs in {mode}; {HINT}"
        )


def _differs(module: nn.Module, name: str, value: Tensor) -> bool:
    return bool(_value(module.get_buffer(name)) != _value(value))


def probe(module: nn.Module, example: Tensor) -> None:
    """Raise `ConfigError` that names the submodule where a module cannot be run without changing.

    example: a few pictures, as the module takes them. Copies of the module run on it; the module itself does not. Refused
    too: batch norm that keeps no running statistics, for its features depend on the other pictures.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise ConfigError(f"module: batch norm {name!r} keeps no running statistics (track_running_stats=False)")
    with torch.random.fork_rng():
        for training in (True, False):
            _check(module, example, training)
