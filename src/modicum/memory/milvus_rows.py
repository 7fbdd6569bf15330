"""The rows of a memory on Milvus: making its two collections, reading and writing them.

Collection NAME holds the items, collection NAME_info one row that says what the memory is for. That row is written last,
so it decides whether there is a memory. Milvus itself knows neither unique names nor commits of several requests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modicum.errors import ConfigError, FileFormatError
from modicum.memory.milvus_client import PREFIX, Address, answering, connect, disconnect
from modicum.memory.types import Batch, MemoryInfo, item_id

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows

FIELDS = ("id", "vector", "source", "name", "label", "text", "time", "digest", "name_key", "source_key")
LONGEST = 65_535  # bytes of a text in Milvus
CHUNK = 1000  # rows of one request
BYTES = 16 << 20  # of vectors in one request; Milvus refuses messages of 64 MB
MOST = 16_384  # candidates Milvus gives at most


class MilvusRows:
    """The items of one memory as rows, and the client that reaches them. step: rows of one request with vectors."""

    def __init__(self, client: Any, address: Address, dim: int) -> None:
        self.client = client
        self.address = address
        self.step = min(CHUNK, max(1, BYTES // (4 * dim)))

    def by(self, field: str, values: Sequence[int], fields: Sequence[str]) -> list[dict[str, Any]]:
        """The rows whose number in a field is one of the values, in no order."""
        found = []
        for start in range(0, len(values), self.step):
            wanted = f"{field} in {[int(value) for value in values[start : start + self.step]]}"
            with answering("read", self.address):
                found += self.client.query(self.address.collection, filter=wanted, output_fields=list(fields))
        return found

    def every(self, filter: str, fields: Sequence[str]) -> Iterator[dict[str, Any]]:
        """All rows that a filter admits, "" for all, in no order."""
        size = self.step if "vector" in fields else CHUNK
        with answering("read", self.address):
            pages = self.client.query_iterator(
                self.address.collection, filter=filter or "id >= 0", output_fields=list(fields), batch_size=size
            )
            try:
                while rows := pages.next():
                    yield from rows
            finally:
                pages.close()

    def count(self) -> int:
        """Number of rows."""
        with answering("count", self.address):
            rows = self.client.query(self.address.collection, filter="", output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def search(self, query: Rows, limit: int) -> list[list[int]]:
        """Ids near each row of query (Q, D), about `limit` of them and at most MOST, in Milvus' order."""
        limit, found = min(limit, MOST), []
        settings = {"params": {"ef": min(max(128, 2 * limit), 32_768)}}
        for start in range(0, len(query), 100):
            part = query[start : start + 100].tolist()
            with answering("search", self.address):
                hits = self.client.search(
                    self.address.collection, data=part, limit=limit, anns_field="vector", search_params=settings
                )
            found += [[int(hit["id"]) for hit in own] for own in hits]
        return found

    def insert(self, batch: Batch) -> None:
        """Write a batch; where a request fails, those before it are taken back."""
        times = [time.time()] * len(batch.ids) if batch.times is None else batch.times
        columns = (batch.names, batch.labels, batch.texts, batch.digests, times)
        rows = [
            {"id": id, "vector": vector, "source": batch.source, "name": name, "label": label, "text": text, "time": added,
             "digest": digest, "name_key": item_id(batch.source, name), "source_key": item_id(batch.source, "")}
            for id, vector, name, label, text, digest, added in zip(batch.ids.tolist(), batch.vectors, *columns, strict=True)
        ]  # fmt: skip
        with answering("add items", self.address, writing=True):
            try:
                for start in range(0, len(rows), self.step):
                    self.client.insert(self.address.collection, rows[start : start + self.step])
            except BaseException:
                self.client.delete(self.address.collection, ids=batch.ids.tolist())
                raise

    def upsert(self, rows: list[dict[str, Any]]) -> None:
        """Write rows in place of those with their ids."""
        with answering("relabel items", self.address, writing=True):
            self.client.upsert(self.address.collection, rows)

    def delete(self, ids: Ints) -> None:
        """Delete rows."""
        with answering("remove items", self.address, writing=True):
            for start in range(0, len(ids), CHUNK):
                self.client.delete(self.address.collection, ids=ids[start : start + CHUNK].tolist())

    def finish(self, info: MemoryInfo) -> None:
        """Write what the memory is for; from then on there is one."""
        with answering("make the memory", self.address, writing=True):
            _write_info(self.client, self.address, json.dumps({"schema": 1, "kind": "memory", **asdict(info)}))

    def close(self) -> None:
        """Let the server or file go."""
        disconnect(self.client, self.address)


