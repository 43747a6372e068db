"""Removes what does not exist any more: the contents of deleted parents.

Deleting a bucket or collection writes one tombstone; this task takes away the
objects and revisions under it, in small batches, outside the ledger. What it
removes lies at or below a position that was the list's clock when the parent
was found dead, and a parent that is made again starts above it. So it can never
take what somebody stored since.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from bson.int64 import Int64

from server.core.objects import StoredObject
from server.core.paths import FEED, KINDS
from server.storage.mongo.documents import DEAD_FIELDS, Document, decode_object
from server.storage.mongo.driver import Driver, PyMongoError
from server.storage.mongo.schema import MAJORITY, OBJECTS, REVISIONS
from server.tasks import end_tasks

logger = logging.getLogger(__name__)

BATCH = 1000
SCAN_SECONDS = 60.0
"""How often what another process left unfinished is looked for."""


class Purger:
    """A task that purges when told to, and now and then by itself."""

    def __init__(self, driver: Driver) -> None:
        """Start the task, in the running event loop."""
        self._driver = driver
        self._removed = 0
        self._told = asyncio.Event()
        self._told.set()
        self._task = asyncio.create_task(self._work())

    def tell(self, uris: Iterable[str]) -> None:
        """Say that these parents were removed or made again."""
        if any(True for _ in uris):
            self._told.set()

    async def close(self) -> None:
        """Stop; what is left is found at the next start."""
        await end_tasks([self._task])

    async def _work(self) -> None:
        while True:
            self._told.clear()
            try:
                await self.purge()
            except PyMongoError as error:
                logger.info("purging goes on later: %s", error)
            try:
                # Not ``wait_for``: up to Python 3.11 it may forget a cancellation.
                async with asyncio.timeout(SCAN_SECONDS):
                    await self._told.wait()
            except TimeoutError:
                continue

    async def purge(self) -> int:
        """Remove all that can be removed now.

        Returns:
            How many objects and entries of the log went by then, by this process.
        """
        before = self._removed
        while parents := await self._marked():
            for parent in parents:
                await self._purge_parent(parent)
        return self._removed - before

    async def _marked(self) -> list[StoredObject]:
        """Parents that somebody has to look after."""
        found = await self._find(OBJECTS, {"purge": True}, {"q": 0})
        return [decode_object(document) for document in found]

    async def _purge_parent(self, parent: StoredObject) -> None:
        for plural, clock in parent.clocks.items():
            line = clock.position if parent.deleted else clock.floor
            if plural == FEED:
                # A tombstone's own revision is its bucket's last, and stays.
                line = line - parent.deleted
                await self._remove(REVISIONS, {"bucket": parent.path.bucket, "seq": _upto(line)})
            else:
                await self._purge_list(parent, plural, line)
        done = {"q": {"_id": parent.uri, "pos": Int64(parent.position)}}
        await self._update([done | {"u": {"$unset": {"purge": ""}}}])

    async def _purge_list(self, parent: StoredObject, plural: str, line: int) -> None:
        """Remove the objects of a list up to a position, with all that they contain."""
        dead = {
            "bucket": parent.path.bucket,
            "list": f"{parent.uri}/{plural}",
            "pos": _upto(line),
        }
        await self._remove(REVISIONS, dead)
        if any(kind.plural == plural and kind.children for kind in KINDS.values()):
            await self._hollow(dead)
        else:
            await self._remove(OBJECTS, dead)

    async def _hollow(self, dead: Document) -> None:
        """Purge parents inside a dead parent; of them only the clocks stay."""
        living = {**dead, "hollow": {"$exists": False}}
        while found := await self._find(OBJECTS, living, {"q": 0}):
            for document in found:
                child = decode_object(document)
                for plural, clock in child.clocks.items():
                    await self._purge_list(child, plural, clock.position)
                unset = dict.fromkeys((*DEAD_FIELDS, "purge"), "")
                # Not by its position alone: whoever made it again has moved it.
                same = {"_id": child.uri, "pos": Int64(child.position)}
                emptied = {"json": b"{}", "deleted": True, "hollow": True}
                await self._update([{"q": same, "u": {"$set": emptied, "$unset": unset}}])

    async def _remove(self, collection: str, dead: Document) -> None:
        while found := await self._find(collection, dead, {"_id": 1}):
            ids = [document["_id"] for document in found]
            # The position again: what was made again since is not dead.
            selector = {**dead, "_id": {"$in": ids}}
            command = {"delete": collection, "deletes": [{"q": selector, "limit": 0}]}
            answer = await self._driver.run({**command, "writeConcern": MAJORITY})
            self._removed += answer["n"]

    async def _update(self, updates: list[Document]) -> None:
        await self._driver.run({"update": OBJECTS, "updates": updates, "writeConcern": MAJORITY})

    async def _find(
        self, collection: str, selector: Document, projection: Document
    ) -> list[dict[str, Any]]:
        command = {
            "find": collection,
            "filter": selector,
            "projection": projection,
            "limit": BATCH,
            "batchSize": BATCH + 1,
            "singleBatch": True,
        }
        answer = await self._driver.run(command)
        found: list[dict[str, Any]] = answer["cursor"]["firstBatch"]
        return found


def _upto(line: int) -> Document:
    return {"$lte": Int64(line)}
