"""The processes of a live measurement: who runs on which core, and what each costs."""

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.live_bare import Cost, Load
from bench.live_clients import COUNTER, Plan, Seen
from bench.processes import ROOT, KintounProcess

_SCHED_CLOCK = 2
BATCH_MAX = 250
"""Writes in one request, where they only have to be many."""

_SETTINGS = {
    # A reader that is made to stand still must not be given up meanwhile.
    "KINTO_LIVE_PING_SECONDS": "3600",
    "KINTO_LIVE_STALLED_SECONDS": "3600",
    "KINTO_BATCH_MAX_REQUESTS": str(BATCH_MAX),
}
WAIT_SECONDS = 60


def read_seconds(pid: int) -> float:
    """CPU time that a process, without its children, has used until now."""
    # How the kernel numbers the CPU clock of another process; in the C library it is
    # clock_getcpuclockid, which Python has not.
    return time.clock_gettime((~pid << 3) | _SCHED_CLOCK)


def read_memory(pid: int) -> int:
    """Bytes of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children_of(pid: int) -> list[int]:
    """Ids of the processes that a process has started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


def pin(pid: int, core: int) -> None:
    """Let all threads of a process run on one core only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def cores() -> tuple[int, int] | None:
    """The server's core, and that of all others; None where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else None


class LiveServer(KintounProcess):
    """A server on a core of its own, with any storage.

    With ``profiled`` it is ``bench.live_profiled``: see ``start_profile``.

    Attributes:
        pid, host, port: of the server.
    """

    def __init__(
        self, storage: str, placed: tuple[int, int] | None, *, profiled: bool = False
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._log = Path(self._folder.name, "server.log")
        self.profile = Path(self._folder.name, "profile")
        module = ["bench.live_profiled", str(self.profile)] if profiled else ["server"]
        command = [sys.executable, "-m", *module, "serve", "--port", "0", "--storage", storage]
        command += ["--data", str(Path(self._folder.name, "data"))]
        unset = ("MONGODB_URI", "PORT")
        environ = {k: v for k, v in os.environ.items() if k not in unset and k[:5] != "KINTO"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environ, **_SETTINGS, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        try:
            self.host, self.port = self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise
        if placed:
            pin(self.pid, placed[0])
            for mongod in children_of(self.pid):
                pin(mongod, placed[1])

    def start_profile(self) -> None:
        """Count from now on."""
        os.kill(self.pid, signal.SIGUSR1)

    def finish_profile(self) -> None:
        """Count no more, and write what was counted until now to ``profile``."""
        self.profile.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR2)
        wait_until(self.profile.exists, "no profile was written")

    def complaints(self) -> list[str]:
        """Lines of its log that are no news."""
        words = (" WARNING ", " ERROR ", "Traceback")
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(word in line for word in words)]


def wait_until(done: Callable[[], bool], otherwise: str, seconds: float = WAIT_SECONDS) -> None:
    """Look again and again.

    Raises:
        RuntimeError: If that takes too long.
    """
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.002)


class _Spoken:
    """A process that is spoken to in lines."""

    def __init__(self, *module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process ended: see above")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()


class BareSender(_Spoken):
    """``bench.live_bare send``, running; as a context, until its end.

    Attributes:
        pid, port: of the process, on the loopback.
    """

    def __init__(self, placed: tuple[int, int] | None, kind: str = "send") -> None:
        super().__init__("bench.live_bare", kind)
        self.port = int(self._hear())
        if placed:
            pin(self.pid, placed[0])

    def send(self, load: Load) -> Cost:
        """Let it send, to all who are connected."""
        self._say(json.dumps(asdict(load)))
        return Cost(**json.loads(self._hear()))


class Readers(_Spoken):
    """``bench.live_clients``, running; as a context, until its end.

    Attributes:
        count: how many they are.
        pid: of the process.
    """

    def __init__(self, plan: Plan, *, timed: bool = False) -> None:
        """Start, and wait until all are live."""
        super().__init__("bench.live_clients")
        self.count = plan.readers
        self._counter = tempfile.NamedTemporaryFile(prefix="bench-")
        self._counter.write(bytes(COUNTER.size))
        self._counter.flush()
        self._shared = mmap.mmap(self._counter.fileno(), COUNTER.size)
        self._times = tempfile.NamedTemporaryFile(prefix="bench-")
        times = self._times.name if timed else ""
        plan = replace(plan, counter=self._counter.name, times=times)
        try:
            self._say(json.dumps(asdict(plan)))
            if self._hear() != "ready\n":
                raise RuntimeError("the readers are not ready")
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def events(self) -> int:
        """How many all of them got until now."""
        return int(COUNTER.unpack_from(self._shared)[0])

    @property
    def done(self) -> int:
        """How many of the sampled ones have got ``LAST``."""
        return int(COUNTER.unpack_from(self._shared)[1])

    def wait_for(self, events: int) -> None:
        """Wait until they have so many.

        Raises:
            RuntimeError: If they do not get them.
        """
        wait_until(lambda: self.events >= events, f"{events} events, but got {self.events}")

    def go_on(self) -> None:
        """Let paused ones read."""
        self._say("")

    def finish(self) -> Seen:
        """Let them end; what they saw."""
        self._say("")
        return Seen(**json.loads(self._hear()))

    def times(self, seen: Seen) -> list["array[int]"]:
        """When each reader got each event, in nanoseconds of the monotonic clock."""
        found = []
        with open(self._times.name, "rb") as file:
            for events in seen.events:
                times = array("q")
                times.fromfile(file, events)
                found.append(times)
        return found

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._counter.close()
        self._times.close()
