"""One stream of Server-Sent Events: its subscription, and the carrier of it."""

import asyncio
from collections.abc import Callable

from notifier.carrier import Carrier, CarrierLimits, Shared
from notifier.credentials import UNAUTHORIZED, over
from notifier.messages import Options
from notifier.outbox import Outbox, Transport
from notifier.subscriptions import Request, Subscription
from notifier.topics import Topic
from notifier.wires import EventStreamWire
from server.core.commands import Ensure
from server.core.errors import SyncError
from server.core.permissions import Actor

COMMENT = b":\n\n"
"""Says nothing; but whoever listens, and whatever lies between, sees that all is well."""

LINGER_SECONDS = 2.0
"""That the last words of a stream may take."""


class _Gate:
    """A transport that keeps what is said until the way is open; see ``Transport``."""

    def __init__(self, heard: Callable[[], None], drained: Callable[[], None]) -> None:
        """Begin.

        Args:
            heard: called when the first words are kept.
            drained: called whenever what the socket did not take at once is gone.
        """
        self._heard = heard
        self._drained = drained
        self._kept = b""
        self._done: Callable[[], None] | None = None
        self._way: Transport | None = None

    def open(self, way: Transport, head: bytes) -> None:
        """Let out what was kept, after ``head``, and everything from now on."""
        self._way = way
        way.finish(head + self._kept, self._go_on)
        self._kept = b""

    def _go_on(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()
        self._drained()

    def send(self, data: bytes) -> int:
        return 0 if self._way is None else self._way.send(data)

    def finish(self, data: bytes, done: Callable[[], None]) -> None:
        self._done = done
        if self._way is None:
            self._kept = data
            self._heard()
        else:
            self._way.finish(data, self._go_on)

    def close(self, code: int, reason: str) -> None:
        if self._way is not None:
            self._way.close(code, reason)

    def abort(self) -> None:
        if self._way is not None:
            self._way.abort()


class EventStream:
    """A subscription told as Server-Sent Events; see ``Client``.

    First ``begin``: a refusal is known before anything was sent. Then ``open``,
    or ``closed`` if there is nobody to tell.
    """

    def __init__(
        self,
        shared: Shared,
        topic: Topic,
        options: Options,
        actor: Actor,
        limits: CarrierLimits,
        ping_seconds: float,
    ) -> None:
        """Make it.

        Args:
            shared: of the process.
            topic: what is told.
            options: how.
            actor: to whom.
            limits: of what it costs.
            ping_seconds: between two comments.
        """
        wire = EventStreamWire()
        self._shared = shared
        self._ping_seconds = ping_seconds
        self._pinged = shared.time
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gate = _Gate(self._begin, self._end_if_told)
        self._carrier = Carrier(shared, self._gate, wire, limits, self._ended)
        self._subscription = Subscription("", topic, options, actor, self._carrier, wire)
        self._over = False

    @property
    def actor(self) -> Actor:
        """Who listens; see ``Holder``."""
        return self._subscription.actor

    @property
    def outbox(self) -> Outbox:
        """What waits for its socket."""
        return self._carrier.outbox

    async def begin(self, request: Request, ensure: Ensure | None) -> None:
        """Wait until there is something to tell.

        Args:
            request: where it begins.
            ensure: what is made, and tried again, if it is refused.

        Raises:
            SyncError: If it is refused.
        """
        self._subscription.request = request
        self._carrier.start(self._subscription, ensure)
        await self._begun

    def _begin(self) -> None:
        if not self._begun.done():
            self._begun.set_result(None)

    def open(self, transport: Transport, head: bytes) -> None:
        """Tell, from now on; ``head`` comes first."""
        self._gate.open(transport, head)

    def _ended(self, subscription: Subscription, error: SyncError, begun: bool) -> None:
        if not begun:
            if not self._begun.done():
                self._begun.set_exception(error)
            return
        gone = error.status in (401, 403, 404)
        told = {"code": error.status, "errno": error.errno, "reason": error.title, "purge": gone}
        self._carrier.say("unsubscribed", told)
        self._over = True
        self._end_if_told()

    def expel(self) -> None:
        """See ``Holder``; the listener may keep what it has heard."""
        if self._over:
            return
        self._carrier.stop(self._subscription)
        error = over()
        told = {"code": error.status, "errno": error.errno, "reason": error.title, "purge": False}
        self._carrier.say("unsubscribed", told)
        self.close(UNAUTHORIZED, error.title)

    def _end_if_told(self) -> None:
        """End the response once the last message is gone."""
        outbox = self._carrier.outbox
        if self._over and not outbox.waiting and outbox.blocked_since is None:
            self._gate.close(1000, "over")

    def tick(self) -> None:
        """Once in a while: say something, and end what is stuck."""
        if not self._carrier.tick([self._subscription]):
            self._gate.abort()
            return
        now = self._shared.time
        if now - self._pinged >= self._ping_seconds:
            self._pinged = now
            if self._carrier.outbox.push(COMMENT):
                self._carrier.outbox.flush()

    def goodbye(self, reason: str, retry_after: float) -> None:
        """Tell that the server will close, and when to come back, in seconds."""
        self._carrier.say("goodbye", {"reason": reason, "retry_after": retry_after})

    def close(self, code: int, reason: str) -> None:
        """End the response; who does not take all of it soon comes back for the rest."""
        self._over = True
        self._carrier.outbox.flush()
        self._end_if_told()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._gate.abort)

    def closed(self) -> None:
        """Hear that nobody listens any more: let go of everything."""
        self._carrier.close([self._subscription])
