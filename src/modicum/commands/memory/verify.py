"""`modicum memory verify`: examine everything that a memory stores."""

from __future__ import annotations

import os

from modicum.commands.memory.encoders import embedder_of
from modicum.commands.memory.stores import is_milvus, open_store
from modicum.commands.output import counted, write_result
from modicum.configs import MemoryVerify
from modicum.errors import ModicumError
from modicum.memory.types import MemoryInfo

_SHOWN = 20


def _examined(store: str) -> tuple[list[str], int, MemoryInfo, str]:
    """(what is wrong with items and with what is made from them, number of items, info, what to do about it)."""
    anew = f"{store} is damaged. Put a snapshot or copy in its place, or make it anew with `modicum memory add`"
    with open_store(store, readonly=True) as opened:
        problems, items, info = opened.check(), len(opened), opened.info
    if problems or is_milvus(store):
        return problems, items, info, anew
    from modicum.memory.memory import Memory

    with Memory.open(store, readonly=not os.access(store, os.W_OK)) as memory:
        return memory.verify(), items, info, f"no item is damaged; `modicum memory rebuild {store}` puts this right"


def run(config: MemoryVerify) -> int:
    """Read all of it and say what is wrong; 1 where something is."""
    problems, items, info, remedy = _examined(config.store)
    notes = []
    if info.encoder:
        try:
            embedder_of(config.store, info)
        except ModicumError as error:
            problems.append(str(error))
            remedy = f"nothing can be added to {config.store} or searched in it by pictures until its encoder is back"
    else:
        notes.append("it was made from embeddings, without an encoder")
    for problem in problems[:_SHOWN]:
        print(f"wrong: {problem}")
    if len(problems) > _SHOWN:
        print(f"wrong: {len(problems) - _SHOWN} more" + ("; --json FILE names all" if config.json is None else ""))
    for note in notes:
        print(f"note: {note}")
    if problems:
        print(remedy)
    else:
        print(f"{config.store} is whole: {counted(items, 'item')}, each with a sound embedding")
    write_result(
        config.json, {"rows": [{"store": config.store, "items": items, "whole": not problems, "problems": problems}]}
    )
    return 1 if problems else 0
