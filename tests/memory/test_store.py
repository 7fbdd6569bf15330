"""The store: what is put in comes out, in one state, for all threads and processes; bad input changes nothing."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError, WriteError
from modicum.memory import store_rows
from modicum.memory.store import Store
from modicum.memory.store_connections import Connections
from modicum.memory.types import ID_BITS, Batch, Change, MemoryInfo, item_id

DIM = 5


def batch_of(
    names: list[str], source: str = "s", seed: int = 0, label: str | None = "cat", dim: int = DIM, **other: Any
) -> Batch:
    """Items of random embeddings under the ids their names give them."""
    n = len(names)
    vectors = np.random.default_rng([seed, n]).standard_normal((n, dim)).astype(np.float32)
    ids = np.array([item_id(source, name) for name in names], dtype=np.int64)
    return Batch(ids, vectors, source, names, [label] * n, [None] * n, [""] * n)._replace(**other)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "memory", MemoryInfo(DIM, "l2", "pixels", "f00")) as opened:
        yield opened


def state(store: Store) -> list[Any]:
    """Everything a reader can see but the log of changes."""
    vectors = [(ids.tolist(), rows.tobytes()) for ids, rows in store.all_vectors()]
    return [list(store.items()), vectors, store.counts(), len(store)]


def test_what_is_added_comes_out_after_opening_again(tmp_path: Path) -> None:
    before = time.time()
    batch = batch_of(
        ["b", "a", "Grüße 🐟"], texts=["two words", None, ""], digests=["d1", "", "d3"], labels=["x", None, "y"]
    )
    with Store.create(tmp_path / "m", MemoryInfo(DIM, "cosine", "conv4", "abc")) as store:
        created = store.info.created
        store.add(batch)
    assert before <= created <= time.time()
    with Store.open(tmp_path / "m") as store:
        assert store.info == MemoryInfo(DIM, "cosine", "conv4", "abc", created)
        items = store.payload(batch.ids)
        assert [(i.id, i.source, i.name, i.label, i.text, i.digest) for i in items] == list(
            zip(batch.ids.tolist(), ["s"] * 3, batch.names, batch.labels, batch.texts, batch.digests, strict=True)
        )
        assert all(created <= item.time <= time.time() for item in items)
        assert store.vectors(batch.ids).tobytes() == batch.vectors.tobytes()
        assert len(store) == 3
        assert store.counts() == ({"s": 3}, {"x": 1, "y": 1, None: 1})
        assert store.ids_of("s", ["a", "nobody", "b"]) == [batch.ids[1], None, batch.ids[0]]
        assert store.ids_of("nowhere", ["a"]) == [None]
        assert store.check() == []


def test_times_of_a_moved_memory_are_kept(store: Store) -> None:
    store.add(batch_of(["a", "b"], times=[12.5, 13.0]))
    assert sorted(item.time for item in store.items()) == [12.5, 13.0]


def test_order_is_that_of_ids_and_repeats_are_answered(store: Store) -> None:
    batch = batch_of([f"n{i}" for i in range(700)])  # more than one query's ids
    store.add(batch)
    asked = np.concatenate([batch.ids[::-1], batch.ids[:3]])
    assert [item.id for item in store.payload(asked)] == asked.tolist()
    assert np.array_equal(store.vectors(asked), np.concatenate([batch.vectors[::-1], batch.vectors[:3]]))
    assert store.vectors([]).shape == (0, DIM)
    assert store.payload([]) == []


def test_items_and_vectors_come_by_rising_id_from_both_tables(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_rows, "RECENT", 50)
    batches = [batch_of([f"{kind}{i}" for i in range(30)], source=kind, seed=ord(kind), label=kind) for kind in "abcd"]
    for batch in batches:
        store.add(batch)
    ids, vectors = (np.concatenate([getattr(batch, field) for batch in batches]) for field in ("ids", "vectors"))
    with store._connections.lent() as connection:
        sizes = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in store_rows.BY_ID]
    assert sizes == [0, 120]
    store.add(batch_of(["late"], source="e", label=None))
    order = np.argsort(ids)
    expected = np.insert(ids[order], np.searchsorted(ids[order], item_id("e", "late")), item_id("e", "late"))
    assert [item.id for item in store.items()] == expected.tolist()
    assert [item.id for item in store.items(source="b")] == sorted(batches[1].ids.tolist())
    assert [item.id for item in store.items(label="c")] == sorted(batches[2].ids.tolist())
    assert list(store.items(source="b", label="c")) == []
    store.remove([item_id("e", "late")])
    parts = list(store.all_vectors(batch=50))
    assert [len(part) for part, _ in parts] == [50, 50, 20]
    assert np.array_equal(np.concatenate([part for part, _ in parts]), ids[order])
    assert np.array_equal(np.concatenate([rows for _, rows in parts]), vectors[order])
    rest = list(store.all_vectors(start=int(ids[order][59])))
    assert np.array_equal(np.concatenate([part for part, _ in rest]), ids[order][60:])
    added = list(store.added_vectors(after=30, batch=64))
    assert np.array_equal(np.concatenate([part for part, _ in added]), ids[30:])
    assert np.array_equal(np.concatenate([rows for _, rows in added]), vectors[30:])
    assert store.check() == []


def test_remove_relabel_and_sources(store: Store) -> None:
    a, b = batch_of(["1", "2", "3"], source="a"), batch_of(["1", "2"], source="b", label="dog", seed=1)
    store.add(a)
    store.add(b)
    assert store.remove([a.ids[2], b.ids[0]]) == 2
    assert store.counts() == ({"a": 2, "b": 1}, {"cat": 2, "dog": 1})
    assert store.relabel([a.ids[0], b.ids[1]], "cow", "a text") == 2
    assert store.relabel([a.ids[1]], text="only a text") == 1
    assert [(i.label, i.text) for i in store.payload([a.ids[0], a.ids[1], b.ids[1]])] == [
        ("cow", "a text"), ("cat", "only a text"), ("cow", "a text")
    ]  # fmt: skip
    assert store.counts() == ({"a": 2, "b": 1}, {"cat": 1, "cow": 2})
    assert store.remove_source("a") == 2
    assert store.counts() == ({"b": 1}, {"cow": 1})
    assert len(store) == 1
    assert store.vectors([b.ids[1]]).tobytes() == b.vectors[1].tobytes()
    store.add(a)
    assert len(store) == 4
    assert store.check() == []


def test_items_are_replaced_in_one_commit(store: Store) -> None:
    """The same id and name with another embedding; where something is refused, the old item stays."""
    store.add(batch_of(["a", "b"]))
    before, change, new = state(store), store.last_change(), batch_of(["b"], seed=5)
    with pytest.raises(DataError, match="already"):
        store.add(batch_of(["b", "a"], seed=5), instead_of=new.ids)
    with pytest.raises(DataError, match="no item has the id 9"):
        store.add(new, instead_of=[*new.ids, 9])
    assert (state(store), store.last_change()) == (before, change)
    store.add(new, instead_of=new.ids)
    assert np.array_equal(store.vectors(new.ids), new.vectors)
    assert [(found.op, found.id) for found in store.changes(change) or []] == [("remove", *new.ids), ("add", *new.ids)]
    assert (len(store), store.check()) == (2, [])


def test_a_memory_that_never_held_it_is_the_same(tmp_path: Path) -> None:
    kept, gone = batch_of(["k1", "k2"], times=[1.0, 2.0]), batch_of(["g1", "g2"], source="g", label="rare", times=[3.0, 4.0])
    states = []
    for name, batches in (("never", [kept]), ("removed", [gone, kept])):
        with Store.create(tmp_path / name, MemoryInfo(DIM, created=1.0)) as store:
            for batch in batches:
                store.add(batch)
            if name == "removed":
                store.remove_source("g")
            states.append(state(store))
    assert states[0] == states[1]


def test_the_log_tells_what_changed_and_how_far_back_it_reaches(store: Store) -> None:
    assert (store.last_change(), store.changes(0)) == (0, [])
    a, b = batch_of(["a1", "a2", "a3"]), batch_of(["b1"], source="b")
    store.add(a)
    store.add(b)
    store.relabel(a.ids[:2], "new")
    store.remove([b.ids[0], a.ids[1]])
    ops = [("add", *a.ids), ("add", *b.ids), ("relabel", *a.ids[:2]), ("remove", b.ids[0], a.ids[1])]
    expected = [Change(n, *pair) for n, pair in enumerate([(op, id_) for op, *ids in ops for id_ in ids], 1)]  # type: ignore[arg-type]
    assert store.last_change() == 8
    assert store.changes(0) == expected
    assert store.changes(1) == expected[1:]  # from the middle of a commit
    assert store.changes(8) == []
    assert store.changes(9) is None  # the log of another memory
    store.forget_changes(5)
    assert store.changes(3) is None
    assert store.changes(4) == expected[4:]
    assert (store.stamp(4), store.stamp(9)) == (None, None)
    assert store.stamp(5) == store.stamp(6) != store.stamp(7)
    store.forget_changes(1000)
    assert store.last_change() == 8
    assert store.changes(8) == []
    store.remove_source("s")
    assert store.changes(8) == [Change(9, "remove", a.ids[0]), Change(10, "remove", a.ids[2])]


def test_copies_that_went_other_ways_have_other_stamps(store: Store, tmp_path: Path) -> None:
    store.add(batch_of(["a"]))
    store.snapshot(tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy:
        assert copy.stamp(1) == store.stamp(1)
        copy.add(batch_of(["b"]))
        store.add(batch_of(["b"]))
        assert copy.last_change() == store.last_change() == 2
        assert copy.stamp(2) != store.stamp(2)


BAD = {
    "another dimension": (lambda: batch_of(["x"], dim=DIM + 1), r"embeddings: shape \(1, 6\), expected \(n, 5\)"),
    "one row": (lambda: batch_of(["x"])._replace(vectors=np.ones(DIM, np.float32)), r"expected \(n, 5\)"),
    "NaN": (lambda: batch_of(["x", "y"])._replace(vectors=np.array([[0.0] * 5, [1, 2, np.nan, 4, 5]])), "row 1 has NaN"),
    "too large": (lambda: batch_of(["x"])._replace(vectors=np.full((1, DIM), 1e39)), "row 0 has NaN or infinity"),
    "id twice": (lambda: batch_of(["x", "y"])._replace(ids=np.array([7, 7])), "ids: 7 is given twice"),
    "name twice": (lambda: batch_of(["x", "x"])._replace(ids=np.array([7, 8])), "names: 'x' is given twice"),
    "id there": (lambda: batch_of(["x", "y"])._replace(ids=np.array([7, item_id("s", "a")])), "already with the id"),
    "name there": (lambda: batch_of(["x", "a"])._replace(ids=np.array([7, 8])), "already named 'a'"),
    "id too large": (lambda: batch_of(["x"])._replace(ids=np.array([1 << ID_BITS])), "expected 0 to 2\\^53 - 1"),
    "negative id": (lambda: batch_of(["x"])._replace(ids=np.array([-1])), "ids: -1"),
    "not an id": (lambda: batch_of(["x"])._replace(ids=np.array([1.5])), "1.5 is not the id"),
    "too few labels": (lambda: batch_of(["x", "y"], labels=["cat"]), "labels: 1 for 2 embeddings"),
    "too few ids": (lambda: batch_of(["x", "y"], ids=np.array([1])), "ids: 1 for 2 embeddings"),
    "a number as label": (lambda: batch_of(["x"], labels=[3]), "labels: 3 is not a text"),
    "no name": (lambda: batch_of(["x"])._replace(names=[None]), "names: None is not a text"),
    "not Unicode": (lambda: batch_of(["x"])._replace(names=["caf\udce9"]), "not valid Unicode"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_batches_are_refused_and_change_nothing(store: Store, case: str) -> None:
    store.add(batch_of(["a", "b"]))
    before, number = state(store), store.last_change()
    make, message = BAD[case]
    with pytest.raises(DataError, match=message):
        store.add(make())
    assert (state(store), store.last_change()) == (before, number)
    assert store.check() == []


@pytest.mark.parametrize("ids", [[1, 2], np.array([1])])
def test_unknown_ids_are_refused_and_change_nothing(store: Store, ids: Any) -> None:
    batch = batch_of(["a", "b"])
    store.add(batch)
    before, number = state(store), store.last_change()
    mixed = [*batch.ids.tolist(), *ids]
    for call in (store.remove, lambda i: store.relabel(i, "x"), store.payload, store.vectors):
        with pytest.raises(DataError, match=r"ids: no item has the id 1\b"):
            call(mixed)
    for call in (store.remove, lambda i: store.relabel(i, "x")):
        with pytest.raises(DataError, match=f"given more than once: {batch.ids[0]}"):
            call([batch.ids[0], batch.ids[1], batch.ids[0]])
    with pytest.raises(DataError, match="is not the id"):
        store.remove([1 << 70])
    with pytest.raises(DataError, match=re.escape("source: no item is of 'elsewhere'; there is 's'")):
        store.remove_source("elsewhere")
    assert (state(store), store.last_change()) == (before, number)


def test_empty_changes_are_none(store: Store) -> None:
    store.add(batch_of([]))
    assert (store.remove([]), store.relabel([], "x"), store.last_change(), len(store)) == (0, 0, 0, 0)
    assert list(store.items()) == list(store.all_vectors()) == []
    assert store.counts() == ({}, {})


def test_a_text_of_ten_thousand_words(store: Store) -> None:
    text = " ".join(f"word{i}" for i in range(10_000))
    batch = batch_of(["a", "b"], texts=[text, "short"])
    store.add(batch)
    store.relabel([batch.ids[1]], text=text[::-1])
    assert [item.text for item in store.payload(batch.ids)] == [text, text[::-1]]
    assert store.check() == []


def test_a_snapshot_is_whole_and_of_one_moment(store: Store, tmp_path: Path) -> None:
    batch = batch_of([f"n{i}" for i in range(40)])
    store.add(batch)
    store.remove(batch.ids[:7])
    (store.folder / "encoder").mkdir()
    (store.folder / "encoder" / "weights").write_bytes(b"w" * 100)
    (store.folder / "vectors.cache").write_bytes(b"made again")
    store.snapshot(tmp_path / "copies" / "one")
    store.remove(batch.ids[7:])
    with Store.open(tmp_path / "copies" / "one") as copy:
        assert len(copy) == 33
        assert copy.info == store.info
        assert copy.vectors(batch.ids[7:]).tobytes() == batch.vectors[7:].tobytes()
        assert copy.changes(0) == [
            Change(n + 1, *c[1:]) for n, c in enumerate(store.changes(0)[:47] if store.changes(0) else [])
        ]
        assert copy.check() == []
    assert (tmp_path / "copies" / "one" / "encoder" / "weights").read_bytes() == b"w" * 100
    assert sorted(path.name for path in (tmp_path / "copies" / "one").iterdir()) == ["encoder", "memory.sqlite3"]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["one"]


def test_a_snapshot_never_goes_over_something(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(WriteError, match="is there already"):
        store.snapshot(tmp_path / "there")
    with pytest.raises(WriteError, match="there is a memory already"):
        Store.create(store.folder, MemoryInfo(9))
    assert Store.open(store.folder).info.dim == DIM


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    with Store.create(tmp_path / "m", MemoryInfo(DIM)) as store:
        store.add(batch_of(["a"]))
    with pytest.raises(WriteError, match="there is a memory already"):
        Store.create(tmp_path / "m", MemoryInfo(DIM))
    with Store.open(tmp_path / "m") as store:
        assert len(store) == 1
    assert os.listdir(tmp_path / "m") == ["memory.sqlite3"]


def test_a_block_of_reads_sees_one_state_and_a_new_reader_the_next(store: Store) -> None:
    first, second = batch_of(["a"]), batch_of(["b"])
    store.add(first)
    with Store.open(store.folder) as other, store.reading():
        assert (len(store), store.last_change()) == (1, 1)
        other.add(second)
        assert (len(store), store.last_change(), store.changes(0)) == (1, 1, [Change(1, "add", first.ids[0])])
        assert [ids.tolist() for ids, _ in store.all_vectors()] == [first.ids.tolist()]
        assert len(other) == 2
    assert (len(store), store.last_change()) == (2, 2)


def test_an_iteration_sees_one_state_while_others_write(store: Store) -> None:
    batch = batch_of([f"n{i}" for i in range(100)])
    store.add(batch)
    items, vectors = store.items(), store.all_vectors(batch=10)
    next(items), next(vectors)
    store.remove(batch.ids[:90])
    assert len(list(items)) == 99
    assert sum(len(ids) for ids, _ in vectors) == 90
    assert len(list(store.items())) == 10


def test_ids_that_settle_while_others_read_are_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has seen the table of recent ids to its end sees nothing of them in the other one."""
    monkeypatch.setattr(store_rows, "RECENT", 4)
    first = batch_of(["a"])
    store.add(first)
    with store._connections.lent() as connection:
        found = store_rows.by_id(connection, store_rows.ITEM, first.ids.tolist())
        assert next(found)[0] == first.ids[0]
        store.add(batch_of(["b", "c", "d"]))
        assert list(found) == []
    with store._connections.lent() as connection:
        assert connection.execute("SELECT count(*) FROM settled").fetchone() == (4,)


