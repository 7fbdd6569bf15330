"""The way to a Milvus server or its embedded file: addresses, connections, errors in our words.

API: pymilvus 3.0 (`MilvusClient`), https://milvus.io/api-reference/pymilvus.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from modicum.errors import ConfigError, FileFormatError, MissingExtra, ModicumError, WriteError

PREFIX = "milvus+"
DEFAULT = "modicum"  # name of a collection where the address gives none
TOKEN = "MODICUM_MILVUS_TOKEN"
SECONDS = 10.0  # how long to wait for a server
_OPEN: Counter[str] = Counter()
"""Embedded files and how many memories of this process have them open."""


class Address(NamedTuple):
    """Where a memory lies: uri as pymilvus takes it, and the name of the collection. local: an embedded file."""

    uri: str
    collection: str
    local: bool


def address_of(store: str) -> Address:
    """Read `milvus+URI` or `milvus+URI#COLLECTION`; `ConfigError` says what was expected."""
    uri, _, collection = store.removeprefix(PREFIX).partition("#")
    collection = collection or DEFAULT
    if not re.fullmatch(r"[A-Za-z_]\w{0,200}", collection, re.ASCII):
        raise ConfigError(f"store: a collection's name is letters, digits and _, found {collection!r}")
    if re.match(r"(https?|tcp|unix)://.", uri):
        return Address(uri, collection, False)
    if "://" in uri or not uri.endswith(".db"):
        expected = f"{PREFIX}http://HOST:19530 for a server or {PREFIX}FILE.db for an embedded file"
        raise ConfigError(f"store: expected {expected}, #COLLECTION behind it or not; found {store!r}")
    return Address(os.path.abspath(uri), collection, True)


def connect(address: Address) -> Any:
    """A `pymilvus.MilvusClient`. `MissingExtra`: not installed; `ConfigError`: nobody answers, or the file is in use."""
    try:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException
    except ImportError as error:
        raise MissingExtra('store: a memory on Milvus needs pymilvus: pip install "modicum[milvus]"') from error
    for name in ("pymilvus", "milvus_lite"):  # they log every refusal with its traceback; it is told as an error instead
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if address.local and not Path(address.uri).parent.is_dir():
        raise ConfigError(f"store: there is no folder {Path(address.uri).parent} for {Path(address.uri).name}")
    try:
        client = MilvusClient(address.uri, token=os.environ.get(TOKEN, ""), timeout=SECONDS)
    except (MilvusException, OSError, ValueError) as error:
        if address.local:
            found = "is a file of another kind" if Path(address.uri).is_file() else "cannot be opened"
            raise ConfigError(f"store: {address.uri} {found}; an embedded file serves one process at a time (is another one "
                              "using it?) and needs milvus-lite; a server serves many") from error  # fmt: skip
        raise ConfigError(f"store: no Milvus answers at {address.uri} ({told(error)}); is it running, is the address right, "
                          f"does it want a token (environment variable {TOKEN})?") from error  # fmt: skip
    if address.local:
        _OPEN[address.uri] += 1
    return client


def disconnect(client: Any, address: Address) -> None:
    """Close a client; the last one of an embedded file lets the file go, so that other processes may have it."""
    with contextlib.suppress(Exception):
        client.close()
    if not address.local:
        return
    _OPEN[address.uri] -= 1
    if _OPEN[address.uri] <= 0:
        with contextlib.suppress(ImportError):
            manager = importlib.import_module("milvus_lite.server_manager")
            manager.server_manager_instance.release_server(address.uri)


def told(error: BaseException) -> str:
    """What Milvus says, on one line."""
    text = " ".join(str(getattr(error, "message", "") or error).split())
    return text[:300]


@contextlib.contextmanager
def answering(doing: str, address: Address, *, writing: bool = False) -> Iterator[None]:
    """Errors of Milvus inside as `WriteError` (nothing was acknowledged) or `FileFormatError`, saying what failed."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except ModicumError:
        raise
    except (MilvusException, OSError) as error:
        kind: type[ModicumError] = WriteError if writing else FileFormatError
        hint = "; what was acknowledged before is unchanged" if writing else ""
        raise kind(f"{address.uri}#{address.collection}: cannot {doing} ({told(error)}){hint}") from error
