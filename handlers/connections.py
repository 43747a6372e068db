"""The HTTP server: answers also what is no HTTP, or too long to be read."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate
from tornado.iostream import IOStream, UnsatisfiableReadError

from handlers.options import CONSTANT_HEADERS
from server.core.errors import invalid
from server.core.json_text import dump_json

HEAD_MAX_BYTES = 1 << 20
"""Of a request's line and headers: far above what the handler answers with 431."""

BODY_MAX_BYTES = 1 << 40
"""Far above what the handler answers with 413."""

_BARE = re.compile(rb"HTTP/1\.1 400 [^\r\n]*\r\n\r\n")
"""All that Tornado says to what it cannot read."""


class ApiServer(HTTPServer):
    """Tells in JSON why a connection is closed, as the API does everything."""

    def initialize(  # type: ignore[override]
        self, request_callback: Any, origins: Sequence[str] = ("*",), **options: Any
    ) -> None:
        """Begin; called by Tornado with the arguments of the constructor.

        Args:
            request_callback: the application.
            origins: whose pages may read the answers; ``*`` for all.
            options: further ones of Tornado's server.
        """
        limits = {"max_header_size": HEAD_MAX_BYTES, "max_body_size": BODY_MAX_BYTES}
        super().initialize(request_callback, xheaders=True, **{**limits, **options})
        self._malformed = make_refusal(origins)
        self._busy: set[object] = set()
        self._settled = asyncio.Event()

    async def finish_requests(self, seconds: float) -> None:
        """Wait until every request that has begun is answered, and its answer written.

        Each connection serves one more request at most: its answer says so.

        Args:
            seconds: after which nobody is waited for any more.
        """
        self.conn_params.no_keep_alive = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._busy:
                    self._settled.clear()
                    await self._settled.wait()

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """Await a connection's next request: the one before has been answered."""
        self._settle(server_conn)
        delegate = super().start_request(server_conn, request_conn)
        return _Begun(delegate, lambda: self._busy.add(server_conn))

    def on_close(self, server_conn: object) -> None:
        """Forget a connection; called by Tornado."""
        self._settle(server_conn)
        super().on_close(server_conn)

    def _settle(self, connection: object) -> None:
        self._busy.discard(connection)
        if not self._busy:
            self._settled.set()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve a connection; called by Tornado."""
        _explain(stream, self._malformed)
        super().handle_stream(stream, address)


class _Begun(HTTPMessageDelegate):
    """Tells when a request has begun, and passes it on."""

    def __init__(self, delegate: HTTPMessageDelegate, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._delegate = delegate
        self.data_received = delegate.data_received  # type: ignore[method-assign]
        self.finish = delegate.finish  # type: ignore[method-assign]
        self.on_connection_close = delegate.on_connection_close  # type: ignore[method-assign]

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self._begin()
        return self._delegate.headers_received(start_line, headers)


def make_refusal(origins: Sequence[str]) -> bytes:
    """The whole answer, headers included, to what is not understood as HTTP."""
    error = invalid("header", "", "The request is no HTTP/1.1, or its head is too long.")
    body = dump_json(error.body())
    headers = {**CONSTANT_HEADERS, "Connection": "close", "Content-Length": str(len(body))}
    if "*" in origins:
        headers["Access-Control-Allow-Origin"] = "*"
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 400 Bad Request\r\n{''.join(lines)}\r\n".encode() + body


def _explain(stream: IOStream, refusal: bytes) -> None:
    """Put the refusal where Tornado would say almost nothing, or nothing, and close."""
    write, close = stream.write, stream.close

    def write_whole(data: bytes | memoryview) -> Any:
        return write(refusal if len(data) < 64 and _BARE.fullmatch(data) else data)

    def close_with_words(exc_info: Any = False) -> None:
        if isinstance(exc_info, UnsatisfiableReadError) and not stream.closed():
            with suppress(OSError):
                stream.socket.send(refusal)
        close(exc_info)

    stream.write = write_whole  # type: ignore[method-assign]
    stream.close = close_with_words  # type: ignore[method-assign]
