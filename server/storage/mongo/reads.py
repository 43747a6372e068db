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
from server.core.revisions import Revision
from server.storage.allowances import of_log, of_page
from server.storage.base import LogPage, Page, RightsQuery, Tally
from server.storage.mongo.cursors import BATCH, Pace, find_all, run_read
from server.storage.mongo.documents import (
    LISTED,
    Document,
    decode_listed,
    decode_object,
    decode_revision,
    decode_time,
)
from server.storage.mongo.driver import ConnectionFailure, Driver, OperationFailure, Timestamp
from server.storage.mongo.finder import Finder
from server.storage.mongo.finds import (
    is_stored_order,
    last_entry_find,
    log_find,
    page_filter,
    rights_find,
)
from server.storage.mongo.schema import OBJECTS
from server.storage.mongo.tallies import tally
from server.storage.selections import Smallest

UNREACHABLE = "The database cannot be reached."

_PASSING = (43, 237, 239, 246, 11601)
"""Codes of a cursor or snapshot that is there no more, and of what somebody interrupted."""

_WHOLE = {"q": 0}
_RIGHTS = {"q": 0, "json": 0}


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

    @property
    def at(self) -> int:
        """See ``Snapshot``."""
        assert self._at is not None, "nothing was read"
        return decode_time(self._at)

    async def _documents(
        self, command: Document, pace: Pace | None = None
    ) -> AsyncGenerator[list[Document], None]:
        """The batches of a find at this snapshot's instant."""
        if self._session is None:
            self._session = await self._driver.start_session()
        concern: Document = {"level": "snapshot"}
        if self._at is not None:
            concern["atClusterTime"] = self._at
        command = {**_begin(command), "readConcern": concern}
        cursor = (await run_read(self._driver, command, self._session))["cursor"]
        self._at = cursor["atClusterTime"]
        return find_all(self._driver, cursor, self._session, pace)

    async def objects(self, uris: Iterable[str], *, texts: bool = True) -> dict[str, StoredObject]:
        """See ``Snapshot``."""
        wanted = list(uris)
        if self._at is not None:
            return await self._find_objects(wanted, texts=texts)
        # Others who share it may want the texts.
        shared = await self._finder.find(wanted)
        self._at = shared.at
        found = shared.objects
        return {uri: found[uri] for uri in wanted if uri in found}

    async def _find_objects(
        self, wanted: list[str], *, texts: bool = True
    ) -> dict[str, StoredObject]:
        # One reply, whatever its size, up to the 16 MiB that a reply may have.
        command = {
            "filter": {"_id": {"$in": wanted}},
            "projection": _WHOLE if texts else _RIGHTS,
            "batchSize": len(wanted) + 1,
        }
        found = await self._collect(command)
        return {one.uri: one for one in found}

    async def _collect(self, command: Document) -> list[StoredObject]:
        batches = await self._documents(command)
        return [decode_object(one) async for batch in batches for one in batch]

    async def page(self, page: Page) -> list[Listed]:
        """See ``Snapshot``."""
        if is_stored_order(page.order):
            return await self._ordered_page(page)
        return await self._sorted_page(page)

    async def _ordered_page(self, page: Page) -> list[Listed]:
        """A page in an order that the database has."""
        command: Document = {
            "filter": page_filter(page),
            "projection": LISTED,
            "sort": {key.field: -1 if key.descending else 1 for key in page.order},
        }
        pace = Pace(page.max_bytes)
        if not page.conditions:
            command["limit"] = page.limit
        if page.max_bytes is not None or page.conditions:
            command["batchSize"] = min(page.limit + 1, pace.batch_size)
        else:
            command["batchSize"] = page.limit + 1
        allowance = of_page(page)
        found: list[Listed] = []
        batches = await self._documents(command, pace)
        async for batch in batches:
            listed = [decode_listed(document) for document in batch]
            if page.conditions:
                listed = [one for one in listed if matches(page.conditions, one.data)]
            found += allowance.take(listed)
            if allowance.is_spent:
                break
        await batches.aclose()
        return found

    async def _sorted_page(self, page: Page) -> list[Listed]:
        """A page in an order that only the evaluator knows: all matches are looked at."""
        command = {"filter": page_filter(page), "projection": LISTED, "batchSize": BATCH}
        best = Smallest(page)
        async for batch in await self._documents(command):
            for document in batch:
                best.add(decode_listed(document))
        return best.found()

    async def count(self, page: Page) -> int:
        """See ``Snapshot``."""
        selector = page_filter(page) | {"deleted": False}
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

    async def naming(self, principal: str) -> list[str]:
        """See ``Snapshot``."""
        selector = {"$or": [{"principals": principal}, {"members": principal}]}
        command = {"filter": selector, "projection": {"_id": 1}, "batchSize": BATCH}
        batches = await self._documents(command)
        return [one["_id"] async for batch in batches for one in batch]

    async def tally(self) -> dict[str, Tally]:
        """See ``Snapshot``."""
        return await tally(self._documents)

    async def log(self, page: LogPage) -> list[Revision]:
        """See ``Snapshot``."""
        pace = Pace(page.max_bytes if page.texts else None)
        command = {**log_find(page), "batchSize": min(page.limit + 1, pace.batch_size)}
        allowance = of_log(page)
        found: list[Revision] = []
        batches = await self._documents(command, pace)
        async for batch in batches:
            found += allowance.take([decode_revision(document) for document in batch])
            if allowance.is_spent:
                break
        await batches.aclose()
        return found

    async def last_entry(self, path: ListPath, upto: int) -> Revision | None:
        """See ``Snapshot``."""
        batches = await self._documents(last_entry_find(path, upto))
        found = [decode_revision(one) async for batch in batches for one in batch]
        return found[0] if found else None

    async def rights_log(self, query: RightsQuery) -> list[Revision]:
        """See ``Snapshot``."""
        batches = await self._documents(rights_find(query) | {"batchSize": BATCH})
        found = [decode_revision(one) async for batch in batches for one in batch]
        # Of an entry that touched a crowd the database does not know whom.
        uris, principals = set(query.uris), set(query.principals)
        asked = [one for one in found if one.uri in uris or not principals.isdisjoint(one.touched)]
        return sorted(asked, key=lambda one: (one.date, one.seq))

    async def _all(self, selector: Document) -> list[StoredObject]:
        command = {"filter": selector, "projection": _WHOLE, "batchSize": BATCH}
        return await self._collect(command)


class TransactionSnapshot(MongoSnapshot):
    """Reads of a transaction: what it began with, and what it has written so far."""

    def __init__(self, driver: Driver, session: Any) -> None:
        self._driver = driver
        self._session = session
        self._at = None

    async def _documents(
        self, command: Document, pace: Pace | None = None
    ) -> AsyncGenerator[list[Document], None]:
        answer = await self._driver.run(_begin(command), self._session)
        return find_all(self._driver, answer["cursor"], self._session, pace)

    async def objects(self, uris: Iterable[str], *, texts: bool = True) -> dict[str, StoredObject]:
        """See ``Snapshot``."""
        return await self._find_objects(list(uris), texts=texts)


def _begin(command: Document) -> Document:
    """A command with its verb, which has to come first: a find of objects, unless it has one."""
    return command if "aggregate" in command else {"find": OBJECTS, **command}


def is_passing(error: BaseException | None) -> bool:
    """Whether a read that failed like this may succeed when it is asked again."""
    if isinstance(error, OperationFailure):
        return error.code in _PASSING
    return isinstance(error, ConnectionFailure)
