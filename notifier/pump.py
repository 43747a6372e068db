"""The task that moves changes from the feed to the hub, whatever happens to the feed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from notifier.hub import Hub
from server.core.errors import Unavailable
from server.core.revisions import Revision
from server.storage.base import Change, Feed, Gap

logger = logging.getLogger(__name__)

RETRY_SECONDS = (0.05, 2.0)
"""Before a feed that failed is read again: at first, and at most."""

_TURN = 256
"""Changes after which others get their turn."""

_TURN_SECONDS = 0.02
"""The same: a change may have thousands of subscribers."""


class Watcher(Protocol):
    """Is told of every change in one bucket, in the order of the commits.

    Attributes:
        bucket: id of the bucket; None for all of them.
    """

    bucket: str | None

    def tell(self, revision: Revision) -> None:
        """Something was done; must not wait."""

    def lose(self) -> None:
        """Some changes will never be told: forget what depends on them."""


class Pump:
    """Reads the feed for ever.

    Attributes:
        well: whether the last reading of the feed succeeded.
        told: is given the last change of each batch, once all are told; None costs nothing.
    """

    def __init__(
        self,
        feed: Feed,
        hub: Hub,
        flush: Callable[[], None],
        watchers: Sequence[Watcher] = (),
    ) -> None:
        """Begin; nothing is read before ``run``.

        Args:
            feed: of the storage.
            hub: that is told.
            flush: called after each batch, when everybody was told.
            watchers: are told before the hub.
        """
        self._watchers = watchers
        self._feed = feed
        self._hub = hub
        self._flush = flush
        self._read_at = hub.at
        self.well = True
        self.told: Callable[[Change], None] | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = RETRY_SECONDS[0]
        while True:
            try:
                await self._move()
                pause = RETRY_SECONDS[0]
                self.well = True
                continue
            except Gap:
                logger.warning("changes were missed: all subscriptions catch up from the log")
                self._forget_past(self._feed.at)
                continue
            except Unavailable as error:
                self._complain("the changes cannot be read: %s", error)
            except Exception:
                # A change that cannot be told must not silence all that follow.
                logger.exception("the changes cannot be told")
                self._forget_past(self._read_at)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS[1])

    def _forget_past(self, at: int) -> None:
        for watcher in self._watchers:
            watcher.lose()
        self._hub.forget_past(at)

    def _complain(self, line: str, error: Exception) -> None:
        if self.well:
            logger.info(line, error)
        self.well = False

    async def _move(self) -> None:
        changes = await self._feed.read()
        if changes:
            self._read_at = changes[-1].at
        told = 0
        while told < len(changes):
            if told:
                await asyncio.sleep(0)
            told += self._route(changes[told : told + _TURN])
            self._flush()
        if changes and self.told is not None:
            self.told(changes[-1])

    def _route(self, changes: Sequence[Change]) -> int:
        """Tell as many as there is time for in one turn: how many."""
        clock = asyncio.get_running_loop().time
        end = clock() + _TURN_SECONDS
        for told, change in enumerate(changes, 1):
            for watcher in self._watchers:
                if watcher.bucket is None or watcher.bucket == change.bucket:
                    watcher.tell(change.revision)
            self._hub.route(change)
            if clock() >= end:
                return told
        return len(changes)
