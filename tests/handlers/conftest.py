"""Fixtures for the HTTP layer: servers in memory, a client in the test's loop, and raw sockets."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from handlers.connections import ApiServer
from server.app import make_app, open_storage
from server.config import load_settings
from server.storage.base import Storage

ALICE = "Basic YWxpY2U6c2VjcmV0"
BOB = "Basic Ym9iOnNlY3JldA=="


def settings_of(given: Mapping[str, Any]) -> Any:
    """Settings of a server in memory; names as Kinto's, with ``__`` for a dot."""
    all_given = {"storage_backend": "memory", **given}
    environ = {f"KINTO_{name.upper().replace('__', '_')}": str(v) for name, v in all_given.items()}
    return load_settings(environ, port=0)


@asynccontextmanager
async def serving(storage: Storage | None, **given: Any) -> AsyncIterator[str]:
    """A server in the running loop; gives its root, without a slash or version."""
    settings = settings_of(given)
    opened = storage or await open_storage(settings)
    parts = await make_app(settings, opened)
    await parts.live.start()
    server = ApiServer(parts.app, origins=settings.cors_origins)
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.stop()
        await parts.live.stop()
        await server.close_all_connections()
        await opened.close()


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]


Fetch = Callable[..., Awaitable[Answer]]
"""``await fetch("PUT /buckets/b", {…}, user=ALICE, headers={…})``; the version is added."""

Start = Callable[..., Awaitable[Fetch]]
"""``fetch = await start(storage=…, readonly=True, …)``: a server of its own."""


def _client(root: str) -> Fetch:
    async def fetch(
        target: str,
        body: Any = None,
        *,
        user: str | None = ALICE,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        method, _, path = target.partition(" ")
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= {"Authorization": user} if user else {}
        url = root + ("/v1" + path if path.startswith("/") else path[1:])
        request = HTTPRequest(
            url,
            method,
            headers={**sent, **(headers or {})},
            body=body if isinstance(body, bytes | None) else json.dumps(body),
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
        )
        response: HTTPResponse = await AsyncHTTPClient(force_instance=True).fetch(
            request, raise_error=False
        )
        return Answer(response.code, response.headers, response.body)

    return fetch


@pytest.fixture
def start(io_loop: IOLoop) -> Iterator[Start]:
    """Starts servers in the test's own loop; they end with the test."""
    open_ones: list[Any] = []

    async def begin(storage: Storage | None = None, **given: Any) -> Fetch:
        context = serving(storage, **given)
        open_ones.append(context)
        return _client(await context.__aenter__())

    async def end() -> None:
        for context in open_ones:
            await context.__aexit__(None, None, None)

    yield begin
    io_loop.run_sync(end)


@pytest.fixture
def fetch(start: Start, io_loop: IOLoop) -> Fetch:
    """Asks a server that has every feature and no settings."""
    given = {"includes": "default_bucket flush", "experimental_permissions_endpoint": True}
    return io_loop.run_sync(lambda: start(**given))  # type: ignore[no-any-return]


class RawServer:
    """A server in a thread, to be spoken to over bare sockets that may block.

    Attributes:
        root: without the version.
    """

    def __init__(self, **given: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._context = serving(None, **given)
        self.root: str = self._run(self._context.__aenter__())
        self.port = int(self.root.rpartition(":")[2])

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def stop(self) -> None:
        self._run(self._context.__aexit__(None, None, None))
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)


@pytest.fixture(scope="module")
def raw_server() -> Iterator[RawServer]:
    """One server for the module's raw requests."""
    server = RawServer(includes="default_bucket", max_body_bytes=8 << 20)
    yield server
    server.stop()


Talk = Callable[..., list[Answer]]
"""``talk(b"GET /v1/ HTTP/1.1\\r\\n…")``: every answer until the server closes.

With ``half_close`` nothing more is sent by then, for what the server would
wait for. ``heads`` is how many of the answers have no body."""


@pytest.fixture
def talk(raw_server: RawServer) -> Talk:
    def send(*data: bytes, half_close: bool = False, heads: int = 0) -> list[Answer]:
        with raw_server.connect() as connection:
            try:
                for piece in data:
                    connection.sendall(piece)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                # It was answered, and closed, before all was sent.
                pass
            return parse_answers(read_all(connection), heads)

    return send


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes, however it does."""
    received = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def parse_answers(received: bytes, heads: int = 0) -> list[Answer]:
    """Answers as they came over one connection; the first ``heads`` have no body."""
    answers: list[Answer] = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin1").split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in pairs}
        code = int(status.split()[1])
        length = int(headers.get("content-length", 0))
        if len(answers) < heads or code in (100, 204, 304):
            length = 0
        answers.append(Answer(code, headers, received[:length]))
        received = received[length:]
    return answers
