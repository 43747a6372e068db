"""Follow what changes on a server, from Python::

    from notifier.follow import Change, follow

    async for told in follow("http://127.0.0.1:8888/v1", "/buckets/b/collections/c/records"):
        if isinstance(told, Change):
            print(told.action, told.data)

The connection may break as it likes: it is made again, from where it was.
"""

import asyncio
import json
import logging
import random
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import quote, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    websocket_connect,
)

from notifier.followers import (
    Change,
    Follower,
    Interrupted,
    Poke,
    Progress,
    Ready,
    Refused,
    Reset,
    Told,
    Wanted,
    refusal,
)

__all__ = ["Change", "Poke", "Progress", "Ready", "Refused", "Reset", "Told", "follow"]

logger = logging.getLogger(__name__)

SUBPROTOCOL = "kinto.live.v1"

PAUSE_SECONDS = (0.5, 30.0)
"""Before it is tried again: at most, after one failure and after many. How much of it is chance."""

STEADY_SECONDS = 10.0
"""After which a connection counts as one that has succeeded."""

CONNECT_SECONDS = 20.0

CLOSE_SECONDS = 2.0
"""What a polite end may take."""

MESSAGE_MAX_BYTES = 64 << 20
"""Of one message; a page of a snapshot has 256 KiB, or one object."""

Scalar = str | int | float | bool | None


class FollowOptions(TypedDict, total=False):
    """How to follow.

    Attributes:
        filters: an object must match, as the query string of REST has them: ``{"status": "open",
            "min_size": 3}``. Text is sent as it is, all else as JSON, several with commas.
        deliver: ``data`` (default), ``ids`` for ids and timestamps only, or ``poke``.
        history: of what was missed: each object once (``latest``, default), or every revision
            (``all``).
        include: any of ``permissions``, ``user_id``, ``old``.
        wait: begin when access is granted or the path comes to be, instead of failing.
        epoch: of ``since``, as ``Ready`` told it.
    """

    filters: Mapping[str, Scalar | Collection[Scalar]]
    deliver: Literal["data", "ids", "poke"]
    history: Literal["latest", "all"]
    include: Collection[str]
    wait: bool
    epoch: str | None


async def follow(
    url: str,
    path: str,
    *,
    since: str | None = None,
    authorization: str | tuple[str, str] | None = None,
    **options: Unpack[FollowOptions],
) -> AsyncGenerator[Told, None]:
    """Tell what is there and what changes, for ever, in the order of the commits.

    Every change is told once, however often the connection breaks. Whoever stops
    before the end should do so with ``contextlib.aclosing``.

    Args:
        url: the server's root, such as ``https://example.net/v1``.
        path: of a list, an object, or ``/buckets/{id}/changes``; with filters if you like.
        since: a cursor: go on from there; ``now``: tell only what changes from now on; None:
            tell everything that there is first.
        authorization: the header's value, or user and password.
        options: see ``FollowOptions``.

    Yields:
        ``Change`` and ``Reset`` (drop your copy); ``Ready`` when a copy is complete;
        ``Progress`` where there was nothing to see; ``Poke`` instead of all these, where
        that was asked for.

    Raises:
        Refused: If there is no sense in going on: the credentials are wrong, there is no
            right to read, nothing there, or nothing that can be followed.
        ValueError: If ``url`` or ``since`` is none.
    """
    given: dict[str, Any] = {**options}
    epoch = given.pop("epoch", None)
    target = _spell_target(path, given.pop("filters", {}))
    follower = Follower(Wanted(target, **given), since, epoch)
    request = _make_request(url, authorization)
    pauses = _Pauses()
    while True:
        for told in follower.begin():
            yield told
        pauses.begin()
        try:
            async with _connect(request) as socket:
                await socket.write(follower.hello())
                while True:
                    message = await socket.read(follower)
                    for told in follower.receive(message):
                        yield told
        except Interrupted as interruption:
            pause = pauses.next(interruption.retry_after)
            level = logging.WARNING if interruption.disagreed else logging.INFO
            logger.log(level, "%s: trying again in %.1f s", interruption, pause)
        await asyncio.sleep(pause)


def _spell_target(path: str, filters: Mapping[str, Scalar | Collection[Scalar]]) -> str:
    """A path with filters in its query string."""
    pairs = [f"{quote(name)}={quote(_spell_value(value))}" for name, value in filters.items()]
    if not pairs:
        return path
    return path + ("&" if "?" in path else "?") + "&".join(pairs)