def test_threads_share_a_store(store: Store) -> None:
    """Four threads add and remove what is theirs while two read; nothing is lost, and no reader sees half a batch."""
    failed: list[BaseException] = []
    done = threading.Event()

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write(source: str) -> None:
        for i in range(20):
            batch = batch_of([f"{i}.{j}" for j in range(6)], source=source, seed=i)
            store.add(batch)
            store.remove(batch.ids[:2])

    def read() -> None:
        while not done.is_set():
            with store.reading():
                ids = [item.id for item in store.items()]
                assert len(ids) == len(store)
                assert all(n % 2 == 0 for n in store.counts()[0].values())
                assert store.vectors(ids).shape == (len(ids), DIM)

    readers = [guarded(read) for _ in range(2)]
    for thread in [guarded(lambda source=source: write(source)) for source in "abcd"]:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert failed == []
    assert store.counts() == (dict.fromkeys("abcd", 80), {"cat": 320})
    assert store.check() == []


def test_a_closed_store_says_so_and_readers_underway_end_well(store: Store) -> None:
    store.add(batch_of([f"n{i}" for i in range(30)]))
    items = store.items()
    next(items)
    store.close()
    store.close()
    assert len(list(items)) == 29
    gc.collect()
    with pytest.raises(ConfigError, match="is closed"):
        len(store)
    assert sorted(os.listdir(store.folder)) == ["memory.sqlite3"]


