"""Finds and their cursors, as commands: the same for both drivers."""

from collections.abc import AsyncGenerator
from typing import Any

from server.storage.mongo.documents import Document
from server.storage.mongo.driver import AutoReconnect, Driver, Int64
from server.storage.mongo.schema import OBJECTS

BATCH = 500
"""Documents of one reply."""


async def run_read(driver: Driver, command: Document, session: Any) -> Document:
    """Run a read; once more if the connection or the primary was lost under it.

    Raises:
        PyMongoError: As the driver does.
    """
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
            cursor = (await driver.run(more, session))["cursor"]
            batch = cursor["nextBatch"]
    except GeneratorExit:
        # Nobody wants the rest: the database need not keep it for ten minutes.
        if cursor["id"]:
            await driver.run({"killCursors": OBJECTS, "cursors": [Int64(cursor["id"])]}, session)
        raise
