"""Serves all webhooks: one process at a time, found by a lease that is kept in the storage."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from server.core.errors import Unavailable
from server.core.paths import FEED, KINDS, ROOT, ListPath
from server.core.positions import CLOCKS_APART_MS, timestamp_of
from server.core.sorting import DEFAULT_ORDER
from server.storage.base import Feed, Gap, Page, Storage
from server.tasks import end_tasks
from server.webhooks.couriers import PAUSE_SECONDS, Courier
from server.webhooks.hooks import Hook

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30
"""How long a process serves before it asks again whether it may."""

RETRY_SECONDS = 1.0
CHUNK = 500

_MARK = "webhook-mark:"
_NO_FLOOR = 0


class Worker:
    """Serves webhooks until it is cancelled, whenever no other process does."""

    def __init__(
        self,
        storage: Storage,
        hooks: Sequence[Hook],
        *,
        lease_seconds: float = LEASE_SECONDS,
        pause_seconds: tuple[float, float] = PAUSE_SECONDS,
    ) -> None:
        """Begin; nothing is done before ``run``.

        Args:
            storage: has the log.
            hooks: that are served.
            lease_seconds: how long a process serves before it asks again.
            pause_seconds: before a delivery that failed is sent again: at first, and at
                most.
        """
        self._storage = storage
        self._hooks = hooks
        self._lease = lease_seconds
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Serve whenever it may, until it is cancelled."""
        while True:
            try:
                slot = await self._wait_for_lease()
                await self._serve(slot)
            except Unavailable as error:
                logger.info("the webhooks wait: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _wait_for_lease(self) -> int:
        """Wait until this process has the lease; gives its slot of time."""
        while True:
            slot = int(time.time() // self._lease)
            if await self._claim(slot):
                return slot
            await asyncio.sleep((slot + 1) * self._lease - time.time())

    async def _claim(self, slot: int) -> bool:
        return await self._storage.claim(f"webhooks:{self._lease}:{slot}", int(self._lease * 3) + 1)

    async def _serve(self, slot: int) -> None:
        """Serve for as long as the lease is renewed."""
        serving = asyncio.ensure_future(self._deliver())
        try:
            await self._keep_lease(slot, serving)
        finally:
            await end_tasks([serving])
        if not serving.cancelled():
            serving.result()

    async def _keep_lease(self, slot: int, serving: "asyncio.Future[None]") -> None:
        """Return when the next slot is not this process's, or serving has failed."""
        while True:
            # Before anybody else may ask for it.
            early = (slot + 1) * self._lease - self._lease / 3 - time.time()
            await asyncio.wait({serving}, timeout=max(early, 0))
            if serving.done() or not await self._renew(slot + 1):
                return
            slot += 1

    async def _renew(self, slot: int) -> bool:
        """Claim the next slot while this one lasts."""
        while time.time() < slot * self._lease:
            try:
                return await self._claim(slot)
            except Unavailable:
                await asyncio.sleep(min(RETRY_SECONDS, self._lease / 10))
        return False

    async def _deliver(self) -> None:
        feed = await self._storage.feed()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(feed.close)
            couriers = []
            for hook in self._hooks:
                courier = Courier(
                    self._storage,
                    hook,
                    begun=await self._begun(hook),
                    pause_seconds=self._pause_seconds,
                )
                couriers.append(courier)
                stack.push_async_callback(end_tasks, [asyncio.ensure_future(courier.run())])
            # After the feed was opened: what comes between the two is found twice.
            await self._tell_all(couriers)
            logger.info("webhooks are served: %s", ", ".join(one.name for one in self._hooks))
            await self._follow(feed, couriers)

    async def _begun(self, hook: Hook) -> int:
        """Since when a webhook is served, in ms since 1970: for ever the same."""
        key = f"{_MARK}{hook.name}"
        kept = await self._storage.kept(key)
        if kept is None:
            kept = str(time.time_ns() // 1_000_000)
            await self._storage.keep(key, kept, None)
        return int(kept)

    async def _follow(self, feed: Feed, couriers: Sequence[Courier]) -> None:
        while True:
            try:
                changes = await feed.read()
            except Gap:
                await self._tell_all(couriers)
                continue
            except Unavailable as error:
                logger.info("the changes cannot be read: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for bucket in {change.bucket for change in changes} - {ROOT}:
                for courier in couriers:
                    courier.tell(bucket)

    async def _tell_all(self, couriers: Sequence[Courier]) -> None:
        """Have every bucket looked at in which something may have been done since the beginning."""
        for courier in couriers:
            begun = courier.begun - CLOCKS_APART_MS
            async for bucket in self._buckets(begun):
                courier.tell(bucket)

    async def _buckets(self, since: int) -> AsyncIterator[str]:
        """Ids of the buckets, those that are gone too, written since some time."""
        path = ListPath(KINDS["bucket"], "/buckets", ())
        after: Sequence[Sequence[Any]] | None = None
        async with self._storage.snapshot() as snapshot:
            while True:
                page = Page(path, _NO_FLOOR, (), DEFAULT_ORDER, CHUNK, after=after, tombstones=True)
                found = await snapshot.page(page)
                stored = await snapshot.objects([one.uri for one in found], texts=False)
                for one in stored.values():
                    if timestamp_of(one.clocks[FEED].position) >= since:
                        yield one.path.id
                if len(found) < CHUNK:
                    return
                after = [[found[-1].last_modified], [found[-1].id]]
