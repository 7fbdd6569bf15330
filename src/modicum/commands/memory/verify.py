"""`modicum memory verify`: examine everything that a memory stores."""

from __future__ import annotations

from modicum.commands.memory.encoders import embedder_of
from modicum.commands.memory.stores import open_store
from modicum.commands.output import counted, write_result
from modicum.configs import MemoryVerify
from modicum.errors import ModicumError

_SHOWN = 20


def run(config: MemoryVerify) -> int:
    """Read all of it and say what is wrong; 1 where something is."""
    with open_store(config.store, readonly=True) as opened:
        problems, items, info = opened.check(), len(opened), opened.info
    notes = []
    if info.encoder:
        try:
            embedder_of(config.store, info)
        except ModicumError as error:
            problems.append(str(error))
    else:
        notes.append("it was made from embeddings, without an encoder")
    for problem in problems[:_SHOWN]:
        print(f"wrong: {problem}")
    if len(problems) > _SHOWN:
        print(f"wrong: {len(problems) - _SHOWN} more" + ("; --json FILE names all" if config.json is None else ""))
    for note in notes:
        print(f"note: {note}")
    if problems:
        print(f"{config.store} is damaged. Put a snapshot or copy in its place, or make it anew with `modicum memory add`")
    else:
        print(f"{config.store} is whole: {counted(items, 'item')}, each with a sound embedding")
    write_result(
        config.json, {"rows": [{"store": config.store, "items": items, "whole": not problems, "problems": problems}]}
    )
    return 1 if problems else 0
