"""How long the log is kept: what is too old, or too much, is taken out of it.

A pass goes through all buckets, in small steps, and looks only at those in which
something happened since the last one, or in which something has grown too old.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from server.core.errors import SyncError
from server.core.objects import Clock, StoredObject
from server.core.paths import FEED, KINDS, ROOT, ListPath, ObjectPath
from server.core.revisions import Revision
from server.core.sorting import DEFAULT_ORDER, keys_of
from server.service.trimming import trim
from server.storage.base import LogPage, Page, Storage

logger = logging.getLogger(__name__)

PASS_SECONDS: Final = 300
"""Between two passes, of whichever process."""

_PARENTS: Final = 200
"""Buckets and collections that are looked at together."""

_AT_ONCE: Final = 5000
"""Entries that are taken out at a time."""

_BUCKETS: Final = ListPath(KINDS["bucket"], "/buckets", ())


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept.

    Attributes:
        max_age_seconds: for which changes of records are; None for ever.
        max_count: of changes of records, in each collection; None for all.
        trim_count: of entries of each kind, in each bucket; below 1 for all.
        trim_users: whose entries alone that concerns, each counted alone; empty for all.
        trim_threshold: of entries beyond that number, which are let grow.
    """

    max_age_seconds: int | None = None
    max_count: int | None = None
    trim_count: int = -1
    trim_users: Sequence[str] = ()
    trim_threshold: int = 100

    @property
    def is_set(self) -> bool:
        """Whether anything is ever taken."""
        return self.of_lists or self.trim_count > 0

    @property
    def of_lists(self) -> bool:
        """Whether collections have limits of their own."""
        return self.max_age_seconds is not None or self.max_count is not None


@dataclass(slots=True)
class Report:
    """What a pass has taken, or would take.

    Attributes:
        entries: how many.
        buckets: ids of those they were of, with how many each.
    """

    entries: int = 0
    buckets: dict[str, int] = field(default_factory=dict)

    def add(self, bucket: str, entries: int) -> None:
        """Count entries of a bucket."""
        if entries:
            self.entries += entries
            self.buckets[bucket] = self.buckets.get(bucket, 0) + entries


