"""The client side of a round: many keep-alive connections, each with one request on its way.

Run as ``python -m bench.load``, so that what the client costs is not counted in
the server's process. It reads a ``Plan`` as one line of JSON, opens the
connections, sends one request on each to warm up, prints ``ready``, waits for a
line, runs, and prints a ``Round`` as one line of JSON. An unexpected answer ends
it with status 1 and the answer on stderr.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle

WARM_UP_SECONDS = 30
STALL_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask whom, how long.

    Attributes:
        requests: whole HTTP/1.1 requests, sent in turn, over and over.
        status: that every answer must have.
        pattern: regular expression that occurs in every body ``times`` times.
        seconds: after which no further request is sent.
        max_requests: after which none is sent either.
    """

    host: str
    port: int
    connections: int
    requests: list[str]
    status: int
    pattern: str
    times: int
    seconds: float
    max_requests: int


@dataclass(frozen=True, slots=True)
class Round:
    """What was seen.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: of each answer, in seconds, sorted.
        closed: how often the server ended a connection that the client wanted to keep.
    """

    seconds: float
    latencies: list[float]
    closed: int


class Wrong(Exception):
    """The server answered what it must not, or closed."""


class Connection(asyncio.Protocol):
    """One keep-alive connection: request, answer, request, answer.

    A server that says ``Connection: close`` is obeyed, counted, and connected to
    again; the time that takes is part of the next latency.
    """

    def __init__(self, plan: Plan, requests: Iterator[bytes]) -> None:
        self._plan = plan
        self._pattern = re.compile(plan.pattern.encode())
        self._requests = requests
        self._buffer = b""
        self._left = 0
        self._end = 0.0
        self._sent_at = 0.0
        self._closing = False
        self._reconnecting: asyncio.Task[object] | None = None
        self.closed = 0
        self.latencies: list[float] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._closing:
            self._closing = False
            self._transport.write(next(self._requests))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._fail(f"the server closed the connection ({exc}); read so far: {self._buffer!r}")

    def run(self, *, requests: int, seconds: float) -> asyncio.Future[None]:
        """Ask for at most that many answers; the future is done after the last."""
        self.latencies = []
        self.closed = 0
        self._left = requests
        self._end = time.perf_counter() + seconds
        self.finished = asyncio.get_running_loop().create_future()
        self._send()
        return self.finished

    def close(self) -> None:
        """Let go; not an error from now on."""
        self._transport.abort()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        if self._closing:
            self.closed += 1
            self._transport.abort()
            self._reconnecting = asyncio.ensure_future(self._reconnect())
        else:
            self._transport.write(next(self._requests))

    async def _reconnect(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self, self._plan.host, self._plan.port)
        except OSError as failure:
            self._fail(f"the server cannot be reached any more: {failure}")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = self._body_length(head)
        if len(body) < length:
            return
        now = time.perf_counter()
        self._buffer = b""
        self._closing = re.search(rb"(?i)\r\nconnection: *close", head) is not None
        self.latencies.append(now - self._sent_at)
        if self._check(head, body) and not self.finished.done():
            self._left -= 1
            if self._left > 0 and now < self._end:
                self._send()
            else:
                self.finished.set_result(None)

    def _body_length(self, head: bytes) -> int:
        if self._status(head) in (204, 304):
            return 0
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not found:
            self._fail(f"no Content-Length in {head!r}")
            return 0
        return int(found[1])

    def _status(self, head: bytes) -> int:
        return int(head[9:12])

    def _check(self, head: bytes, body: bytes) -> bool:
        times = len(self._pattern.findall(body)) if self._plan.times else 0
        right = self._status(head) == self._plan.status and times == self._plan.times
        if not right:
            wanted = f"{self._plan.status} and {self._plan.times} times {self._plan.pattern!r}"
            self._fail(f"expected {wanted}, got {times} times in {head!r} {body[:2000]!r}")
        return right

    def _fail(self, reason: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(Wrong(reason))


async def open_connections(plan: Plan) -> list[Connection]:
    """Connect, and ask once on each connection."""
    loop = asyncio.get_running_loop()
    requests = cycle([request.encode() for request in plan.requests])
    connections = []
    for _ in range(plan.connections):
        _, connection = await loop.create_connection(
            lambda: Connection(plan, requests), plan.host, plan.port
        )
        connections.append(connection)
    async with asyncio.timeout(WARM_UP_SECONDS):
        await asyncio.gather(*(c.run(requests=1, seconds=WARM_UP_SECONDS) for c in connections))
    return connections


async def run(plan: Plan) -> Round:
    """Warm up, wait for the word, and measure.

    Raises:
        Wrong: At the first unexpected answer.
        TimeoutError: If the server stands still.
    """
    connections = await open_connections(plan)
    print("ready", flush=True)
    # Nothing else happens in this process meanwhile, so the loop may stand still.
    sys.stdin.readline()
    each = -(-plan.max_requests // plan.connections)
    start = time.perf_counter()
    async with asyncio.timeout(plan.seconds + STALL_SECONDS):
        await asyncio.gather(*(c.run(requests=each, seconds=plan.seconds) for c in connections))
    seconds = time.perf_counter() - start
    for connection in connections:
        connection.close()
    latencies = sorted(t for c in connections for t in c.latencies)
    return Round(seconds, latencies, sum(c.closed for c in connections))


def main() -> None:
    """Read the plan, run it, print the round."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    try:
        print(json.dumps(asdict(asyncio.run(run(plan)))), flush=True)
    except (Wrong, TimeoutError, OSError) as failure:
        sys.exit(f"{type(failure).__name__}: {failure}")


if __name__ == "__main__":
    main()
