"""Processes that a measurement starts, and what they cost, read from /proc."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 30
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_LISTENS = re.compile(r"listens on http://([\d.]+):(\d+)/")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time used, user and system, in seconds: the server's, and mongod's."""

    server: float = 0.0
    mongod: float = 0.0

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.server - other.server, self.mongod - other.mongod)

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.server + other.server, self.mongod + other.mongod)


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    name: str
    parent: int
    seconds: float


def _read_stat(path: Path) -> _Stat | None:
    try:
        text = path.read_text()
    except OSError:
        return None  # It ended since the folder was listed.
    # The name stands in brackets and may itself hold brackets and spaces.
    start, end = text.index("("), text.rindex(")")
    fields = text[end + 2 :].split()
    ticks = int(fields[11]) + int(fields[12])
    return _Stat(int(text[:start]), text[start + 1 : end], int(fields[1]), ticks * _TICK_SECONDS)


def read_cpu(root: int) -> Cpu:
    """What the process ``root`` and its descendants have used until now.

    Each mongod among them is counted apart. Resolution: one clock tick, 10 ms.

    Raises:
        ProcessLookupError: If there is no such process (any more).
    """
    stats = [stat for p in Path("/proc").glob("[0-9]*/stat") if (stat := _read_stat(p))]
    if not any(stat.pid == root for stat in stats):
        raise ProcessLookupError(f"no process {root}")
    tree = {root}
    while added := {s.pid for s in stats if s.parent in tree} - tree:
        tree |= added
    total = Cpu()
    for stat in stats:
        if stat.pid in tree:
            mongod = stat.name.startswith("mongod")
            total += Cpu(mongod=stat.seconds) if mongod else Cpu(server=stat.seconds)
    return total


class BareProcess:
    """``bench.bare``, running.

    Attributes:
        pid, port: of the process, on the loopback.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.bare"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.port = int(self._process.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class KintounProcess:
    """The server of this checkout with its own mongod, on a new folder of data.

    Attributes:
        pid, host, port: of the server; the mongod is a child of it.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="bench-")
        self._log = Path(self._folder.name, "server.log")
        data = str(Path(self._folder.name, "data"))
        command = [sys.executable, "-m", "server", "serve", "--port", "0", "--data", data]
        unset = ("MONGODB_URI", "PORT")
        environ = {k: v for k, v in os.environ.items() if k not in unset and k[:5] != "KINTO"}
        # To a file: a pipe that nobody reads fills up, and the server stands still.
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environ, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._process.pid
        try:
            self.host, self.port = self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def _wait_until_it_listens(self) -> tuple[str, int]:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            ended = self._process.poll() is not None
            found = _LISTENS.search(text := self._log.read_text(errors="replace"))
            if found:
                return found[1], int(found[2])
            if ended:
                raise RuntimeError(f"the server did not start:\n{text}")
            time.sleep(0.05)
        raise RuntimeError(f"the server does not listen after {START_SECONDS} s")

    def stop(self) -> None:
        """Ask it to end (it then stops its mongod), and throw its data away."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
