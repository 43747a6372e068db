"""What the parts of a live measurement share."""

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.live_clients import Plan
from bench.live_processes import (
    BareSender,
    LiveServer,
    pin,
)
from bench.live_writes import Writer, make_list

SUBSCRIBERS = 500
SINGLE_RATE = 40
BATCH_RATE = 100

MICRO, MEGA = 1e6, 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        what: was measured.
        goal: in words; empty where there is none.
        measured: in words.
        met: whether the goal is; None where there is none.
    """

    what: str
    goal: str
    measured: str
    met: bool | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        cost_seconds: of each way of writing, for each shape of subscriptions.
        latency_seconds, sustained_seconds: of those parts.
        idle: subscriptions that only cost memory.
        passed: events that a stalled reader misses, if they pass in time.
        pass_seconds: for that.
        quiet_seconds: before memory is looked at.
    """

    cost_seconds: float = 5
    latency_seconds: float = 15
    sustained_seconds: float = 20
    idle: int = 5000
    passed: int = 100_000
    pass_seconds: float = 75.0
    quiet_seconds: float = 3.0


QUICK = Scale(1.25, 3, 3, 500, 12_500, 20.0, 1.0)


@dataclass(slots=True)
class Site:
    """What the parts share.

    Attributes:
        storage: the server's backend.
        placed: cores of the server and of the others; None if there is but one.
        scale: how much is measured.
        profiled: whether the costs are taken under a profiler.
        sample: text of an event, as the readers got it.
        log: of servers that have ended: what they complained of.
    """

    storage: str
    placed: tuple[int, int] | None
    scale: Scale
    profiled: bool = False
    sample: str = ""
    log: list[str] = field(default_factory=list)

    def start(self) -> LiveServer:
        """A new server."""
        return LiveServer(self.storage, self.placed, profiled=self.profiled)

    def stop(self, server: LiveServer) -> None:
        """End a server; keep what it complained of."""
        self.log += server.complaints()
        server.stop()


def plan(server: LiveServer | BareSender, targets: Sequence[str], readers: int) -> Plan:
    """Readers of a server."""
    return Plan("127.0.0.1", server.port, list(targets), readers, "")


def start_writer(server: LiveServer, distinct: int = 50) -> Writer:
    """A writer to a list of its own, which has all its records."""
    records = make_list(server.host, server.port)
    writer = Writer(server.host, server.port, records, distinct)
    writer.fill()
    return writer


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that a share of the values does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def delays(
    times: Sequence["array[int]"], instants: Sequence[tuple[int, int]], index: int
) -> list[float]:
    """Milliseconds from each write to each receipt, sorted.

    Args:
        times: of receipt, reader by reader, in the order of the writes.
        instants: of the writes: sent, answered.
        index: which of the two counts.
    """
    found = []
    for one in times:
        assert len(one) == len(instants)
        found += [(at - put[index]) / MICRO for at, put in zip(one, instants, strict=True)]
    return sorted(found)


def stay(placed: tuple[int, int] | None) -> None:
    """Keep this process, and those it starts, off the server's core."""
    if placed:
        pin(os.getpid(), placed[1])
