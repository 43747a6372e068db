"""A stage for tests of the notifier: a memory storage, everything live, and clients' ears."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from notifier.connection import Connection
from notifier.live import Live, LiveOptions
from server.core.errors import InvalidAuth
from server.core.permissions import ANONYMOUS, Actor, make_actor
from server.storage.memory import MemoryStorage
from tests.server.storage.scenes import ALICE, RULES, Scene

PATIENCE = 10.0


def split_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of each unmasked frame."""
    frames = []
    while data:
        length, start = data[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        frames.append((data[0] & 0x0F, data[start : start + length]))
        data = data[start + length :]
    return frames


class Ear:
    """A transport that listens, as long as it cares to.

    Attributes:
        heard: messages, in order.
        pings: how many pings came.
        closed: code and reason of the end; None before.
        aborted: whether it was cut off.
        taking: whether the socket takes what it is given.
    """

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.pings = 0
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self.taking = True
        self.broken = False
        self._pending: Callable[[], None] | None = None
        self._read = 0
        self._news = asyncio.Event()

    def send(self, data: bytes) -> int:
        if self.broken:
            raise ConnectionResetError
        if not self.taking:
            return 0
        self._hear(data)
        return len(data)

    def finish(self, data: bytes, done: Callable[[], None]) -> None:
        def drain() -> None:
            self._hear(data)
            done()

        self._pending = drain

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self._news.set()

    def abort(self) -> None:
        self.aborted = True
        self._news.set()

    def take_again(self, *, taking: bool = True) -> None:
        """Take what waits, and what comes, if it is ``taking`` from now on."""
        self.taking = taking
        pending, self._pending = self._pending, None
        if pending is not None:
            pending()

    def _hear(self, data: bytes) -> None:
        for opcode, payload in split_frames(data):
            if opcode == 9:
                self.pings += 1
            else:
                self.heard.append(json.loads(payload))
        self._news.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def next(self) -> dict[str, Any]:
        """The next message that was not looked at."""
        await self.wait(lambda: len(self.heard) > self._read)
        self._read += 1
        return self.heard[self._read - 1]

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """The next messages, up to one of a type."""
        found = [await self.next()]
        while found[-1]["type"] != kind:
            found.append(await self.next())
        return found

    def rest(self) -> list[dict[str, Any]]:
        """What was heard and not looked at."""
        found = self.heard[self._read :]
        self._read = len(self.heard)
        return found


class Client:
    """A connection and its ear."""

    def __init__(self, live: Live, actor: Actor) -> None:
        self.ear = Ear()
        self.connection: Connection = live.connect(self.ear, actor)

    async def say(self, kind: str, **members: Any) -> None:
        await self.connection.receive(json.dumps({"type": kind, **members}))

    async def hello(self, **members: Any) -> dict[str, Any]:
        await self.say("hello", **members)
        return await self.ear.next()

    async def subscribe(self, path: str, **members: Any) -> list[dict[str, Any]]:
        """Everything up to ``ready``."""
        await self.say("subscribe", **{"sub": "s", "path": path, **members})
        return await self.ear.until("ready")


class Stage(Scene):
    """Everything live on a memory storage of its own.

    Attributes:
        live: what is tried.
    """

    def __init__(self, options: LiveOptions | None = None) -> None:
        storage = MemoryStorage(RULES)

        async def read_log() -> list[Any]:
            return storage.revisions

        super().__init__(storage, read_log)
        self.live = Live(storage, RULES, options or LiveOptions(), identify, resolve)

    async def __aenter__(self) -> Self:
        await self.live.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in list(self.live.clients):
            if isinstance(client, Connection):
                client.closed()
            self.live.forget(client)
        await self.live.stop()

    async def client(self, actor: Actor = ALICE) -> Client:
        """A client that has said hello."""
        client = Client(self.live, actor)
        await client.hello()
        return client


async def identify(authorization: str) -> Actor:
    """``Bearer NAME`` is the user of that name."""
    scheme, _, name = authorization.partition(" ")
    if scheme == "Bearer":
        return make_actor(f"basicauth:{name}")
    if scheme == "Basic":
        raise InvalidAuth("Authorization is not base64.")
    return ANONYMOUS


def resolve(path: str, actor: Actor) -> tuple[str, None]:
    return path, None


def fold(messages: list[dict[str, Any]]) -> Mapping[str, Any]:
    """The copy of somebody who heard these: data by URI or id."""
    copy: dict[str, Any] = {}
    for message in messages:
        if message["type"] == "reset":
            copy.clear()
        elif message["type"] == "snapshot":
            copy.update({one["id"]: one for one in message["data"]})
        elif message["type"] == "event":
            data = message["data"]
            if message["action"] in ("create", "update", "enter"):
                copy[data["id"]] = data
            else:
                copy.pop(data["id"], None)
    return copy