def _spell_value(value: Scalar | Collection[Scalar]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Collection):
        return ",".join(map(_spell_value, value))
    return json.dumps(value)


def _make_request(url: str, authorization: str | tuple[str, str] | None) -> HTTPRequest:
    """The request that becomes a WebSocket.

    Raises:
        ValueError: If ``url`` is no address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a server, such as https://example.net/v1")
    scheme = "ws" if parts.scheme == "http" else "wss"
    address = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/live"
    if isinstance(authorization, tuple):
        pair = b64encode(":".join(authorization).encode()).decode()
        authorization = f"Basic {pair}"
    headers = {} if authorization is None else {"Authorization": authorization}
    return HTTPRequest(
        address,
        headers=headers,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=CONNECT_SECONDS,
        # Elsewhere the credentials are nobody's business.
        follow_redirects=False,
    )


class _Pauses:
    """How long to wait before another connection."""

    def __init__(self) -> None:
        self._failures = 0
        self._began = 0.0

    def begin(self) -> None:
        """A connection is tried."""
        self._began = asyncio.get_running_loop().time()

    def next(self, at_least: float) -> float:
        """Seconds to wait, now that it has failed."""
        if asyncio.get_running_loop().time() - self._began >= STEADY_SECONDS:
            self._failures = 0
        first, most = PAUSE_SECONDS
        bound = min(most, first * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return at_least + random.uniform(0, bound)


class _Socket:
    """A WebSocket that fails with exceptions of ours."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._ended = False

    async def write(self, text: str) -> None:
        """Send a message; if the connection is gone, reading tells why."""
        with suppress(WebSocketClosedError):
            await self._connection.write_message(text)

    async def read(self, follower: Follower) -> Mapping[str, Any]:
        """The next message.

        Raises:
            Interrupted: If there is none, and none to be expected.
            Refused: If the server closed the connection for good.
        """
        try:
            # Not ``wait_for``: up to Python 3.11 it may forget a cancellation.
            async with asyncio.timeout(2 * follower.heartbeat):
                frame = await self._next()
        except TimeoutError:
            raise Interrupted("the server is silent") from None
        if frame is None:
            raise follower.closed(self._connection.close_code, self._connection.close_reason)
        try:
            message = json.loads(frame)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise Interrupted("a message is no JSON object", disagreed=True)
        return message

    async def _next(self) -> str | bytes | None:
        # Read again after its end, it would wait for ever.
        frame = None if self._ended else await self._connection.read_message()
        self._ended = frame is None
        return frame

    async def close(self) -> None:
        """End the connection politely, if the server answers, and let go of it."""
        protocol = self._connection.protocol
        self._connection.close(1000)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._drain()
        finally:
            _abort(protocol)
        # What reads the socket has to see that, or it would be destroyed while it waits.
        await self._drain()

    async def _drain(self) -> None:
        while not self._ended:
            await self._next()


@asynccontextmanager
async def _connect(request: HTTPRequest) -> AsyncIterator[_Socket]:
    """A connection, which is closed afterwards.

    Raises:
        Interrupted: If there is none now.
        Refused: If there will be none.
    """
    future = asyncio.ensure_future(
        websocket_connect(request, subprotocols=[SUBPROTOCOL], max_message_size=MESSAGE_MAX_BYTES)
    )
    try:
        socket = _Socket(await asyncio.shield(future))
    except asyncio.CancelledError:
        # It may be opened yet, and would stay so.
        future.add_done_callback(_abandon)
        raise
    except HTTPClientError as error:
        raise _explain(error) from error
    except WebSocketError as error:
        raise Refused(404, None, f"{request.url} is no WebSocket") from error
    except OSError as error:
        raise Interrupted(f"the server cannot be reached ({error})") from error
    try:
        yield socket
    finally:
        await socket.close()


def _abandon(future: asyncio.Future[WebSocketClientConnection]) -> None:
    if not future.cancelled() and future.exception() is None:
        connection = future.result()
        protocol = connection.protocol
        connection.close()
        _abort(protocol)


def _abort(protocol: Any) -> None:
    """Close the socket; politely, it may take Tornado seconds."""
    protocol.stream.close()


def _explain(error: HTTPClientError) -> Exception:
    """What an answer means that is no WebSocket."""
    response = error.response
    body = None
    retry_after = 0.0
    if response is not None:
        with suppress(ValueError):
            body = json.loads(response.body)
        with suppress(ValueError):
            retry_after = float(response.headers.get("Retry-After", "0"))
    return refusal(error.code, body, retry_after)
