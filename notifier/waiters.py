"""Requests that wait for a change: long-polls. They hold nothing but memory."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from notifier.catchup import CatchUp
from notifier.credentials import over
from notifier.hub import Hub
from notifier.messages import Options
from notifier.subscriptions import Request, State, Subscription
from notifier.topics import Topic
from server.core.errors import SyncError
from server.core.permissions import Actor

MAX_WAIT_SECONDS = 25

GATHER_SECONDS = 0.05
"""Between the first change and the answer: what comes in a burst is told at once."""

_POKES = Options("poke")


class Waiting(Protocol):
    """What all waiters of a process share.

    Attributes:
        hub: tells changes.
        catch_up: brings them to the present.
        waiters: all that there are.
        stopping: set when nobody shall wait any more.
    """

    hub: Hub
    catch_up: CatchUp
    waiters: dict["Waiter", None]
    stopping: asyncio.Event


class _Silence:
    """Spells nothing: nobody reads a waiter's messages. See ``Wire``."""

    name = "silence"

    def event(self, sub: str, prev: int, cursor: int, tail: bytes) -> bytes:
        """See ``Wire``."""
        return b""

    def message(self, kind: str, members: Mapping[str, Any], body: bytes = b"") -> bytes:
        """See ``Wire``."""
        return b""


class Waiter:
    """Waits for one visible change; see ``Outlet``.

    Attributes:
        actor: who waits.
        heard: whether there was one.
        lost: whether changes may have passed unheard, or rights have changed.
        woken_at: when the first of this was, by the loop's clock.
    """

    def __init__(self, shared: Waiting, topic: Topic, actor: Actor, threshold: int) -> None:
        """Begin; nothing is heard before ``join``.

        Args:
            shared: of the process.
            topic: what is waited for.
            actor: who waits.
            threshold: position below which a change is none.
        """
        self._shared = shared
        self._threshold = threshold
        self._subscription = Subscription("", topic, _POKES, actor, self, _Silence())
        self._woken: asyncio.Future[None] | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._released = shared.stopping.is_set()
        self._expelled = False
        self.actor = actor
        self.heard = False
        self.lost = False
        self.woken_at = 0.0
        shared.waiters[self] = None

    async def join(self) -> int | None:
        """Hear everything from now on.

        Returns:
            The position of the topic as of which it hears; None for who sees only some of it.

        Raises:
            SyncError: If the topic may not be read.
        """
        subscription = self._subscription
        subscription.request = Request(None, "now")
        await self._shared.catch_up.run(subscription)
        rights = subscription.rights
        return subscription.cursor if rights is not None and rights.whole else None

    async def wait(self, seconds: float) -> None:
        """Return shortly after something was heard or lost, at the end, or when released.

        Raises:
            InvalidAuth: If the credentials of who waits are not valid any more.
        """
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        end = loop.call_later(seconds, self.release)
        if self._released:
            self.release()
        elif self.heard or self.lost:
            self._gather()
        try:
            await self._woken
        finally:
            end.cancel()
            if self._gathering is not None:
                self._gathering.cancel()
        if self._expelled:
            raise over()

    def expel(self) -> None:
        """See ``Holder``."""
        self._expelled = True
        self.release()

    def release(self) -> None:
        """Wait no longer."""
        self._released = True
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def leave(self) -> None:
        """Hear nothing any more."""
        self._shared.hub.leave(self._subscription)
        self._subscription.state = State.ENDED
        self._shared.waiters.pop(self, None)

    def _gather(self) -> None:
        if self._woken is not None and self._gathering is None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER_SECONDS, self.release)

    # What the hub and the catch-up say.

    async def send(self, frame: bytes) -> None:
        """See ``Outlet``."""

    def put(self, frame: bytes) -> None:
        """See ``Outlet``."""

    def push(self, frame: bytes, subscription: Subscription, prev: int) -> None:
        """See ``Outlet``."""

    def poke(self, subscription: Subscription, position: int) -> None:
        """See ``Outlet``."""
        if position >= self._threshold:
            self._note()
            self.heard = True
            self._gather()

    def lose(self, subscription: Subscription, error: SyncError | None) -> None:
        """See ``Outlet``."""
        self._note()
        self.lost = True
        self._gather()

    def _note(self) -> None:
        if not (self.heard or self.lost):
            self.woken_at = asyncio.get_running_loop().time()
