"""What moves in these tests."""

from typing import Any

from server.core.commands import Command
from server.core.objects import StoredObject
from server.core.paths import object_path
from server.storage.base import Storage
from server.transfer.here import find_here
from server.transfer.lines import LineSource
from server.transfer.writer import Loading, Writer

BUCKET = "/buckets/b"
COLLECTION = "/buckets/b/collections/c"
RECORDS = f"{COLLECTION}/records"


def row(uri: str, date: int | None = None, acl: Any = None, **data: Any) -> dict[str, Any]:
    """An object as a line has it."""
    dated = data if date is None else {**data, "last_modified": date}
    return {"uri": uri, "data": dated, **({} if acl is None else {"permissions": acl})}


def tombstone(uri: str, date: int) -> dict[str, Any]:
    data = {"id": uri.rpartition("/")[2], "last_modified": date, "deleted": True}
    return {"uri": uri, "data": data, "deleted": True}


PARENTS = (row(BUCKET, 100, {"write": ["account:a"]}), row(COLLECTION, 200, {}))

STOCK = (
    row(BUCKET, 100, {"write": ["account:a"]}, title="B"),
    row(f"{BUCKET}/groups/g", 110, {}, members=["account:b"]),
    tombstone(f"{BUCKET}/groups/h", 120),
    {"uri": f"{BUCKET}/groups", "timestamp": 130},
    row(COLLECTION, 200, {"read": [f"{BUCKET}/groups/g"]}),
    row(f"{RECORDS}/r1", 300, {"write": ["account:b"]}, n=1),
    tombstone(f"{RECORDS}/r2", 301),
    row(f"{RECORDS}/r3", 302, {}, n=3),
    {"uri": RECORDS, "timestamp": 302},
    {"uri": f"{BUCKET}/collections", "timestamp": 200},
)


async def load(storage: Storage, source: LineSource, **options: Any) -> tuple[Writer, list[str]]:
    """Load all of a source; the writer, and what it told."""
    told: list[str] = []
    writer = Writer(storage, source, Loading(tell=told.append, **options))
    await writer.resume()
    await writer.run()
    return writer, told


async def find(storage: Storage, uri: str) -> StoredObject | None:
    """What is here under a URI, or its tombstone."""
    return (await find_here(storage, [object_path(uri)])).get(uri)


async def commit(storage: Storage, *parts: Any) -> list[Any]:
    """The verdicts of a command."""
    return await storage.commit(Command(parts))
