"""Everything live of one process: the hub, the pump that feeds it, and all connections."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from notifier.carrier import CarrierLimits
from notifier.catchup import CatchUp
from notifier.connection import Connection, ConnectionOptions, Resolve
from notifier.credentials import Credentials, Holder
from notifier.grounds import Surveyor
from notifier.hub import Hub
from notifier.messages import Options
from notifier.outbox import Outbox, Transport
from notifier.pump import Pump, Watcher
from notifier.session import SessionLimits
from notifier.streams import EventStream
from notifier.topics import Topic
from notifier.waiters import Waiter
from server.core.errors import MissingAuth
from server.core.paths import ROOT
from server.core.permissions import Actor, Rules
from server.storage.base import Change, Storage
from server.storage.reader import Reader
from server.tasks import end_tasks

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0

RESTART = 1012
END_OF_SERVICE = 4410
CLOSES_PER_SECOND = 250
"""When the server stops: who is closed upon comes back at once, to another process."""

STOP_SECONDS = 20.0

CLOSE_SECONDS = 2.0
"""That a client may take to answer the last close."""

Identify = Callable[[str], Awaitable[Actor]]


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What the operator has set about live changes.

    Attributes:
        event_max_bytes: of an object in an event.
        hello_seconds: within which a client has to say ``hello``.
        ping_seconds: between two pings.
        session: limits of what a client says.
        carrier: limits of what a connection costs.
        eos: time of the end of the service, in seconds since 1970; None for none.
    """

    event_max_bytes: int = 1 << 20
    hello_seconds: float = 10
    ping_seconds: float = 20
    session: SessionLimits = field(default_factory=SessionLimits)
    carrier: CarrierLimits = field(default_factory=CarrierLimits)
    eos: float | None = None

    def limits(self) -> dict[str, int]:
        """As clients are told."""
        return {
            "subscriptions": self.session.subscriptions,
            "message_bytes": self.session.message_bytes,
            "event_bytes": self.event_max_bytes,
        }


class Client(Holder, Protocol):
    """A connection, of whatever kind."""

    @property
    def outbox(self) -> Outbox:
        """What waits for its socket."""

    def tick(self) -> None:
        """Once in a while: say something, or end."""

    def goodbye(self, reason: str, retry_after: float) -> None:
        """Tell that the server will close, and when to come back, in seconds."""

    def close(self, code: int, reason: str) -> None:
        """End the connection."""