def make_rows(address: Address, info: MemoryInfo) -> MilvusRows:
    """Rows for a new memory, which `finish` completes; `ConfigError` where something is there or nobody answers."""
    client = connect(address)
    try:
        with answering("make the memory", address, writing=True):
            _make_items(client, address, info.dim, info.metric)
    except BaseException:
        disconnect(client, address)
        raise
    return MilvusRows(client, address, info.dim)


def open_rows(address: Address) -> tuple[MilvusRows, MemoryInfo]:
    """The rows of a memory and what it is for; `FileFormatError` where there is none or another version made it."""
    client = connect(address)
    try:
        with answering("open the memory", address):
            record = json.loads(_read_info(client, address))
        if (version := record.pop("schema", None)) != 1 or record.pop("kind", None) != "memory":
            raise FileFormatError(f"{address.uri}: schema {version!r}, this version reads 1; it was made by another one")
        info = MemoryInfo(**record)
        return MilvusRows(client, address, info.dim), info
    except BaseException:
        disconnect(client, address)
        raise


def drop_rows(rows: MilvusRows) -> None:
    """Delete a memory: first what says that there is one, then its items."""
    with answering("drop the memory", rows.address, writing=True):
        for name in (f"{rows.address.collection}_info", rows.address.collection):
            if rows.client.has_collection(name):
                rows.client.drop_collection(name)


def _types() -> Any:
    from pymilvus import DataType

    return DataType


def _make_items(client: Any, address: Address, dim: int, metric: str) -> None:
    """Make the collection of the items; `ConfigError` where something is there. What an interruption left is dropped."""
    name = address.collection
    if _record(client, address) is not None:
        raise ConfigError(f"store: {address.uri} has a memory {name!r} already; another one is {PREFIX}{address.uri}#NAME")
    if client.has_collection(f"{name}_info"):
        client.drop_collection(f"{name}_info")
    if client.has_collection(name):
        known = {field["name"] for field in client.describe_collection(name)["fields"]}
        if known != set(FIELDS):
            raise ConfigError(f"store: {address.uri} has a collection {name!r} that is no memory; choose another: #NAME")
        client.drop_collection(name)
    DataType = _types()
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    for text in ("source", "name"):
        schema.add_field(text, DataType.VARCHAR, max_length=LONGEST)
    for text in ("label", "text"):
        schema.add_field(text, DataType.VARCHAR, max_length=LONGEST, nullable=True)
    schema.add_field("time", DataType.DOUBLE)
    schema.add_field("digest", DataType.VARCHAR, max_length=256)
    for key in ("name_key", "source_key"):  # numbers in filters need no quoting
        schema.add_field(key, DataType.INT64)
    index = client.prepare_index_params()
    build = {"M": 32, "efConstruction": 200}
    index.add_index("vector", index_type="HNSW", metric_type=metric.upper(), params=build)
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


def _write_info(client: Any, address: Address, record: str) -> None:
    """Write the row that says what a memory is for; from then on there is one."""
    DataType = _types()
    name = f"{address.collection}_info"
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)  # Milvus wants one in every collection
    schema.add_field("record", DataType.VARCHAR, max_length=LONGEST)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{"id": 0, "vector": [0.0, 0.0], "record": record}])


def _record(client: Any, address: Address) -> str | None:
    name = f"{address.collection}_info"
    if not (client.has_collection(name) and client.has_collection(address.collection)):
        return None
    client.load_collection(name)
    rows = client.query(name, filter="id == 0", output_fields=["record"])
    return str(rows[0]["record"]) if rows else None


def _read_info(client: Any, address: Address) -> str:
    """The row of `_write_info`; `FileFormatError` where there is no memory of that name."""
    record = _record(client, address)
    if record is None:
        others = [known.removesuffix("_info") for known in client.list_collections() if known.endswith("_info")]
        hint = f"; it has {', '.join(sorted(others))}" if others else ""
        raise FileFormatError(f"store: {address.uri} has no memory {address.collection!r}{hint}; "
                              "make one with `modicum memory create`")  # fmt: skip
    client.load_collection(address.collection)
    return record
