"""A full disk, a file that cannot be written, a damaged database, something else in its place: an error, nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modicum.errors import FileFormatError, WriteError
from modicum.memory.store import Store
from modicum.memory.types import Batch, MemoryInfo, item_id

DIM = 64


def numbered(number: int, n: int = 50) -> Batch:
    """Batch `number`: what its items are follows from its number alone."""
    names = [f"{number}.{i}" for i in range(n)]
    ids = np.array([item_id("s", name) for name in names], dtype=np.int64)
    vectors = np.random.default_rng(number).standard_normal((n, DIM)).astype(np.float32)
    return Batch(ids, vectors, "s", names, [f"label{number % 3}"] * n, [None] * n, [""] * n)


def assert_holds_exactly(store: Store, numbers: list[int]) -> None:
    """The memory is sound and holds these batches, whole, and nothing else."""
    assert store.check() == []
    assert len(store) == 50 * len(numbers)
    for number in numbers:
        batch = numbered(number)
        assert store.vectors(batch.ids).tobytes() == batch.vectors.tobytes()
        assert [item.name for item in store.payload(batch.ids)] == list(batch.names)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.create(tmp_path / "memory", MemoryInfo(DIM)) as store:
        for number in range(4):
            store.add(numbered(number))
    return tmp_path / "memory"


FULL = """
import os, resource, sys
from pathlib import Path
from modicum.errors import WriteError
from modicum.memory import store_connections
from modicum.memory.store import Store
from modicum.memory.types import MemoryInfo
sys.path.insert(0, sys.argv[3])
from test_store_faults import DIM, numbered, assert_holds_exactly

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

folder, size = Path(sys.argv[1]), int(sys.argv[2])
store_connections.LOG_SIZE = size // 2
store, kept, refused = Store.open(folder), list(range(4)), 0
limit(size)
for number in range(4, 200):
    try:
        store.add(numbered(number))
        kept.append(number)
    except WriteError as error:
        assert "acknowledged before is unchanged" in str(error), error
        refused += 1
        if refused > 5:
            break
assert refused > 5 and len(kept) > 4, (refused, len(kept))
limit(100)
changes = [
    lambda: store.remove_source("s"),
    lambda: store.relabel(numbered(0).ids, "x"),
    lambda: store.snapshot(folder.parent / "copy"),
    lambda: Store.create(folder.parent / "new", MemoryInfo(DIM)),
]
for change in changes:
    try:
        change()
    except WriteError:
        continue
    raise AssertionError("there was room")
limit(size)
assert sorted(path.name for path in folder.parent.iterdir()) == ["memory", "new"], os.listdir(folder.parent)
assert os.listdir(folder.parent / "new") == []
assert_holds_exactly(store, kept)
store.close()
assert_holds_exactly(Store.open(folder), kept)
limit(resource.RLIM_INFINITY)
with Store.open(folder) as store:
    assert_holds_exactly(store, kept)
    store.add(numbered(1000))
    assert_holds_exactly(store, [*kept, 1000])
print(len(kept), refused)
"""


@pytest.mark.parametrize("size", [350_000, 500_000, 1_000_000])
def test_no_file_may_grow_any_more(folder: Path, size: int) -> None:
    """A limit of file sizes, which writes meet as they meet a full disk: in the log, in the database, in a copy."""
    arguments = [sys.executable, "-c", FULL, str(folder), str(size), str(Path(__file__).parent)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept, refused = map(int, done.stdout.split())
    assert kept > 4
    assert refused > 5


def test_the_database_may_have_no_more_pages(folder: Path) -> None:
    """SQLite's own report of a full disk."""
    with Store.open(folder) as store:
        with store._connections.writing() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        kept, told = list(range(4)), ""
        while not told and len(kept) < 100:
            try:
                store.add(numbered(len(kept)))
                kept.append(len(kept))
            except WriteError as error:
                told = str(error)
        assert re.search(r"cannot write .*memory.sqlite3: the disk is full .* is unchanged", told)
        assert_holds_exactly(store, kept)
        store.remove(numbered(0).ids)  # room again
        store.remove(numbered(1).ids)
        store.add(numbered(0))
        assert_holds_exactly(store, [0, *kept[2:]])