class Live:
    """See ``Shared``.

    Attributes:
        options: what the operator has set.
        clients: all connections.
        waiters: all requests that wait for a change.
        credentials: by which they were let in.
        pump: reads the changes.
        told: is given the last change of each batch, once all are told; None costs nothing.
    """

    def __init__(
        self,
        storage: Storage,
        rules: Rules,
        options: LiveOptions,
        identify: Identify,
        resolve: Resolve,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        """Make it; nothing runs before ``start``."""
        self.credentials = Credentials(lambda: [*self.clients, *self.waiters])
        self._watchers = (*watchers, self.credentials)
        self.storage = storage
        self.options = options
        self.identify = identify
        self.resolve = resolve
        self.hub = Hub(rules, options.event_max_bytes)
        self.surveyor = Surveyor(rules)
        self.catch_up = CatchUp(storage, self.hub, self.surveyor, options.event_max_bytes)
        self.time = 0.0
        self.dirty: set[Outbox] = set()
        self.clients: dict[Client, None] = {}
        self.waiters: dict[Waiter, None] = {}
        self.pump: Pump | None = None
        self.told: Callable[[Change], None] | None = None
        self.stopping = asyncio.Event()
        self._empty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._rules = rules

    async def start(self) -> None:
        """Open the feed and begin to tell.

        Raises:
            Unavailable: If the database cannot be reached.
        """
        self.time = asyncio.get_running_loop().time()
        feed = await self.storage.feed()
        self.hub.at = feed.at
        self._feed = feed
        self.pump = Pump(feed, self.hub, self.flush, self._watchers)
        self.pump.told = self.told
        self._tasks = [
            asyncio.ensure_future(self.pump.run()),
            asyncio.ensure_future(self._tick()),
        ]

    def flush(self) -> None:
        """Give every socket what was told."""
        while self.dirty:
            self.dirty.pop().flush()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.time = asyncio.get_running_loop().time()
            over = self.options.eos is not None and time.time() >= self.options.eos
            for client in list(self.clients):
                try:
                    if over:
                        client.close(END_OF_SERVICE, "the service has ended")
                    client.tick()
                except Exception:
                    # Time has to pass for all the others.
                    logger.exception("a connection failed")
            self.credentials.tick()
            await self.credentials.check(self.storage)
            self.flush()

    def connect(self, transport: Transport, actor: Actor) -> Connection:
        """A WebSocket connection; tell it when it is ``closed``, and forget it then."""
        self.time = asyncio.get_running_loop().time()
        connection = Connection(self, transport, actor, self._connection_options())
        self.adopt(connection)
        return connection

    def stream(self, topic: Topic, options: Options, actor: Actor) -> EventStream:
        """A stream of events that may begin; ``adopt`` it once it is open."""
        self.time = asyncio.get_running_loop().time()
        limits, ping_seconds = self.options.carrier, self.options.ping_seconds
        return EventStream(self, topic, options, actor, limits, ping_seconds)

    def adopt(self, client: Client) -> None:
        """Count a connection among those that are told the time and the end."""
        self.clients[client] = None
        if self.credentials.are_over(client.actor):
            client.expel()
        if self.stopping.is_set():
            client.goodbye("restart", 0)
            client.close(RESTART, "restart")

    def wait_for(self, topic: Topic, actor: Actor, threshold: int) -> Waiter:
        """Somebody who waits for a change at or above a position; they have to ``leave``."""
        waiter = Waiter(self, topic, actor, threshold)
        if self.credentials.are_over(actor):
            waiter.expel()
        return waiter

    def forget(self, client: Client) -> None:
        """A connection is gone."""
        self.clients.pop(client, None)
        if not self.clients:
            self._empty.set()

    def _connection_options(self) -> ConnectionOptions:
        options = self.options
        return ConnectionOptions(
            options.session,
            options.carrier,
            self.identify_strictly,
            self.resolve,
            self.greet,
            options.hello_seconds,
            options.ping_seconds,
            self.credentials.are_over,
        )

    async def identify_strictly(self, authorization: str) -> Actor:
        """Who sends this; unlike over REST, one whom nobody knows is refused.

        Raises:
            SyncError: If it is malformed, wrong, or of no policy.
        """
        actor = await self.identify(authorization)
        if not actor.user_id:
            raise MissingAuth
        return actor

    async def check(self) -> bool:
        """Whether changes are read, so that subscribers are told of them."""
        return self.pump is not None and self.pump.well

    async def greet(self, actor: Actor) -> dict[str, Any]:
        """What ``welcome`` tells.

        Raises:
            Unavailable: If the database cannot be reached.
        """
        async with self.storage.snapshot() as snapshot:
            root = (await snapshot.objects([ROOT]))[ROOT]
            user = None
            if actor.user_id:
                principals = await Reader(snapshot, self._rules).principals(actor)
                user = {"id": actor.user_id, "principals": sorted(principals)}
        return {
            "user": user,
            "server_time": time.time_ns() // 1_000_000,
            "heartbeat": _spell(self.options.carrier.heartbeat_seconds),
            "limits": self.options.limits(),
            "epoch": root.epoch,
        }

    async def _wait_empty(self) -> None:
        """Wait until every client has heard that it is closed upon, but not for ever."""
        if self.clients:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._empty.wait()

    async def stop(self) -> None:
        """Say good-bye, close one after the other, then tell nothing more."""
        self.stopping.set()
        for waiter in list(self.waiters):
            waiter.release()
        clients = list(self.clients)
        random.shuffle(clients)
        seconds = min(STOP_SECONDS, len(clients) / CLOSES_PER_SECOND)
        for client in clients:
            client.goodbye("restart", round(random.uniform(0, seconds), 3))
        self.flush()
        pause = seconds / len(clients) if clients else 0
        for client in clients:
            if client in self.clients:
                client.close(RESTART, "restart")
                await asyncio.sleep(pause)
        await self._wait_empty()
        await end_tasks(self._tasks)
        if self._tasks:
            await self._feed.close()


def _spell(seconds: float) -> float:
    """A number as clients expect it: 25, not 25.0."""
    return int(seconds) if seconds == int(seconds) else seconds
