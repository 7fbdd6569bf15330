"""One contract for all memories: exact, HNSW, HNSW with 8-bit vectors, IVF, and Milvus' embedded file.

Exact search equals a plain loop to the bit, approximate ones find at least 95 of 100 of the 30 nearest; the similarities
they give are the exact ones, in order, ties by id. Removal under exact search leaves no trace in any bit.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from modicum.adaptation.protonet import ProtoNetHead
from modicum.adaptation.ridge import RidgeHead
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError
from modicum.memory import view
from modicum.memory.opening import create_memory, open_memory
from modicum.memory.types import AbstractMemory, MemoryInfo, item_id, item_ids
from modicum.similarity import cosine_similarities, dot_similarities, squared_lengths

KINDS = ("exact", "hnsw", "hnsw-sq8", "ivf", "milvus")
DIM = 24


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of index or store."""
    if request.param == "milvus":
        pytest.importorskip("pymilvus", reason='pymilvus is not installed (pip install "modicum[milvus]")')
        pytest.importorskip("milvus_lite", reason='milvus-lite is not installed (pip install "modicum[milvus]")')
    return request.param


def make(folder, kind: str, metric: str = "cosine", dim: int = DIM) -> AbstractMemory:
    """An empty memory of a kind."""
    if kind == "milvus":
        return create_memory(f"milvus+{folder}/memory.db", MemoryInfo(dim, metric))
    create_memory(str(folder / kind), MemoryInfo(dim, metric)).close()
    return open_memory(str(folder / kind), index=kind)


def clustered(n: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, dim))
    return (centres[generator.integers(0, 40, n)] + 0.7 * generator.standard_normal((n, dim))).astype(np.float32)


def all_similarities(query: np.ndarray, keys: np.ndarray, metric: str) -> np.ndarray:
    if metric == "cosine":
        return cosine_similarities(query, keys)
    lengths = squared_lengths(query)[:, None] + squared_lengths(keys)[None]
    return np.minimum(2 * dot_similarities(query, keys) - lengths, 0)


def plain(query: np.ndarray, keys: np.ndarray, ids: np.ndarray, k: int, metric: str = "cosine"):
    """Ids and similarities (Q, k) by sorting all rows."""
    values = all_similarities(query, keys, metric)
    order = np.array([sorted(range(len(ids)), key=lambda i: (-row[i], ids[i]))[:k] for row in values])
    return ids[order], np.take_along_axis(values, order, 1)


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), expected.tolist(), strict=True)]))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_nearest_in_order(kind, metric, tmp_path):
    """2,000 items, 50 queries, k = 30: exact equals the plain loop; others recall .95; values and order are exact in all."""
    keys, query = clustered(2000), clustered(50, 1)
    with make(tmp_path, kind, metric) as memory:
        ids = np.concatenate([memory.add(keys[i : i + 500], source="s") for i in range(0, 2000, 500)])
        memory.rebuild()
        found = memory.lookup(query, 30)
    expected, values = plain(query, keys, ids, 30, metric)
    if kind == "exact":
        assert np.array_equal(found.id, expected)
        assert np.array_equal(found.similarity, values)
    assert recall(found.id, expected) >= 0.95
    rows = np.argsort(ids)[np.searchsorted(np.sort(ids), found.id)]
    own = np.take_along_axis(all_similarities(query, keys, metric), rows, 1)
    assert np.array_equal(found.similarity, own)
    assert (np.diff(found.similarity, axis=1) <= 0).all()


def test_ties_are_ordered_by_id(kind, tmp_path):
    """Twelve equal items among 60 and given ids: they come by rising id."""
    keys = clustered(60)
    keys[20:32] = keys[5]
    ids = np.random.default_rng(3).permutation(60) * 11
    with make(tmp_path, kind) as memory:
        memory.add(keys, ids=ids)
        memory.rebuild()
        found = memory.lookup(keys[5:6], 13)
    assert found.id[0].tolist() == sorted(ids[[5, *range(20, 32)]].tolist())
    assert (found.similarity == 1.0).all()


