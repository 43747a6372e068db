"""What a request costs: this server beside a bare Tornado handler and beside its peers.

``python -m bench.rest [--quick] [--only get,batch] [--peer NAME=URL[,PID]]``. See
bench/README.md for what the figures mean.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

from bench.load import Plan, Round
from bench.processes import ROOT, BareProcess, Cpu, KintounProcess, read_cpu
from bench.workloads import BARE, WORKLOADS, Site, Workload, clear, prepare

CONNECTIONS = 32
MAX_REQUESTS = 20_000
BARE_NAME = "bare Tornado"
OWN_NAME = "kintoun"


@dataclass(frozen=True, slots=True)
class Target:
    """A server in the comparison.

    Attributes:
        pid: of its process, the root of its tree; None where it is not known.
        site: what to ask of it; None for the bare handler.
    """

    name: str
    host: str
    port: int
    pid: int | None
    site: Site | None

    def workload(self, name: str) -> Workload:
        """The requests to send for the workload of that name."""
        return WORKLOADS[name].make(self.site) if self.site else BARE


@dataclass(slots=True)
class Figures:
    """All rounds of one workload on one server.

    Attributes:
        multiples: the server's CPU per request over the bare handler's, round by round.
    """

    requests: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    cpu: Cpu = field(default_factory=Cpu)
    multiples: list[float] = field(default_factory=list)
    closed: int = 0

    def add(self, measured: Round, cpu: Cpu) -> float:
        """Count a round in; its CPU seconds per request in the server."""
        self.requests += len(measured.latencies)
        self.seconds += measured.seconds
        self.latencies += measured.latencies
        self.cpu += cpu
        self.closed += measured.closed
        return cpu.server / len(measured.latencies)

    def milliseconds(self, share: float) -> float:
        """The latency that ``share`` of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def microseconds(self, cpu_seconds: float) -> float:
        """CPU per request."""
        return 1e6 * cpu_seconds / self.requests