@pytest.mark.parametrize(("again", "told"), [(False, "open it in each process"), (True, "close it before the fork")])
def test_a_store_is_not_used_in_a_fork(store: Store, again: bool, told: str) -> None:
    """The connections of a fork believe that they hold the locks of the process it came from."""
    store.add(batch_of(["a"]))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        message = "no error"
        try:
            len(Store.open(store.folder) if again else store)
        except ConfigError as error:
            message = str(error)
        os.write(writer, message.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert told in os.read(reader, 10_000).decode()
    os.close(reader)
    os.close(writer)
    store.add(batch_of(["b"]))
    assert len(store) == 2


def test_the_log_of_pages_does_not_grow_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.memory.store_connections.LOG_SIZE", 300_000)
    sizes = []
    for i in range(60):
        store.add(batch_of([f"{i}.{j}" for j in range(20)]))
        checkpoint = store._connections._checkpoint
        if checkpoint is not None:
            checkpoint.join()
        sizes.append(os.stat(f"{store.path}-wal").st_size)
    assert max(sizes) < 600_000
    assert sum(size < 100_000 for size in sizes) > 3  # begun anew more than once
    assert len(store) == 1200
    assert store.check() == []


def test_a_checkpoint_waits_for_nobody(store: Store) -> None:
    store.add(batch_of(["a", "b"]))
    items = store.items()
    next(items)
    store.add(batch_of(["c"]))
    assert store.checkpoint() is False  # a reader still needs the log
    store.add(batch_of(["d"]))
    items.close()
    assert store.checkpoint() is True
    assert len(store) == 4


def test_removed_embeddings_are_overwritten(tmp_path: Path) -> None:
    """After all have closed the memory no byte sequence of a removed embedding is in its files."""
    batch = batch_of([f"n{i}" for i in range(300)], dim=768)
    with Store.create(tmp_path / "m", MemoryInfo(768)) as store:
        store.add(batch)
        store.checkpoint()
        gone = np.random.default_rng(1).permutation(300)[:120]
        for row in gone:
            store.remove([batch.ids[row]])
        kept = np.setdiff1d(np.arange(300), gone)
        data = store.path.read_bytes()
        assert all(batch.vectors[row, :8].tobytes() in data for row in kept)
    data = (tmp_path / "m" / "memory.sqlite3").read_bytes()
    assert [row for row in gone if any(batch.vectors[row, i : i + 8].tobytes() in data for i in range(0, 768, 8))] == []
    assert os.listdir(tmp_path / "m") == ["memory.sqlite3"]


def test_opening_counting_and_removing_load_neither_numpy_nor_torch(store: Store) -> None:
    batch = batch_of(["a", "b"])
    store.add(batch)
    code = f"""
import sys
from modicum.memory.store import Store
with Store.open({str(store.folder)!r}) as store:
    store.remove([{batch.ids[0]}]); store.relabel([{batch.ids[1]}], "x"); len(store), store.counts(), list(store.items())
    store.payload([{batch.ids[1]}]); store.last_change(); store.ids_of("s", ["a"])
print([name for name in ("numpy", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert len(store) == 1


def test_what_a_memory_was_made_for_is_readable_by_any_sqlite(store: Store) -> None:
    with store._connections.lent() as connection:
        (text,) = connection.execute("SELECT value FROM info WHERE key = 'memory'").fetchone()
    assert json.loads(text) | {"created": 0} == {
        "dim": 5, "metric": "l2", "encoder": "pixels", "fingerprint": "f00", "created": 0
    }  # fmt: skip


def test_readers_are_lent_one_connection_each(tmp_path: Path, store: Store) -> None:
    connections = Connections(store.path)
    with connections.lent() as one, connections.lent() as two:
        assert one is not two
    with connections.lent() as three:
        assert three in (one, two)
    connections.close()