def test_excluded_items_are_left_out_by_identity(kind, tmp_path):
    """One id a query, several, -1 for none, unknown ones; a duplicate of the excluded item stays."""
    keys = clustered(200)
    keys[1] = keys[0]
    with make(tmp_path, kind) as memory:
        ids = memory.add(keys)
        memory.rebuild()
        query = keys[:4]
        one = memory.lookup(query, 3, exclude=ids[:4])
        assert one.id[0, 0] == ids[1]
        assert not (one.id == ids[:4, None]).any()
        nothing = memory.lookup(query, 3, exclude=[-1, -1, -1, -1])
        assert np.array_equal(nothing.id, memory.lookup(query, 3).id)
        many = np.stack([ids[[0, 1, 2]], ids[[1, 1, 3]], [-1, -1, -1], [ids[3], 123456, -1]])
        found = memory.lookup(query, 2, exclude=many)
        assert [bool(np.isin(row, out).any()) for row, out in zip(found.id, many, strict=True)] == [False] * 4
        assert found.id[2, 0] == ids[2]
        all_but = memory.lookup(query[:1], 5, exclude=ids[None, 5:])
        assert sorted(all_but.id[0].tolist()) == sorted(ids[:5].tolist())


def test_items_can_be_edited(kind, tmp_path):
    """Add, relabel, remove, remove a source, take a snapshot: payloads, counts and results follow at once."""
    keys = clustered(300)
    with make(tmp_path, kind) as memory:
        cats = memory.add(keys[:200], ["cat"] * 200, source="a")
        memory.rebuild()
        dogs = memory.add(keys[200:], [None] * 100, texts=["a dog"] * 100, source="b", names=[f"d{i}" for i in range(100)])
        assert dogs[7] == item_id("b", "d7")
        assert memory.lookup(keys[250:251], 1).id[0, 0] == dogs[50]
        (item,) = memory.payload([dogs[50]])
        assert (item.source, item.name, item.label, item.text, item.words) == ("b", "d50", None, "a dog", "a dog")
        assert memory.relabel(dogs[:3], "dog", text="") == 3
        assert [i.words for i in memory.payload(dogs[1:4])] == ["dog", "dog", "a dog"]
        assert memory.ids_of("b", ["d3", "none", "d0"]).tolist() == [dogs[3], -1, dogs[0]]
        assert np.array_equal(memory.vectors(dogs[::-1]), keys[200:][::-1])
        assert [i.id for i in memory.items(source="a")] == sorted(cats.tolist())
        assert {i.id for i in memory.items(label="dog")} == set(dogs[:3].tolist())
        memory.snapshot(tmp_path / "copy")
        assert memory.remove(cats[:5]) == 5
        assert not np.isin(memory.lookup(keys[:5], 10).id, cats[:5]).any()
        assert memory.remove_source("b") == 100
        stats = memory.stats()
        assert (stats.items, stats.sources, stats.labels) == (195, {"a": 195}, {"cat": 195})
        assert len(memory) == 195
        again = memory.add(keys[:1], names=["0"], source="a")
        assert again[0] == cats[0]
        assert memory.lookup(keys[:1], 1).id.tolist() == [[cats[0]]]
    with open_memory(str(tmp_path / "copy")) as copy:
        assert len(copy) == 300
        assert copy.lookup(keys[200:201], 1).id[0, 0] == dogs[0]


def test_names_by_default_are_counted_on(kind, tmp_path):
    """Two items, then two more; after "10" comes "11", and other sources count for themselves."""
    with make(tmp_path, kind) as memory:
        memory.add(clustered(2), source="a")
        memory.add(clustered(2, 1), source="a")
        memory.add(clustered(1, 2), names=["10"], source="a")
        memory.add(clustered(1, 3), source="a")
        memory.add(clustered(1, 4), source="b")
        assert sorted(item.name for item in memory.items("a")) == ["0", "1", "10", "11", "2", "3"]
        assert [item.name for item in memory.items("b")] == ["0"]


