"""Finds objects by URI for many readers at once.

Readers that come while a find is on its way wait for the next one, which asks
for what all of them want: most want the same bucket and collection. Every
reader's find begins after the reader came, and its answer is of one instant,
so a shared find promises what one of its own would.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.core.objects import StoredObject
from server.storage.mongo.cursors import find_all, patience, run_read
from server.storage.mongo.documents import decode_object
from server.storage.mongo.driver import Driver, Timestamp
from server.storage.mongo.schema import OBJECTS

AT_ONCE = 2
"""Finds on their way: one more than one, so that a slow one holds nobody up."""

FIND_SECONDS = 10.0
"""Within which a reader's find begins and ends: a few objects, by their ids."""

URI_MAX_BYTES = 4096
"""No stored object has a longer URI; a client can ask for one."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a shared find has found.

    Attributes:
        objects: by URI, those that others wanted among them.
        at: the cluster time that it read.
    """

    objects: Mapping[str, StoredObject]
    at: Timestamp


class Finder:
    """Shares finds among the readers of a process."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._wanted: dict[str, None] = {}
        self._waiting: list[asyncio.Future[Found]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def find(self, uris: Iterable[str]) -> Found:
        """Find objects, as of an instant that is not before the call.

        Raises:
            ConnectionFailure: If it takes longer than ``FIND_SECONDS``.
            PyMongoError: As the driver does.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._waiting.append(future)
        for uri in uris:
            if len(uri) <= URI_MAX_BYTES:
                self._wanted[uri] = None
        if not self._scheduled and len(self._tasks) < AT_ONCE:
            # Not at once: who comes in the same turn of the loop comes along.
            self._scheduled = True
            loop.call_soon(self._start)
        async with patience(FIND_SECONDS):
            return await future

    def _start(self) -> None:
        self._scheduled = False
        if not self._waiting:
            return
        wanted, self._wanted = list(self._wanted), {}
        waiting, self._waiting = self._waiting, []
        task = asyncio.create_task(self._run(wanted, waiting))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._start()

    async def _run(self, wanted: list[str], waiting: list[asyncio.Future[Found]]) -> None:
        try:
            found = await self._find(wanted)
        except BaseException as error:
            # Whatever it is, it is theirs: none of them may wait for ever.
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for future in waiting:
            if not future.done():
                future.set_result(found)

    async def _find(self, wanted: list[str]) -> Found:
        command = {
            "find": OBJECTS,
            "filter": {"_id": {"$in": wanted}},
            "projection": {"q": 0},
            "batchSize": len(wanted) + 1,
            "readConcern": {"level": "snapshot"},
        }
        session = await self._driver.start_session()
        try:
            cursor = (await run_read(self._driver, command, session, FIND_SECONDS))["cursor"]
            batches = find_all(self._driver, cursor, session)
            found = [decode_object(one) async for batch in batches for one in batch]
        finally:
            await session.end_session()
        return Found({one.uri: one for one in found}, cursor["atClusterTime"])

    async def close(self) -> None:
        """Wait for the finds that are on their way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
