"""A bucket's feed as pages: what changed since a cursor, or all there is."""

from contextlib import aclosing
from dataclasses import dataclass

from notifier.backfills import Rereading, Untold, read_round
from notifier.catchup import check_cursor
from notifier.contents import read_pages
from notifier.grounds import Surveyor
from notifier.hub import Ground
from notifier.messages import Options
from notifier.topics import Topic
from notifier.views import Look
from server.core.errors import CursorExpired, TooLarge
from server.core.permissions import Actor
from server.core.positions import spell_cursor
from server.storage.base import Snapshot

PAGE_MAX_EVENTS = 500
"""Of one answer."""

_ROUNDS_MAX = 20
"""In which the log is read for one answer: filters may let nothing through for long."""


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """What is asked of a feed.

    Attributes:
        topic: the feed, and its filters.
        actor: who reads.
        options: in which form.
        since: cursor; None for who has nothing yet.
        limit: the greatest number of events that is wanted.
    """

    topic: Topic
    actor: Actor
    options: Options = Options()
    since: int | None = None
    limit: int = PAGE_MAX_EVENTS


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A part of a feed.

    Attributes:
        position: up to which everything is told.
        entries: JSON texts: events, or objects as a snapshot has them.
        more: whether something may follow.
    """

    position: int
    entries: list[bytes]
    more: bool = False


class FeedReader:
    """Reads feeds on snapshots."""

    def __init__(self, surveyor: Surveyor, event_max_bytes: int, objects_max: int) -> None:
        """Begin.

        Args:
            surveyor: reads rights.
            event_max_bytes: of an object in an event.
            objects_max: that are told to who has nothing yet.
        """
        self._surveyor = surveyor
        self._event_max_bytes = event_max_bytes
        self._objects_max = objects_max

    async def survey(self, snapshot: Snapshot, topic: Topic, actor: Actor) -> Ground:
        """Where a feed stands, and how much of it may be seen.

        Raises:
            SyncError: If nothing of it.
        """
        ground = await self._surveyor.read(snapshot, topic, actor)
        if ground.denied is not None:
            raise ground.denied
        return ground

    async def read(self, snapshot: Snapshot, ground: Ground, request: FeedRequest) -> FeedPage:
        """What is asked for.

        Args:
            snapshot: on which the ground was read too.
            ground: of the topic.
            request: what is asked.

        Raises:
            CursorExpired: If what changed since the cursor cannot be told.
            TooLarge: If there are more objects than are told at once.
        """
        assert ground.rights is not None
        look = Look(request.topic, request.options, ground.rights, self._event_max_bytes)
        if request.since is None:
            return await self._read_all(snapshot, ground, look)
        check_cursor(request.since, ground)
        await self._check_rights(snapshot, ground, request, request.since)
        try:
            return await self._read_since(snapshot, look, request, ground.clock.position)
        except Untold:
            raise _expired(ground) from None

    async def _read_all(self, snapshot: Snapshot, ground: Ground, look: Look) -> FeedPage:
        entries: list[bytes] = []
        async with aclosing(read_pages(snapshot, look, ground)) as pages:
            async for page in pages:
                entries += page.texts
                if len(entries) > self._objects_max:
                    limit = f"{self._objects_max} objects"
                    raise TooLarge(f"There are more than {limit}: take them as a stream.")
        return FeedPage(ground.clock.position, entries)

    async def _check_rights(
        self, snapshot: Snapshot, ground: Ground, request: FeedRequest, since: int
    ) -> None:
        """Refuse a cursor since which more or less may be seen: no event tells of that."""
        assert ground.rights is not None
        if since == ground.clock.position:
            return
        rereading = Rereading(self._surveyor.rules, request.topic, request.actor)
        if await rereading.changed(snapshot, ground.rights, since):
            raise _expired(ground)

    async def _read_since(
        self, snapshot: Snapshot, look: Look, request: FeedRequest, clock: int
    ) -> FeedPage:
        assert request.since is not None
        entries: list[bytes] = []
        position, rounds = request.since, 0
        while position < clock and rounds < _ROUNDS_MAX and len(entries) < request.limit:
            rounds += 1
            events, position = await read_round(snapshot, look, position, clock)
            room = request.limit - len(entries)
            if len(events) > room:
                events = events[:room]
                position = events[-1].position
            entries += [b"{" + one.tail for one in events]
        more = position < clock
        if not entries and not look.rights.whole and rounds == 1:
            # Strangers' activity is none of theirs; only what is long is not read twice.
            position = request.since
        return FeedPage(position, entries, more)


def _expired(ground: Ground) -> CursorExpired:
    clock = ground.clock
    cursor, floor = spell_cursor(clock.position), spell_cursor(clock.oldest)
    return CursorExpired("permissions-changed", cursor, floor)
