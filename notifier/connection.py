"""One WebSocket connection: its session, and the carrier of its subscriptions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from notifier.carrier import Carrier, CarrierLimits, Shared
from notifier.credentials import UNAUTHORIZED, over
from notifier.messages import Auth, Hello, MessageId
from notifier.outbox import Outbox, Transport
from notifier.session import (
    SILENT,
    Begin,
    Close,
    Effect,
    End,
    Identify,
    Recheck,
    Say,
    Session,
    SessionLimits,
    Welcome,
    describe_error,
)
from notifier.subscriptions import Request, Subscription
from notifier.topics import Topic, parse_topic, split_target
from notifier.wires import WebSocketWire
from server.core.commands import Ensure
from server.core.errors import SyncError, Unforeseen, invalid
from server.core.permissions import Actor
from server.core.positions import parse_cursor

logger = logging.getLogger(__name__)

PING_FRAME = b"\x89\x00"

Resolve = Callable[[str, Actor], tuple[str, Ensure | None]]
"""A path with the bucket's own id for ``default``, and what is made at its first use."""

Greet = Callable[[Actor], Awaitable[dict[str, Any]]]
"""Members of ``welcome`` that have to be read."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What a connection is made with.

    Attributes:
        session: limits of what its client says.
        carrier: limits of what it costs.
        identify: tells who sends an ``Authorization``.
        resolve: of paths.
        greet: reads what ``welcome`` tells.
        hello_seconds: within which ``hello`` has to come.
        ping_seconds: between two pings.
        are_over: whether somebody's credentials are not valid any more.
    """

    session: SessionLimits
    carrier: CarrierLimits
    identify: Callable[[str], Awaitable[Actor]]
    resolve: Resolve
    greet: Greet
    hello_seconds: float = 10
    ping_seconds: float = 20
    are_over: Callable[[Actor], bool] = lambda actor: False


