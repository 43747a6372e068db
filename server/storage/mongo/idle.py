"""Transactions that somebody left behind.

A transaction outlives a killed process until MongoDB ends it, and holds its
buckets' documents for as long. The ledger that waits for one may end it, if
it is idle and one of ours.
"""

import logging
from typing import Any

from server.storage.mongo.driver import APP_NAME, Driver, PyMongoError

logger = logging.getLogger(__name__)

IDLE_MICROSECONDS = 1_000_000
"""Between two commands of a living ledger's transaction pass milliseconds."""

_OWN: dict[str, Any] = {"$match": {"appName": APP_NAME, "transaction": {"$exists": True}}}


class Reaper:
    """Finds and ends transactions of this application."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def _transactions(self, *stages: dict[str, Any]) -> list[dict[str, Any]]:
        current = {"$currentOp": {"allUsers": False, "idleSessions": True}}
        command = {"aggregate": 1, "pipeline": [current, _OWN, *stages], "cursor": {}}
        answer = await self._driver.run_admin(command)
        found: list[dict[str, Any]] = answer["cursor"]["firstBatch"]
        return found

    async def is_permitted(self) -> bool:
        """Whether the database's user may look for them."""
        try:
            await self._transactions()
        except PyMongoError:
            return False
        return True

    async def is_alone(self) -> bool:
        """Whether no transaction is open; False when that cannot be known."""
        try:
            return not await self._transactions()
        except PyMongoError:
            return False

    async def end_abandoned(self) -> None:
        """End the idle ones."""
        idle = {"$match": {"type": "idleSession"}}
        try:
            found = await self._transactions(idle)
            left = [one["lsid"] for one in found if _idle_time(one) > IDLE_MICROSECONDS]
            if left:
                logger.info("ending %d abandoned transactions", len(left))
                await self._driver.run_admin({"killSessions": [{"id": one["id"]} for one in left]})
        except PyMongoError as error:
            # The database ends them itself, later.
            logger.info("abandoned transactions cannot be ended: %s", error)


def _idle_time(operation: dict[str, Any]) -> int:
    """Microseconds since the transaction's last command, as far as MongoDB tells."""
    transaction = operation["transaction"]
    open_for = int(transaction.get("timeOpenMicros", 0))
    last_seen = int(transaction.get("timeInactiveMicros", open_for))
    return min(open_for, last_seen)
