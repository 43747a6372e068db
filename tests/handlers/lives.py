"""A server whose live part can be looked into, and raw clients: long-polls and event streams."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from handlers.connections import ApiServer
from notifier.live import Live
from server.app import Server, make_app, make_rules, open_storage
from server.config import load_settings
from server.storage.base import Snapshot, Storage
from server.storage.memory import MemoryStorage
from tests.handlers.conftest import ALICE, Answer

PATIENCE = 30.0

EVENTS = {"Accept": "text/event-stream"}

B = "/buckets/b"
C = f"{B}/collections/c"
R = f"{C}/records"


class Event(NamedTuple):
    """One of a stream: its type, its id or None, and its data, parsed."""

    type: str
    id: str | None
    data: dict[str, Any]


class Talk:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    def send(
        self,
        target: str,
        body: Any = None,
        *,
        user: str | None = ALICE,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Ask: ``GET /buckets/b``; the version is added."""
        method, _, path = target.partition(" ")
        text = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /v1{path} HTTP/1.1", "Host: h", f"Content-Length: {len(text)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        if user:
            lines.append(f"Authorization: {user}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + text)

    async def head(self) -> None:
        """Hear status and headers, whose names are in lower case."""
        async with asyncio.timeout(PATIENCE):
            status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(status.split()[1])
        pairs = (line.partition(": ") for line in lines if line)
        self.headers = {name.lower(): value for name, _, value in pairs}

    async def answer(self, *, bare: bool = False) -> Answer:
        """Hear the answer; ``bare`` if it has no body, whatever its length says."""
        await self.head()
        length = 0 if bare else int(self.headers.get("content-length", 0))
        async with asyncio.timeout(PATIENCE):
            return Answer(self.status, self.headers, await self._reader.readexactly(length))

    async def block(self) -> list[tuple[str, str]]:
        """The next fields of a stream up to an empty line; a comment's name is empty."""
        async with asyncio.timeout(PATIENCE):
            text = (await self._reader.readuntil(b"\n\n")).decode()
        pairs = (line.partition(":") for line in text.split("\n") if line)
        return [(name, value.removeprefix(" ")) for name, _, value in pairs]

    async def event(self) -> Event:
        """The next event; comments and ``retry`` are passed over."""
        while True:
            fields = dict(await self.block())
            if "event" in fields:
                return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))

    async def until(self, kind: str) -> list[Event]:
        """The next events, up to one of a type."""
        found = [await self.event()]
        while found[-1].type != kind:
            found.append(await self.event())
        return found

    async def rest(self) -> bytes:
        """What comes until the other side closes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    def cut(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


class LiveServer:
    """A server in the running loop.

    Attributes:
        live: its live part.
    """

    def __init__(self, server: Server, live: Live) -> None:
        self.server = server
        self.live = live
        self._talks: list[Talk] = []

    async def connect(self) -> Talk:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 24)
        talk = Talk(reader, writer)
        self._talks.append(talk)
        return talk

    async def ask(self, target: str, body: Any = None, **how: Any) -> Answer:
        """The answer to one request."""
        talk = await self.connect()
        talk.send(target, body, **how)
        answer = await talk.answer(bare=target.startswith("HEAD"))
        talk.cut()
        return answer

    async def listen(self, path: str, *, method: str = "GET", **how: Any) -> Talk:
        """A stream of events, whose head was heard."""
        talk = await self.connect()
        headers = {**EVENTS, **how.pop("headers", {})}
        talk.send(f"{method} {path}", headers=headers, **how)
        await talk.head()
        return talk

    async def poll(self, path: str, **how: Any) -> Talk:
        """A poll that waits by now, having been asked."""
        before = self.live.hub.count
        talk = await self.connect()
        talk.send(f"GET {path}", **how)
        await self.until(lambda: self.live.hub.count > before)
        return talk

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def put(self, uri: str, data: Any = None, acl: Any = None, **how: Any) -> Answer:
        body = {"data": data or {}} | ({"permissions": acl} if acl is not None else {})
        answer = await self.ask(f"PUT {uri}", body, **how)
        assert answer.status in (200, 201), answer.body
        return answer

    async def furnish(self, acl: Any = None) -> None:
        """Make ``/buckets/b/collections/c``, whose bucket has these permissions."""
        await self.put(B, acl=acl)
        await self.put(C)

    async def user_id(self, user: str) -> str:
        return str((await self.ask("GET /", user=user)).json["user"]["id"])

    def close(self) -> None:
        for talk in self._talks:
            talk.cut()


@asynccontextmanager
async def open_live(
    environ: Mapping[str, str], storage: Storage | None = None, **given: Any
) -> AsyncIterator[LiveServer]:
    """A server on any storage; settings by Kinto's names, ``__`` for a dot."""
    named = {f"KINTO_{name.upper().replace('__', '_')}": str(v) for name, v in given.items()}
    settings = load_settings({**named, **environ}, port=0)
    storage = storage or await open_storage(settings)
    parts = await make_app(settings, storage)
    live = parts.live
    await live.start()
    http = ApiServer(parts.app, origins=settings.cors_origins)
    (listening,) = bind_sockets(0, "127.0.0.1")
    http.add_sockets([listening])
    address = "127.0.0.1", listening.getsockname()[1]
    server = LiveServer(Server(http, parts, storage, address), live)
    try:
        yield server
    finally:
        server.close()
        await server.server.stop()


class Hesitant(MemoryStorage):
    """Lets readers pass one by one once it is told to.

    Attributes:
        passes: how many more may read; None for all.
        stopped: set while somebody is kept.
    """

    passes: int | None = None

    def __init__(self) -> None:
        super().__init__(make_rules(load_settings({})))
        self.stopped = asyncio.Event()
        self.goes_on = asyncio.Event()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:  # type: ignore[override]
        if self.passes == 0:
            self.stopped.set()
            await self.goes_on.wait()
        elif self.passes is not None:
            self.passes -= 1
        async with super().snapshot() as snapshot:
            yield snapshot


def environ_of(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The storage that a fixture's parameter names: ``memory`` or ``mongo``."""
    if request.param == "memory":
        return {"KINTO_STORAGE_BACKEND": "memory"}
    return {
        "MONGODB_URI": request.getfixturevalue("mongo_uri"),
        "KINTO_MONGODB_DATABASE": request.getfixturevalue("mongo_database"),
    }


def run_live(request: pytest.FixtureRequest, io_loop: IOLoop, **given: Any) -> Iterator[LiveServer]:
    """For fixtures with such a parameter: a server in the test's own loop."""
    # On a busy machine the database stands still for longer than a client would wait.
    context = open_live(environ_of(request), write_timeout_seconds=60, **given)
    server = io_loop.run_sync(context.__aenter__, timeout=60)
    assert server is not None
    yield server
    io_loop.run_sync(lambda: context.__aexit__(None, None, None), timeout=60)


def etag_of(answer: Answer) -> str:
    """The ETag without its quotes."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return headers["etag"].strip('"')
