"""A memory on Milvus, by its embedded file: the answers of a plain loop, refusals, killed writers, moving there and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import ConfigError, DataError, FileFormatError, MissingExtra, WriteError
from modicum.memory import milvus_client
from modicum.memory.milvus_client import address_of
from modicum.memory.milvus_rows import LONGEST
from modicum.memory.moving import copy_memory
from modicum.memory.opening import create_memory, open_memory
from modicum.memory.store import Store
from modicum.memory.types import Batch, MemoryInfo, item_id
from modicum.similarity import cosine_similarities

WHY = 'is not installed (pip install "modicum[milvus]")'
pytest.importorskip("pymilvus", reason=f"pymilvus {WHY}")
pytest.importorskip("milvus_lite", reason=f"milvus-lite {WHY}")
from modicum.memory.milvus import MilvusMemory  # noqa: E402

INFO = MemoryInfo(8, "cosine", "pixels", "f" * 64, 1.5)
ODD = ["plain", 'quo"te', "quo'te", "back\\slash", "new\nline", "ünïcode 漢字", "{brace}", "id in [1]", ""]


def vectors(n: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"milvus+{tmp_path}/memory.db#things"


@pytest.fixture
def memory(store: str) -> Iterator[MilvusMemory]:
    with MilvusMemory.create(store, INFO) as made:
        yield made


def loop(query: np.ndarray, keys: np.ndarray, ids: Sequence[int], k: int, metric: str) -> list[list[tuple[float, int]]]:
    """The k nearest of each query by float64 in plain Python: similarity descending, then id."""
    out = []
    for q in query.astype(np.float64):
        if metric == "cosine":
            all_ = [
                (float(q @ x / np.sqrt((q @ q) * (x @ x))), i) for x, i in zip(keys.astype(np.float64), ids, strict=True)
            ]
        else:
            all_ = [(-float(((q - x) ** 2).sum()), i) for x, i in zip(keys.astype(np.float64), ids, strict=True)]
        out.append(sorted(all_, key=lambda pair: (-pair[0], pair[1]))[:k])
    return out


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_answers_are_those_of_a_plain_loop(store: str, metric: str) -> None:
    keys = vectors(300)
    keys[40:44] = keys[17]  # five equal embeddings, whose order is that of their ids
    with MilvusMemory.create(store, MemoryInfo(8, metric)) as memory:  # type: ignore[arg-type]
        ids = memory.add(keys)
        queries = np.concatenate([keys[15:20], vectors(4, seed=1)])
        found = memory.lookup(queries, 12)
        for row, expected in enumerate(loop(queries, keys, ids.tolist(), 12, metric)):
            assert found.id[row].tolist() == [i for _, i in expected]
            assert found.similarity[row] == pytest.approx([value for value, _ in expected], abs=1e-9)
        if metric == "cosine":
            assert np.array_equal(found.similarity[2], -np.sort(-cosine_similarities(queries[2:3], keys)[0])[:12])


def test_similarities_are_those_of_a_memory_in_a_folder_to_the_bit(memory: MilvusMemory, tmp_path: Path) -> None:
    keys, queries = vectors(200), vectors(7, seed=3)
    with create_memory(str(tmp_path / "folder"), INFO) as folder:
        for one in (memory, folder):
            one.add(keys, source="s")
        found, expected = memory.lookup(queries, 9), folder.lookup(queries, 9)
    assert np.array_equal(found.id, expected.id)
    assert np.array_equal(found.similarity, expected.similarity)


def test_hnsw_finds_most_of_the_nearest(store: str) -> None:
    """recall@30 of 2,000 embeddings in 60 clusters."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 32))
    keys = (centres[rng.integers(0, 60, 2000)] + 0.3 * rng.standard_normal((2000, 32))).astype(np.float32)
    with MilvusMemory.create(store, MemoryInfo(32)) as memory:
        ids = memory.add(keys)
        found = memory.lookup(keys[:50], 30)
    expected = ids[np.argsort(-cosine_similarities(keys[:50], keys), axis=1)[:, :30]]
    recall = np.mean([len(set(a) & set(b)) / 30 for a, b in zip(found.id.tolist(), expected.tolist(), strict=True)])
    assert recall >= 0.95


