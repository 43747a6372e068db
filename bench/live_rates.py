"""How soon a change is there, and how many can be."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.live_bare import Load
from bench.live_clients import Plan, Seen
from bench.live_processes import BareSender, LiveServer, Readers, read_seconds
from bench.live_sites import SUBSCRIBERS, Row, Site, delays, percentile, plan, start_writer
from bench.live_writes import SETTLE_SECONDS, Writer, make_list
from bench.workloads import BATCHED

LATENCY_RATE = 20
WINDOW = 2 * BATCHED
"""Writes that may be under way to the readers where as much as possible is to be delivered."""
WRITERS = ((f"batches of {BATCHED}, 1 writer", True, 1), ("single PUTs, 8 writers", False, 8))


def measure_latency(site: Site) -> Iterator[Row]:
    """From a write's answer to its receipt, by all."""
    server = site.start()
    try:
        writer = start_writer(server)
        with Readers(plan(server, [writer.records], SUBSCRIBERS), timed=True) as readers:
            count = int(LATENCY_RATE * site.scale.latency_seconds)
            writer.forget()
            writer.put_paced(count, LATENCY_RATE)
            readers.wait_for(count * SUBSCRIBERS)
            times = readers.times(readers.finish())
        writer.close()
    finally:
        site.stop(server)
    for since, index in (("answer", 1), ("request", 0)):
        late = delays(times, writer.instants, index)
        worst = percentile(late, 0.99)
        yield Row(
            f"receipt after a PUT's {since}, {LATENCY_RATE}/s to {SUBSCRIBERS}",
            "p99 <= 50 ms" if index else "",
            f"p50 {percentile(late, 0.5):.1f}, p99 {worst:.1f}, max {late[-1]:.1f} ms",
            worst <= 50 if index else None,
        )


def measure_sustained(site: Site) -> Iterator[Row]:
    """As many deliveries as there can be, with nothing lost."""
    server = site.start()
    try:
        records = make_list(server.host, server.port)
        for style, batched, count in WRITERS:
            writers = [
                Writer(server.host, server.port, records, prefix=f"w{number}-")
                for number in range(count)
            ]
            yield _sustain(site, server, writers, style, batched=batched)
    finally:
        site.stop(server)
    with BareSender(site.placed) as bare, Readers(plan(bare, (), SUBSCRIBERS)) as readers:
        for together in (BATCHED, 1):
            yield _saturate(site, bare, readers, together)


def _sustain(
    site: Site, server: LiveServer, writers: Sequence[Writer], style: str, *, batched: bool
) -> Row:
    wanted = Plan(server.host, server.port, [writers[0].records], SUBSCRIBERS, "", sampled=3)
    with Readers(wanted) as readers:
        start, used, read = time.monotonic(), read_seconds(server.pid), read_seconds(readers.pid)

        def drive(writer: Writer) -> None:
            for _ in writer.put_for(site.scale.sustained_seconds, batched=batched):
                written = sum(one.written for one in writers)
                readers.wait_for((written - WINDOW) * SUBSCRIBERS)

        with ThreadPoolExecutor(len(writers)) as pool:
            list(pool.map(drive, writers))
        count = sum(one.written for one in writers)
        readers.wait_for(count * SUBSCRIBERS)
        seconds = time.monotonic() - start
        used, read = read_seconds(server.pid) - used, read_seconds(readers.pid) - read
        time.sleep(SETTLE_SECONDS)
        seen = readers.finish()
    rate = count * SUBSCRIBERS / seconds
    wrong = _find_wrong(seen, count, writers[0])
    site.sample = seen.sample
    return Row(
        f"deliveries for {seconds:.0f} s, {style}",
        ">= 40,000/s, none lost",
        f"{rate:,.0f}/s, {wrong or 'none lost'}; server {100 * used / seconds:.0f} %, "
        f"readers {100 * read / seconds:.0f} % of a core",
        rate >= 40_000 and not wrong,
    )


def _find_wrong(seen: Seen, count: int, writer: Writer) -> str:
    """What is not as it has to be; empty if all is."""
    wrong = sum(1 for events in seen.events if events != count)
    if wrong:
        return f"{wrong} readers have not {count} events"
    if seen.faults:
        return f"{len(seen.faults)} breaks: {seen.faults[0]}"
    return "" if seen.state == writer.read() else "the state is another"


def _saturate(site: Site, bare: BareSender, readers: Readers, together: int) -> Row:
    rounds, due = 400 // together + 20, readers.events
    start, read = time.monotonic(), read_seconds(readers.pid)
    due += rounds * together * SUBSCRIBERS
    cost = bare.send(Load(site.sample, together, rounds, 0))
    readers.wait_for(due)
    seconds = time.monotonic() - start
    read = read_seconds(readers.pid) - read
    return Row(
        f"bare send(2) as fast as it goes, {together} together",
        "",
        f"{rounds * together * SUBSCRIBERS / seconds:,.0f}/s; sender "
        f"{100 * cost.cpu / seconds:.0f} %, readers {100 * read / seconds:.0f} % of a core",
    )
