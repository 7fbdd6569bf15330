"""The memory: exact search against FAISS flat, HNSW against bare FAISS, opening, adding, removing, memory in use.

    python benchmarks/memory.py --threads 2 --folder memories --json memory.json        # all rows; builds the memories first
    python benchmarks/memory.py --rows exact-1 exact-200 --threads 1 --folder memories  # some rows; memories there are used

768 float32 numbers an item, 1,000 clusters (centre and noise of equal spread), k = 30, cosine. Each row is a process of its
own; the two sides of a ratio take turns in it, on other queries each time, and the ratio is the median of the pairwise
ratios. Times are medians [quartiles] of `Memory.lookup` from float32 queries to similarities and ids, rescoring included.

exact-1, exact-200   62,500 items, batch 1 and 200; peer: `IndexFlatIP` with the same unit vectors
hnsw-1, hnsw-200     184,000 items; peer: the index file of ours, read into memory by FAISS, at the same efSearch; recall@30
opening              184,000 items: `open_memory`, and the first look-up after it (file cached by the system)
adding               batches of 1,000 to acknowledgement, beginning with an empty memory
removing             one of 1,000,000 items of D = --narrow (what depends on D is one row), and what the next look-up pays
                     for it (follow); peer: `IndexFlatIP.remove_ids`, which goes over all rows
use                  memory of a process after 200 look-ups: private bytes, mapped file bytes it touched; bytes on disk
crossover            seconds a query of exact search and HNSW by number of items, batch 1 and 64
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from memory_data import DIM, Pair, agreement, memory_of, parts, queries, turns, unit
from side_by_side import child, quartiles, shown, write_rows

K, SMALL, MANY = 30, 62_500, 1_000_000
ROWS = ("exact-1", "exact-200", "hnsw-1", "hnsw-200", "opening", "adding", "removing", "use")


def exact(folder: Path, batch: int, repeats: int) -> Pair:
    """Exact search against `IndexFlatIP`."""
    import faiss

    memory = memory_of(folder, SMALL, "exact")
    flat = faiss.IndexFlatIP(DIM)
    for rows in parts(SMALL):
        flat.add(unit(rows))
    result = turns(lambda q: memory.lookup(q, K), lambda q: flat.search(unit(q), K), batch, repeats)
    query = queries(100)
    rows = memory.lookup(query, K).index
    return {**result, "items": SMALL, "agreement": agreement(rows, flat.search(unit(query), K)[1])}


def hnsw(folder: Path, batch: int, repeats: int, large: int) -> Pair:
    """HNSW against FAISS with the same graph in memory."""
    import faiss

    from modicum.memory.faiss_index import BREADTH

    memory = memory_of(folder, large, "hnsw")
    (path,) = (folder / f"{large}x{DIM}" / "cache").glob("hnsw-*.faiss")
    bare = faiss.read_index(str(path))
    parameters = faiss.SearchParametersHNSW(efSearch=BREADTH)
    result = turns(lambda q: memory.lookup(q, K), lambda q: bare.search(unit(q), K, params=parameters), batch, repeats)
    query = queries(500)
    with memory_of(folder, large, "exact") as plain:
        expected = plain.lookup(query, K).index
    ours = np.concatenate([memory.lookup(query[i : i + 1], K).index for i in range(len(query))])
    peer = bare.search(unit(query), K, params=parameters)[1]
    recalls = {"recall": agreement(ours, expected), "recall_faiss": agreement(peer, expected)}
    return {**result, "items": large, "breadth": BREADTH, **recalls}


def opening(folder: Path, repeats: int, large: int) -> Pair:
    """Seconds to open, and until the first look-up has answered, by kind of index."""
    from modicum.memory.opening import open_memory

    for kind in ("exact", "hnsw"):
        memory_of(folder, large, kind).close()
    query, result = queries(1), {"items": large}
    for kind in ("exact", "hnsw"):
        opened, answered = [], []
        for _ in range(repeats):
            start = time.perf_counter()
            with open_memory(str(folder / f"{large}x{DIM}"), index=kind) as memory:  # type: ignore[arg-type]
                opened.append(time.perf_counter() - start)
                memory.lookup(query, K)
                answered.append(time.perf_counter() - start)
        result |= {f"open_{kind}": quartiles(opened), f"first_{kind}": quartiles(answered)}  # type: ignore[assignment]
    return result


def adding(folder: Path, items: int) -> Pair:
    """Items acknowledged a second in batches of 1,000, and milliseconds a batch."""
    from modicum.memory.opening import create_memory
    from modicum.memory.types import MemoryInfo

    batches = list(parts(items))
    names = [[str(i * 1000 + j) for j in range(1000)] for i in range(len(batches))]
    with tempfile.TemporaryDirectory(dir=folder) as place, create_memory(f"{place}/m", MemoryInfo(DIM)) as memory:
        times = []
        start = time.perf_counter()
        for rows, own in zip(batches, names, strict=True):
            begun = time.perf_counter()
            memory.add(rows, ["label"] * len(rows), names=own, source="s")
            times.append(time.perf_counter() - begun)
        return {"items": items, "per_second": items / (time.perf_counter() - start), "batch": quartiles(times)}


def removing(folder: Path, repeats: int, dim: int) -> Pair:
    """Seconds to remove one item, and for the next look-up; FAISS' own removal beside it."""
    import faiss

    memory = memory_of(folder, MANY, "exact", dim)
    held = np.array([item.id for item in memory.items()])
    chosen = np.random.default_rng(time.time_ns()).permutation(held)[:repeats]
    query, times, next_ = queries(1)[:, :dim], [], []
    for one in chosen:
        start = time.perf_counter()
        memory.remove([one])
        times.append(time.perf_counter() - start)
    for one in chosen[:7]:
        (item,) = memory.payload(held[held != one][:1])
        memory.lookup(query, 1)
        memory.remove([item.id])
        held = held[~np.isin(held, [item.id, one])]
        start = time.perf_counter()
        memory.follower.current()
        next_.append(time.perf_counter() - start)
    flat = faiss.IndexFlatIP(dim)
    for rows in parts(MANY, dim, size=10_000):
        flat.add(rows)
    peer = []
    for i in range(7):
        start = time.perf_counter()
        flat.remove_ids(np.array([1000 * i]))
        peer.append(time.perf_counter() - start)
    return {
        "items": len(held),
        "dim": dim,
        "modicum": quartiles(times),
        "follow": quartiles(next_),
        "faiss": quartiles(peer),
    }