class Retention:
    """Takes out of the log what is not to be kept."""

    def __init__(self, storage: Storage, limits: Limits, *, dry_run: bool = False) -> None:
        """Begin.

        Args:
            storage: that has the log.
            limits: what is kept.
            dry_run: whether what would go is only counted.
        """
        self._storage = storage
        self._limits = limits
        self._dry_run = dry_run
        # Where each bucket's clock stood when it was left, and when something in it gets too old.
        self._left: dict[str, tuple[int, float]] = {}

    async def run(self, every: float = PASS_SECONDS) -> None:
        """Pass now and then, until it is cancelled; of several processes one does.

        Args:
            every: seconds between two passes.
        """
        while True:
            try:
                # A little less, or who wakes up first would find that it is not time yet.
                if await self._storage.claim("history:retention", round(every * 0.9) or 1):
                    report = await self.apply()
                    if report.entries:
                        logger.info("the log was trimmed: %d entries", report.entries)
            except SyncError as error:
                logger.info("the log is trimmed later: %s", error)
            await asyncio.sleep(every)

    async def apply(self) -> Report:
        """One pass.

        Raises:
            SyncError: If the database fails.
        """
        report = Report()
        async for bucket in self._parents(_BUCKETS):
            feed = bucket.clocks[FEED]
            position, due = self._left.get(bucket.uri, (-1, 0.0))
            if position == feed.position and due > time.time():
                continue
            due = await self._apply_to(bucket, report)
            self._left[bucket.uri] = (feed.position, due)
            await asyncio.sleep(0)
        return report

    async def _apply_to(self, bucket: StoredObject, report: Report) -> float:
        """Trim one bucket.

        Returns:
            When something in it gets too old, in seconds since 1970.
        """
        due = float("inf")
        if self._limits.of_lists:
            collections = ListPath(
                KINDS["collection"], f"{bucket.uri}/collections", bucket.path.chain
            )
            async for one in self._parents(collections, bucket):
                taken, next_due = await self._trim_list(bucket.path, one)
                report.add(bucket.path.id, taken)
                due = min(due, next_due)
        if self._limits.trim_count > 0:
            for plural in ("records", "groups", "collections", "buckets"):
                for user in self._limits.trim_users or (None,):
                    report.add(bucket.path.id, await self._trim_kind(bucket, plural, user))
        return due

    async def _parents(
        self, path: ListPath, parent: StoredObject | None = None
    ) -> AsyncIterator[StoredObject]:
        """All objects of a list, with their clocks."""
        after = None
        while True:
            async with self._storage.snapshot() as snapshot:
                uri = ROOT if parent is None else parent.uri
                floor = (await snapshot.objects([uri]))[uri].clocks[path.kind.plural].floor
                found = await snapshot.page(
                    Page(path, floor, (), DEFAULT_ORDER, _PARENTS, after=after)
                )
                stored = await snapshot.objects([one.uri for one in found], texts=False)
            for one in found:
                if one.uri in stored:
                    yield stored[one.uri]
            if len(found) < _PARENTS:
                return
            after = keys_of(DEFAULT_ORDER, found[-1].data)

    async def _trim_list(self, bucket: ObjectPath, parent: StoredObject) -> tuple[int, float]:
        """Trim what was done to the records of a collection.

        Returns:
            How many entries went, and when the next gets too old.
        """
        path = ListPath(KINDS["record"], f"{parent.uri}/records", parent.path.chain)
        clock = parent.clocks["records"]
        beyond = await self._find_beyond(path, clock)
        after, taken = clock.floor, 0
        while True:
            async with self._storage.snapshot() as snapshot:
                page = LogPage(path, after, clock.position, _AT_ONCE, texts=False)
                entries = await snapshot.log(page)
            going = _first_of(entries, beyond, self._oldest_date())
            fresh = sum(not one.trimmed for one in going)
            if not fresh:
                return taken, self._due(entries[len(going) :])
            taken += fresh
            if self._dry_run:
                after = going[-1].position
            else:
                await trim(self._storage, bucket, going)
                # The last stays as a mark: the next time it goes.
                after = going[-1].position - 1

    async def _find_beyond(self, path: ListPath, clock: Clock) -> int:
        """The position up to which there is more than is kept."""
        count = self._limits.max_count
        if count is None:
            return 0
        page = LogPage(path, clock.floor, clock.position, 1, skip=count, texts=False)
        async with self._storage.snapshot() as snapshot:
            found = await snapshot.log(replace(page, descending=True, trimmed=False))
        return found[0].position if found else 0

    def _oldest_date(self) -> int:
        """Date before which an entry is too old, in ms."""
        age = self._limits.max_age_seconds
        return 0 if age is None else round((time.time() - age) * 1000)

    def _due(self, entries: Sequence[Revision]) -> float:
        """When the first of these gets too old, in seconds since 1970."""
        age = self._limits.max_age_seconds
        if age is None or not entries:
            return float("inf")
        return entries[0].date / 1000 + age

    async def _trim_kind(self, bucket: StoredObject, plural: str, user: str | None) -> int:
        """Trim what was done to objects of a kind, in one bucket."""
        limits, feed, taken = self._limits, bucket.clocks[FEED], 0
        page = LogPage(bucket.path.id, feed.floor, feed.position, 1, plural=plural, by=user)
        page = replace(page, texts=False, descending=True, trimmed=False)
        full = replace(page, skip=limits.trim_count + limits.trim_threshold)
        page = replace(page, skip=limits.trim_count, limit=_AT_ONCE)
        async with self._storage.snapshot() as snapshot:
            if not await snapshot.log(full):
                return 0
        while True:
            async with self._storage.snapshot() as snapshot:
                entries = await snapshot.log(page)
            if not entries:
                return taken
            taken += len(entries)
            if self._dry_run:
                page = replace(page, skip=0, upto=entries[-1].seq - 1)
            elif await trim(self._storage, bucket.path, entries) is None:
                return taken


def _first_of(entries: Sequence[Revision], beyond: int, date: int) -> list[Revision]:
    """Those from the first on that are beyond a number, or before a date."""
    going: list[Revision] = []
    for one in entries:
        if one.position > beyond and one.date >= date and not one.trimmed:
            break
        going.append(one)
    return going