def as_nobody(folder: Path, work: Callable[[Path], object]) -> str:
    """What a process prints that may read a folder and write nothing in it. Root could; so it becomes another user."""
    with tempfile.TemporaryDirectory() as place:
        there = Path(place) / "memory"
        shutil.copytree(folder, there)
        (there / "memory.sqlite3").chmod(0o444)
        there.chmod(0o555)
        Path(place).chmod(0o755)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                told = str(work(there))
            except BaseException as error:
                told = f"{type(error).__name__}: {error}"
            os.write(writer, told.encode())
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            told = pipe.read().decode()
        os.waitpid(child, 0)
        there.chmod(0o755)
        assert sorted(os.listdir(there)) == ["memory.sqlite3"]
        assert (there / "memory.sqlite3").read_bytes() == (folder / "memory.sqlite3").read_bytes()
    return told


def test_reading_only_refuses_changes(folder: Path) -> None:
    with Store.open(folder, readonly=True) as store:
        for change in (lambda: store.add(numbered(9)), lambda: store.remove_source("s"), lambda: store.relabel([1], "x")):
            with pytest.raises(WriteError, match="opened for reading only"):
                change()
        assert_holds_exactly(store, list(range(4)))


def test_a_folder_that_cannot_be_written_is_read(folder: Path) -> None:
    def read(there: Path) -> object:
        with Store.open(there, readonly=True) as store:
            return len(store), store.check(), store.vectors(numbered(3).ids).tobytes() == numbered(3).vectors.tobytes()

    assert as_nobody(folder, read) == "(200, [], True)"


def test_a_folder_that_cannot_be_written_is_not_changed(folder: Path) -> None:
    told = as_nobody(folder, lambda there: Store.open(there).remove_source("s"))
    assert re.fullmatch(r"WriteError: cannot write .*memory.sqlite3: .*unchanged", told), told


def test_something_that_is_no_memory(tmp_path: Path) -> None:
    with pytest.raises(
        FileFormatError, match=r"not a memory \(it has no memory.sqlite3\); make one with `modicum memory create`"
    ):
        Store.open(tmp_path)
    with pytest.raises(FileFormatError, match="not a memory"):
        Store.open(tmp_path / "nowhere")
    sqlite3.connect(tmp_path / "memory.sqlite3").executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1)").close()
    with pytest.raises(FileFormatError, match="a database, but not a memory of modicum"):
        Store.open(tmp_path)
    (tmp_path / "memory.sqlite3").write_bytes(b"a letter to somebody" * 1000)
    with pytest.raises(FileFormatError, match=r"is damaged \(file is not a database\).*Put a snapshot in its place"):
        Store.open(tmp_path)
    (tmp_path / "memory.sqlite3").write_bytes(b"")
    with pytest.raises(FileFormatError, match="not a memory of modicum"):
        Store.open(tmp_path)


def test_another_version_is_refused_and_a_newer_one_told(folder: Path) -> None:
    for version, told in (
        (2, "schema 2, this version reads 1; written by a newer modicum"),
        (0, "schema 0, this version reads 1"),
    ):
        connection = sqlite3.connect(folder / "memory.sqlite3")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        with pytest.raises(FileFormatError, match=told):
            Store.open(folder)


def use(folder: Path) -> list[str]:
    """Read everything and add something; what `check` finds wrong."""
    with Store.open(folder) as store:
        found = store.check()
        list(store.items())
        list(store.all_vectors())
        store.counts()
        store.changes(0)
        store.add(numbered(50))
    return found


def test_a_damaged_description_is_refused(folder: Path) -> None:
    connection = sqlite3.connect(folder / "memory.sqlite3", isolation_level=None)
    for value in ("{", '{"dim": 3}', "[]"):
        connection.execute("UPDATE info SET value = ?", [value])
        with pytest.raises(FileFormatError, match=r"its description cannot be read.*Put a snapshot in its place"):
            Store.open(folder)
    connection.execute("DROP TABLE info")
    with pytest.raises(FileFormatError, match="no such table"):
        Store.open(folder)


def test_a_database_that_was_cut_off_is_refused(folder: Path) -> None:
    path, size = folder / "memory.sqlite3", (folder / "memory.sqlite3").stat().st_size
    for part in (0.01, 0.3, 0.6, 0.95):
        shutil.copy(path, folder / "whole")
        os.truncate(path, int(size * part))
        with pytest.raises(FileFormatError, match=r"is damaged \(.*Put a snapshot in its place"):
            use(folder)
        os.replace(folder / "whole", path)
    assert use(folder) == []


@pytest.mark.parametrize("kind", ["noise", "zeros"])
def test_overwritten_pages_are_found(folder: Path, kind: str) -> None:
    """Every page but the first overwritten in turn: refused when it is read or found by `check`."""
    path = folder / "memory.sqlite3"
    whole = path.read_bytes()
    told = []
    for start in range(16384, len(whole), 16384):
        noise = {"noise": np.random.default_rng(start).bytes(16384), "zeros": bytes(16384)}[kind]
        path.write_bytes(whole[:start] + noise + whole[start + 16384 :])
        try:
            told.append(f"found by check: {use(folder)}")
        except FileFormatError as error:
            told.append(str(error))
        for name in os.listdir(folder):
            (folder / name).unlink()
    assert len(told) > 10
    assert [line for line in told if "found by check: []" in line] == []
    assert sum("Put a snapshot in its place" in line for line in told) > 10


def test_a_changed_bit_of_an_embedding_is_never_answered(folder: Path) -> None:
    path = folder / "memory.sqlite3"
    batch = numbered(2)
    data = bytearray(path.read_bytes())
    start = data.index(batch.vectors[7].tobytes())
    data[start + 100] ^= 4
    path.write_bytes(data)
    with Store.open(folder) as store:
        assert len(store.check()) == 1
        assert "altered: its checksum does not match" in store.check()[0]
        assert store.vectors(batch.ids[:7]).tobytes() == batch.vectors[:7].tobytes()
        for read in (
            lambda: store.vectors(batch.ids),
            lambda: list(store.all_vectors()),
            lambda: list(store.added_vectors()),
        ):
            with pytest.raises(
                FileFormatError, match=rf"embeddings of items {batch.ids[7]} were altered or are missing.*snapshot"
            ):
                read()
        store.remove([batch.ids[7]])
        assert store.check() == []


CROOKED = {
    "UPDATE source SET items = items + 1": "source 's' counts 201 items and has 200",
    "UPDATE label SET items = 7 WHERE name = 'label1'": "label 'label1' counts 7 items and has 50",
    "UPDATE label SET key = key + 100 WHERE name = 'label2'": "has a label without a name",
    "DELETE FROM vector WHERE place = 10": f"item {numbered(0).ids[9]} has no embedding",
    "DELETE FROM item WHERE place = 10": "the embedding at 10 has no item",
    "DELETE FROM recent WHERE place = 10": f"item {numbered(0).ids[9]} is not found by its id",
    "INSERT INTO settled SELECT * FROM recent WHERE place = 10": f"item {numbered(0).ids[9]} is not found by its id",
    "INSERT INTO settled VALUES (5, 9999)": "the id 5 has no item",
    "UPDATE change SET first = first - 1 WHERE last = 200": "the change 200 has 50 ids, expected 51",
    "UPDATE vector SET data = x'00000000' WHERE place = 3": "the embedding at 3 has 4 bytes, expected 256",
}


@pytest.mark.parametrize("statement", CROOKED)
def test_tables_that_contradict_each_other_are_found(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "memory.sqlite3", isolation_level=None)
    connection.execute(statement)
    connection.close()
    with Store.open(folder) as store:
        assert any(CROOKED[statement] in line for line in store.check())


def test_a_writer_that_does_not_end_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.memory.store_schema.WAIT", 0.1)
    monkeypatch.setattr("modicum.memory.store_schema.connect.__kwdefaults__", {"readonly": False, "wait": 0.1, "cache": 16})
    with Store.open(folder) as one, Store.open(folder) as other, one._connections.writing():
        with pytest.raises(WriteError, match="another process has been writing for more than 0 s; nothing was changed"):
            other.add(numbered(9))
        assert len(other) == 200
    assert_holds_exactly(Store.open(folder), list(range(4)))