def test_excluded_items_are_not_returned(memory: MilvusMemory) -> None:
    keys = vectors(30)
    ids = memory.add(keys)
    assert memory.lookup(keys[:5], 1).id[:, 0].tolist() == ids[:5].tolist()
    assert not set(memory.lookup(keys[:1], 29, exclude=ids[:1]).id[0].tolist()) & {int(ids[0])}
    rows = np.stack([ids[:5], np.full(5, -1), np.full(5, 77)], axis=1)  # its own, none, one that is not there
    found = memory.lookup(keys[:5], 29, exclude=rows)
    assert all(int(own) not in row for own, row in zip(ids[:5], found.id.tolist(), strict=True))
    with pytest.raises(DataError, match=r"k: the memory has 30 items, 1 of them excluded; expected at most 29, found 30"):
        memory.lookup(keys[:5], 30, exclude=ids[:5])


def test_odd_names_labels_and_sources_come_back(memory: MilvusMemory) -> None:
    """No text reaches a filter of Milvus, so none can be read as one."""
    for source in ODD:
        memory.add(vectors(len(ODD)), ODD, texts=ODD[::-1], names=ODD, source=source)
    for source in ODD:
        ids = memory.ids_of(source, [*ODD, "missing"])
        assert ids.tolist() == [*(item_id(source, name) for name in ODD), -1]
        items = memory.payload(ids[:-1])
        assert [(i.source, i.name, i.label, i.text) for i in items] == [
            (source, name, name, text) for name, text in zip(ODD, ODD[::-1], strict=True)
        ]
        assert [item.id for item in memory.items(source=source)] == sorted(ids[:-1].tolist())
    assert len(list(memory.items(label='quo"te'))) == len(ODD)
    assert memory.remove_source("id in [1]") == len(ODD)
    assert len(memory) == len(ODD) * (len(ODD) - 1)


def test_what_was_added_is_what_comes_back(memory: MilvusMemory, store: str) -> None:
    keys = vectors(5)
    ids = memory.add(
        keys, ["a", None, "b", "a", None], texts=[None, "t", None, None, None], source="s", digests=list("vwxyz")
    )
    assert ids.tolist() == [item_id("s", str(i)) for i in range(5)]
    assert memory.add(vectors(2, seed=1), source="s").tolist() == [item_id("s", "5"), item_id("s", "6")]
    memory.close()
    with open_memory(store, fingerprint="f" * 64) as again:
        assert again.info == INFO
        assert np.array_equal(again.vectors(ids[::-1]), keys[::-1])
        items = again.payload(ids)
        assert [(i.name, i.label, i.text, i.digest) for i in items] == [
            ("0", "a", None, "v"), ("1", None, "t", "w"), ("2", "b", None, "x"), ("3", "a", None, "y"),
            ("4", None, None, "z"),
        ]  # fmt: skip
        stats = again.stats()
        assert (stats.items, stats.sources, stats.labels) == (7, {"s": 7}, {"a": 2, "b": 1, None: 4})
        assert stats.bytes_on_disk > 7 * 32


def test_relabelling_changes_nothing_else(memory: MilvusMemory) -> None:
    keys = vectors(20)
    ids = memory.add(keys, ["old"] * 20, texts=["text"] * 20)
    before, near = memory.payload(ids), memory.lookup(keys[:3], 5)
    assert memory.relabel(ids[:2], "new") == 2
    assert memory.relabel(ids[1:3], text="other") == 2
    expected = [before[0]._replace(label="new"), before[1]._replace(label="new", text="other")]
    assert memory.payload(ids) == [*expected, before[2]._replace(text="other"), *before[3:]]
    assert np.array_equal(memory.vectors(ids), keys)
    again = memory.lookup(keys[:3], 5)
    assert np.array_equal(again.id, near.id)
    assert np.array_equal(again.similarity, near.similarity)


def test_removed_items_are_gone_also_after_reopening(memory: MilvusMemory, store: str) -> None:
    keys = vectors(50)
    ids = memory.add(keys)
    assert memory.remove(ids[10:20]) == 10
    memory.close()
    with MilvusMemory.open(store) as again:
        assert len(again) == 40
        assert sorted(item.id for item in again.items()) == sorted([*ids[:10].tolist(), *ids[20:].tolist()])
        found = again.lookup(keys, 40).id
        assert not set(found.reshape(-1).tolist()) & set(ids[10:20].tolist())


