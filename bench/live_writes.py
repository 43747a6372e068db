"""The writing side: one connection, one request after the other."""

import base64
import http.client
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from bench.workloads import BATCHED, PREFIX

N = 7
"""Value of ``n`` in every record, for the filters."""

_AUTHORIZATION = "Basic " + base64.b64encode(b"bench:secret").decode()
_RECORD = {
    "title": "Buy milk, and see whether the shop has that bread again",
    "done": False,
    "tags": ["home", "shop"],
    "due": {"date": "2030-01-31", "zone": "Europe/Paris"},
    "n": N,
}

_FINE = re.compile(rb'"status": *20[01]')
SETTLE_SECONDS = 0.3


def make_list(host: str, port: int) -> str:
    """Make a collection that whoever has a name may read; the path of its records."""
    bucket = f"/buckets/bench-{uuid.uuid4()}"
    collection = f"{bucket}/collections/live"
    maker = Writer(host, port, f"{collection}/records")
    maker.ask("PUT", bucket, None)
    maker.ask("PUT", collection, {"permissions": {"read": ["system.Authenticated"]}})
    maker.close()
    return maker.records


class Writer:
    """Writes to a list.

    Attributes:
        records: path of the list, without the version.
        written: how many records it has put.
        instants: of each put since the last ``forget``: sent and answered, in nanoseconds of
            the monotonic clock.
    """

    def __init__(
        self, host: str, port: int, records: str, distinct: int = 50, prefix: str = "r"
    ) -> None:
        """Connect.

        Args:
            host: of the server.
            port: of the server.
            records: path of the list, without the version.
            distinct: among how many ids it goes round.
            prefix: of the ids.
        """
        self._connection = http.client.HTTPConnection(host, port, timeout=60)
        self._distinct = distinct
        self._prefix = prefix
        self.records = records
        self.written = 0
        self.instants: list[tuple[int, int]] = []

    def fill(self) -> None:
        """Make all the records."""
        for _ in range(-(-self._distinct // BATCHED)):
            self.put_batch()

    def ask(self, method: str, path: str, body: Any) -> bytes:
        """Send a request; the answer's content.

        Raises:
            RuntimeError: If it is not as it has to be.
        """
        text = None if body is None else json.dumps(body)
        headers = {"Authorization": _AUTHORIZATION, "Content-Type": "application/json"}
        sent = time.monotonic_ns()
        self._connection.request(method, PREFIX + path, text, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._answered = (sent, time.monotonic_ns())
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content

    def _next(self) -> tuple[str, dict[str, Any]]:
        number = self.written
        self.written += 1
        path = f"{self.records}/{self._prefix}{number % self._distinct:05}"
        return path, {"data": {**_RECORD, "number": number}}

    def put(self) -> None:
        """Put one record."""
        self.ask("PUT", *self._next())
        self.instants.append(self._answered)

    def put_last(self) -> None:
        """Put one record by which readers know that they have all."""
        path, body = self._next()
        self.ask("PUT", path, {"data": {**body["data"], "number": -1}})

    def put_batch(self, size: int = BATCHED) -> None:
        """Put so many records in one request."""
        puts = [self._next() for _ in range(size)]
        requests = [{"method": "PUT", "path": PREFIX + path, "body": b} for path, b in puts]
        answer = self.ask("POST", "/batch", {"requests": requests})
        if len(_FINE.findall(answer)) != size:
            raise RuntimeError(f"a write of a batch failed: {answer[:1000]!r}")
        self.instants += [self._answered] * size

    def put_paced(self, count: int, rate: float, *, batched: bool = False) -> None:
        """Put so many records, at so many a second; then a moment of silence."""
        step = BATCHED if batched else 1
        start = time.monotonic()
        for turn in range(count // step):
            time.sleep(max(0.0, start + turn * step / rate - time.monotonic()))
            if batched:
                self.put_batch()
            else:
                self.put()
        time.sleep(max(0.0, start + count / rate - time.monotonic()))
        time.sleep(SETTLE_SECONDS)

    def put_for(self, seconds: float, *, batched: bool) -> Iterator[int]:
        """Put for so long; yields after each request how many were put until then."""
        first, end = self.written, time.monotonic() + seconds
        while time.monotonic() < end:
            if batched:
                self.put_batch()
            else:
                self.put()
            yield self.written - first

    def forget(self) -> None:
        """Begin to note instants anew."""
        self.instants = []

    def read(self) -> dict[str, Any]:
        """The list as GET tells it: objects by id."""
        objects = json.loads(self.ask("GET", self.records, None))["data"]
        return {one["id"]: one for one in objects}

    def close(self) -> None:
        """Let go."""
        self._connection.close()
