"""Integer networks as files: small, versioned, checked before anything in them is believed, never unpickled.

| bytes | hold |
|---|---|
| 0..7 | `MAGIC` |
| 8..11, 12..15, 16..23 | version; length of the header; length of the file; unsigned, little endian |
| then | the header, JSON: what the network is, its steps, and of every array its type, shape, packing and place |
| from the next multiple of 16 | arrays, each at a multiple of 16 bytes: weights packed (`packing`), others little endian |
| last 32 | SHA-256 of all bytes before |

Sizes in the header are compared with the file's own before memory is asked for, so a header that lies costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np

from modicum.errors import FileFormatError
from modicum.files import SCHEMA, write_bytes
from modicum.quantization.integer.packing import pack_weights, packed_size, unpack_weights
from modicum.quantization.integer.steps import Array, Step, Steps
from modicum.quantization.weights import Kind

MAGIC = b"\x93MODICUM"
VERSION = 1
ALIGNMENT, DIGEST = 16, 32
_FRONT = struct.Struct("<8sIIQ")
_TYPES = {"float32": "<f4", "int8": "|i1"}
LARGEST_SIDE = 8192
"""Pixels a side of pictures that a file may ask for."""


def is_network_file(path: Path | str) -> bool:
    """Whether a file begins as an integer network does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Arrays:
    """Collects arrays and where they lie."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: Array, kind: str | None) -> int:
        """The number of an array in the file."""
        if kind is not None:
            data = pack_weights(array, kind).tobytes()  # type: ignore[arg-type]
        else:
            array = array.astype(np.float32)
            data = array.astype(_TYPES[array.dtype.name]).tobytes()
        record = {"type": "int8" if kind else "float32", "shape": list(array.shape), "at": self.size, "bytes": len(data)}
        self.records.append(record | ({"packing": kind} if kind else {}))
        self.parts.append(data.ljust(_padded(len(data)), b"\0"))
        self.size += _padded(len(data))
        return len(self.records) - 1


def write_network(path: Path | str, steps: Steps, head: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    """Write a network whole or not at all. head: arrays of the output layer, if any. about: JSON-able facts of it."""
    arrays = _Arrays()
    records = []
    for step in steps.steps:
        kinds = {
            name: step.options["weights"] if name == "weight" and "weights" in step.options else None for name in step.arrays
        }
        places = {name: arrays.add(array, kinds[name]) for name, array in step.arrays.items()}
        records.append([step.op, list(step.inputs), list(step.outputs), dict(step.options), places, step.where])
    header = {
        "schema": SCHEMA,
        "kind": "integer network",
        "about": dict(about),
        "shape": list(steps.shape),
        "places": steps.places,
        "output": steps.output,
        "steps": records,
        "head": {name: arrays.add(array, None) for name, array in head.items()},
        "arrays": arrays.records,
    }
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    text = text.ljust(_padded(_FRONT.size + len(text)) - _FRONT.size)
    total = _FRONT.size + len(text) + arrays.size + DIGEST
    whole = b"".join((_FRONT.pack(MAGIC, VERSION, len(text), total), text, *arrays.parts))
    write_bytes(path, whole + hashlib.sha256(whole).digest())


def read_network(path: Path | str) -> tuple[Steps, dict[str, Array], dict[str, Any]]:
    """(steps, head, about) of `write_network`; `FileFormatError` says what is wrong with the file."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from error
    header, payload = _checked(data, path)
    try:
        arrays = [_array(record, payload) for record in header["arrays"]]
        steps = tuple(_step(record, arrays) for record in header["steps"])
        found = Steps(steps, header["output"], header["places"], tuple(header["shape"]))
        _check_steps(found)
        head = {str(name): arrays[place] for name, place in header["head"].items()}
        return found, head, dict(header["about"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, FileFormatError) as error:
        raise FileFormatError(f"{path}: its header does not describe an integer network ({error})") from error


def _checked(data: bytes, path: Path) -> tuple[dict[str, Any], memoryview]:
    """Header and arrays of a file that is whole and unchanged."""
    if len(data) < _FRONT.size:
        raise FileFormatError(f"{path}: not an integer network of modicum, or cut off ({len(data)} bytes)")
    magic, version, length, total = _FRONT.unpack_from(data)
    if magic != MAGIC:
        raise FileFormatError(
            f"{path}: not an integer network of modicum; make one with `modicum quantize ... --export FILE`"
        )
    if version > VERSION:
        raise FileFormatError(f"{path}: of a newer version (format {version}, this one reads {VERSION}); update modicum")
    end = len(data) - DIGEST
    if len(data) < total:
        raise FileFormatError(f"{path}: truncated; {len(data)} of {total} bytes are there; copy it again")
    if len(data) != total or _FRONT.size + length > end or hashlib.sha256(memoryview(data)[:end]).digest() != data[end:]:
        raise FileFormatError(f"{path}: its checksum does not match; the file was changed or damaged")
    try:
        header = json.loads(data[_FRONT.size : _FRONT.size + length])
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: its header is no JSON ({error})") from error
    if not isinstance(header, dict) or header.get("kind") != "integer network":
        raise FileFormatError(f"{path}: holds something else than an integer network")
    return header, memoryview(data)[_padded(_FRONT.size + length) : end]


def _array(record: Mapping[str, Any], payload: memoryview) -> Array:
    shape, at, size = [int(side) for side in record["shape"]], int(record["at"]), int(record["bytes"])
    kind: Kind | None = record.get("packing")
    if len(shape) > 6 or any(side < 0 for side in shape) or at < 0 or size < 0 or at + size > len(payload):
        raise FileFormatError(f"an array of shape {shape} at {at} does not lie in the file")
    if kind is not None and kind not in get_args(Kind):
        raise FileFormatError(f"weights packed as {kind!r}")
    itemsize = np.dtype(_TYPES[record["type"]]).itemsize
    if size != (packed_size(shape, kind) if kind else prod(shape) * itemsize):
        raise FileFormatError(f"an array of shape {shape} and {size} bytes")
    data = np.frombuffer(payload[at : at + size], np.uint8)
    if kind is not None:
        return unpack_weights(data, shape, kind)
    return data.view(_TYPES[record["type"]]).astype(record["type"]).reshape(shape)


def _step(record: Sequence[Any], arrays: Sequence[Array]) -> Step:
    op, inputs, outputs, options, places, where = record
    found = {str(name): arrays[place] for name, place in places.items()}
    return Step(str(op), tuple(map(int, inputs)), tuple(map(int, outputs)), dict(options), found, str(where))


def _check_steps(steps: Steps) -> None:
    """Refuse steps that read what nobody wrote, and pictures of impossible sizes."""
    c, h, w = steps.shape
    if not (1 <= c <= LARGEST_SIDE and 1 <= h <= LARGEST_SIDE and 1 <= w <= LARGEST_SIDE):
        raise FileFormatError(f"pictures of shape {steps.shape}")
    known = {0}
    for step in steps.steps:
        if step.options.get("weights", "binary") not in get_args(Kind):
            raise FileFormatError(f"step {step.op!r} has weights of kind {step.options['weights']!r}")
        if not known.issuperset(step.inputs) or any(
            place in known or not 0 < place < steps.places for place in step.outputs
        ):
            raise FileFormatError(f"step {step.op!r} reads or writes a place it may not")
        known.update(step.outputs)
    if steps.output not in known or steps.places > len(known) + len(steps.steps):
        raise FileFormatError("no step makes the result")