def use(folder: Path, large: int) -> Pair:
    """Bytes of this process by kind of index, and on disk."""
    result: Pair = {"items": large}
    for kind in ("exact", "hnsw"):
        memory_of(folder, large, kind).close()
    before = _private()
    for kind in ("hnsw", "exact"):
        with memory_of(folder, large, kind) as memory:
            for query in queries(200):
                memory.lookup(query[None], K)
            private, mapped = _private()
            result[kind] = {"private": private - before[0], "mapped": mapped - before[1]}
    place = folder / f"{large}x{DIM}"
    sizes = {path.name.split(".")[-1]: path.stat().st_size for path in place.rglob("*") if path.is_file()}
    return {**result, "disk": sizes}


def _private() -> tuple[int, int]:
    """Private and shared resident bytes of this process (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return found["Private_Dirty"], found["Shared_Clean"] + found["Private_Clean"] + found["Shared_Dirty"]


def crossover(folder: Path, repeats: int) -> Pair:
    """Seconds a query by number of items."""
    result: Pair = {}
    for n in (5_000, 10_000, 20_000, 50_000):
        for kind in ("exact", "hnsw"):
            with memory_of(folder, n, kind) as memory:
                for batch in (1, 64):
                    asked = queries(batch * repeats)
                    times = []
                    for i in range(repeats):
                        start = time.perf_counter()
                        memory.lookup(asked[i * batch : (i + 1) * batch], K)
                        times.append((time.perf_counter() - start) / batch)
                    result[f"{n} {kind} {batch}"] = quartiles(times)
    return result


def measure(row: str, folder: Path, options: argparse.Namespace) -> Pair:
    """One row in this process."""
    repeats, large = options.repeats, options.large
    kind, _, batch = row.partition("-")
    if kind == "exact":
        return exact(folder, int(batch), repeats if batch == "1" else max(5, repeats // 10))
    if kind == "hnsw":
        return hnsw(folder, int(batch), 4 * repeats if batch == "1" else max(5, repeats // 10), large)
    if row == "removing":
        return removing(folder, repeats, options.narrow)
    if row == "adding":
        return adding(folder, options.items)
    return {"opening": lambda: opening(folder, 7, large), "use": lambda: use(folder, large),
            "crossover": lambda: crossover(folder, 7)}[row]()  # fmt: skip


def cells(row: str, found: Pair) -> str:
    """A line of the Markdown table: row, ours, peer, ratio, and whatever else was measured."""
    ratio = shown(found.get("ratio"), 1)
    rest = {k: v for k, v in found.items() if k not in ("modicum", "faiss", "ratio")}
    told = ", ".join(f"{k} {shown(v) + ' ms' if isinstance(v, dict) and 'median' in v else v}" for k, v in rest.items())
    return f"| {row} | {shown(found.get('modicum'))} | {shown(found.get('faiss'))} | {ratio} | {told} |"


def main() -> None:
    """Run the rows and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=[*ROWS, "crossover"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--folder", default="memories", help="where the memories lie, and stay; made where they are missing")
    parser.add_argument("--narrow", type=int, default=64, help="D of the million items of the row `removing`")
    parser.add_argument("--large", type=int, default=184_000, help="items of the rows hnsw, opening and use")
    parser.add_argument("--items", type=int, default=60_000, help="of the row `adding`")
    parser.add_argument("--limit", type=float, default=3600, help="seconds for one row")
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if options.child:
        print(json.dumps(measure(options.child, folder, options)))
        return
    rows = []
    print("| row | modicum ms | faiss ms | ratio | |\n" + "|---" * 5 + "|")
    for row in options.rows:
        named = ("folder", "threads", "repeats", "narrow", "items", "large")
        call = [text for name in named for text in (f"--{name}", str(getattr(options, name)))]
        found = child(__file__, ["--child", row, *call], options.limit)
        rows.append({"row": row, "threads": options.threads, **(found or {})})
        print(cells(row, found or {}), flush=True)
    if options.json:
        write_rows(options.json, rows)
    if any(len(row) == 2 for row in rows):
        sys.exit("a row failed")


if __name__ == "__main__":
    main()
