"""The MongoDB storage: reads, ledger, purger, and what a process needs to begin."""

import logging
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from server.core.commands import Command, Verdict
from server.core.errors import Unavailable
from server.storage.base import StorageError, StorageOptions, Trimming
from server.storage.mongo.driver import (
    ConfigurationError,
    ConnectionFailure,
    Driver,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    open_driver,
)
from server.storage.mongo.feed import MongoFeed
from server.storage.mongo.files import GridFiles, open_grid
from server.storage.mongo.finder import Finder
from server.storage.mongo.idle import Reaper
from server.storage.mongo.ledger import Ledger
from server.storage.mongo.purger import Purger
from server.storage.mongo.reads import UNREACHABLE, MongoSnapshot
from server.storage.mongo.schema import (
    DUPLICATE_KEY,
    MAJORITY,
    NONCES,
    SECRETS,
    prepare,
    put_missing,
)
from server.storage.mongo.trims import forget_commands

logger = logging.getLogger(__name__)

SELECTION_TIMEOUT_MS = 5000
SKEW_MAX_MS = 60_000
"""Clocks further apart than this are not believed."""


async def open_mongo(options: StorageOptions) -> "MongoStorage":
    """Connect, check that the deployment will do, make what is missing.

    Raises:
        StorageError: If it cannot be used; the message says what to do.
    """
    try:
        driver = open_driver(options.driver, options.uri, options.database, SELECTION_TIMEOUT_MS)
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise StorageError(f"MONGODB_URI is not the URI of a MongoDB: {error}") from error
    try:
        if not driver.reads_primary:
            raise StorageError(
                "Only the primary knows what was just written:"
                " take readPreference out of MONGODB_URI."
            )
        await _check_deployment(driver)
        await prepare(driver)
        if not await Reaper(driver).is_permitted():
            logger.warning(
                "The database's user may not list operations ($currentOp): transactions that a"
                " killed process leaves behind are waited for. Grant it the role clusterMonitor."
            )
        storage = MongoStorage(driver, options)
    except BaseException as error:
        await driver.close()
        if isinstance(error, PyMongoError):
            raise StorageError(_advice(error)) from error
        raise
    if not await storage.check():
        logger.warning(
            "This machine's clock and the database's are more than %d s apart: the database's"
            " counts until they agree.",
            SKEW_MAX_MS // 1000,
        )
    return storage


def _advice(error: PyMongoError) -> str:
    if isinstance(error, ConnectionFailure):
        return "The database cannot be reached: start it, or correct MONGODB_URI. " + str(error)
    if isinstance(error, OperationFailure) and error.code in (13, 18):
        return f"The database refuses the user of MONGODB_URI: {error.details}"
    return f"The database cannot be used: {error}"


async def _check_deployment(driver: Driver) -> None:
    hello = await driver.run_admin({"hello": 1})
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StorageError(
            "This mongod is no replica set, which transactions need: restart it with"
            " --replSet rs0 and run once: mongosh --eval 'rs.initiate()'"
        )


