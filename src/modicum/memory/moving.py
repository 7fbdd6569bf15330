"""A memory copied item by item into another store: ids, names, labels, texts, times and digests stay what they are.

Between folders `snapshot` copies the whole database instead. On an error, or where it is interrupted, nothing is left in the
target: a folder gets its name, and a collection what makes it a memory, at the end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from modicum.errors import WriteError
from modicum.files import make_folder, sync_folder
from modicum.memory.milvus_client import PREFIX
from modicum.memory.store import Store
from modicum.memory.types import Batch, MemoryInfo
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.memory.milvus import MilvusMemory

Opened: TypeAlias = "Store | MilvusMemory"
CHUNK = 1000


def batches(memory: Opened) -> Iterator[Batch]:
    """Everything a memory holds, source by source, in batches of at most CHUNK items."""
    import numpy as np

    sources = memory.counts()[0] if isinstance(memory, Store) else memory.stats().sources
    for source in sorted(sources):
        items = memory.items(source=source)
        while part := list(islice(items, CHUNK)):
            ids = np.array([item.id for item in part], np.int64)
            columns = zip(*((item.name, item.label, item.text, item.digest, item.time) for item in part), strict=True)
            names, labels, texts, digests, times = columns
            yield Batch(ids, memory.vectors(ids), source, names, labels, texts, digests, times)


def _fill(source: Opened, target: Opened, progress: Progress | None) -> int:
    total, done = len(source), 0
    add = target.add if isinstance(target, Store) else target.add_batch
    with source.reading() if isinstance(source, Store) else contextlib.nullcontext():
        for batch in batches(source):
            add(batch)
            done += len(batch.ids)
            if progress is not None:
                progress(done, total)
    return done


def copy_memory(
    source: Opened, target: str, *, info: MemoryInfo | None = None, progress: Progress | None = None
) -> int:  # fmt: skip
    """Copy a memory into a new store, a folder or `milvus+URI`; returns how many items. info: in place of the source's.

    `WriteError` or `ConfigError` where something is there, or nothing can be written; then the target is as it was.
    """
    info = info or source.info
    return (
        _to_milvus(source, target, info, progress)
        if target.startswith(PREFIX)
        else _to_folder(source, target, info, progress)
    )


def _to_milvus(source: Opened, target: str, info: MemoryInfo, progress: Progress | None) -> int:
    from modicum.memory.milvus import MilvusMemory

    with MilvusMemory.unfinished(target, info) as made:
        done = _fill(source, made, progress)
        made.rows.finish(info)
    return done


def _to_folder(source: Opened, target: str, info: MemoryInfo, progress: Progress | None) -> int:
    folder = Path(target)
    if os.path.lexists(folder):
        raise WriteError(f"{target}: something is there already; give the name of a new folder")
    temporary = make_folder(folder.absolute().parent) / f".{folder.name}.{secrets.token_hex(8)}.tmp"
    try:
        with Store.create(temporary, info) as made:
            done = _fill(source, made, progress)
        os.rename(temporary, folder)
        sync_folder(folder.absolute().parent)
    except OSError as error:
        raise WriteError(f"cannot write {target}: {error.strerror}; nothing is there") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return done
