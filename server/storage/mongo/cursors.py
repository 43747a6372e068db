"""Finds and their cursors, as commands: the same for both drivers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from server.storage.mongo.documents import Document
from server.storage.mongo.driver import AutoReconnect, ConnectionFailure, Driver, Int64
from server.storage.mongo.schema import OBJECTS

BATCH = 500
"""Documents of one reply."""


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


async def find_all(
    driver: Driver, cursor: Document, session: Any
) -> AsyncGenerator[list[Document], None]:
    """All documents of a find, in the batches in which they come.

    Args:
        driver: that ran the find.
        cursor: of the find's reply.
        session: of the find.

    Raises:
        PyMongoError: As the driver does.
    """
    batch = cursor["firstBatch"]
    try:
        while True:
            yield batch
            if not cursor["id"]:
                return
            more = {"getMore": Int64(cursor["id"]), "collection": OBJECTS, "batchSize": BATCH}
            async with patience(READ_SECONDS):
                cursor = (await driver.run(more, session))["cursor"]
            batch = cursor["nextBatch"]
    except GeneratorExit:
        # Nobody wants the rest: the database need not keep it for ten minutes.
        if cursor["id"]:
            await driver.run({"killCursors": OBJECTS, "cursors": [Int64(cursor["id"])]}, session)
        raise