class MongoStorage:
    """See ``Storage``."""

    def __init__(self, driver: Driver, options: StorageOptions) -> None:
        """Start the ledger and the purger, in the running event loop."""
        self._driver = driver
        self._retry_after = options.retry_after_seconds
        self._finder = Finder(driver)
        self._purger = Purger(driver)
        self._ledger = Ledger(
            driver,
            options.rules,
            timeout=options.write_timeout_seconds,
            retry_after=options.retry_after_seconds,
            removed=self._purger.tell,
        )
        self.figures = self._ledger.figures

    def snapshot(self) -> MongoSnapshot:
        """Read at one instant; see ``Storage``."""
        self.figures.snapshots += 1
        return MongoSnapshot(self._driver, self._finder, self._retry_after)

    def _unavailable(self) -> Unavailable:
        return Unavailable(UNREACHABLE, self._retry_after)

    async def commit(self, command: Command) -> list[Verdict]:
        """Decide and store; see ``Storage``."""
        return await self._ledger.commit(command)

    async def forget(self, trimming: Trimming) -> None:
        """Take entries out of the log; see ``Storage``."""
        for command in forget_commands(trimming):
            await self._ask(command | {"writeConcern": MAJORITY})

    async def purge(self) -> int:
        """Remove what deleted parents have left; see ``Storage``."""
        try:
            return await self._purger.purge()
        except ConnectionFailure as error:
            raise self._unavailable() from error

    async def feed(self) -> MongoFeed:
        """Everything that is committed from now on; see ``Storage``."""
        feed = MongoFeed(self._driver, self._retry_after)
        try:
            await feed.open()
        except BaseException:
            await feed.close()
            raise
        return feed

    async def secret(self, name: str) -> str:
        """Made once by whichever process asks first; see ``Storage``."""
        await put_missing(self._driver, SECRETS, {"_id": name, "value": secrets.token_hex(32)})
        command = {"find": SECRETS, "filter": {"_id": name}, "limit": 1}
        command |= {"readConcern": {"level": "majority"}}
        answer = await self._driver.run(command)
        value: str = answer["cursor"]["firstBatch"][0]["value"]
        return value

    async def claim(self, nonce: str, seconds: int) -> bool:
        """Use up a nonce, for all processes; see ``Storage``."""
        now = datetime.now(UTC)
        # One whose time is over may be there still: the database removes them once a minute.
        over = {"_id": nonce, "until": {"$lte": now}}
        renewal = {"$set": {"until": now + timedelta(seconds=seconds)}}
        update = {"q": over, "u": renewal, "upsert": True}
        answer = await self._ask({"update": NONCES, "updates": [update], "writeConcern": MAJORITY})
        errors = answer.get("writeErrors", ())
        assert all(one["code"] == DUPLICATE_KEY for one in errors), errors
        return not errors

    async def keep(self, name: str, value: str, seconds: int | None) -> None:
        """Keep a text, for all processes; see ``Storage``."""
        until = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        # A value that is no date never expires.
        update = {"q": {"_id": name}, "u": {"value": value, "until": until}, "upsert": True}
        await self._ask({"update": NONCES, "updates": [update], "writeConcern": MAJORITY})

    async def kept(self, name: str) -> str | None:
        """The text that is kept; see ``Storage``."""
        command = {"find": NONCES, "filter": _lasting(name), "limit": 1, "singleBatch": True}
        answer = await self._ask(command | {"readConcern": {"level": "majority"}})
        found = answer["cursor"]["firstBatch"]
        return found[0]["value"] if found else None

    async def take(self, name: str) -> str | None:
        """The same, and forget it; see ``Storage``."""
        command = {"findAndModify": NONCES, "query": _lasting(name), "remove": True}
        found = (await self._ask(command | {"writeConcern": MAJORITY}))["value"]
        return found["value"] if found else None

    async def files(self) -> GridFiles:
        """The files that lie beside the objects; see ``KeepsFiles``."""
        return await open_grid(self._driver, self._retry_after)

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._driver.run(command)
        except ConnectionFailure as error:
            raise self._unavailable() from error

    async def check(self) -> bool:
        """Whether there is a primary and its clock agrees with this machine's."""
        try:
            hello = await self._driver.run({"hello": 1})
        except PyMongoError:
            return False
        theirs = hello["localTime"].replace(tzinfo=UTC).timestamp() * 1000
        skew = round(theirs - time.time() * 1000)
        agrees = abs(skew) <= SKEW_MAX_MS
        # Timestamps follow the database, which all processes share, when clocks disagree.
        self._ledger.skew = 0 if agrees else skew
        return agrees and bool(hello.get("isWritablePrimary"))

    async def close(self) -> None:
        """Commit what is waiting, then let go of the database."""
        await self._ledger.close()
        await self._purger.close()
        await self._finder.close()
        await self._driver.close()


def _lasting(name: str) -> dict[str, Any]:
    """Selects what is kept under a name, unless its time is over."""
    return {"_id": name, "$or": [{"until": None}, {"until": {"$gt": datetime.now(UTC)}}]}
