"""What live changes cost: CPU, time and memory of a server with many subscribers.

``python -m bench.live [--quick] [--storage memory] [--only cost,latency]``. See
bench/README.md for what the figures mean.
"""

import argparse
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.live_parts import PARTS
from bench.live_processes import cores
from bench.live_sites import QUICK, Row, Scale, Site, stay

HEAD = "| what | goal | measured | |\n|---|---|---|---|"
MARKS = {True: "pass", False: "FAIL", None: ""}


@dataclass(frozen=True, slots=True)
class _Use:
    """What was used until an instant, in seconds.

    Attributes:
        clock: by the clock.
        own: CPU, by this process and those it has started that have ended.
        all: CPU, by the whole machine.
    """

    clock: float
    own: float
    all: float

    @staticmethod
    def now() -> "_Use":
        """Until now."""
        uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(use.ru_utime + use.ru_stime for use in uses)
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        # The fourth and the fifth are idle time; those after the eighth are counted twice.
        busy = sum(ticks[:3]) + sum(ticks[5:8])
        return _Use(time.monotonic(), own, busy / os.sysconf("SC_CLK_TCK"))

    def since(self, start: "_Use") -> str:
        """In words; CPU of others makes all that is measured by the clock worse."""
        seconds = self.clock - start.clock
        others = max(0.0, (self.all - start.all) - (self.own - start.own))
        return f"{seconds:.0f} s; others used {100 * others / seconds:.0f} % of a core meanwhile"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look, within a minute")
    parser.add_argument("--storage", default="mongo", help="mongo (the default) or memory")
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(PARTS)}")
    parser.add_argument(
        "--profile", action="store_true", help="only cost, under a profiler: ./live.profile"
    )
    parser.add_argument("--check", action="store_true", help="status 1 where a goal is missed")
    arguments = parser.parse_args()
    arguments.names = arguments.only.split(",") if arguments.only else list(PARTS)
    if arguments.profile:
        arguments.names = ["cost"]
    if unknown := set(arguments.names) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    return arguments


def measure(site: Site, names: list[str]) -> list[Row]:
    """All parts; what goes wrong in one is a row of its own."""
    rows = []
    for name in names:
        start = _Use.now()
        try:
            rows += list(PARTS[name](site))
        except (RuntimeError, OSError, AssertionError) as failure:
            rows.append(Row(name, "an end", f"{type(failure).__name__}: {failure}", met=False))
        print(f"{name}: {_Use.now().since(start)}", file=sys.stderr)
    complaints = site.log[:1] and f"{len(site.log)} lines, the first: {site.log[0]}"
    if complaints:
        rows.append(Row("complaints of the servers", "none", str(complaints), met=False))
    return rows


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    placed = cores()
    scale = QUICK if arguments.quick else Scale()
    site = Site(arguments.storage, placed, scale, arguments.profile)
    stay(placed)
    rows = measure(site, arguments.names)
    print(HEAD)
    for row in rows:
        print(f"| {row.what} | {row.goal} | {row.measured} | {MARKS[row.met]} |")
    if arguments.check and any(row.met is False for row in rows):
        sys.exit("a goal is missed")


if __name__ == "__main__":
    main()
