"""Reading at one instant.

The first find of a snapshot takes the newest cluster time that the majority
has; the others read at that time. A plain snapshot read with the time in each
command costs less than a session that keeps it. Inside the ledger's transaction the
transaction's own instant is read, with what it has written so far.
"""

from collections.abc import AsyncGenerator, Collection, Iterable
from typing import Any

from server.core.errors import Unavailable
from server.core.filters import matches
from server.core.objects import Listed, StoredObject
from server.core.paths import ListPath
from server.core.sorting import DEFAULT_ORDER, SortKey, is_after, sort_key
from server.storage.base import Page
from server.storage.mongo.cursors import BATCH, find_all, run_read
from server.storage.mongo.documents import LISTED, Document, decode_listed, decode_object
from server.storage.mongo.driver import (
    ConnectionFailure,
    Driver,
    Int64,
    OperationFailure,
    Timestamp,
)
from server.storage.mongo.finder import Finder
from server.storage.mongo.preselect import preselect
from server.storage.mongo.schema import OBJECTS

UNREACHABLE = "The database cannot be reached."

_LOST_BY_FAILOVER = (43, 239, 246)
"""Codes of a cursor or a snapshot that the new primary, or the old one, has no more."""

_WHOLE = {"q": 0}


class MongoSnapshot:
    """Reads of one instant; see ``Snapshot``.

    The first objects come from a find that is shared with other readers; what
    follows is read at its cluster time, in a session that is opened for it.
    """

    def __init__(self, driver: Driver, finder: Finder, retry_after: int) -> None:
        self._driver = driver
        self._finder = finder
        self._retry_after = retry_after
        self._session: Any = None
        self._at: Timestamp | None = None

    async def __aenter__(self) -> "MongoSnapshot":
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._session is not None:
            await self._session.end_session()
        if is_passing(error):
            raise Unavailable(UNREACHABLE, self._retry_after) from error

    async def _documents(self, command: Document) -> AsyncGenerator[list[Document], None]:
        """The batches of a find at this snapshot's instant."""
        if self._session is None:
            self._session = await self._driver.start_session()
        concern: Document = {"level": "snapshot"}
        if self._at is not None:
            concern["atClusterTime"] = self._at
        command = {"find": OBJECTS, **command, "readConcern": concern}
        cursor = (await run_read(self._driver, command, self._session))["cursor"]
        self._at = cursor["atClusterTime"]
        return find_all(self._driver, cursor, self._session)

    async def objects(self, uris: Iterable[str]) -> dict[str, StoredObject]:
        """See ``Snapshot``."""
        wanted = list(uris)
        if self._at is not None:
            return await self._find_objects(wanted)
        shared = await self._finder.find(wanted)
        self._at = shared.at
        found = shared.objects
        return {uri: found[uri] for uri in wanted if uri in found}

    async def _find_objects(self, wanted: list[str]) -> dict[str, StoredObject]:
        # One reply, whatever its size, up to the 16 MiB that a reply may have.
        command = {
            "filter": {"_id": {"$in": wanted}},
            "projection": _WHOLE,
            "batchSize": len(wanted) + 1,
        }
        found = await self._collect(command)
        return {one.uri: one for one in found}

    async def _collect(self, command: Document) -> list[StoredObject]:
        batches = await self._documents(command)
        return [decode_object(one) async for batch in batches for one in batch]

    async def page(self, page: Page) -> list[Listed]:
        """See ``Snapshot``."""
        if _is_stored_order(page.order):
            return await self._ordered_page(page)
        return await self._sorted_page(page)

    async def _ordered_page(self, page: Page) -> list[Listed]:
        """A page in an order that the database has."""
        command: Document = {
            "filter": _page_filter(page),
            "projection": LISTED,
            "sort": {key.field: -1 if key.descending else 1 for key in page.order},
        }
        if not page.conditions:
            command |= {"limit": page.limit, "batchSize": page.limit + 1}
        else:
            command["batchSize"] = min(page.limit + 1, BATCH)
        found: list[Listed] = []
        batches = await self._documents(command)
        async for batch in batches:
            listed = [decode_listed(document) for document in batch]
            if page.conditions:
                listed = [one for one in listed if matches(page.conditions, one.data)]
            found += listed
            if len(found) >= page.limit:
                break
        await batches.aclose()
        return found[: page.limit]

    async def _sorted_page(self, page: Page) -> list[Listed]:
        """A page in an order that only the evaluator knows: all matches are looked at."""
        command = {"filter": _page_filter(page), "projection": LISTED, "batchSize": BATCH}
        best = _Smallest(page)
        async for batch in await self._documents(command):
            for document in batch:
                best.add(decode_listed(document))
        return best.found()

    async def count(self, page: Page) -> int:
        """See ``Snapshot``."""
        selector = _page_filter(page) | {"deleted": False}
        command = {"filter": selector, "projection": LISTED, "batchSize": BATCH}
        total = 0
        async for batch in await self._documents(command):
            total += sum(matches(page.conditions, decode_listed(one).data) for one in batch)
        return total

    async def groups_of(self, principals: Collection[str]) -> list[StoredObject]:
        """See ``Snapshot``."""
        return await self._all({"members": {"$in": sorted(principals)}})

    async def named(self, principals: Collection[str]) -> list[StoredObject]:
        """See ``Snapshot``."""
        return await self._all({"principals": {"$in": sorted(principals)}})

    async def _all(self, selector: Document) -> list[StoredObject]:
        command = {"filter": selector, "projection": _WHOLE, "batchSize": BATCH}
        return await self._collect(command)


class TransactionSnapshot(MongoSnapshot):
    """Reads of a transaction: what it began with, and what it has written so far."""

    def __init__(self, driver: Driver, session: Any) -> None:
        self._driver = driver
        self._session = session

    async def _documents(self, command: Document) -> AsyncGenerator[list[Document], None]:
        answer = await self._driver.run({"find": OBJECTS, **command}, self._session)
        return find_all(self._driver, answer["cursor"], self._session)

    async def objects(self, uris: Iterable[str]) -> dict[str, StoredObject]:
        """See ``Snapshot``."""
        return await self._find_objects(list(uris))


class _Smallest:
    """Keeps the first objects of a page's order while all are streamed by."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._kept: list[tuple[Any, Listed]] = []

    def add(self, stored: Listed) -> None:
        """Consider one object."""
        page, data = self._page, stored.data
        if not matches(page.conditions, data):
            return
        if page.after is not None and not is_after(page.order, data, page.after):
            return
        self._kept.append((sort_key(page.order, data), stored))
        if len(self._kept) >= 2 * page.limit + BATCH:
            self._trim()

    def _trim(self) -> None:
        self._kept.sort(key=lambda entry: entry[0])
        del self._kept[self._page.limit :]

    def found(self) -> list[Listed]:
        """The page."""
        self._trim()
        return [stored for _, stored in self._kept]


_ASCENDING = (SortKey("last_modified"), SortKey("id"))


def is_passing(error: BaseException | None) -> bool:
    """Whether a read that failed like this may succeed when it is asked again."""
    if isinstance(error, OperationFailure):
        return error.code in _LOST_BY_FAILOVER
    return isinstance(error, ConnectionFailure)


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
