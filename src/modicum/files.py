"""Files that are never half-written: temporary file, fsync, rename, fsync of the folder; checksums; versioned JSON.

Tensors are safetensors with a JSON record and a digest over record and tensors in the header. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modicum.errors import FileFormatError, WriteError

if TYPE_CHECKING:
    import torch

SCHEMA = 1


def cache_dir() -> Path:
    """`MODICUM_CACHE`, else the XDG cache folder's `modicum`; not created here."""
    if folder := os.environ.get("MODICUM_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modicum"


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk, so that a rename outlives a power cut; `OSError` where that fails."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path | str) -> Path:
    """Create a folder and its parents; `WriteError` names it where that fails."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot create the folder {folder}: {error.strerror}") from error
    return folder


def check_writable(folder: Path | str) -> None:
    """`WriteError` where a folder cannot be made or no file in it; whatever this tries is gone again afterwards."""
    folder = Path(folder)
    missing = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise WriteError(f"cannot write into the folder {folder}: {error.strerror}") from error
    finally:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file so that after a kill or on a full disk the old content survives whole."""
    path = Path(path)
    make_folder(path.parent)
    temporary = None
    try:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less what the umask takes away
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror}; what was there before is unchanged") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: Path | str, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, record: Mapping[str, Any]) -> None:
    """Write a record with `"schema": 1` first; NaN is refused, so that every reader can parse it."""
    text = json.dumps({"schema": SCHEMA, **record}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def check_schema(record: Any, origin: Path | str) -> dict[str, Any]:
    """The record itself if it is a JSON object of our schema, else `FileFormatError`."""
    if not isinstance(record, dict) or "schema" not in record:
        raise FileFormatError(f'{origin}: not a file of modicum (no "schema" in it)')
    if record["schema"] != SCHEMA:
        found = record["schema"]
        raise FileFormatError(f"{origin}: schema {found!r}, this version reads {SCHEMA}; make it anew")
    return record


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a record that `write_json` wrote; `FileFormatError` where it is missing, damaged or of another schema."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from error
    try:
        record = json.loads(text)
    except ValueError as error:
        raise FileFormatError(f"{path}: not valid JSON ({error}); the file is damaged") from error
    return check_schema(record, path)


def sha256(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensor_digest(tensors: Mapping[str, torch.Tensor], record: str = "") -> str:
    """Hex SHA-256 over names, types, shapes and bytes of tensors, and a record's text."""
    import torch

    state = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        state.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def write_tensors(path: Path | str, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
    """Write named tensors and a JSON record as one safetensors file with a digest over both."""
    from safetensors.torch import save

    text = json.dumps({"schema": SCHEMA, **record}, ensure_ascii=False, allow_nan=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, {"record": text, "digest": tensor_digest(plain, text)}))


def read_tensors(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read (tensors, record) of `write_tensors`; `FileFormatError` where anything was changed or cut off."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"cannot read {path}: there is no such file")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(f"{path}: truncated or not a safetensors file ({error})") from error
    if "record" not in header or "digest" not in header:
        raise FileFormatError(f"{path}: a safetensors file, but not one of modicum's (no record in its header)")
    if tensor_digest(tensors, header["record"]) != header["digest"]:
        raise FileFormatError(f"{path}: its checksum does not match; the file was changed or damaged")
    return tensors, check_schema(json.loads(header["record"]), path)
