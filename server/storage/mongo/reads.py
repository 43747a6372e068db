"""Reading at one instant.

The first find of a snapshot takes the newest cluster time that the majority
has; the others read at that time. Inside the ledger's transaction the
transaction's own instant is read, with what it has written so far.
"""

from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Any

from server.core.filters import matches
from server.core.objects import StoredObject
from server.core.paths import ListPath
from server.core.sorting import DEFAULT_ORDER, SortKey, is_after, sort_key
from server.storage.base import Page
from server.storage.mongo.documents import Document, decode_object
from server.storage.mongo.driver import AutoReconnect, Driver, Int64, Timestamp
from server.storage.mongo.preselect import preselect
from server.storage.mongo.schema import OBJECTS

_WHOLE = {"q": 0}
_LISTED = {"json": 1, "last_modified": 1, "pos": 1, "deleted": 1}
_BATCH = 500


class MongoSnapshot:
    """One session's reads; see ``Snapshot``."""

    def __init__(self, driver: Driver, session: Any, *, in_transaction: bool = False) -> None:
        self._driver = driver
        self._session = session
        self._in_transaction = in_transaction
        self._at: Timestamp | None = None

    async def _find(self, command: Document) -> Document:
        if not self._in_transaction:
            concern: Document = {"level": "snapshot"}
            if self._at is not None:
                concern["atClusterTime"] = self._at
            command["readConcern"] = concern
        cursor: Document = (await self._run({"find": OBJECTS, **command}))["cursor"]
        if self._at is None:
            self._at = cursor.get("atClusterTime")
        return cursor

    async def _run(self, command: Document) -> Document:
        try:
            return await self._driver.run(command, self._session)
        except AutoReconnect:
            if self._in_transaction:
                raise
            # A read changes nothing: once more, on whichever primary there is by then.
            return await self._driver.run(command, self._session)

    async def _documents(self, command: Document) -> AsyncGenerator[Document, None]:
        """All documents of a find, batch after batch."""
        cursor = await self._find(command)
        batch = cursor["firstBatch"]
        try:
            while True:
                for document in batch:
                    yield document
                if not cursor["id"]:
                    return
                more = {"getMore": Int64(cursor["id"]), "collection": OBJECTS, "batchSize": _BATCH}
                cursor = (await self._run(more))["cursor"]
                batch = cursor["nextBatch"]
        except GeneratorExit:
            # Nobody wants the rest: the database need not keep it for ten minutes.
            if cursor["id"]:
                await self._run({"killCursors": OBJECTS, "cursors": [Int64(cursor["id"])]})
            raise

    async def objects(self, uris: Iterable[str]) -> dict[str, StoredObject]:
        """See ``Snapshot``."""
        wanted = list(uris)
        command = {"filter": {"_id": {"$in": wanted}}, "projection": _WHOLE}
        # One reply, whatever its size, up to the 16 MiB that a reply may have.
        command |= {"batchSize": len(wanted) + 1}
        found = [decode_object(one) async for one in self._documents(command)]
        return {one.uri: one for one in found}

    async def page(self, page: Page) -> list[StoredObject]:
        """See ``Snapshot``."""
        if _is_stored_order(page.order):
            return await self._ordered_page(page)
        return await self._sorted_page(page)

    async def _ordered_page(self, page: Page) -> list[StoredObject]:
        """A page in an order that the database has."""
        command: Document = {
            "filter": _page_filter(page),
            "projection": _LISTED,
            "sort": {key.field: -1 if key.descending else 1 for key in page.order},
        }
        if not page.conditions:
            command |= {"limit": page.limit, "batchSize": page.limit + 1}
        else:
            command["batchSize"] = min(page.limit + 1, _BATCH)
        found: list[StoredObject] = []
        stream = self._documents(command)
        async for document in stream:
            stored = decode_object(document)
            if page.conditions and not matches(page.conditions, stored.data):
                continue
            found.append(stored)
            if len(found) == page.limit:
                break
        await stream.aclose()
        return found

    async def _sorted_page(self, page: Page) -> list[StoredObject]:
        """A page in an order that only the evaluator knows: all matches are looked at."""
        command = {"filter": _page_filter(page), "projection": _LISTED, "batchSize": _BATCH}
        best = _Smallest(page)
        async for document in self._documents(command):
            best.add(decode_object(document))
        return best.found()

    async def count(self, page: Page) -> int:
        """See ``Snapshot``."""
        selector = _page_filter(page) | {"deleted": False}
        command = {"filter": selector, "projection": _LISTED, "batchSize": _BATCH}
        total = 0
        async for document in self._documents(command):
            total += matches(page.conditions, decode_object(document).data)
        return total

    async def groups_of(self, principals: Collection[str]) -> list[StoredObject]:
        """See ``Snapshot``."""
        return await self._all({"members": {"$in": sorted(principals)}})

    async def named(self, principals: Collection[str]) -> list[StoredObject]:
        """See ``Snapshot``."""
        return await self._all({"principals": {"$in": sorted(principals)}})

    async def _all(self, selector: Document) -> list[StoredObject]:
        command = {"filter": selector, "projection": _WHOLE, "batchSize": _BATCH}
        return [decode_object(one) async for one in self._documents(command)]


class _Smallest:
    """Keeps the first objects of a page's order while all are streamed by."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._kept: list[tuple[Any, StoredObject]] = []

    def add(self, stored: StoredObject) -> None:
        """Consider one object."""
        page, data = self._page, stored.data
        if not matches(page.conditions, data):
            return
        if page.after is not None and not is_after(page.order, data, page.after):
            return
        self._kept.append((sort_key(page.order, data), stored))
        if len(self._kept) >= 2 * page.limit + _BATCH:
            self._trim()

    def _trim(self) -> None:
        self._kept.sort(key=lambda entry: entry[0])
        del self._kept[self._page.limit :]

    def found(self) -> list[StoredObject]:
        """The page."""
        self._trim()
        return [stored for _, stored in self._kept]


_ASCENDING = (SortKey("last_modified"), SortKey("id"))


def _is_stored_order(order: tuple[SortKey, ...]) -> bool:
    return order in (DEFAULT_ORDER, _ASCENDING)


def _page_filter(page: Page) -> Document:
    clauses: list[Document] = [_list_filter(page.path), {"pos": {"$gt": Int64(page.floor)}}]
    if not page.tombstones:
        clauses.append({"deleted": False})
    if page.readers is not None:
        clauses.append({"readers": {"$in": sorted(page.readers)}})
    if page.conditions:
        clauses.append(preselect(page.conditions))
    if page.after is not None and _is_stored_order(page.order):
        clauses.append(_after_filter(page))
    return {"$and": clauses}


def _list_filter(path: ListPath) -> Document:
    if path.ancestors:
        return {"bucket": path.bucket, "list": path.uri}
    return {"list": path.uri}


def _after_filter(page: Page) -> Document:
    assert page.after is not None
    (date,), (object_id,) = page.after
    beyond = "$lt" if page.order[0].descending else "$gt"
    return {
        "$or": [
            {"last_modified": {beyond: date}},
            {"last_modified": date, "id": {"$gt": object_id}},
        ]
    }
