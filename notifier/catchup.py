"""Bring a subscription to the present: a snapshot or a backfill, then live.

The same for a new subscription, for one that comes back with a cursor, and for one
that the hub has lost: too slow, rights changed, changes missed.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from notifier.backfills import Rereading, Untold, read_round
from notifier.backlogs import Hold
from notifier.contents import Mark, read_pages
from notifier.grounds import Surveyor
from notifier.hub import Ground, Hub
from notifier.subscriptions import Subscription
from notifier.views import Rendered
from server.core.errors import CursorExpired, Unavailable
from server.core.positions import parse_cursor, spell_cursor
from server.storage.base import Snapshot, Storage

_AGAIN_SECONDS = 0.5
"""Before a database that cannot be reached is asked again."""


class CatchUp:
    """Catches subscriptions up."""

    def __init__(
        self, storage: Storage, hub: Hub, surveyor: Surveyor, event_max_bytes: int
    ) -> None:
        self.storage = storage
        self.hub = hub
        self.surveyor = surveyor
        self.event_max_bytes = event_max_bytes

    async def run(self, subscription: Subscription) -> None:
        """Go on until a subscription is live, or waits to be let in.

        Raises:
            SyncError: If it may not be read, or not from its cursor.
        """
        run = _Run(self, subscription)
        while not await run.step():
            pass


@dataclass(slots=True)
class _Begun:
    """A snapshot that is being sent.

    Attributes:
        position: of the topic's clock at the first page; the client goes on from there.
        sight: of the reader then.
        pages: that were sent.
        mark: where the next begins; None where it cannot begin but anew.
    """

    position: int
    sight: object
    pages: int = 0
    mark: Mark | None = None


def _sight(ground: Ground) -> object:
    assert ground.rights is not None
    return ground.rights.sight


class _Run:
    """One subscription on its way: a step is one snapshot.

    Attributes:
        walked: position up to which the client has everything; None if it needs a
            snapshot.
    """

    def __init__(self, owner: CatchUp, subscription: Subscription) -> None:
        self._owner = owner
        self._hub = owner.hub
        self._subscription = subscription
        self._first = True
        self._begun: _Begun | None = None
        # Another run was broken off between the pages.
        self._pages_lost = subscription.request is None and subscription.cursor is None
        self.walked = subscription.cursor

    async def step(self) -> bool:
        """Read once more; whether that was enough."""
        hold = self._hub.hold()
        try:
            async with self._owner.storage.snapshot() as snapshot:
                return await self._read(snapshot, hold)
        except Unavailable:
            request = self._subscription.request
            if request is not None and not request.waiting:
                raise
            # Not all at once, when thousands were lost together.
            await asyncio.sleep(_AGAIN_SECONDS * random.uniform(0.5, 1.5))
            return False
        finally:
            self._hub.release(hold)

    async def _read(self, snapshot: Snapshot, hold: Hold) -> bool:
        subscription = self._subscription
        ground = await self._owner.surveyor.read(
            snapshot, subscription.topic, subscription.actor, begun=subscription.request is None
        )
        if ground.at < hold.at:
            # Older than what was told: another member's answer, after a failover.
            return False
        if ground.denied is not None:
            return await self._wait(hold, ground)
        await self._prepare(snapshot, ground)
        return await self._advance(snapshot, hold, ground)

    async def _wait(self, hold: Hold, ground: Ground) -> bool:
        """Wait to be let in, where that was asked for.

        Raises:
            SyncError: The refusal, else.
        """
        subscription = self._subscription
        assert ground.denied is not None
        if subscription.request is None or not subscription.options.waits:
            raise ground.denied
        if not subscription.request.waiting:
            await self._announce("waiting", ground)
            subscription.request.waiting = True
        return self._hub.is_current(hold, ground.at) and self._hub.wait(subscription, hold, ground)

    async def _announce(self, mode: str, ground: Ground) -> None:
        request = self._subscription.request
        assert request is not None
        members = {
            "id": request.id,
            "path": self._subscription.topic.uri,
            "mode": mode,
            "cursor": None if mode == "waiting" else spell_cursor(ground.clock.position),
            "floor": None if mode == "waiting" else spell_cursor(ground.clock.oldest),
        }
        await self._send("subscribed", members)
        # Not before: who is stopped while waiting for room has said nothing.
        request.id = None

    async def _prepare(self, snapshot: Snapshot, ground: Ground) -> None:
        """Find out from where the client goes on, and tell it."""
        subscription = self._subscription
        first, self._first = self._first, False
        reason = None
        if subscription.request is not None:
            reason = await self._begin(snapshot, ground)
        elif self.walked is not None:
            reason = await self._why_reset(snapshot, ground, self.walked, first=first)
        if reason is not None:
            await self._reset(reason, ground)
        subscription.rights = ground.rights

    async def _begin(self, snapshot: Snapshot, ground: Ground) -> str | None:
        """Answer the client's request; why it has to drop what it has, if it has."""
        subscription = self._subscription
        request = subscription.request
        assert request is not None
        position = ground.clock.position
        since = request.since
        poked = subscription.options.deliver == "poke"
        mode, reason = "snapshot", None
        if since == "now" or (since is None and poked):
            mode, self.walked = "live", position
        elif since is not None:
            self.walked = parse_cursor(since)
            if not request.restarts:
                check_cursor(self.walked, ground)
            reason = await self._why_reset(snapshot, ground, self.walked, first=True)
            mode = "backfill" if reason is None or poked else "snapshot"
        await self._announce(mode, ground)
        subscription.request = None
        subscription.owes_ready = True
        subscription.cursor = self.walked
        return reason

    async def _why_reset(
        self, snapshot: Snapshot, ground: Ground, position: int, *, first: bool
    ) -> str | None:
        """Why the client cannot go on from a position; None if it can."""
        subscription = self._subscription
        rights, before = ground.rights, subscription.rights
        assert rights is not None
        if position < ground.clock.oldest or position > ground.clock.position:
            return "floor" if position < ground.clock.oldest else "ahead"
        if before is not None and before.sight != rights.sight:
            return "permissions-changed"
        if not first:
            return None
        rereading = Rereading(self._owner.surveyor.rules, subscription.topic, subscription.actor)
        changed = await rereading.changed(snapshot, rights, position)
        return "permissions-changed" if changed else None

    async def _reset(self, reason: str, ground: Ground) -> None:
        subscription = self._subscription
        cursor = spell_cursor(ground.clock.position)
        if subscription.options.deliver == "poke":
            # It holds nothing of ours; that something changed is all it wants to know.
            await self._send_poke(ground.clock.position)
            self.walked = ground.clock.position
            return
        await self._send("reset", {"reason": reason, "cursor": cursor})
        self.walked = subscription.cursor = None
        subscription.owes_ready = True
        self._begun = None
        self._pages_lost = False

    async def _advance(self, snapshot: Snapshot, hold: Hold, ground: Ground) -> bool:
        subscription = self._subscription
        clock = ground.clock.position
        if self.walked is not None and self.walked < clock:
            look = subscription.look(self._owner.event_max_bytes)
            try:
                events, self.walked = await read_round(snapshot, look, self.walked, clock)
                await self._send_events(events)
            except Untold:
                await self._reset("permissions-changed", ground)
        if self.walked is None:
            await self._resume_snapshot(ground)
            await self._send_snapshot(snapshot, ground)
        if self.walked != clock or not self._hub.is_current(hold, ground.at):
            return False
        # Nothing is awaited from here on: what comes next is told by the hub.
        if subscription.owes_ready:
            subscription.owes_ready = False
            prev = subscription.cursor
            members = {"prev": None if prev is None else spell_cursor(prev)}
            frame = self._frame("ready", {**members, "cursor": spell_cursor(clock)})
            subscription.cursor = clock
            subscription.outlet.put(frame)
        self._hub.join(subscription, hold, ground)
        return True

    async def _resume_snapshot(self, ground: Ground) -> None:
        """See from where the pages go on, if some were sent of an older instant.

        A database keeps its past for minutes, and a slow client may need longer. What did
        not change since the first page still stands where it stood, and what did is told
        afterwards, from the log.
        """
        begun = self._begun
        if begun is not None and begun.pages:
            kept = ground.clock.oldest <= begun.position <= ground.clock.position
            if kept and begun.mark is not None and begun.sight == _sight(ground):
                return
            self._pages_lost = True
        if self._pages_lost:
            await self._reset("restarted", ground)
        self._begun = _Begun(ground.clock.position, _sight(ground))

    async def _send_snapshot(self, snapshot: Snapshot, ground: Ground) -> None:
        subscription = self._subscription
        begun = self._begun
        assert begun is not None
        look = subscription.look(self._owner.event_max_bytes)
        async with aclosing(read_pages(snapshot, look, ground, begun.mark)) as pages:
            async for page in pages:
                cursor = None if page.more else spell_cursor(begun.position)
                members = {"prev": None, "cursor": cursor, "more": page.more}
                body = b'"data":[%b]' % b",".join(page.texts)
                await self._send("snapshot", members, body)
                begun.pages += 1
                begun.mark = page.mark
        self._begun = None
        self.walked = subscription.cursor = begun.position

    async def _send_events(self, events: list[Rendered]) -> None:
        subscription = self._subscription
        if subscription.options.deliver == "poke":
            if events:
                await self._send_poke(events[-1].position)
            return
        for event in events:
            prev = subscription.cursor or 0
            frame = subscription.wire.event(subscription.name, prev, event.position, event.tail)
            await subscription.outlet.send(frame)
            subscription.cursor = event.position

    async def _send_poke(self, position: int) -> None:
        subscription = self._subscription
        prev = spell_cursor(subscription.cursor or 0)
        await self._send("poke", {"prev": prev, "cursor": spell_cursor(position)})
        subscription.cursor = position

    async def _send(self, kind: str, members: Mapping[str, object], body: bytes = b"") -> None:
        await self._subscription.outlet.send(self._frame(kind, members, body))

    def _frame(self, kind: str, members: Mapping[str, object], body: bytes = b"") -> bytes:
        subscription = self._subscription
        return subscription.wire.message(kind, {"sub": subscription.name, **members}, body)


def check_cursor(position: int, ground: Ground) -> None:
    """Check that a client's cursor can be resumed.

    Raises:
        CursorExpired: If it is below the floor, or ahead of the server.
    """
    clock = ground.clock
    if clock.oldest <= position <= clock.position:
        return
    reason = "floor" if position < clock.oldest else "ahead"
    raise CursorExpired(reason, spell_cursor(clock.position), spell_cursor(clock.oldest))
