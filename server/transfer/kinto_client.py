"""A client of a running Kinto that may take its time: it waits as it is told, and tries again."""

import asyncio
import base64
import json
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from server.core.json_text import BadJSON, parse_json
from server.transfer.sources import SourceError

CONNECTIONS = 4
"""At once: more would keep the old server from its own work."""

ATTEMPTS = 8
TIMEOUT_SECONDS = 60.0
WAIT_MAX_SECONDS = 300.0
_PASSING = (429, 500, 502, 503, 504, 409)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered.

    Attributes:
        status: of HTTP.
        headers: as they came; names in any case.
        body: as it came.
    """

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """The body, parsed.

        Raises:
            SourceError: If it is no JSON.
        """
        try:
            return parse_json(self.body)
        except BadJSON as error:
            raise SourceError(
                f"The source does not answer in JSON as a Kinto does: {error}"
            ) from None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks: a user with a password, or a bearer token; or nobody in particular."""

    user: str = ""
    password: str = ""
    bearer: str = ""

    def header(self) -> dict[str, str]:
        """The header that says so."""
        if self.bearer:
            return {"Authorization": f"Bearer {self.bearer}"}
        if not self.user:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}


class KintoClient:
    """Connections to one server, kept open.

    Attributes:
        root: its address, with the version and without a slash at its end.
        is_somebody: whether it asks with credentials.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Read the address; nothing is connected yet.

        Args:
            url: of the server, with or without ``/v1``.
            credentials: who asks.
            sleep: waits for so many seconds.

        Raises:
            SourceError: If it is no address.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(f"{url} is no address of a server.")
        path = parts.path.rstrip("/")
        self._prefix = path if path.endswith("/v1") else f"{path}/v1"
        self._parts = parts
        self.is_somebody = bool(credentials.header())
        self._headers = {"Accept": "application/json", **credentials.header()}
        self._sleep = sleep
        self._free: list[HTTPConnection] = []
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._not_before = 0.0
        self.root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._prefix}"

    def close(self) -> None:
        """Let go of the connections."""
        while self._free:
            self._free.pop().close()

    async def get(self, path: str) -> Answer:
        """GET of a path below the version."""
        return await self.ask("GET", path)

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """The answer to a request that may be repeated.

        Args:
            method: of HTTP.
            path: below the version, query string included.
            body: JSON; None for none.

        Raises:
            SourceError: If the server cannot be reached, or fails again and again.
        """
        last, pause = "", 0.0
        for attempt in range(ATTEMPTS):
            await self._wait(pause)
            try:
                async with self._room:
                    answer = await asyncio.to_thread(self._ask, method, path, body)
            except (OSError, HTTPException) as error:
                last, pause = str(error) or type(error).__name__, _pause(attempt)
                continue
            self._heed(answer)
            if answer.status not in _PASSING:
                return answer
            is_told = "Retry-After" in answer.headers
            last, pause = f"status {answer.status}", 0.0 if is_told else _pause(attempt)
        raise SourceError(f"{self.root}{path} does not answer ({last}): run it again to go on.")

    async def batch(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """The answers to many GETs at once: ``status`` and ``body`` of each.

        Raises:
            SourceError: As ``ask``, and if the server refuses the batch.
        """
        requests = [{"method": "GET", "path": path} for path in paths]
        answer = await self.ask("POST", "/batch", {"requests": requests})
        if answer.status != 200:
            raise SourceError(f"The source refuses a batch ({answer.status}): {_words(answer)}")
        responses: list[dict[str, Any]] = answer.json()["responses"]
        return responses

    async def _wait(self, pause: float) -> None:
        seconds = max(pause, self._not_before - time.monotonic())
        if seconds > 0:
            await self._sleep(seconds)

    def _heed(self, answer: Answer) -> None:
        """Ask nothing before the time that the server names."""
        waits = [answer.headers.get(name, "") for name in ("Backoff", "Retry-After")]
        seconds = max((int(one) for one in waits if one.isdecimal()), default=0)
        if seconds:
            until = time.monotonic() + min(seconds, WAIT_MAX_SECONDS)
            self._not_before = max(self._not_before, until)

    def _ask(self, method: str, path: str, body: Any) -> Answer:
        """In a thread; a connection that has been closed meanwhile is opened anew."""
        text = None if body is None else json.dumps(body).encode()
        headers = dict(self._headers)
        if text is not None:
            headers["Content-Type"] = "application/json"
        connection = self._free.pop() if self._free else self._connect()
        try:
            connection.request(method, self._prefix + path, text, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)
        return answer

    def _connect(self) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
        return HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)


def refuse(answer: Answer, what: str) -> SourceError:
    """The error for an answer that is none of what was asked for."""
    if answer.status in (401, 403):
        return SourceError(
            f"The source does not show {what} to this user ({answer.status}):"
            " name one who may read it with --auth or --bearer."
        )
    if 300 <= answer.status < 400:
        place = answer.headers.get("Location", "elsewhere")
        return SourceError(f"The source has moved to {place}: name that address.")
    return SourceError(f"The source does not show {what} ({answer.status}): {_words(answer)}")


def _words(answer: Answer) -> str:
    try:
        body: Mapping[str, Any] = json.loads(answer.body)
        return str(body.get("message", ""))[:200]
    except (ValueError, AttributeError):
        return answer.body[:200].decode(errors="replace")


def _pause(attempt: int) -> float:
    return float(min(2**attempt, 30)) * random.uniform(0.5, 1)
