"""WebSocket clients for load: many connections on one event loop, in a thread of its own."""

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

T = TypeVar("T")

WAIT_SECONDS = 60.0
"""What does not come for so long does not come."""

_REMOVALS = ("delete", "leave")


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, which is run there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)

    def close(self) -> None:
        """End it."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Listener:
    """One connection with one subscription; it is never made again.

    Attributes:
        path: of the subscription.
        cursor: of the last message that may be resumed from.
        copy: data by URI, as all that was told makes it.
        events: what was told since it is live, in order.
        resets: how often the copy had to be dropped.
        goodbye: what was said before the end; None if nothing was.
        closed: the close code; None while it is open, 0 if it ended without.
        breaks: where ``prev`` was not the cursor, in words.
    """

    def __init__(self, path: str, since: str | None, options: dict[str, Any]) -> None:
        self.path = path
        self.cursor = since
        self.copy: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.resets = 0
        self.goodbye: dict[str, Any] | None = None
        self.closed: int | None = None
        self.breaks: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self._ready = False
        self._options = options
        self._changed = asyncio.Event()
        self._connection: WebSocketClientConnection | None = None

    async def open(self, url: str, user: str) -> None:
        """Connect, and listen until the end."""
        pair = b64encode(f"{user}:secret".encode()).decode()
        address = url.replace("http", "ws", 1).rstrip("/") + "/live"
        request = HTTPRequest(address, headers={"Authorization": f"Basic {pair}"})
        self._connection = await websocket_connect(request)
        body = {"sub": "s", "path": self.path, **self._options}
        if self.cursor is not None:
            body["since"] = self.cursor
        hello = {"type": "hello", "subscribe": [body]}
        await self._connection.write_message(json.dumps(hello))
        self._task = asyncio.ensure_future(self._listen(self._connection))
        await self.until(lambda: self._ready)

    async def _listen(self, connection: WebSocketClientConnection) -> None:
        try:
            while (frame := await connection.read_message()) is not None:
                self._hear(json.loads(frame))
                self._changed.set()
        finally:
            self.closed = connection.close_code or 0
            self._changed.set()
            # Tornado complains of connections that only the other side has closed.
            connection.close()

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "subscribed" and message["mode"] == "live":
            self.cursor = message["cursor"]
        elif kind == "reset":
            self.resets += 1
            self.copy.clear()
            self.cursor = None
        elif kind == "goodbye":
            self.goodbye = message
        elif kind in ("error", "unsubscribed"):
            self.errors.append(message)
        if "prev" in message:
            if message["prev"] != self.cursor:
                self.breaks.append(f"{message['prev']} is not {self.cursor}: {message}")
            self.cursor = message["cursor"]
        if kind == "snapshot":
            self._take(message["data"])
        elif kind == "event":
            self._fold(message)
        self._ready = self._ready or kind == "ready"

    def _take(self, page: list[dict[str, Any]]) -> None:
        path = self.path.partition("?")[0]
        for one in page:
            # In a feed's each says what it is.
            uri = one.get("uri") or f"{path}/{one['id']}"
            self.copy[uri] = one["data"] if "uri" in one else one

    def _fold(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["action"] in _REMOVALS:
            self.copy.pop(event["uri"], None)
        else:
            self.copy[event["uri"]] = event["data"]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until it is so, or the connection has ended."""
        while not is_so() and self.closed is None and not self.errors:
            self._changed.clear()
            async with asyncio.timeout(WAIT_SECONDS):
                await self._changed.wait()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class Audience:
    """Listeners, and the thread in which they listen."""

    def __init__(self) -> None:
        self.thread = LoopThread()
        self._all: list[Listener] = []

    def listen(
        self, url: str, path: str, *, since: str | None = None, user: str = "alice", **options: Any
    ) -> Listener:
        """A new listener, who is live now."""
        return self.listen_many(url, path, [since], user=user, **options)[0]

    def listen_many(
        self, url: str, path: str, cursors: list[str | None], user: str = "alice", **options: Any
    ) -> list[Listener]:
        """New listeners, who are live now and went on from these cursors."""
        return self.thread.run(self._listen(url, path, cursors, user, options))

    async def _listen(
        self, url: str, path: str, cursors: list[str | None], user: str, options: dict[str, Any]
    ) -> list[Listener]:
        found = [Listener(path, since, options) for since in cursors]
        self._all += found
        await asyncio.gather(*(one.open(url, user) for one in found))
        return found

    def wait(self, listener: Listener, is_so: Callable[[], bool]) -> None:
        """Wait until something is so of a listener, who must not have been closed upon."""
        self.thread.run(listener.until(is_so))
        assert is_so(), (listener.closed, listener.errors, listener.events[-1:])

    def wait_for(self, listener: Listener, uri: str) -> None:
        """Wait until a listener has an object in its copy."""
        self.wait(listener, lambda: uri in listener.copy)

    def wait_closed(self, listener: Listener) -> None:
        """Wait until a listener's connection has ended."""
        self.wait(listener, lambda: listener.closed is not None)

    def close(self) -> None:
        """Close all connections."""
        self.thread.run(self._close())
        self.thread.close()

    async def _close(self) -> None:
        for one in self._all:
            one.close()
        for one in self._all:
            with suppress(TimeoutError):
                await one.until(lambda: False)


@contextmanager
def audience() -> Iterator[Audience]:
    """An audience that is dismissed afterwards."""
    made = Audience()
    try:
        yield made
    finally:
        made.close()