def refuse(memory: AbstractMemory, match: str, call) -> None:
    before = sorted(item for item in memory.items())
    with pytest.raises(DataError, match=match):
        call()
    assert sorted(item for item in memory.items()) == before


def test_bad_input_is_refused_and_changes_nothing(kind, tmp_path):
    keys = clustered(10)
    nan, infinite = keys[:2].copy(), keys[:2].astype(np.float64)
    nan[1, 3], infinite[0, 0] = np.nan, 1e300
    with make(tmp_path, kind) as memory:
        ids = memory.add(keys, ["x"] * 10, source="s")
        free = 5
        refuse(memory, "dim|embeddings", lambda: memory.add(np.zeros((2, DIM + 1)) + 1))
        refuse(memory, "embeddings", lambda: memory.add(keys[0]))
        refuse(memory, "NaN", lambda: memory.add(nan))
        refuse(memory, "infinity", lambda: memory.add(infinite))
        refuse(memory, "zero", lambda: memory.add(np.zeros((1, DIM))))
        refuse(memory, "names", lambda: memory.add(keys[:2], names=["n", "n"]))
        refuse(memory, "name", lambda: memory.add(keys[:1], names=["3"], source="s"))
        refuse(memory, "ids", lambda: memory.add(keys[:2], ids=[free, free]))
        refuse(memory, "id", lambda: memory.add(keys[:2], ids=[free, ids[0]]))
        refuse(memory, "ids", lambda: memory.add(keys[:2], ids=[free]))
        refuse(memory, "ids", lambda: memory.add(keys[:1], ids=[-3]))
        refuse(memory, "labels", lambda: memory.add(keys[:2], ["one"]))
        refuse(memory, "id", lambda: memory.remove([ids[0], free]))
        refuse(memory, "id", lambda: memory.remove([ids[0], ids[0]]))
        refuse(memory, "id", lambda: memory.relabel([free], "y"))
        refuse(memory, "source", lambda: memory.remove_source("t"))
        refuse(memory, "id", lambda: memory.payload([free]))
        refuse(memory, "id", lambda: memory.vectors([free]))
        refuse(memory, "query", lambda: memory.lookup(keys[:, :5], 1))
        refuse(memory, "query", lambda: memory.lookup(nan, 1))
        refuse(memory, "k", lambda: memory.lookup(keys, 0))
        refuse(memory, "k", lambda: memory.lookup(keys, 11))
        refuse(memory, "k", lambda: memory.lookup(keys[:1], 10, exclude=ids[:1]))
        refuse(memory, "exclude", lambda: memory.lookup(keys, 1, exclude=ids[:2]))
        assert len(memory.lookup(keys[:1], 10, exclude=[free]).id[0]) == 10


def test_ids_are_a_function_of_source_and_name():
    """The first 53 bits of BLAKE2b of "source NUL name"; many at once are the same."""
    assert item_id("s", "a") == int.from_bytes(hashlib.blake2b(b"s\0a", digest_size=8).digest(), "big") // 2**11
    assert item_ids("quelle", ["ä", "", "a" * 500]) == [item_id("quelle", name) for name in ("ä", "", "a" * 500)]
    assert item_ids("s", []) == []


def test_an_id_that_another_item_has_gives_way(tmp_path):
    """The id of ("s", "b") is taken by an item of given id: "b" gets that of the next attempt, in one batch with others."""
    with make(tmp_path, "exact") as memory:
        memory.add(clustered(1), ids=[item_id("s", "b")], names=["other"])
        ids = memory.add(clustered(3), source="s", names=["a", "b", "c"])
        assert ids.tolist() == [item_id("s", "a"), item_id("s", "b", 1), item_id("s", "c")]


