"""When a memory has an index, and how one comes into being: beside the searches, whole or not at all.

A thread brings all rows into the vector file, builds an engine over them (adds the new rows to the old one where few were
removed), writes it to a temporary file, renames that and puts it into use. Until then rows the index lacks are searched
exactly. A file is used only where its checksum is the manifest's, and built again where it is not. One process builds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from typing import Literal

from modicum.errors import FileFormatError, ModicumError, WriteError
from modicum.files import read_json, sync_folder, write_json
from modicum.memory import faiss_index
from modicum.memory.faiss_index import Approximate, FaissIndex
from modicum.memory.segments import make_segment
from modicum.memory.store_schema import sync_file
from modicum.memory.vectors import CacheDamaged, VectorFile
from modicum.memory.view import FLUSH, Follower, View

IndexKind = Literal["auto", "exact", "hnsw", "hnsw-sq8", "ivf"]

EXACT_ROWS = 50_000
"""Items up to which `auto` searches exactly; see benchmarks/memory.py."""
LOCK = "index.lock"


class _Stopped(Exception):
    """The memory is being closed."""


class Builder:
    """Gives the views of a follower their index. kind: as asked for; `auto`: exact up to `EXACT_ROWS` items, else HNSW."""

    def __init__(self, follower: Follower, kind: IndexKind) -> None:
        self.follower, self.kind = follower, kind
        self.error: Exception | None = None
        """Why the last building failed; searches are exact then."""
        self.paused = False
        """While true none is begun: for a process that ends before it could be of use."""
        self._attended: View | None = None
        self._thread: threading.Thread | None = None
        self._beginning = threading.Lock()
        self._stop = threading.Event()
        self._failed_at = 0

    def wanted(self, items: int) -> Approximate | None:
        """The kind of index for so many items, None for exact search."""
        if self.kind == "auto":
            return "hnsw" if items > EXACT_ROWS else None
        return None if self.kind == "exact" else self.kind

    def attend(self, view: View) -> View:
        """The view with an index where there is one on disk; where it is out of date, another is begun."""
        if view is self._attended:
            return view
        kind = self.wanted(view.live)
        if kind is not None:
            if (view.index is None or view.index.kind != kind) and self.adopt(kind, view):
                view = self.follower.current()
            if self._due(view):
                self._begin(kind)
        elif view.index is not None:
            self.follower.install(None)
            view = self.follower.current()
        self._attended = view
        return view

    def adopt(self, kind: Approximate, view: View) -> bool:
        """Whether an index that lies on disk covers more rows of the view's file than its own, and is now in use."""
        cache, file = self.follower.cache, view.file
        if cache is None or file is None:
            return False
        try:
            record = read_json(cache.folder / f"{kind}.json")
            rows, path = int(record["rows"]), cache.folder / str(record["file"])
            covered = view.indexed if view.index is not None and view.index.kind == kind else 0
            if record["generation"] != file.generation or not covered < rows <= len(file):
                return False
            sound = faiss_index.file_checksum(path) == int(record["sum"], 16)
            engine = faiss_index.mapped(path) if sound else None
        except (FileFormatError, OSError, ValueError, KeyError, TypeError, RuntimeError):
            return False
        if engine is None or engine.ntotal != rows or engine.d != self.follower.dim:
            if not self.follower.readonly:
                with contextlib.suppress(OSError):
                    (cache.folder / f"{kind}.json").unlink()
            return False
        self.follower.install(FaissIndex(kind, file.generation, rows, engine))
        return True

    def _due(self, view: View) -> bool:
        total = len(view.base.ids) + len(view.tail.ids)
        removed = view.indexed - int(view.base.alive[: view.indexed].sum())
        return total - view.indexed > max(FLUSH, total // 8) or removed > max(FLUSH // 4, total // 4)

    def _begin(self, kind: Approximate) -> None:
        follower = self.follower
        with self._beginning:  # of several threads that search one begins it
            running = self._thread is not None and self._thread.is_alive()
            if follower.readonly or self.paused or running or self._stop.is_set():
                return
            if follower.store.last_change() >= self._failed_at:
                self._thread = threading.Thread(target=self._run, args=(kind,), name="memory index", daemon=True)
                self._thread.start()

    def _run(self, kind: Approximate) -> None:
        try:
            faiss_index.leave_cores()
            self._build(kind, fresh=False)
            self.error = None
        except _Stopped:
            pass
        except (ModicumError, CacheDamaged, OSError, RuntimeError, MemoryError) as error:
            self.error = error
            self._failed_at = self.follower.store.last_change() + FLUSH if not self._stop.is_set() else 0
            if isinstance(error, CacheDamaged):
                self.follower.discard()
                self._failed_at = 0

    def told(self, items: int) -> tuple[str, int]:
        """The kind of search in use and how many items it finds outside its index; items: how many there are."""
        kind, view = self.wanted(items), self.follower.latest
        if kind is None or self.follower.cache is None:
            return "exact", 0
        if view is not None:
            return kind, items - int(view.base.alive[: view.indexed].sum())
        with contextlib.suppress(FileFormatError, ValueError, KeyError, TypeError):
            return kind, max(0, items - int(read_json(self.follower.cache.folder / f"{kind}.json")["rows"]))
        return kind, items

    def settle(self) -> None:
        """Wait for the index that is being built, if one is."""
        if self._thread is not None:
            self._thread.join()

    def rebuild(self) -> None:
        """Write vector file and index anew from the database, whatever is there; `WriteError` where that fails."""
        self.close()  # what is being built would be built again
        self._stop.clear()
        kind = self.wanted(len(self.follower.store))
        if kind is not None and len(self.follower.store):
            self._build(kind, fresh=True)
        elif (file := self.follower.rewrite()) is not None:
            self.follower.install(None, file)

    def close(self) -> None:
        """Stop building."""
        self._stop.set()
        self.settle()

    def _build(self, kind: Approximate, fresh: bool) -> None:
        follower = self.follower
        assert follower.cache is not None
        with follower.cache.locked(LOCK, wait=fresh) as mine:
            if not fresh and mine:
                self.adopt(kind, follower.current())
            if not mine or not (fresh or self._due(follower.current())):
                return
            file = None if fresh else follower.settle()
            follower.held = True
            try:
                view = follower.current()
                compact = file is None or 4 * (len(view.base.ids) - view.base.live) > len(file)
                if compact:
                    file = follower.rewrite()
                if file is None:
                    raise WriteError(
                        f"cannot write the cache {follower.cache.folder}, so no index is built; search is exact"
                    )
                start = view.index if not compact and view.index and view.index.kind == kind else None
                index = self._written(kind, file, start.rows if start else 0)
                follower.install(index, file if compact else None)
            finally:
                follower.held = False

    def _written(self, kind: Approximate, file: VectorFile, start: int) -> FaissIndex:
        """An index over all rows of a file, on disk and mapped. start: rows of the one that it begins with, 0 for none."""
        assert self.follower.cache is not None
        folder, rows = self.follower.cache.folder, len(file)
        path = folder / f"{kind}-{file.generation}-{rows}.faiss"
        begun = folder / f"{kind}-{file.generation}-{start}.faiss" if start else None
        base = make_segment(self.follower.metric, file.vectors, file.ids, file.squares, file.alive, file.check)
        temporary = folder / f".{path.name}.{secrets.token_hex(8)}.tmp"
        for leftover in folder.glob(".*.faiss.*.tmp"):  # of a process that was killed: only one builds at a time
            leftover.unlink(missing_ok=True)
        try:
            faiss_index.save(faiss_index.build(kind, base, rows, self._step, begun), temporary)
            sync_file(temporary)
            record = {"generation": file.generation, "rows": rows, "file": path.name}
            total = faiss_index.file_checksum(temporary)
            os.replace(temporary, path)
            sync_folder(folder)
            write_json(folder / f"{kind}.json", {**record, "sum": f"{total:x}"})
        except (OSError, RuntimeError) as error:
            raise WriteError(f"cannot write the index {path}: {error}; search goes on without it") from error
        finally:
            temporary.unlink(missing_ok=True)
        for older in folder.glob(f"{kind}-{file.generation}-*.faiss"):
            if older != path:
                older.unlink(missing_ok=True)
        return FaissIndex(kind, file.generation, rows, faiss_index.mapped(path))

    def _step(self, rows: int) -> None:
        if self._stop.is_set():
            raise _Stopped
