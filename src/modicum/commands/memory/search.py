"""`modicum memory search`: the items nearest to pictures."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from modicum.classifiers.predicting import picture_files
from modicum.commands.memory.encoders import Embedder, embedder_of
from modicum.commands.memory.stores import is_milvus
from modicum.commands.output import counted, show_table, write_result
from modicum.commands.progress import progress
from modicum.configs import MemorySearch
from modicum.data.images import load_picture
from modicum.errors import DataError, ModicumError
from modicum.memory.memory import Memory
from modicum.memory.opening import open_memory
from modicum.memory.types import AbstractMemory
from modicum.runtime import Progress

_BLOCK = 64  # pictures searched for together


def _read(files: list[str], found: Embedder, problems: list[tuple[str, str]]) -> tuple[list[str], list[Any]]:
    """(files that are pictures, their pixels); the others go to problems."""
    good, pixels = [], []
    for file in files:
        try:
            pixels.append(load_picture(file, found.size, found.channels))
            good.append(file)
        except ModicumError as error:
            problems.append((file, str(error).removeprefix(f"{file}: ")))
    return good, pixels


def _answers(memory: AbstractMemory, images: list[str], queries: Any, k: int) -> list[dict[str, Any]]:
    """A record for each picture with its neighbours."""
    near = memory.lookup(queries, k)
    items = memory.payload(near.id.reshape(-1))
    rows = []
    for place, image in enumerate(images):
        own = zip(near.similarity[place].tolist(), items[place * k : (place + 1) * k], strict=True)
        told = [
            {
                "id": item.id,
                "similarity": value,
                "label": item.label,
                "text": item.text,
                "source": item.source,
                "name": item.name,
            }
            for value, item in own
        ]
        rows.append({"image": image, "neighbours": told})
    return rows


def search(config: MemorySearch, tick: Progress) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """(a record for each picture, problems with pictures)."""
    readonly = not is_milvus(config.store) and not os.access(config.store, os.W_OK)  # else vector file and index are kept
    with open_memory(config.store, readonly=readonly, index=config.index) as memory:
        if isinstance(memory, Memory):
            memory.builder.paused = True  # this command ends before an index would be built
        size = len(memory)
        if size == 0:
            raise DataError(f"store: {config.store} is empty; put pictures into it with `modicum memory add`")
        if config.k > size:
            raise DataError(f"k: {config.store} has {counted(size, 'item')}; expected at most {size:,}, found {config.k:,}")
        found = embedder_of(config.store, memory.info)
        files, problems = picture_files(config.images)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(files), _BLOCK):
            good, pixels = _read(files[start : start + _BLOCK], found, problems)
            if good:
                rows += _answers(memory, good, found.embed(np.stack(pixels), None), config.k)
            tick(min(start + _BLOCK, len(files)), len(files))
        _tell_pending(config, memory)
    return rows, problems


def _tell_pending(config: MemorySearch, memory: AbstractMemory) -> None:
    """Say how a large memory without an index gets one."""
    if isinstance(memory, Memory) and 2 * (pending := memory.stats().pending) > len(memory):
        told = f"note: {pending:,} of {counted(len(memory), 'item')} were searched one by one"
        print(f"{told}; `modicum memory rebuild {config.store}` makes an index for them", file=sys.stderr)


def run(config: MemorySearch) -> int:
    """Search, show, write; 1 where some pictures could not be read."""
    with progress("searching") as tick:
        rows, problems = search(config, tick)
    lines = [
        (
            row["image"] if place == 0 else "",
            f"{near['similarity']:.4f}",
            near["label"],
            near["source"],
            near["name"],
            near["id"],
        )
        for row in rows
        for place, near in enumerate(row["neighbours"])
    ]
    if lines:
        show_table("", ("image", "similarity", "label", "source", "name", "id"), lines)
    for image, message in problems:
        print(f"cannot search: {image}: {message}", file=sys.stderr)
    told = [{"image": image, "message": message} for image, message in problems]
    write_result(config.json, {"rows": rows, "problems": told})
    return 1 if problems else 0