def test_an_empty_memory_says_so(kind, tmp_path):
    with make(tmp_path, kind) as memory:
        refuse(memory, "empty", lambda: memory.lookup(clustered(1), 1))
        assert (len(memory), list(memory.items()), memory.stats().items) == (0, [], 0)
        ids = memory.add(clustered(1))
        assert memory.lookup(clustered(1), 1).id.tolist() == [ids.tolist()]
        memory.remove(ids)
        refuse(memory, "empty", lambda: memory.lookup(clustered(1), 1))


def test_a_memory_of_another_encoder_is_refused(kind, tmp_path):
    store = f"milvus+{tmp_path}/memory.db" if kind == "milvus" else str(tmp_path / "memory")
    create_memory(store, MemoryInfo(DIM, encoder="resnet", fingerprint="abc123")).close()
    with pytest.raises(ConfigError, match="another encoder"):
        open_memory(store, fingerprint="other")
    open_memory(store, fingerprint="abc123").close()


@pytest.mark.parametrize("flush", [4096, 64], ids=["in memory", "in the file"])
@pytest.mark.parametrize("where", ["first", "middle", "last", "twins", "many"])
def test_removal_is_exact_to_the_bit(where, flush, tmp_path, monkeypatch):
    """After `remove(x)` every result equals that of a memory that never held x: batch 1, 7 and 200, also when reopened."""
    monkeypatch.setattr(view, "FLUSH", flush)
    keys, query = clustered(700), np.concatenate([clustered(150, 5), clustered(50)])
    keys[300:310] = keys[4]  # twins
    gone = {"first": [0], "middle": [341], "last": [699], "twins": [4, 303, 309], "many": range(100, 400)}[where]
    names = [f"n{i}" for i in range(700)]
    keep = [i for i in range(700) if i not in set(gone)]
    with make(tmp_path / "held", "exact") as held, make(tmp_path / "never", "exact") as never:
        ids = np.concatenate(
            [held.add(keys[i : i + 100], names=names[i : i + 100]) for i in range(0, 400, 100)]
            + [held.add(keys[400:], names=names[400:])]
        )
        held.lookup(query[:1], 1)
        never.add(keys[keep], names=[names[i] for i in keep])
        assert held.remove(ids[list(gone)]) == len(gone)
        expected = never.lookup(query, 30)
        with open_memory(str(tmp_path / "held" / "exact"), index="exact") as reopened:
            for memory in (held, reopened):
                for size in (1, 7, 200):
                    parts = [memory.lookup(query[i : i + size], 30) for i in range(0, 200, size)]
                    assert np.array_equal(np.concatenate([p.id for p in parts]), expected.id)
                    assert np.array_equal(np.concatenate([p.similarity for p in parts]), expected.similarity)


@pytest.mark.parametrize("head", [RidgeHead, ProtoNetHead])
def test_closed_form_heads_refitted_on_the_rest_are_equal(head, tmp_path):
    """A head fitted on what is left after a removal gives the bits of one fitted on a memory that never held it."""
    keys, query = clustered(60), torch.from_numpy(clustered(9, 5))
    labels = [str(i % 4) for i in range(60)]
    names = [f"n{i}" for i in range(60)]
    gone = [0, 17, 33, 59]
    keep = [i for i in range(60) if i not in gone]

    def fitted(memory: AbstractMemory) -> torch.Tensor:
        items = list(memory.items())
        support = torch.from_numpy(memory.vectors([item.id for item in items]))
        classes = torch.tensor([int(item.label or 0) for item in items])
        return head().fit(LabelledSet(support, classes), 4)(query)

    with make(tmp_path / "held", "exact") as held, make(tmp_path / "never", "exact") as never:
        ids = held.add(keys, labels, names=names)
        never.add(keys[keep], [labels[i] for i in keep], names=[names[i] for i in keep])
        before = fitted(held)
        held.remove(ids[gone])
        assert not torch.equal(before, fitted(never))
        assert torch.equal(fitted(held), fitted(never))