class Connection:
    """Does what the session says; tells the client what became of it."""

    def __init__(
        self, shared: Shared, transport: Transport, actor: Actor, options: ConnectionOptions
    ) -> None:
        self._shared = shared
        self._transport = transport
        self._options = options
        self._session = Session(options.session, actor)
        self._wire = WebSocketWire()
        self._carrier = Carrier(shared, transport, self._wire, options.carrier, self._ended)
        self._closing = False
        self._opened = self._pinged = shared.time
        self._unanswered = 0

    @property
    def actor(self) -> Actor:
        """Who its client is; see ``Holder``."""
        return self._session.actor

    @property
    def outbox(self) -> Outbox:
        """What waits for its socket."""
        return self._carrier.outbox

    # What the client says.

    async def receive(self, frame: str | bytes) -> None:
        """Hear a frame; the next is not to be heard before this has returned."""
        # Who does not listen is not listened to: each answer would cost memory.
        await self._carrier.outbox.wait_if_full()
        effects = self._session.receive(frame, asyncio.get_running_loop().time())
        try:
            await self._follow(effects)
        except Exception:
            # Whatever it was, the client has to hear of it.
            logger.exception("what a client said cannot be done")
            self._fail(Unforeseen(), None)

    async def _follow(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if self._closing:
                return
            await self._do(effect)

    async def _do(self, effect: Effect) -> None:
        match effect:
            case Say(kind, members):
                await self._carrier.send(self._wire.message(kind, members))
            case Close(code, reason):
                self.close(code, reason)
            case Begin():
                self._begin(effect)
            case End(subscription):
                self._carrier.stop(subscription)
            case Welcome(message_id):
                await self._welcome(message_id)
            case Identify(authorization, cause):
                await self._identify(authorization, cause)
            case Recheck(message_id):
                await self._recheck(message_id)

    async def _welcome(self, message_id: MessageId) -> None:
        try:
            members = await self._options.greet(self._session.actor)
        except SyncError as error:
            self._fail(error, message_id)
            return
        await self._carrier.send(self._wire.message("welcome", {"id": message_id, **members}))

    def _fail(self, error: SyncError, message_id: MessageId) -> None:
        """Tell an error after which there is no going on."""
        self._carrier.say("error", describe_error(error, message_id))
        self.close(4000 + error.status, error.title)

    async def _identify(self, authorization: str, cause: Hello | Auth) -> None:
        try:
            actor = await self._options.identify(authorization)
        except SyncError as error:
            self._fail(error, cause.id)
            return
        if self._options.are_over(actor):
            self._fail(over(), cause.id)
            return
        await self._follow(self._session.identified(cause, actor))

    async def _recheck(self, message_id: MessageId) -> None:
        try:
            members = await self._options.greet(self._session.actor)
        except SyncError as error:
            self._fail(error, message_id)
            return
        told = {"id": message_id, "user": members.get("user")}
        self._carrier.say("auth", told)
        for subscription in self._session.begun:
            # Whoever says again who they are changes nothing.
            if subscription.actor != self._session.actor:
                self._carrier.restart(subscription, self._session.actor)

    def _begin(self, effect: Begin) -> None:
        request = effect.request
        try:
            topic, ensure = self._find(request.path)
            if request.since not in (None, "now"):
                check_since(request.since)
        except SyncError as error:
            del self._session.subscriptions[request.sub]
            self._carrier.say("error", describe_error(error, request.id, request.sub))
            return
        subscription = Subscription(
            request.sub, topic, request.options, self._session.actor, self._carrier, self._wire
        )
        subscription.request = Request(request.id, request.since)
        self._session.subscriptions[request.sub] = subscription
        self._carrier.start(subscription, ensure)

    def _find(self, target: str) -> tuple[Topic, Ensure | None]:
        path, arguments, query = split_target(target)
        real, ensure = self._options.resolve(path, self._session.actor)
        return parse_topic(real, arguments, query), ensure

    def _ended(self, subscription: Subscription, error: SyncError, begun: bool) -> None:
        name = subscription.name
        request = subscription.request
        self._session.subscriptions.pop(name, None)
        if not begun:
            message_id = request.id if request else None
            retry = error.headers.get("Retry-After")
            members = describe_error(error, message_id, name)
            self._carrier.say("error", members | ({"retry_after": int(retry)} if retry else {}))
            return
        told = {"sub": name, "code": error.status, "errno": error.errno}
        gone = error.status in (401, 403, 404)
        self._carrier.say("unsubscribed", {**told, "reason": error.title, "purge": gone})

    # Time and ends.

    def pong(self) -> None:
        """Hear that the client is there."""
        self._unanswered = 0

    def tick(self) -> None:
        """Once in a while: ping, and end what is silent or stuck."""
        now = self._shared.time
        if not self._session.greeted and now - self._opened >= self._options.hello_seconds:
            self.close(SILENT, "no hello")
            return
        if not self._carrier.tick(self._session.begun):
            self.close(SILENT, "takes nothing")
            self._transport.abort()
            return
        if self._carrier.outbox.blocked_since is not None:
            # It cannot answer what has not reached it.
            self._pinged, self._unanswered = now, 0
            return
        if now - self._pinged < self._options.ping_seconds:
            return
        self._pinged = now
        if self._unanswered >= 2:
            self.close(SILENT, "pings are not answered")
            self._transport.abort()
            return
        self._unanswered += 1
        if self._carrier.outbox.push(PING_FRAME):
            self._carrier.outbox.flush()

    def goodbye(self, reason: str, retry_after: float) -> None:
        """Tell that the server will close, and when to come back, in seconds."""
        self._carrier.say("goodbye", {"reason": reason, "retry_after": retry_after})

    def expel(self) -> None:
        """See ``Holder``."""
        self.close(UNAUTHORIZED, "the credentials are not valid any more")

    def close(self, code: int, reason: str) -> None:
        """End the connection."""
        if not self._closing:
            self._closing = True
            self._carrier.outbox.flush()
            # Nothing may follow the frame that ends it.
            self._carrier.close(self._session.begun)
            self._transport.close(code, reason)

    def closed(self) -> None:
        """Hear that the connection is gone: let go of everything."""
        self._closing = True
        self._carrier.close(self._session.begun)
        self._session.subscriptions.clear()


def check_since(since: str | None) -> None:
    """Check that a cursor is one.

    Raises:
        InvalidParameters: If it is not.
    """
    try:
        parse_cursor(since or "")
    except SyncError:
        raise invalid("body", "since", 'should be a cursor, or "now"') from None