def run_round(target: Target, workload: Workload, seconds: float) -> tuple[Round, Cpu]:
    """Let a client process load ``target``; what it saw, and what that cost.

    Raises:
        RuntimeError: At an unexpected answer, or none.
    """
    plan = Plan(
        host=target.host,
        port=target.port,
        connections=CONNECTIONS,
        seconds=seconds,
        max_requests=MAX_REQUESTS,
        **asdict(workload),
    )
    command = [sys.executable, "-m", "bench.load"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(json.dumps(asdict(plan)) + "\n")
        client.stdin.flush()
        if client.stdout.readline() == "ready\n":
            before = read_cpu(target.pid) if target.pid else Cpu()
            client.stdin.write("go\n")
            client.stdin.flush()
            answer = client.stdout.readline()
            after = read_cpu(target.pid) if target.pid else Cpu()
            if answer:
                return Round(**json.loads(answer)), after - before
    raise RuntimeError(f"{target.name}: see the answer above")


def measure(targets: list[Target], names: list[str], rounds: int, seconds: float) -> "Table":
    """All workloads on all servers, in turns, so that the machine's noise hits all alike."""
    table: Table = {(name, target.name): Figures() for name in names for target in targets}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            bare = 0.0
            for target in targets:
                figures = table[name, target.name]
                cost = figures.add(*run_round(target, target.workload(name), seconds))
                if target.site is None:
                    bare = cost
                elif target.pid:
                    figures.multiples.append(cost / bare)
    return table


Table = dict[tuple[str, str], Figures]
"""Figures by (workload, server)."""

HEAD = (
    f"{'':26}{'':14}{'requests':>10}{'p50':>9}{'p99':>9}{'server':>10}{'mongod':>10}"
    f"{'times':>9}{'at':>8}\n"
    f"{'workload':26}{'server':14}{'per s':>10}{'ms':>9}{'ms':>9}{'CPU us':>10}{'CPU us':>10}"
    f"{'bare':>9}{'most':>8}"
)


def format_row(title: str, target: Target, figures: Figures, most: float) -> str:
    """One line of the table; what is not known is left blank."""
    row = f"{title:26}{target.name:14}{figures.requests / figures.seconds:>10.0f}"
    row += f"{figures.milliseconds(0.5):>9.2f}{figures.milliseconds(0.99):>9.2f}"
    if target.pid:
        row += f"{figures.microseconds(figures.cpu.server):>10.0f}"
        row += f"{figures.microseconds(figures.cpu.mongod):>10.0f}"
    if figures.multiples:
        row += f"{statistics.median(figures.multiples):>9.1f}"
        if target.name == OWN_NAME:
            row += f"{most:>8.0f}  {'ok' if is_within(figures, most) else 'OVER'}"
    return row


def is_within(figures: Figures, most: float) -> bool:
    """Whether the target is met, judged by the middle round."""
    return statistics.median(figures.multiples) <= most


def print_table(table: Table, targets: list[Target], names: list[str]) -> None:
    """The result, for people."""
    print(HEAD)
    for name in names:
        title = WORKLOADS[name].title
        for target in targets:
            print(format_row(title, target, table[name, target.name], WORKLOADS[name].target))
            title = ""
    for (name, server), figures in table.items():
        if figures.closed:
            share = 100 * figures.closed / figures.requests
            print(f"{server} closed the connection after {share:.0f} % of the answers to {name}")


def parse_peer(text: str) -> tuple[str, str, int | None]:
    """``NAME=URL[,PID]`` taken apart; the URL is that of the server, with or without /v1."""
    name, _, rest = text.partition("=")
    url, _, pid = rest.partition(",")
    parts = urlsplit(url)
    if not name or parts.hostname not in ("127.0.0.1", "localhost") or not parts.port:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=http://127.0.0.1:PORT[,PID]")
    return name, f"{parts.hostname}:{parts.port}", int(pid) if pid else None


@contextmanager
def open_targets(arguments: argparse.Namespace) -> Iterator[list[Target]]:
    """Start what is to be started; all is stopped, and cleared, on the way out."""
    with ExitStack() as stack:
        bare = BareProcess()
        stack.callback(bare.stop)
        targets = [Target(BARE_NAME, "127.0.0.1", bare.port, bare.pid, None)]
        if not arguments.peers_only:
            own = KintounProcess()
            stack.callback(own.stop)
            site = prepare(own.host, own.port)
            targets.append(Target(OWN_NAME, own.host, own.port, own.pid, site))
        for name, address, pid in arguments.peer:
            host, port = address.split(":")
            site = prepare(host, int(port))
            stack.callback(clear, site)
            targets.append(Target(name, host, int(port), pid, site))
        yield targets


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.rest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds: a first look")
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(WORKLOADS)}")
    parser.add_argument("--peer", type=parse_peer, action="append", default=[])
    parser.add_argument("--peers-only", action="store_true", help="do not start this server")
    parser.add_argument("--check", action="store_true", help="status 1 where a target is missed")
    arguments = parser.parse_args()
    arguments.names = arguments.only.split(",") if arguments.only else list(WORKLOADS)
    if unknown := set(arguments.names) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    """Measure and print; loud where a server answers what it must not."""
    arguments = parse_arguments()
    names: list[str] = arguments.names
    rounds, seconds = (2, 1.0) if arguments.quick else (5, 2.0)
    try:
        with open_targets(arguments) as targets:
            table = measure(targets, names, rounds, seconds)
            print_table(table, targets, names)
    except RuntimeError as failure:
        sys.exit(f"bench: {failure}")
    missed = [
        name
        for (name, server), figures in table.items()
        if server == OWN_NAME and not is_within(figures, WORKLOADS[name].target)
    ]
    if arguments.check and missed:
        sys.exit(f"over the target: {', '.join(missed)}")


if __name__ == "__main__":
    main()
