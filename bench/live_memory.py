"""What connections take of the server's memory: idle ones, and one that stalls."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.live_clients import Plan
from bench.live_processes import (
    BATCH_MAX,
    BareSender,
    LiveServer,
    Readers,
    read_memory,
    read_seconds,
    wait_until,
)
from bench.live_sites import MEGA, MICRO, Row, Site, delays, percentile, plan, start_writer
from bench.live_writes import Writer, make_list

OTHERS = 10
WARM_READERS = 100
STALLED_IDS = 1000
STALLED_RECEIVE_BYTES = 4096


def measure_memory(site: Site) -> Iterator[Row]:
    """What an idle subscription takes."""
    server = site.start()
    try:
        ours = _grow(site, server, [make_list(server.host, server.port)])
    finally:
        site.stop(server)
    with BareSender(site.placed, "tornado") as bare:
        theirs = _grow(site, bare, ())
    count = site.scale.idle
    yield Row(
        f"an idle subscription, of {count:,}", "<= 40 KB", f"{ours.kilobytes:.1f} KB", ours.fits
    )
    yield Row("an idle bare Tornado WebSocket", "", f"{theirs.kilobytes:.1f} KB")
    for what, crowd in (("to begin a subscription", ours), ("to open a bare one", theirs)):
        yield Row(what, "", f"{MICRO * crowd.cpu:.0f} µs CPU, {1 / crowd.seconds:,.0f} a second")


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What each of many connections took.

    Attributes:
        kilobytes: of the server's memory.
        cpu: seconds of the server's until it was open.
        seconds: by the clock until then.
    """

    kilobytes: float
    cpu: float
    seconds: float

    @property
    def fits(self) -> bool:
        """Whether the goal is met."""
        return self.kilobytes <= 40


def _grow(site: Site, server: LiveServer | BareSender, targets: Sequence[str]) -> _Crowd:
    count = site.scale.idle
    with Readers(plan(server, targets, WARM_READERS)):
        time.sleep(site.scale.quiet_seconds)
        before, used = read_memory(server.pid), read_seconds(server.pid)
        start = time.monotonic()
        with Readers(plan(server, targets, count)):
            seconds, used = time.monotonic() - start, read_seconds(server.pid) - used
            time.sleep(site.scale.quiet_seconds)
            grown = read_memory(server.pid) - before
    return _Crowd(grown / 1024 / count, used / count, seconds / count)


@dataclass(frozen=True, slots=True)
class _Passage:
    """Events that passed.

    Attributes:
        count: how many.
        growth: of the server's memory at its highest, in bytes.
        cpu: of the server per event, their writing included, in seconds.
        p99: from a write's answer to its receipt, in milliseconds.
    """

    count: int
    growth: int
    cpu: float
    p99: float


def measure_stalled(site: Site) -> Iterator[Row]:
    """A reader that stops reading: what it costs the server, the others, and itself."""
    server = site.start()
    try:
        writer = start_writer(server, STALLED_IDS)
        _pass(site, server, writer, 0.1)
        # Half before and half after: what else the machine does must not make the difference.
        without = [_pass(site, server, writer, 0.5)]
        slow = Plan(
            server.host,
            server.port,
            [writer.records],
            1,
            "",
            sampled=1,
            receive_bytes=STALLED_RECEIVE_BYTES,
            paused=True,
        )
        with Readers(slow) as stalled:
            beside = _pass(site, server, writer, 1)
            ending, right = _come_back(stalled, writer)
        without.append(_pass(site, server, writer, 0.5))
        writer.close()
    finally:
        site.stop(server)
    grown = sum(one.growth for one in without) / MEGA
    late = max(one.p99 for one in without)
    more = beside.growth / MEGA - grown
    yield Row(
        f"memory of one that reads nothing of {beside.count:,} events",
        "<= 2 MB",
        f"{more:.1f} MB ({beside.growth / MEGA:.1f} with it, {grown:.1f} without)",
        more <= 2,
    )
    yield Row(
        f"p99 of {OTHERS} others meanwhile",
        "as without it",
        f"{beside.p99:.1f} ms, {late:.1f} without",
        beside.p99 <= 1.25 * late + 5,
    )
    spent = sum(one.cpu * one.count for one in without) / sum(one.count for one in without)
    yield Row(
        "an event meanwhile, its write included",
        "",
        f"{MICRO * beside.cpu:.0f} µs CPU, {MICRO * spent:.0f} without",
    )
    yield Row("it reads again", "the right state", ending, right)


def _pass(site: Site, server: LiveServer, writer: Writer, share: float) -> _Passage:
    """Let events pass to the others: a share of all, in that share of the time."""
    first, due = writer.written, writer.written + int(share * site.scale.passed)
    end = time.monotonic() + share * site.scale.pass_seconds
    with Readers(plan(server, [writer.records], OTHERS), timed=True) as readers:
        writer.forget()
        before = most = read_memory(server.pid)
        used = read_seconds(server.pid)
        while writer.written < due and time.monotonic() < end:
            writer.put_batch(BATCH_MAX)
            most = max(most, read_memory(server.pid))
        count = writer.written - first
        readers.wait_for(count * OTHERS)
        used = read_seconds(server.pid) - used
        most = max(most, read_memory(server.pid))
        times = readers.times(readers.finish())
    p99 = percentile(delays(times, writer.instants, 1), 0.99)
    return _Passage(count, most - before, used / count, p99)


def _come_back(stalled: Readers, writer: Writer) -> tuple[str, bool]:
    """Read again, to the end; what that gave, and whether it is right."""
    stalled.go_on()
    writer.put_last()
    wait_until(lambda: stalled.done > 0, "it does not get the last event")
    seen = stalled.finish()
    if seen.faults:
        return f"{len(seen.faults)} breaks: {seen.faults[0]}", False
    state = writer.read()
    wrong = [one for one in state if seen.state.get(one) != state[one]]
    words = f"{len(wrong)} objects of {len(state)} are wrong" if wrong else "the right state"
    return f"{words}, after {sum(seen.events):,} events", not wrong and len(seen.state) == len(
        state
    )
