"""Carries one client's subscriptions: from the hub and the catch-ups to its outbox."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from notifier.catchup import CatchUp
from notifier.hub import Hub
from notifier.outbox import CHUNK_MAX_BYTES, Outbox, Transport
from notifier.subscriptions import State, Subscription
from notifier.wires import Wire
from server.core.commands import Command, Ensure
from server.core.errors import SyncError, Unforeseen
from server.core.permissions import Actor
from server.core.positions import spell_cursor
from server.storage.base import Storage

logger = logging.getLogger(__name__)

POKE_SECONDS = 0.25
"""Between two pokes of a subscription."""


@dataclass(frozen=True, slots=True)
class CarrierLimits:
    """What one connection may cost.

    Attributes:
        outbox_max_messages: that wait for a socket that does not take them.
        outbox_max_bytes: of them.
        stalled_seconds: after which such a socket is given up.
        heartbeat_seconds: without a message, after which one is sent.
    """

    outbox_max_messages: int = 1000
    outbox_max_bytes: int = 1 << 20
    stalled_seconds: float = 60
    heartbeat_seconds: float = 25


class Shared(Protocol):
    """What all carriers of a process share.

    Attributes:
        hub: tells changes.
        catch_up: brings subscriptions to the present.
        storage: to make a default bucket.
        time: of the last tick, in seconds of the loop's clock.
        dirty: outboxes to be flushed at the end of this turn.
    """

    hub: Hub
    catch_up: CatchUp
    storage: Storage
    time: float
    dirty: set[Outbox]


Ended = Callable[[Subscription, SyncError, bool], None]
"""Told that a subscription is over, why, and whether it had begun."""


class Carrier:
    """See ``Outlet``.

    Attributes:
        outbox: its way to the socket.
    """

    def __init__(
        self,
        shared: Shared,
        transport: Transport,
        wire: Wire,
        limits: CarrierLimits,
        ended: Ended,
    ) -> None:
        self._shared = shared
        self._wire = wire
        self._limits = limits
        self._ended = ended
        self._tasks: dict[Subscription, asyncio.Task[None]] = {}
        self._lagging: dict[Subscription, None] = {}
        self._pokes: dict[Subscription, int | None] = {}
        self._spoke = shared.time
        self._closed = False
        self.outbox = Outbox(
            transport,
            limits.outbox_max_messages,
            limits.outbox_max_bytes,
            self._overflowed,
            self._catch_up_lagging,
        )

    # What the hub and the catch-ups say.

    async def send(self, frame: bytes) -> None:
        """See ``Outlet``."""
        await self.outbox.wait_for_room()
        self.put(frame)

    def put(self, frame: bytes) -> None:
        """See ``Outlet``."""
        self._spoke = self._shared.time
        if self.outbox.push(frame):
            self.outbox.flush()

    def push(self, frame: bytes, subscription: Subscription, prev: int) -> None:
        """See ``Outlet``."""
        self._spoke = self._shared.time
        if self.outbox.push(frame, subscription, prev):
            self._shared.dirty.add(self.outbox)

    def poke(self, subscription: Subscription, position: int) -> None:
        """See ``Outlet``; at once, or as soon as the last is long enough ago."""
        if subscription in self._pokes:
            self._pokes[subscription] = position
            return
        self._send_poke(subscription, position)
        self._pokes[subscription] = None
        asyncio.get_running_loop().call_later(POKE_SECONDS, self._poke_again, subscription)

    def _poke_again(self, subscription: Subscription) -> None:
        position = self._pokes.pop(subscription, None)
        if position is None or position <= (subscription.cursor or 0):
            # It may have caught up beyond that meanwhile.
            return
        if not self._closed and subscription.state is State.LIVE:
            self.poke(subscription, position)
            self.outbox.flush()

    def _send_poke(self, subscription: Subscription, position: int) -> None:
        prev = subscription.cursor or 0
        subscription.cursor = position
        members = {"prev": spell_cursor(prev), "cursor": spell_cursor(position)}
        frame = self._message("poke", {"sub": subscription.name, **members})
        self.push(frame, subscription, prev)

    def lose(self, subscription: Subscription, error: SyncError | None) -> None:
        """See ``Outlet``."""
        if error is None:
            self.start(subscription)
        else:
            self._end(subscription, error)

    def say(self, kind: str, members: dict[str, Any]) -> None:
        """Send a message that is of no subscription, or its last."""
        self.put(self._message(kind, members))

    def _message(self, kind: str, members: dict[str, Any]) -> bytes:
        return self._wire.message(kind, members)

    # Subscriptions on their way.

    def start(self, subscription: Subscription, ensure: Ensure | None = None) -> None:
        """Bring a subscription to the present, beside everything else.

        Args:
            subscription: which; not in the hub.
            ensure: what is made, and tried again, if it is refused.
        """
        if self._closed:
            return
        self._withdraw(subscription)
        task = asyncio.ensure_future(self._run(subscription, ensure))
        self._tasks[subscription] = task

    def _withdraw(self, subscription: Subscription) -> None:
        """Take back what waits of it: it will come again from where that begins."""
        self._lagging.pop(subscription, None)
        running = self._tasks.pop(subscription, None)
        if running is not None and running is not asyncio.current_task():
            running.cancel()
        prev = self.outbox.drop(subscription)
        if prev is not None:
            subscription.cursor = prev

    async def _run(self, subscription: Subscription, ensure: Ensure | None) -> None:
        error: SyncError
        try:
            await self._bring_up(subscription, ensure)
        except SyncError as refusal:
            error = refusal
        except Exception:
            # Whatever it was, the client has to hear of it.
            logger.exception("catching up %s failed", subscription.topic.uri)
            error = Unforeseen()
        else:
            self._forget(subscription)
            self.outbox.flush()
            return
        if self._forget(subscription):
            self._end(subscription, error)

    def _forget(self, subscription: Subscription) -> bool:
        """This task is over; whether it was still the one that counts."""
        mine = self._tasks.get(subscription) is asyncio.current_task()
        if mine:
            del self._tasks[subscription]
        return mine

    async def _bring_up(self, subscription: Subscription, ensure: Ensure | None) -> None:
        catch_up = self._shared.catch_up
        try:
            await catch_up.run(subscription)
        except SyncError as error:
            if ensure is None or error.status not in (403, 404):
                raise
            await self._shared.storage.commit(Command((ensure,)))
            await catch_up.run(subscription)

    def stop(self, subscription: Subscription) -> None:
        """End a subscription; nothing more is sent of it."""
        self._shared.hub.leave(subscription)
        subscription.state = State.ENDED
        self._withdraw(subscription)
        self._pokes.pop(subscription, None)

    def restart(self, subscription: Subscription, actor: Actor) -> None:
        """Look again how much of its topic may be read, now by another actor."""
        self._shared.hub.leave(subscription)
        subscription.actor = actor
        self.start(subscription)

    def _end(self, subscription: Subscription, error: SyncError) -> None:
        begun = subscription.request is None
        self.stop(subscription)
        self._ended(subscription, error, begun)

    def _overflowed(self, lost: dict[Subscription, int]) -> None:
        for subscription, prev in lost.items():
            subscription.cursor = prev
            if subscription.state is State.LIVE:
                self._shared.hub.leave(subscription)
                self._lagging[subscription] = None

    def _catch_up_lagging(self) -> None:
        for subscription in list(self._lagging):
            self.start(subscription)

    # Time.

    def tick(self, live: list[Subscription]) -> bool:
        """Once in a while: say something where nothing was said for long.

        Args:
            live: the subscriptions there are.

        Returns:
            False if the socket has taken nothing for too long.
        """
        now = self._shared.time
        blocked = self.outbox.blocked_since
        if blocked is not None:
            chunks = 1 + self.outbox.chunk_bytes // CHUNK_MAX_BYTES
            return now - blocked < self._limits.stalled_seconds * chunks
        if now - self._spoke >= self._limits.heartbeat_seconds:
            if not any([self._progress(one) for one in live]):
                self.say("ping", {})
        return True

    def _progress(self, subscription: Subscription) -> bool:
        """Tell how far a subscription has got; whether it has got any further.

        Not to who sees a part only: what others do in the rest is none of theirs.
        """
        rights, prev = subscription.rights, subscription.cursor
        if subscription.state is not State.LIVE or rights is None or not rights.whole:
            return False
        head = self._shared.hub.head(subscription)
        if prev is None or head <= prev:
            return False
        members = {"prev": spell_cursor(prev), "cursor": spell_cursor(head)}
        subscription.cursor = head
        self.push(
            self._message("progress", {"sub": subscription.name, **members}), subscription, prev
        )
        return True

    def close(self, subscriptions: list[Subscription]) -> None:
        """Let go of everything."""
        self._closed = True
        for subscription in subscriptions:
            self.stop(subscription)
        self.outbox.close()
        self._shared.dirty.discard(self.outbox)
