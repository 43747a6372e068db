"""Finds and their cursors, as commands: the same for both drivers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from server.storage.mongo.documents import Document
from server.storage.mongo.driver import AutoReconnect, ConnectionFailure, Driver, Int64

BATCH = 500
"""Documents of one reply."""

PROBE = 16
"""Documents of a first reply by which the size of the others is told."""

READ_SECONDS = 15.0
"""After which a reply is not waited for any more."""


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Give up what takes too long.

    A database that stands still, or a network that swallows, keeps its
    connections open: the driver would wait.

    Raises:
        ConnectionFailure: If it takes longer than ``seconds``.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ConnectionFailure("no reply in time") from None


async def run_read(
    driver: Driver, command: Document, session: Any, seconds: float = READ_SECONDS
) -> Document:
    """Run a read; once more if the connection or the primary was lost under it.

    Raises:
        ConnectionFailure: If no reply comes in time.
        PyMongoError: As the driver does.
    """
    async with patience(seconds):
        try:
            return await driver.run(command, session)
        except AutoReconnect:
            return await driver.run(command, session)


class Pace:
    """How many documents to ask for at a time.

    Nobody knows how large they are, and a reply may have 16 MiB. So where a
    page ends with its bytes, the first reply is a short one, and from what
    came it follows how many more to ask for.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        """Begin.

        Args:
            max_bytes: of texts, about which a reply may have; None for no such bound.
        """
        self._max_bytes = max_bytes
        self._documents = 0
        self._bytes = 0

    def see(self, batch: list[Document]) -> None:
        """Consider documents that came."""
        if self._max_bytes is not None:
            self._documents += len(batch)
            self._bytes += sum(_weigh(one) for one in batch)

    @property
    def batch_size(self) -> int:
        """Of the next reply."""
        if self._max_bytes is None:
            return BATCH
        if not self._documents:
            return PROBE
        fitting = self._max_bytes * self._documents // max(self._bytes, 1)
        return min(max(fitting, PROBE), BATCH)


def _weigh(document: Document) -> int:
    return len(document.get("json", b"")) + len(document.get("before", b""))


async def find_all(
    driver: Driver, cursor: Document, session: Any, pace: Pace | None = None
) -> AsyncGenerator[list[Document], None]:
    """All documents of a find, in the batches in which they come.

    Args:
        driver: that ran the find.
        cursor: of the find's reply.
        session: of the find.
        pace: of the batches after the first.

    Raises:
        PyMongoError: As the driver does.
    """
    batch = cursor["firstBatch"]
    collection = cursor["ns"].partition(".")[2]
    pace = pace or Pace()
    try:
        while True:
            yield batch
            if not cursor["id"]:
                return
            pace.see(batch)
            more = {"getMore": Int64(cursor["id"]), "collection": collection}
            more["batchSize"] = pace.batch_size
            async with patience(READ_SECONDS):
                cursor = (await driver.run(more, session))["cursor"]
            batch = cursor["nextBatch"]
    except GeneratorExit:
        # Nobody wants the rest: the database need not keep it for ten minutes.
        if cursor["id"]:
            await kill(driver, collection, [cursor["id"]], session)
        raise


async def kill(driver: Driver, collection: str, ids: Iterable[int], session: Any = None) -> None:
    """Let the database forget cursors.

    Raises:
        ConnectionFailure: If no reply comes in time.
        PyMongoError: As the driver does.
    """
    async with patience(READ_SECONDS):
        await driver.run({"killCursors": collection, "cursors": [Int64(id) for id in ids]}, session)