NAN = vectors(2)
NAN[1, 3] = np.nan
BAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "add",
        {"embeddings": vectors(2, 9)},
        r"embeddings: this memory holds embeddings of 8 numbers, expected \(n, 8\), found \(2, 9\)",
    ),
    ("add", {"embeddings": vectors(2)[0]}, r"found \(8,\); one embedding is \(1, D\)"),
    ("add", {"embeddings": NAN}, r"NaN or infinity in row 1 \(1 such rows\)"),
    ("add", {"embeddings": np.zeros((1, 8))}, r"row 0 is all zeros, which has no direction"),
    ("add", {"embeddings": vectors(2), "labels": ["a"]}, r"labels: expected 2, one for each embedding, found 1"),
    ("add", {"embeddings": vectors(2), "labels": "ab"}, r"labels: expected 2, .* found one text"),
    ("add", {"embeddings": vectors(2), "labels": [1, 2]}, r"labels: expected text or None, found 1 \(int\)"),
    ("add", {"embeddings": vectors(2), "names": ["a", "a"]}, r"names: 'a' stands there more than once"),
    ("add", {"embeddings": vectors(1), "names": ["0"]}, r"names: source '' has an item '0' already"),
    ("add", {"embeddings": vectors(2), "names": ["a", "b"], "ids": [5, 5]}, r"ids: 5 stands there more than once"),
    (
        "add",
        {"embeddings": vectors(1), "names": ["a"], "ids": [item_id("", "0")]},
        r"ids: the memory has an item \d+ already",
    ),
    ("add", {"embeddings": vectors(1), "names": ["a"], "ids": [-1]}, r"ids: expected 0 <= id < 2\^53, found -1"),
    ("add", {"embeddings": vectors(1), "names": ["a"], "ids": [1.5]}, r"ids: expected whole numbers \(n,\), found float64"),
    ("add", {"embeddings": vectors(1), "texts": ["x" * (LONGEST + 1)]}, r"65,536 bytes; this store takes 65,535 at most"),
    ("add", {"embeddings": vectors(1), "names": ["\udcff"]}, r"names: '\\udcff' is not Unicode text"),
    ("remove", {"ids": [12345]}, r"ids: the memory has no item 12345 \(1 unknown of 1\)"),
    ("remove", {"ids": [item_id("", "0"), 12345]}, r"ids: the memory has no item 12345"),
    ("remove", {"ids": [item_id("", "0")] * 2}, r"ids: \d+ stands there more than once"),
    ("relabel", {"ids": [12345], "label": "x"}, r"ids: the memory has no item 12345"),
    ("remove_source", {"source": "nothing"}, r"source: the memory has no source 'nothing'"),
    ("payload", {"ids": [item_id("", "1"), 6]}, r"ids: the memory has no item 6"),
    ("vectors", {"ids": [6]}, r"ids: the memory has no item 6"),
    ("lookup", {"query": vectors(1), "k": 0}, r"k: expected at least 1 neighbour, found 0"),
    ("lookup", {"query": vectors(1), "k": 4}, r"k: the memory has 3 items; expected at most 3, found 4"),
    ("lookup", {"query": vectors(1, 9), "k": 1}, r"query: this memory holds embeddings of 8 numbers"),
    ("lookup", {"query": NAN, "k": 1}, r"query: expected finite float32 numbers"),
    (
        "lookup",
        {"query": vectors(2), "k": 1, "exclude": [1]},
        r"exclude: expected ids \(2,\) or \(2, m\), found int64 \(1,\)",
    ),
]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusMemory]:
    with MilvusMemory.create(f"milvus+{tmp_path_factory.mktemp('three')}/memory.db", INFO) as memory:
        memory.add(vectors(3), ["a", "b", "c"])
        yield memory


@pytest.mark.parametrize(("method", "given", "message"), BAD)
def test_bad_input_is_refused_and_changes_nothing(
    three: MilvusMemory, method: str, given: dict[str, Any], message: str
) -> None:
    before = list(three.items())
    with pytest.raises(DataError, match=message):
        getattr(three, method)(**given)
    assert list(three.items()) == before
    assert three.check() == []


