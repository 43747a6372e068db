"""Processes that tests start: a real MongoDB, and the server as a user starts it.

Each dies with the test run, also when that is killed.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pymongo import MongoClient

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_DEADLINE_SECONDS = 60.0
_LISTENS = re.compile(r"listens on (http://\S+/v1/)")


def die_with_parent() -> None:
    """Between fork and exec: be killed when the process that started us ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def mongod_binary() -> str:
    """The mongod that tests use: on PATH, else the one of the extra `embedded`."""
    found = shutil.which("mongod")
    if found:
        return found
    for folder in sys.path:
        carried = Path(folder, "fiftyone/db/bin/mongod")
        if carried.is_file():
            carried.chmod(carried.stat().st_mode | 0o111)
            return str(carried)
    raise FileNotFoundError("no mongod: install the extra 'embedded', or MongoDB")


class OutputLines:
    """The lines that a process prints, kept, with a wait for the one that matters.

    A thread reads them, whether anybody waits or not: a process that logs
    each request would stand still once the pipe is full.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._text = b""
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        descriptor = self._stream.fileno()
        while piece := os.read(descriptor, 65536):
            with self._changed:
                self._text += piece
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        """All that was read until now."""
        return self._text.decode(errors="replace")

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The first match of ``pattern`` in the output.

        Raises:
            AssertionError: If the output ends, or it does not come for a minute.
        """

        def known() -> bool:
            return self._ended or pattern.search(self.text) is not None

        with self._changed:
            self._changed.wait_for(known, _DEADLINE_SECONDS)
        found = pattern.search(self.text)
        assert found, f"{pattern.pattern!r} was not printed:\n{self.text}"
        return found

    def read_to_end(self) -> str:
        """All output, once the process has closed it."""
        with self._changed:
            ended = self._changed.wait_for(lambda: self._ended, _DEADLINE_SECONDS)
        assert ended, f"the output does not end:\n{self.text}"
        return self.text

    def close(self) -> None:
        """Let go of the output of a process that has ended."""
        self._thread.join(_DEADLINE_SECONDS)
        self._stream.close()


class MongoProcess:
    """A private mongod in ``folder``, by default a replica set of one.

    Attributes:
        uri: where it is, with the replica set named where there is one.
        port: its TCP port on the loopback.
    """

    def __init__(self, folder: Path, *, replica_set: bool = True) -> None:
        self.port = free_port()
        self._replica_set = replica_set
        self._log = folder / "mongod.log"
        data = folder / "db"
        data.mkdir(parents=True)
        command = [mongod_binary(), "--dbpath", str(data), "--port", str(self.port)]
        command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "1"]
        command += ["--setParameter", "enableTestCommands=1"]
        command += ["--setParameter", "transactionLifetimeLimitSeconds=5"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        if replica_set:
            command += ["--replSet", "rs0", "--oplogSize", "200"]
        with self._log.open("wb") as log:
            # Not to our standard output: a pipe that nobody reads fills, and mongod stands still.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, preexec_fn=die_with_parent
            )

    @property
    def uri(self) -> str:
        suffix = "/?replicaSet=rs0" if self._replica_set else "/?directConnection=true"
        return f"mongodb://127.0.0.1:{self.port}{suffix}"

    def wait_until_ready(self) -> None:
        """Return once it accepts writes."""
        self._wait_for_port()
        if self._replica_set:
            direct = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"
            with MongoClient[dict[str, object]](direct) as client:
                member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
        with MongoClient[dict[str, object]](self.uri) as client:
            client.get_database("admin").command("ping")

    def _wait_for_port(self) -> None:
        end = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("mongod does not listen")

    def stop(self) -> None:
        """End it; the data are thrown away, so at once."""
        self._process.kill()
        self._process.wait()


class ServerProcess:
    """``python -m server serve`` as its own process, on a port of its own.

    Attributes:
        url: root of the API, ending in ``/v1/``.
        pid: of the process.
    """

    def __init__(
        self,
        arguments: Sequence[str] = (),
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        command: Sequence[str] = (sys.executable, "-m", "server", "serve"),
        ready: bool = True,
    ) -> None:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("KINTO") and name not in ("PORT", "MONGODB_URI")
        }
        inherited |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PORT": "0"}
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**inherited, **(environ or {})},
            cwd=cwd,
            preexec_fn=die_with_parent,
        )
        self._lines = OutputLines(self._process)
        self.pid = self._process.pid
        try:
            self.url = self._lines.wait_for(_LISTENS)[1] if ready else ""
        except BaseException:
            self.close()
            raise

    @property
    def output(self) -> str:
        """What was printed and read until now, both streams."""
        return self._lines.text

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until a line with ``pattern`` is printed."""
        return self._lines.wait_for(re.compile(pattern))

    def terminate(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, wait for it; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(with_signal)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(_DEADLINE_SECONDS)

    def wait(self) -> int:
        """Wait for its end; its exit code. All its output is in ``output`` then."""
        self._lines.read_to_end()
        return self._process.wait(_DEADLINE_SECONDS)

    def close(self) -> None:
        """Stop it if it still runs, and let go of its output."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._lines.close()
