"""HTTP clients for load: each keeps one connection, and nothing is retried behind a test's back."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

TIMEOUT_SECONDS = 40.0
"""An answer that takes longer is a hang."""

Lost = (OSError, http.client.HTTPException)
"""What is raised where no whole answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: of HTTP.
        headers: by name, any case.
        body: parsed JSON; None where there is none.
        started: when it was asked, in seconds of the monotonic clock.
        ended: when it was answered.
    """

    status: int
    headers: http.client.HTTPMessage
    body: Any
    started: float
    ended: float

    @property
    def data(self) -> Any:
        return self.body["data"]

    @property
    def etag(self) -> str:
        return str(self.headers["ETag"])

    @property
    def is_success(self) -> bool:
        return self.status in (200, 201)


class Client:
    """One user's connection to one server."""

    def __init__(self, url: str, user: str = "alice") -> None:
        parts = urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS
        )
        credentials = base64.b64encode(f"{user}:secret".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self.sent: float | None = None
        """When the request that is under way was handed to the kernel."""

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to one request.

        Args:
            method: of HTTP.
            path: without the version's prefix.
            body: is sent as JSON; None sends none.
            headers: further ones.

        Raises:
            OSError | http.client.HTTPException: See ``Lost``.
        """
        fields = {**self._headers, **(headers or {})}
        text = None
        if body is not None:
            text = json.dumps(body).encode()
            fields["Content-Type"] = "application/json"
        started = time.monotonic()
        self.sent = None
        try:
            self._connection.request(method, self._prefix + path, text, fields)
            self.sent = time.monotonic()
            response = self._connection.getresponse()
            content = response.read()
        except Lost:
            self._connection.close()
            raise
        answered = json.loads(content) if content else None
        return Answer(response.status, response.headers, answered, started, time.monotonic())

    def put(self, path: str, data: Any = None, **permissions: list[str]) -> Answer:
        """Store an object, which must succeed."""
        body: dict[str, Any] = {"data": data or {}}
        if permissions:
            # A colon is no part of a Python name.
            body["permissions"] = {k.replace("_", ":"): v for k, v in permissions.items()}
        answer = self.ask("PUT", path, body)
        assert answer.is_success, (path, answer)
        return answer

    def get(self, path: str) -> Answer:
        """Read, which must succeed."""
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def run_together(first: Callable[[], T], *others: Callable[[], T]) -> list[T]:
    """Run the first in this thread, each other one in a thread of its own.

    Returns:
        Their results, in order.

    Raises:
        Exception: The first of them that failed.
    """
    with ThreadPoolExecutor(len(others)) as pool:
        futures = [pool.submit(work) for work in others]
        return [first(), *(future.result() for future in futures)]


class Progress:
    """Counts what threads have done, so that another can wait for it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def add(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait_for(self, more: int) -> None:
        """Return once there is so much more."""
        with self._condition:
            goal = self._count + more
            assert self._condition.wait_for(lambda: self._count >= goal, TIMEOUT_SECONDS)


def records_of(client: Client, collection: str) -> dict[str, Any]:
    """The live records of a collection, by id."""
    found = client.get(f"{collection}/records").data
    records = {record["id"]: record for record in found}
    assert len(records) == len(found)
    return records
