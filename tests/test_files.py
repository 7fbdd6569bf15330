"""Files that are never half-written, and records whose damage is noticed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from modicum import files
from modicum.errors import FileFormatError, WriteError


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"n": 1})
    for call, number in (("fsync", 28), ("replace", 13)):
        with monkeypatch.context() as patch:
            patch.setattr(f"modicum.files.os.{call}", lambda *_, n=number: (_ for _ in ()).throw(OSError(n, os.strerror(n))))
            with pytest.raises(WriteError, match="what was there before is unchanged"):
                files.write_json(path, {"n": 2})
        assert files.read_json(path)["n"] == 1
        assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot create the folder .*file/sub"):
        files.write_text(tmp_path / "file" / "sub" / "a.txt", "x")


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    for mask, mode in ((0o077, 0o600), (0o022, 0o644), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            files.write_text(tmp_path / "a.txt", "x")
        finally:
            os.umask(before)
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_trying_a_folder_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot create the folder .*file/a/b"):
        files.check_writable(tmp_path / "file" / "a" / "b")
    with pytest.raises(WriteError, match="File name too long"):
        files.check_writable(tmp_path / "new" / ("x" * 300))
    monkeypatch.setattr(
        files.tempfile, "TemporaryFile", lambda **_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(WriteError, match=r"cannot write into the folder .*new: Permission denied"):
        files.check_writable(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json_of_another_schema_damaged_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, message in (
        ('{"schema": 7}', "schema 7, this version reads 1"),
        ('{"sch', "not valid JSON"),
        ("[1]", "not a file of modicum"),
    ):
        path.write_text(text)
        with pytest.raises(FileFormatError, match=message):
            files.read_json(path)
    with pytest.raises(FileFormatError, match="No such file"):
        files.read_json(tmp_path / "absent.json")
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"n": float("nan")})


def test_tensors_and_record_come_back_and_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([True, False]), "empty": torch.zeros(0, 4)}
    files.write_tensors(path, tensors, {"kind": "test", "name": "Grüße"})
    back, record = files.read_tensors(path)
    assert record == {"schema": 1, "kind": "test", "name": "Grüße"}
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        bad = bytearray(good)
        bad[position] ^= 0x55
        path.write_bytes(bytes(bad))
        with pytest.raises(FileFormatError):
            files.read_tensors(path)
    for length in (0, 5, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(FileFormatError):
            files.read_tensors(path)


def test_a_changed_record_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"a": torch.ones(2)}, {"kind": "honest"})
    path.write_bytes(path.read_bytes().replace(b"honest", b"forged"))
    with pytest.raises(FileFormatError, match="checksum"):
        files.read_tensors(path)


def test_digest_tells_names_types_and_shapes_apart() -> None:
    one = torch.ones(4)
    digests = {
        files.tensor_digest(tensors)
        for tensors in ({"a": one}, {"b": one}, {"a": one.view(2, 2)}, {"a": one.int()}, {"a": one, "b": one[:0]})
    }
    assert len(digests) == 5


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "x"))
    assert files.cache_dir() == tmp_path / "x"
    monkeypatch.delenv("MODICUM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_dir() == tmp_path / "modicum"
    assert not files.cache_dir().exists()


def test_json_is_readable_text(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"name": "Grüße"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"schema": 1, "name": "Grüße"}
