"""What a delivery costs the server, and what ``send`` alone costs."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.live_bare import Load
from bench.live_clients import Plan
from bench.live_processes import BareSender, LiveServer, Readers, read_seconds
from bench.live_sites import (
    BATCH_RATE,
    MICRO,
    SINGLE_RATE,
    SUBSCRIBERS,
    Row,
    Site,
    plan,
    start_writer,
)
from bench.live_writes import N, Writer
from bench.workloads import BATCHED

FILTERS = 10
STYLES = (("single PUTs", False, SINGLE_RATE), (f"batches of {BATCHED}", True, BATCH_RATE))


@dataclass(frozen=True, slots=True)
class Shape:
    """A crowd of subscriptions.

    Attributes:
        title: for the table.
        queries: of the list, in turn.
        told: the share of the subscribers whom each write concerns.
        most: microseconds of CPU per delivery that are the goal.
    """

    title: str
    queries: Sequence[str]
    told: float
    most: float


SHAPES = (
    Shape("whole list", [""], 1, 15),
    Shape("one filter, all match", [f"?n={N}"], 1, 15),
    Shape(f"{FILTERS} filters, all match", [f"?lt_n={N + 1 + i}" for i in range(FILTERS)], 1, 25),
    Shape(
        f"{FILTERS} filters, half match",
        [f"?min_n={N - FILTERS // 2 + 1 + i}" for i in range(FILTERS)],
        0.5,
        25,
    ),
)


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a shape has cost.

    Attributes:
        shape: which.
        style: index of the way of writing.
        cpu: seconds of the server, the writes included.
        writes: how many.
        surplus: deliveries that there should not have been.
    """

    shape: Shape
    style: int
    cpu: float
    writes: int
    surplus: int

    def row(self, write: float) -> Row:
        """For the table, given the CPU seconds of a write alone."""
        deliveries = self.writes * SUBSCRIBERS * self.shape.told
        each = MICRO * (self.cpu - write * self.writes) / deliveries
        extra = f"; {self.surplus} too many" if self.surplus else ""
        return Row(
            f"a delivery: {self.shape.title}, {STYLES[self.style][0]}",
            f"<= {self.shape.most:.0f} µs CPU",
            f"{each:.1f} µs{extra}",
            each <= self.shape.most and not extra,
        )


def measure_costs(site: Site) -> Iterator[Row]:
    """CPU of the server's process per delivery, and of ``send`` beside it."""
    server = site.start()
    try:
        writer = start_writer(server)
        writer.put_paced(SINGLE_RATE, SINGLE_RATE)
        # Before and after: what is to be subtracted is of the order of the rest.
        before = _cost_of_writes(site, server, writer)
        spent = [one for shape in SHAPES for one in _cost_of_shape(site, server, writer, shape)]
        after = _cost_of_writes(site, server, writer)
        if site.profiled:
            shutil.copy(server.profile, "live.profile")
        writer.close()
    finally:
        site.stop(server)
    alone = [sum(both) / 2 for both in zip(before, after, strict=True)]
    for (style, _, _), cost in zip(STYLES, alone, strict=True):
        yield Row(f"a write, nobody listens, {style}", "", f"{MICRO * cost:.0f} µs CPU")
    for one in spent:
        yield one.row(alone[one.style])
    yield from _cost_of_sends(site)


def _cost_of_writes(site: Site, server: LiveServer, writer: Writer) -> list[float]:
    """CPU seconds of the server per write, for each way of writing."""
    found = []
    for _, batched, rate in STYLES:
        count = _count(site, rate)
        before = read_seconds(server.pid)
        writer.put_paced(count, rate, batched=batched)
        found.append((read_seconds(server.pid) - before) / count)
    return found


def _count(site: Site, rate: float) -> int:
    return int(rate * site.scale.cost_seconds) // BATCHED * BATCHED


def _cost_of_shape(
    site: Site, server: LiveServer, writer: Writer, shape: Shape
) -> Iterator[_Spent]:
    targets = [writer.records + query for query in shape.queries]
    wanted = Plan(server.host, server.port, targets, SUBSCRIBERS, "", sampled=1)
    with Readers(wanted) as readers:
        for style, (_, batched, rate) in enumerate(STYLES):
            count = _count(site, rate)
            due = readers.events + round(count * SUBSCRIBERS * shape.told)
            if site.profiled:
                server.start_profile()
            before = read_seconds(server.pid)
            writer.put_paced(count, rate, batched=batched)
            readers.wait_for(due)
            used = read_seconds(server.pid) - before
            if site.profiled:
                server.finish_profile()
            yield _Spent(shape, style, used, count, readers.events - due)
        site.sample = readers.finish().sample or site.sample


def _cost_of_sends(site: Site) -> Iterator[Row]:
    with BareSender(site.placed) as bare, Readers(plan(bare, (), SUBSCRIBERS)):
        for style, batched, rate in STYLES:
            together = BATCHED if batched else 1
            rounds = _count(site, rate) // together
            cost = bare.send(Load(site.sample, together, rounds, together / rate))
            each = MICRO * cost.cpu / cost.calls
            yield Row(
                f"bare send(2), {style}",
                "",
                f"{each:.1f} µs a call of {together}: {each / together:.2f} µs an event",
            )
