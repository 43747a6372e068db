"""Many readers in one process, who count frames and look at nothing in them.

Run as ``python -m bench.live_clients``, so that what reading costs is in nobody's
figures. It reads a ``Plan`` as one line of JSON, opens all connections, prints
``ready`` once each is live, reads until it is sent a line, and prints a ``Seen`` as one
line of JSON. How many events came so far stands in a file all the while, for whoever
writes to wait for. A lost connection ends it with status 1.
"""

import base64
import json
import mmap
import os
import resource
import select
import socket
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.live_folds import Fold

READY_SECONDS = 120
WAVE = 64
"""Connections that are on their way at once."""

COUNTER = struct.Struct("<QQ")
"""Events that all have got, and of the sampled readers how many have got ``LAST``."""

LAST = b'"number":-1'
"""In the last event that a sampled reader gets, if it is to be known when it has all."""

_CHUNK = 1 << 16
_EVENT = b'{"type":"event"'
_READY = b'{"type":"ready"'
_REFUSED = (b'{"type":"error"', b'{"type":"unsubscribed"')
_PING, _CLOSE = 0x89, 0x88
_PONG = b"\x8a\x80\0\0\0\0"
_KEY = base64.b64encode(bytes(16)).decode()


@dataclass(frozen=True, slots=True)
class Plan:
    """Who reads what.

    Attributes:
        targets: what the readers subscribe to, in turn; empty for no subscriptions at all.
        readers: how many, each on its connection.
        counter: path of the file that holds the number of events.
        times: path of the file for the instants of receipt, reader by reader; empty for none.
        sampled: how many of the readers keep what they get, to be checked at the end.
        receive_bytes: of the sockets' buffers; 0 for the system's own choice.
        paused: whether to read nothing from ``ready`` to the next line; then one more line
            ends it.
    """

    host: str
    port: int
    targets: list[str]
    readers: int
    counter: str
    times: str = ""
    sampled: int = 0
    receive_bytes: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen.

    Attributes:
        events: of each reader.
        cpu: seconds that reading took.
        faults: what was wrong with what the sampled readers got.
        state: objects by id that the first sampled reader ends with.
        sample: an event's text; empty if none was kept.
    """

    events: list[int]
    cpu: float
    faults: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    sample: str = ""


class Lost(Exception):
    """The server closed, or refused."""


class Reader:
    """One connection.

    Attributes:
        events: how many came.
        ready: whether it is live.
        times: when each came, in nanoseconds; None if that is not asked for.
        frames: the texts that came; None if they are not kept.
        done: whether ``LAST`` was among them.
    """

    def __init__(self, plan: Plan, number: int) -> None:
        self.events = 0
        self.ready = False
        self.done = False
        self.times: array[int] | None = array("q") if plan.times else None
        self.frames: list[bytes] | None = [] if number < plan.sampled else None
        self._target = plan.targets[number % len(plan.targets)] if plan.targets else ""
        self._rest = b""
        self._upgraded = False
        self.socket = socket.socket()
        if plan.receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, plan.receive_bytes)
        self.socket.connect((plan.host, plan.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        user = base64.b64encode(b"reader%d:secret" % number).decode()
        self.socket.send(
            f"GET /v1/live HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n"
            f"Authorization: Basic {user}\r\n\r\n".encode()
        )

    def receive(self) -> int:
        """Read what is there; how many events that were.

        Raises:
            Lost: If the connection is over.
        """
        try:
            data = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            raise Lost(f"the server closed the connection after {self.events} events")
        if self._rest:
            data = self._rest + data
        at = 0 if self._upgraded else self._upgrade(data)
        at, events = self._walk(data, at)
        self._rest = data[at:]
        if events:
            self.events += events
            if self.times is not None:
                self.times.extend([time.monotonic_ns()] * events)
        return events

    def _upgrade(self, data: bytes) -> int:
        """Read the answer to the upgrade, and subscribe; where the frames begin."""
        head, found, _ = data.partition(b"\r\n\r\n")
        if not found:
            return 0
        if not head.startswith(b"HTTP/1.1 101"):
            raise Lost(f"no upgrade: {data[:500]!r}")
        self._upgraded = True
        if self._target:
            wanted = [{"sub": "bench", "path": self._target}]
            self._say(json.dumps({"type": "hello", "subscribe": wanted}).encode())
        else:
            self.ready = True
        return len(head) + 4

    def _say(self, text: bytes) -> None:
        # Masked by zeros: allowed, and as good as any other for who has nothing to hide.
        self.socket.send(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)

    def _walk(self, data: bytes, at: int) -> tuple[int, int]:
        """Go from frame to frame; where the first that is not whole begins, and the events."""
        end, events = len(data), 0
        if not self._upgraded:
            return 0, 0
        while end - at >= 2:
            length, body = data[at + 1], at + 2
            if length > 125:
                body += 2 if length == 126 else 8
                if body > end:
                    break
                length = int.from_bytes(data[at + 2 : body], "big")
            after = body + length
            if after > end:
                break
            if data.startswith(_EVENT, body):
                events += 1
            else:
                self._hear(data[at], data[body:after])
            if self.frames is not None and data[at] == 0x81:
                self.frames.append(data[body:after])
                self.done = self.done or LAST in self.frames[-1]
            at = after
        return at, events

    def _hear(self, head: int, text: bytes) -> None:
        if head == _PING:
            self.socket.send(_PONG)
        elif head == _CLOSE:
            raise Lost(f"closed: {int.from_bytes(text[:2], 'big')} {text[2:]!r}")
        elif text.startswith(_READY):
            self.ready = True
        elif text.startswith(_REFUSED):
            raise Lost(text.decode())


class Crowd:
    """All readers, and the loop that serves them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._poll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._sampled: list[Reader] = []
        with open(plan.counter, "r+b") as file:
            self._counter = mmap.mmap(file.fileno(), COUNTER.size)
        self._total = 0

    def open(self) -> None:
        """Connect all, and wait until each is live.

        Raises:
            Lost: If one is not let in.
            TimeoutError: If that takes too long.
        """
        end = time.monotonic() + READY_SECONDS
        for start in range(0, self._plan.readers, WAVE):
            wave = []
            for number in range(start, min(start + WAVE, self._plan.readers)):
                reader = Reader(self._plan, number)
                self._readers[reader.socket.fileno()] = reader
                if reader.frames is not None:
                    self._sampled.append(reader)
                self._poll.register(reader.socket, select.EPOLLIN)
                wave.append(reader)
            while not all(reader.ready for reader in wave):
                self._turn(1.0)
                if time.monotonic() > end:
                    raise TimeoutError(f"{start} of {self._plan.readers} are live")

    def _turn(self, seconds: float = -1) -> bool:
        """Read what has come; False if a line has come."""
        readers, goes_on = self._readers, True
        for fd, _ in self._poll.poll(seconds):
            if fd == 0:
                goes_on = False
            else:
                self._total += readers[fd].receive()
        done = sum(1 for reader in self._sampled if reader.done)
        COUNTER.pack_into(self._counter, 0, self._total, done)
        return goes_on

    def read(self) -> None:
        """Until a line comes."""
        self._poll.register(0, select.EPOLLIN)
        while self._turn():
            pass

    def result(self, cpu: float) -> Seen:
        """What was seen; not to be called in a hurry."""
        readers = list(self._readers.values())
        if self._plan.times:
            with open(self._plan.times, "wb") as file:
                for reader in readers:
                    assert reader.times is not None
                    reader.times.tofile(file)
        folds = list(self._folds())
        faults = [fault for fold in folds for fault in fold.faults]
        events = [reader.events for reader in readers]
        if not folds:
            return Seen(events, cpu)
        return Seen(events, cpu, faults, folds[0].state, folds[0].sample)

    def _folds(self) -> Iterator[Fold]:
        for reader in self._sampled:
            fold = Fold()
            for frame in reader.frames or ():
                fold.add(frame)
            yield fold


def main() -> None:
    """Read the plan, follow it, print what was seen."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    plan = Plan(**json.loads(_read_line()))
    crowd = Crowd(plan)
    try:
        crowd.open()
        print("ready", flush=True)
        if plan.paused:
            _read_line()
        before = time.process_time()
        crowd.read()
        print(json.dumps(asdict(crowd.result(time.process_time() - before))), flush=True)
    except (Lost, OSError) as failure:
        sys.exit(f"{type(failure).__name__}: {failure}")


def _read_line() -> str:
    """A line, without taking any of the next: what is buffered would wake nobody."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("nobody speaks any more")
        line += byte
    return line.decode()


if __name__ == "__main__":
    main()
