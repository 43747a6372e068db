"""Raw clients for the oracle: HTTP over one kept connection, and a WebSocket that can be slow."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 40.0
"""An answer that takes longer is a hang."""

Lost = (OSError, EOFError)
"""What is raised where a connection ended."""

_TEXT, _CLOSE, _PING = 1, 8, 9


def authorization_of(user: str) -> str:
    """What a user sends; "" for an anonymous one."""
    return f"Basic {base64.b64encode(f'{user}:secret'.encode()).decode()}" if user else ""


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """What a server answered: headers by lower-case name, the body parsed or None."""

    status: int
    headers: dict[str, str]
    body: Any


class Http:
    """One user's kept connection to one server; one request at a time."""

    def __init__(self, url: str, user: str) -> None:
        self._parts = urlsplit(url)
        self._authorization = authorization_of(user)
        self._lock = asyncio.Lock()
        self._streams: Streams | None = None

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to one request; ``path`` is without the version's prefix.

        Raises:
            OSError | EOFError: If no whole answer came; nothing is sent a second time.
        """
        text = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /v1{path} HTTP/1.1", f"Host: {self._parts.netloc}"]
        lines += [f"Content-Length: {len(text)}", "Content-Type: application/json"]
        if self._authorization:
            lines.append(f"Authorization: {self._authorization}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + text
        async with self._lock:
            try:
                return await asyncio.wait_for(self._exchange(method, request), TIMEOUT_SECONDS)
            except BaseException:
                self.close()
                raise

    async def _exchange(self, method: str, request: bytes) -> Answer:
        if self._streams is None:
            host, port = self._parts.hostname, self._parts.port
            self._streams = await asyncio.open_connection(host, port, limit=1 << 24)
        reader, writer = self._streams
        writer.write(request)
        status, headers = await _read_head(reader)
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        text = await reader.readexactly(length)
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, json.loads(text) if text else None)

    def close(self) -> None:
        """End the connection; the next request makes another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    return int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def connect(url: str, *, narrow: bool) -> Streams:
    """A connection to a server.

    Args:
        url: root of the API.
        narrow: whether little may wait unread on this side.

    Raises:
        OSError: If the server is not there.
    """
    parts = urlsplit(url)
    link = socket.socket()
    link.setblocking(False)
    if narrow:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await asyncio.get_running_loop().sock_connect(link, (parts.hostname, parts.port))
        return await asyncio.open_connection(sock=link, limit=1024 if narrow else 1 << 22)
    except BaseException:
        link.close()
        raise


class WebSocket:
    """A WebSocket whose frames wait in the kernel until somebody reads them.

    Attributes:
        code: of the close frame, once there was one.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.code: int | None = None

    @classmethod
    async def open(cls, url: str, user: str, *, narrow: bool = False) -> "WebSocket":
        """Connect and upgrade.

        Args:
            url: root of the API.
            user: who; "" for an anonymous one.
            narrow: whether little may wait unread on this side.

        Raises:
            OSError | EOFError: If the server is not there, or refuses.
        """
        reader, writer = await connect(url, narrow=narrow)
        lines = ["GET /v1/live HTTP/1.1", "Host: localhost", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
        lines += ["Sec-WebSocket-Protocol: kinto.live.v1"]
        if user:
            lines.append(f"Authorization: {authorization_of(user)}")
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        try:
            status, _ = await _read_head(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if status != 101:
            writer.transport.abort()
            raise ConnectionError(f"the upgrade was answered by {status}")
        return cls(reader, writer)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        self._write(_TEXT, json.dumps(message).encode())

    def send_all(self, messages: list[dict[str, Any]]) -> None:
        """Send messages in one piece."""
        for message in messages:
            self.send(message)

    def _write(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
        # A mask of zeros is a mask, too.
        self._writer.write(bytes([0x80 | opcode]) + size + b"\0\0\0\0" + payload)

    async def read(self) -> dict[str, Any] | None:
        """The next message; None once the server has closed.

        Raises:
            OSError | EOFError: If the connection broke.
        """
        while True:
            opcode, payload = await self._read_frame()
            if opcode == _TEXT:
                message: dict[str, Any] = json.loads(payload)
                return message
            if opcode == _CLOSE:
                self.code = int.from_bytes(payload[:2], "big")
                return None
            if opcode == _PING:
                self._write(10, payload)

    async def _read_frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        assert first & 0x80, "a fragment"
        length = second & 0x7F
        if length > 125:
            width = 2 if length == 126 else 8
            length = int.from_bytes(await self._reader.readexactly(width), "big")
        return first & 0x0F, await self._reader.readexactly(length)

    def abort(self) -> None:
        """Cut the connection, as a network does."""
        self._writer.transport.abort()


class EventStream:
    """Server-Sent Events, told as a WebSocket tells messages.

    Attributes:
        status: of the answer; only 200 has events.
        code: always None: there is no close frame.
    """

    code: int | None = None

    def __init__(self, status: int, streams: Streams) -> None:
        self.status = status
        self._reader, self._writer = streams

    @classmethod
    async def open(
        cls, url: str, user: str, target: str, last: str | None = None, *, narrow: bool = False
    ) -> "EventStream":
        """Ask for a stream.

        Args:
            url: root of the API.
            user: who; "" for an anonymous one.
            target: path and query.
            last: ``Last-Event-ID``, if any.
            narrow: whether little may wait unread on this side.

        Raises:
            OSError | EOFError: If the server is not there.
        """
        streams = await connect(url, narrow=narrow)
        lines = [f"GET /v1{target} HTTP/1.1", "Host: localhost", "Accept: text/event-stream"]
        if user:
            lines.append(f"Authorization: {authorization_of(user)}")
        if last is not None:
            lines.append(f"Last-Event-ID: {last}")
        streams[1].write("\r\n".join(lines).encode() + b"\r\n\r\n")
        try:
            status, _ = await _read_head(streams[0])
        except BaseException:
            streams[1].transport.abort()
            raise
        return cls(status, streams)

    async def read(self) -> dict[str, Any] | None:
        """The next message; None once the server has ended the stream."""
        message: dict[str, Any] = {}
        last = None
        while line := await self._read_line():
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                message["type"] = value
            elif name == "data":
                message |= json.loads(value)
            elif name == "id":
                last = value
            elif not name and "type" in message:
                assert last is None or last == message["cursor"], message
                return message
        return None

    async def _read_line(self) -> str:
        """A line, however long; "" at the end."""
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            try:
                piece = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                piece = await self._reader.readexactly(error.consumed)
            except asyncio.IncompleteReadError:
                return ""
            pieces.append(piece)
        return b"".join(pieces).decode()

    def abort(self) -> None:
        """Cut the connection, as a network does."""
        self._writer.transport.abort()
