"""The folder in which a private mongod keeps its data: one server at a time."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from server.storage.base import StorageError

_END_SECONDS = 60.0
_POLL_SECONDS = 0.01


class EmbeddedError(StorageError):
    """The private mongod cannot run; the text is one sentence that says what to do."""


class FolderInUse(EmbeddedError):
    """Another server has the folder."""


class DataFolder:
    """The folder with the data of one server, locked against a second one.

    Attributes:
        path: absolute.
        database: folder of mongod's files.
        log: mongod's log file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.database = self.path / "db"
        self.log = self.path / "mongod.log"
        self._lock: int | None = None

    def lock(self) -> None:
        """Make the folder and take it until ``unlock`` or the end of the process.

        Raises:
            EmbeddedError: If another server has it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.database.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path / "kintoun.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedError(
                f"The data folder {self.path} cannot be written ({error.strerror}): "
                "name another one with --data."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise FolderInUse(
                f"The data folder {self.path} is used by another server ({owner}): "
                "stop that one, or name another folder with --data."
            ) from None
        self._lock = descriptor
        self.announce(None)

    def announce(self, url: str | None) -> None:
        """Note who has the folder, for whoever finds it locked.

        Args:
            url: where the server listens; None if it does not yet.
        """
        if self._lock is None:
            return
        owner = f"pid {os.getpid()} at {url}" if url else f"pid {os.getpid()}"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, owner.encode(), 0)

    def unlock(self) -> None:
        """Give the folder free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def find_leftover(self) -> int | None:
        """The pid of a mongod that an earlier server left running on this folder."""
        try:
            pid = int((self.database / "mongod.lock").read_text().strip() or 0)
        except (OSError, ValueError):
            return None
        # Pids are used again; only the command line tells that it is still that mongod.
        return pid if pid > 0 and str(self.database) in _command_line(pid) else None

    async def end_leftover(self) -> None:
        """End the mongod that a killed server left, if there is one.

        Raises:
            EmbeddedError: If it does not end.
        """
        pid = self.find_leftover()
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        end = time.monotonic() + _END_SECONDS
        while self.find_leftover() == pid:
            if time.monotonic() > end:
                raise EmbeddedError(
                    f"A mongod (pid {pid}) that an earlier server left on {self.path} does not "
                    "end: stop it, then start again."
                )
            await asyncio.sleep(_POLL_SECONDS)


def _command_line(pid: int) -> str:
    """The command line of a process; empty if it is gone or only waits to be reaped."""
    if sys.platform == "linux":
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return ""
        return os.fsdecode(b" ".join(words))
    shown = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout
