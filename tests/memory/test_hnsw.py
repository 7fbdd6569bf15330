"""Approximate indexes: built beside the searches, kept whole, passed over removed rows, made again where damaged."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from modicum.memory import faiss_index, rebuild, view
from modicum.memory.beacon import CACHE
from modicum.memory.memory import Memory
from modicum.memory.types import MemoryInfo

KINDS = faiss_index.KINDS
DIM, N = 16, 3000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Files and indexes from 200 rows on, adopted and built as large ones are."""
    monkeypatch.setattr(view, "FLUSH", 200)
    monkeypatch.setattr(rebuild, "FLUSH", 200)


def clustered(n: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((30, DIM))
    return (centres[generator.integers(0, 30, n)] + 0.7 * generator.standard_normal((n, DIM))).astype(np.float32)


def filled(folder: Path, n: int = N, metric: str = "cosine") -> np.ndarray:
    with Memory.create(folder, MemoryInfo(DIM, metric), "exact") as memory:
        return memory.add(clustered(n))


def recall(memory: Memory, query: np.ndarray, k: int = 30) -> float:
    """Share of the k nearest that the index finds."""
    with Memory.open(memory.store.folder, "exact") as exact:
        expected = exact.lookup(query, k).id.tolist()
    found = memory.lookup(query, k).id.tolist()
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found, expected, strict=True)]))


def index_file(folder: Path) -> Path:
    (path,) = (folder / CACHE).glob("*.faiss")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_built_beside_the_searches_and_used_again(kind, tmp_path):
    """The first look-up is exact; once built, the index covers all rows, and the next opening maps its file."""
    filled(tmp_path)
    query = clustered(40, 5)
    with Memory.open(tmp_path, "exact") as exact, Memory.open(tmp_path, kind) as memory:
        assert np.array_equal(memory.lookup(query, 30).id, exact.lookup(query, 30).id)
        memory.settle()
        assert memory.builder.error is None
        assert (memory.stats().index, memory.stats().pending) == (kind, 0)
        assert recall(memory, query) >= 0.95
        expected = memory.lookup(query, 30)
    written = index_file(tmp_path).stat().st_mtime_ns
    with Memory.open(tmp_path, kind) as memory:
        assert memory.stats().pending == 0
        found = memory.lookup(query, 30)
        assert memory.follower.current().indexed == N
        assert np.array_equal(found.id, expected.id)
        memory.settle()
    assert index_file(tmp_path).stat().st_mtime_ns == written


@pytest.mark.parametrize("kind", KINDS)
def test_removed_rows_are_passed_over_and_new_ones_found_at_once(kind, tmp_path):
    ids = filled(tmp_path)
    keys = clustered(N)
    with Memory.open(tmp_path, kind) as memory:
        memory.rebuild()
        gone = np.random.default_rng(0).permutation(N)[:500]
        memory.remove(ids[gone])
        new = memory.add(keys[gone[:3]] + np.float32(0.001), source="new")
        found = memory.lookup(keys[gone], 30)
        assert memory.follower.current().index is not None
        assert not np.isin(found.id, ids[gone]).any()
        assert (found.id[:3, 0] == new).all()
        assert recall(memory, keys[gone]) >= 0.95
        assert memory.stats().pending == 3


def test_new_rows_are_added_to_the_index_and_many_removals_make_another(tmp_path):
    """1,000 more rows extend the file of the old index; after 60 % removals the vector file holds live rows only."""
    ids = filled(tmp_path)
    with Memory.open(tmp_path, "hnsw") as memory:
        memory.rebuild()
        first = memory.follower.current()
        more = memory.add(clustered(1000, 7), source="more")
        memory.settle()
        second = memory.follower.current()
        assert (second.index.rows, second.index.generation) == (N + 1000, first.index.generation)
        assert recall(memory, clustered(50, 8)) >= 0.95
        memory.remove(np.concatenate([ids[:2000], more[:400]]))
        memory.settle()
        third = memory.follower.current()
        assert third.index.generation != first.index.generation
        assert len(third.base.ids) == third.index.rows == third.live == 1600
        assert recall(memory, clustered(50, 8)) >= 0.95
        assert memory.verify() == []
    assert len(list((tmp_path / CACHE).glob("*.faiss"))) == 1


def flipped(folder: Path) -> None:
    path = index_file(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def manifest_of_more_rows(folder: Path) -> None:
    path = folder / CACHE / "hnsw.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rows": N - 1}))


DAMAGES = {
    "a bit": flipped,
    "cut off": lambda folder: index_file(folder).write_bytes(index_file(folder).read_bytes()[:-100]),
    "empty": lambda folder: index_file(folder).write_bytes(b""),
    "missing": lambda folder: index_file(folder).unlink(),
    "no manifest": lambda folder: (folder / CACHE / "hnsw.json").unlink(),
    "garbage for a manifest": lambda folder: (folder / CACHE / "hnsw.json").write_text("]"),
    "another number of rows": manifest_of_more_rows,
    "no cache": lambda folder: shutil.rmtree(folder / CACHE),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_not_used_and_built_again(damage, tmp_path):
    filled(tmp_path)
    query = clustered(20, 5)
    with Memory.open(tmp_path, "hnsw") as memory:
        memory.rebuild()
    DAMAGES[damage](tmp_path)
    with Memory.open(tmp_path, "exact") as exact:
        expected = exact.lookup(query, 30)
    with Memory.open(tmp_path, "hnsw", readonly=True) as memory:
        assert np.array_equal(memory.lookup(query, 30).id, expected.id)  # exact: there is no index
    with Memory.open(tmp_path, "hnsw") as memory:
        assert np.array_equal(memory.lookup(query, 30).similarity, expected.similarity)
        memory.settle()
        assert memory.follower.current().indexed == N
        assert recall(memory, query) >= 0.95


def test_a_reader_writes_nothing_and_takes_up_what_a_writer_built(tmp_path):
    filled(tmp_path)
    with Memory.open(tmp_path, "hnsw", readonly=True) as reader, Memory.open(tmp_path, "hnsw") as writer:
        reader.lookup(clustered(1), 3)
        reader.settle()
        assert not (tmp_path / CACHE).exists()
        writer.rebuild()
        writer.add(clustered(1), source="later")
        reader.lookup(clustered(1), 3)
        assert reader.follower.current().indexed == N


def test_auto_is_exact_up_to_a_size_and_hnsw_beyond(tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild, "EXACT_ROWS", 2500)
    ids = filled(tmp_path)
    with Memory.open(tmp_path) as memory:
        memory.lookup(clustered(1), 1)
        memory.settle()
        assert (memory.stats().index, memory.follower.current().indexed) == ("hnsw", N)
        memory.remove(ids[:600])
        memory.lookup(clustered(1), 1)
        assert (memory.stats().index, memory.follower.current().indexed) == ("exact", 0)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_k_beyond_what_the_graph_reaches_is_searched_exactly(metric, tmp_path):
    """Nine of ten rows are removed and all the others asked for: what HNSW misses is found by exact search."""
    ids = filled(tmp_path, metric=metric)
    with Memory.open(tmp_path, "exact") as exact, Memory.open(tmp_path, "hnsw") as memory:
        memory.rebuild()
        memory.remove(ids[300:])
        memory.builder.close()  # no other index is begun
        assert np.array_equal(memory.lookup(clustered(5, 3), 300).id, exact.lookup(clustered(5, 3), 300).id)
        out = np.tile(ids[:299], (5, 1))
        assert memory.lookup(clustered(5, 3), 1, exclude=out).id[:, 0].tolist() == [ids[299]] * 5


def test_very_long_and_short_rows_are_found(tmp_path):
    """Rows whose float32 products would overflow are candidates always; under cosine only their direction counts."""
    with Memory.create(tmp_path, MemoryInfo(DIM), "hnsw") as memory:
        keys = clustered(1000)
        ids = memory.add(keys)
        odd = memory.add(np.stack([keys[0] * 1e30, keys[1] * 1e-30]), source="odd")
        memory.rebuild()
        found = memory.lookup(keys[:2], 2)
        assert memory.follower.current().indexed == 1002
        assert [set(row) for row in found.id.tolist()] == [{ids[0], odd[0]}, {ids[1], odd[1]}]


def test_closing_stops_the_building(tmp_path, monkeypatch):
    """A memory closed while an index is built leaves no index and no temporary file; the next one builds it."""
    filled(tmp_path)
    monkeypatch.setattr(faiss_index, "PART", 100)
    adding = faiss_index._multiplied

    def slowly(*arguments):
        time.sleep(0.02)
        return adding(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "_multiplied", slowly)
        memory = Memory.open(tmp_path, "hnsw")
        memory.lookup(clustered(1), 1)
        memory.close()
    assert not memory.builder._thread.is_alive()
    assert memory.builder.error is None
    assert [path.name for path in (tmp_path / CACHE).iterdir() if "faiss" in path.name or "hnsw" in path.name] == []
    with Memory.open(tmp_path, "hnsw") as memory:
        memory.lookup(clustered(1), 1)
        memory.settle()
        assert memory.follower.current().indexed == N


def test_an_index_that_cannot_be_written_is_told_and_search_goes_on(tmp_path, monkeypatch):
    filled(tmp_path)
    monkeypatch.setattr(faiss_index, "save", full_disk)
    with Memory.open(tmp_path, "hnsw") as memory:
        memory.lookup(clustered(1), 1)
        memory.settle()
        assert "cannot write the index" in str(memory.builder.error)
        assert memory.lookup(clustered(N)[:1], 1).similarity[0, 0] == 1.0
        assert not list((tmp_path / CACHE).glob(".*.tmp"))


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")
