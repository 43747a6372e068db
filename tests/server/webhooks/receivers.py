"""A receiver of webhooks that fails when it is told to, and comes back."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

SECRET = "a secret of the receiver"


class Receiver:
    """What it was sent, and how it answers.

    Attributes:
        events: that it has taken, in the order in which they came.
        deliveries: bodies that it has taken.
        refused: how many deliveries it has refused.
        answers: statuses of the next answers; 200 once there are none.
    """

    def __init__(self) -> None:
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self.deliveries: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.refused = 0
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.hold: asyncio.Event | None = None
        self._changed = asyncio.Event()

    def take(self, handler: RequestHandler) -> None:
        request = handler.request
        check_signature(request.headers, request.body)
        status = self.answers.pop(0) if self.answers else 200
        handler.set_status(status)
        for name, value in self.headers.items():
            handler.set_header(name, value)
        self.ids.append(request.headers["webhook-id"])
        if status == 200:
            body = json.loads(request.body)
            self.deliveries.append(body)
            self.events.extend(body["events"])
        else:
            self.refused += 1
        self._changed.set()

    async def wait_for(self, known: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(60):
            while not known():
                self._changed.clear()
                await self._changed.wait()

    def changes(self) -> list[tuple[str, str]]:
        """Action and id of what was told."""
        return [(one["action"], one["uri"].rpartition("/")[2]) for one in self.events]


def check_signature(headers: Any, body: bytes) -> None:
    """As a receiver does who has read the standard."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()


class _Handler(RequestHandler):
    def initialize(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def post(self) -> None:
        if self._receiver.hold is not None:
            await self._receiver.hold.wait()
        self._receiver.take(self)


@asynccontextmanager
async def receiving(port: int = 0, receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    """A receiver on loopback, in the running loop."""
    taken = receiver or Receiver()
    server = HTTPServer(Application([(".*", _Handler, {"receiver": taken})], log_function=_quiet))
    (listening,) = bind_sockets(port, "127.0.0.1", socket.AF_INET)
    server.add_sockets([listening])
    taken.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    try:
        yield taken
    finally:
        server.stop()
        await server.close_all_connections()


def _quiet(handler: RequestHandler) -> None:
    """Say nothing of answers that are meant to be errors."""


def is_ordered(events: Iterable[dict[str, Any]]) -> bool:
    """Whether the first appearances of the events of each bucket are in its order."""
    last: dict[str, tuple[int, int]] = {}
    seen: set[tuple[str, str]] = set()
    for one in events:
        if (one["uri"], one["seq"]) in seen:
            # What was taken and not noted comes again.
            continue
        seen.add((one["uri"], one["seq"]))
        t, _, n = one["seq"].partition("-")
        bucket = one["uri"].split("/")[2]
        place = int(t), int(n or 0)
        if place <= last.get(bucket, (0, 0)):
            return False
        last[bucket] = place
    return True
