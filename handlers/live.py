"""``/v1/live``: the WebSocket."""

from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tornado.websocket import WebSocketHandler

from handlers.options import CONSTANT_HEADERS, HttpOptions
from handlers.plans import Planner
from handlers.transports import StreamTransport
from notifier.connection import Connection
from notifier.live import Live
from server.core.errors import (
    Forbidden,
    InvalidAuth,
    MethodNotAllowed,
    SyncError,
    Unforeseen,
    invalid,
)
from server.core.permissions import ANONYMOUS, Actor

SUBPROTOCOL = "kinto.live.v1"
AUTH_SUBPROTOCOL = "kinto.auth."
"""Followed by base64url of an ``Authorization``: a browser can send no header."""

REASON_MAX_BYTES = 120
"""Of a close frame; it has room for 123."""


class LiveHandler(WebSocketHandler):
    """Lets a client in, and hands what it says to its connection."""

    def initialize(
        self, live: Live, planner: Planner, options: HttpOptions, challenges: Sequence[str]
    ) -> None:
        self._live = live
        self._challenges = challenges
        self._planner = planner
        self._http = options
        self._actor = ANONYMOUS
        self._connection: Connection | None = None
        self.summary: dict[str, Any] = {}

    def set_default_headers(self) -> None:
        for name, value in CONSTANT_HEADERS.items():
            self.set_header(name, value)

    async def get(self, *arguments: Any, **named: Any) -> None:
        try:
            self._check()
            self._actor = await self._identify()
        except SyncError as error:
            self._refuse(error)
            return
        await super().get()

    async def _refuse_method(self) -> None:
        self._refuse(MethodNotAllowed("GET"))

    head = post = put = patch = delete = options = _refuse_method

    def _check(self) -> None:
        """Check that the request may become a WebSocket.

        Raises:
            SyncError: If it may not.
        """
        self._http.check_service()
        headers = self.request.headers
        if headers.get("Upgrade", "").lower() != "websocket":
            raise invalid("header", "Upgrade", "should be websocket")
        if "upgrade" not in headers.get("Connection", "").lower():
            raise invalid("header", "Connection", "should be Upgrade")
        if not headers.get("Sec-WebSocket-Key"):
            raise invalid("header", "Sec-WebSocket-Key", "Required")
        origin = headers.get("Origin")
        if origin is not None and not (self._http.allows(origin) or self._is_own(origin)):
            raise Forbidden

    def _is_own(self, origin: str) -> bool:
        """Whether an origin is this server's: its own pages may always ask."""
        host = urlsplit(origin).netloc.lower()
        return bool(host) and host in (self.request.host.lower(), (self._http.host or "").lower())

    async def _identify(self) -> Actor:
        """Who asks, by a header or by a subprotocol.

        Raises:
            SyncError: If the credentials are wrong.
        """
        authorization = self.request.headers.get("Authorization")
        for name in self._offered():
            if authorization is None and name.startswith(AUTH_SUBPROTOCOL):
                authorization = _decode(name[len(AUTH_SUBPROTOCOL) :])
        if authorization is None:
            return ANONYMOUS
        return await self._live.identify_strictly(authorization)

    def _offered(self) -> list[str]:
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        return [name.strip() for name in offered.split(",")]

    def _refuse(self, error: SyncError) -> None:
        response = self._planner.refusal(error)
        self.summary.update(response.facts)
        self.set_status(response.status)
        cors = self._http.cors_headers(self.request.headers.get("Origin"))
        for name, value in (*response.headers.items(), *cors.items()):
            self.set_header(name, value)
        if response.status == 401:
            for challenge in self._challenges:
                self.add_header("WWW-Authenticate", challenge)
        self.finish(response.body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what nobody foresaw; it has been logged whole."""
        self._refuse(Unforeseen())

    def check_origin(self, origin: str) -> bool:
        """True: it was checked before."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Ours; credentials are never sent back."""
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def open(self, *arguments: str, **named: str) -> None:
        stream = self.ws_connection.stream if self.ws_connection else None
        assert stream is not None
        self.set_nodelay(True)
        transport = StreamTransport(stream, self._close)
        self._connection = self._live.connect(transport, self._actor)
        # While a message is heard nobody reads, and nobody else would notice.
        stream.set_close_callback(self.on_close)

    def _close(self, code: int, reason: str) -> None:
        self.close(code, reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore"))

    async def on_message(self, message: str | bytes) -> None:
        if self._connection is not None:
            await self._connection.receive(message)

    def on_pong(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.pong()

    def on_close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closed()
            self._live.forget(connection)


def _decode(text: str) -> str:
    try:
        padded = text + "=" * (-len(text) % 4)
        return urlsafe_b64decode(padded.encode()).decode("latin-1")
    except (Error, ValueError):
        raise InvalidAuth("The subprotocol is not base64url of an Authorization.") from None