def test_an_empty_memory_says_so(memory: MilvusMemory) -> None:
    with pytest.raises(DataError, match="the memory is empty, so nothing is near; add items first"):
        memory.lookup(vectors(1), 1)
    assert list(memory.items()) == []
    assert memory.stats().items == 0


def test_a_text_of_ten_thousand_words_fits(memory: MilvusMemory) -> None:
    text = " ".join(["shirt"] * 10_000)
    ids = memory.add(vectors(1), texts=[text])
    assert memory.payload(ids)[0].text == text


def test_a_request_that_fails_takes_back_those_before_it(memory: MilvusMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.add(vectors(3))
    memory.rows.step = 4
    insert, calls = memory.rows.client.insert, []

    def failing(name: str, rows: list[dict[str, Any]]) -> Any:
        calls.append(len(rows))
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return insert(name, rows)

    monkeypatch.setattr(memory.rows.client, "insert", failing)
    with pytest.raises(WriteError, match=r"cannot add items \(.*No space left on device\); what was acknowledged before"):
        memory.add(vectors(20, seed=1), source="s")
    assert calls == [4, 4, 4]
    assert len(memory) == 3


def test_collections_of_one_file_are_memories_of_their_own(store: str, tmp_path: Path) -> None:
    other = store.replace("#things", "#others")
    with MilvusMemory.create(store, INFO) as one, MilvusMemory.create(other, MemoryInfo(4)) as two:
        one.add(vectors(3))
        two.add(vectors(2, 4))
        assert (len(one), len(two)) == (3, 2)
    with pytest.raises(ConfigError, match=r"has a memory 'things' already; another one is milvus\+.*#NAME"):
        MilvusMemory.create(store, INFO)
    with pytest.raises(FileFormatError, match=r"has no memory 'thing'; it has others, things; make one with"):
        MilvusMemory.open(store.replace("#things", "#thing"))


def test_another_encoder_is_refused(memory: MilvusMemory, store: str) -> None:
    with pytest.raises(ConfigError, match="embeddings of another encoder"):
        open_memory(store, fingerprint="e" * 64)


def test_a_file_in_use_by_another_process_is_refused_with_the_reason(memory: MilvusMemory, store: str) -> None:
    code = "import sys; from modicum.memory.milvus import MilvusMemory; MilvusMemory.open(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True, check=False)
    assert "an embedded file serves one process at a time" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("milvus+", r"expected milvus\+http://HOST:19530 for a server or milvus\+FILE.db"),
        ("milvus+things", r"expected milvus\+http"),
        ("milvus+ftp://host/x.db", r"expected milvus\+http"),
        ("milvus+a.db#no-dashes", r"a collection's name is letters, digits and _, found 'no-dashes'"),
        ("milvus+no-such-folder/a.db", r"there is no folder .*no-such-folder for a.db"),
        ("milvus+http://127.0.0.1:1", r"no Milvus answers at http://127.0.0.1:1 \(.*\); is it running"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MilvusMemory.open(name)


def test_an_address_is_read() -> None:
    assert address_of("milvus+https://host:19530#a_b") == ("https://host:19530", "a_b", False)
    assert address_of("milvus+x.db") == (os.path.abspath("x.db"), "modicum", True)


def test_without_pymilvus_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtra, match=r'pip install "modicum\[milvus\]"'):
        milvus_client.connect(address_of(store))


def filled(folder: Path) -> Store:
    """A memory in a folder with two sources, texts, times of long ago and equal embeddings."""
    made = Store.create(folder, INFO)
    for source, seed in (("one", 1), ("two", 2)):
        keys = vectors(30, seed=seed)
        keys[5] = keys[4]
        names = [f"{i}.png" for i in range(30)]
        ids = np.array([item_id(source, name) for name in names], np.int64)
        texts = [None if i % 2 else f"text {i}" for i in range(30)]
        times = [1e9 + i / 8 for i in range(30)]
        made.add(Batch(ids, keys, source, names, ["cat" if i % 3 else None for i in range(30)], texts, ["d"] * 30, times))
    return made


def content(memory: Any) -> list[tuple[Any, bytes]]:
    items = list(memory.items())
    rows = memory.vectors(np.array([item.id for item in items], np.int64))
    return [(item, row.tobytes()) for item, row in zip(items, rows, strict=True)]


def test_moved_there_and_back_nothing_is_lost(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.memory.moving.CHUNK", 7)
    with filled(tmp_path / "folder") as folder:
        expected = content(folder)
        assert copy_memory(folder, store) == 60
    with MilvusMemory.open(store) as there:
        assert there.info == INFO
        assert content(there) == expected
        there.snapshot(tmp_path / "back")
        with pytest.raises(WriteError, match="something is there already"):
            there.snapshot(tmp_path / "back")
    with Store.open(tmp_path / "back") as back:
        assert content(back) == expected
        assert back.info == INFO
        assert back.check() == []


@pytest.mark.parametrize("to_milvus", [True, False])
def test_a_move_that_fails_leaves_nothing(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, to_milvus: bool
) -> None:
    monkeypatch.setattr("modicum.memory.moving.CHUNK", 7)
    target = store if to_milvus else str(tmp_path / "target")
    with filled(tmp_path / "folder") as folder:
        read, calls = folder.vectors, []

        def failing(ids: Any) -> Any:
            calls.append(len(ids))
            if len(calls) == 4:
                raise FileFormatError("damaged")
            return read(ids)

        monkeypatch.setattr(folder, "vectors", failing)
        with pytest.raises(FileFormatError, match="damaged"):
            copy_memory(folder, target)
        assert len(calls) == 4
        with pytest.raises(FileFormatError):
            open_memory(target)
        assert copy_memory(folder, target) == 60
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


WRITER = """
import sys
import numpy as np
from modicum.memory.milvus import MilvusMemory
memory = MilvusMemory.open(sys.argv[1])
rng = np.random.default_rng(int(sys.argv[2]))
while True:
    ids = memory.add(rng.standard_normal((5, 8)), source=sys.argv[2])
    print(*ids, flush=True)
"""


def killed_writers(store: str, kills: int) -> list[int]:
    """Ids that writers acknowledged, each killed after a number of acknowledgements of its own."""
    MilvusMemory.create(store, INFO).close()
    acknowledged: list[int] = []
    for kill in range(kills):
        words = [sys.executable, "-c", WRITER, store, str(kill)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(3 + 2 * kill):
                line = child.stdout.readline()
                assert line, "the writer ended by itself"
                acknowledged += map(int, line.split())
            child.send_signal(signal.SIGKILL)
            acknowledged += [
                int(word) for line in child.stdout.read().splitlines(True) if line[-1:] == "\n" for word in line.split()
            ]
    return acknowledged


def check_killed(store: str, acknowledged: list[int]) -> None:
    with MilvusMemory.open(store) as memory:
        assert memory.check() == []
        held = {item.id for item in memory.items()}
        assert set(acknowledged) <= held
        assert len(held) == len(memory)


def test_acknowledged_items_survive_a_killed_writer(store: str) -> None:
    check_killed(store, killed_writers(store, 2))


@pytest.mark.slow
def test_acknowledged_items_survive_ten_killed_writers(store: str) -> None:
    check_killed(store, killed_writers(store, 10))


def test_rows_changed_by_other_means_are_told(memory: MilvusMemory) -> None:
    ids = memory.add(vectors(3), names=["a", "b", "c"])
    (row,) = memory.rows.by("id", [int(ids[0])], ["*"])
    memory.rows.upsert([{**row, "name": "b"}])
    found = memory.check()
    assert f"item {ids[0]} was changed by other means than modicum" in found[0]
    assert "source '' has 2 items 'b'" in found[1]


def test_a_record_of_another_version_is_refused(memory: MilvusMemory, store: str) -> None:
    record = json.dumps({"schema": 2, "kind": "memory", "dim": 8})
    memory.rows.client.upsert("things_info", [{"id": 0, "vector": [0.0, 0.0], "record": record}])
    with pytest.raises(FileFormatError, match="schema 2, this version reads 1"):
        MilvusMemory.open(store)
