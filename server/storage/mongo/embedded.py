"""A private mongod for those who have no MongoDB: started and stopped with the server.

It is a replica set of one, so transactions and change streams work. It
listens on a Unix socket in a folder that only this user can enter, and on no
TCP port: it has no passwords, and other users of the machine must not get in.
"""

import asyncio
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from server.child_processes import end_with_parent
from server.storage.mongo.data_folders import DataFolder, EmbeddedError

__all__ = ["EmbeddedError", "EmbeddedMongo", "find_mongod", "start_mongod"]

_SET_NAME = "kintoun"
_CACHE_GB = 0.5
_LOG_MAX_BYTES = 16 * 1024 * 1024
_READY_SECONDS = 300.0
"""Recovery after a power cut replays the journal; only silence for this long is a failure."""
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.01
_SOCKET_PATH_MAX_BYTES = 100
"""A Unix socket's address has 108 bytes, 104 on macOS, the ending NUL included."""
_ALREADY_INITIALIZED = 23
_RESTARTED = 20698
"""Id of the log line between two runs."""
_PACKAGES = {"libcurl.so.4": "libcurl4", "libcrypto.so.3": "libssl3", "libssl.so.3": "libssl3"}


class EmbeddedMongo:
    """A running private mongod.

    Attributes:
        uri: where it is, for a MongoDB driver.
        folder: where its data lie.
        pid: of the mongod process.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, folder: DataFolder, socket: Path
    ) -> None:
        self._process = process
        self.folder = folder
        self.pid = process.pid
        self.uri = _spell_uri(socket)

    async def wait(self) -> int:
        """Wait until mongod ends, by whatever cause; its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End mongod cleanly, then give the data folder free.

        Raises:
            EmbeddedError: If it does not end. It is left alone then: its data
                are worth more than its end.
        """
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            raise EmbeddedError(
                f"mongod (pid {self.pid}) did not end within {_STOP_SECONDS:.0f} seconds: "
                f"see {self.folder.log}."
            ) from None
        finally:
            self.folder.unlock()


async def start_mongod(data_dir: Path, *, binary: str | None = None) -> EmbeddedMongo:
    """Start a private mongod on ``data_dir`` and wait until it takes writes.

    A mongod that a killed server left behind on this folder is ended first.

    Args:
        data_dir: made if it is missing; locked while mongod runs.
        binary: path of mongod; None looks on PATH, then for the one of the
            extra ``embedded``.

    Raises:
        EmbeddedError: If there is no mongod for this machine, it cannot run,
            or another server uses the folder.
    """
    program = binary or find_mongod()
    folder = DataFolder(data_dir)
    folder.lock()
    try:
        await folder.end_leftover()
        return await _start(program, folder)
    except BaseException:
        folder.unlock()
        raise


async def _start(program: str, folder: DataFolder) -> EmbeddedMongo:
    socket = socket_path(folder.path)
    keep_log_small(folder.log)
    with tempfile.TemporaryFile() as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                *_command(program, folder, socket),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                # Ctrl-C goes to the whole group; mongod has to outlive the server's own end.
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        except OSError as error:
            raise EmbeddedError(
                f"{program} cannot be started ({error.strerror}): "
                "install MongoDB, or set MONGODB_URI to one that runs."
            ) from None
        mongo = EmbeddedMongo(process, folder, socket)
        try:
            if not await _becomes_ready(mongo, socket):
                errors.seek(0)
                printed = errors.read().decode(errors="replace")
                raise EmbeddedError(_why_it_ended(program, printed, folder.log))
        except BaseException:
            await mongo.stop()
            raise
    return mongo


async def _becomes_ready(mongo: EmbeddedMongo, socket: Path) -> bool:
    """Wait until mongod takes writes (True), or ends instead (False)."""
    ready = asyncio.ensure_future(_wait_until_writable(socket))
    ended = asyncio.ensure_future(mongo.wait())
    try:
        await asyncio.wait(
            {ready, ended}, timeout=_READY_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        if ended.done():
            return False
        if not ready.done():
            raise EmbeddedError(f"mongod does not get ready: see {mongo.folder.log}.")
        ready.result()
        return True
    finally:
        ready.cancel()
        ended.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)


async def find_running(data_dir: Path) -> str | None:
    """Where the mongod is that another server runs on a folder; None if it does not answer."""
    socket = socket_path(DataFolder(data_dir).path)
    return _spell_uri(socket) if await _accepts(socket) else None


def _spell_uri(socket: Path) -> str:
    return f"mongodb://{quote(str(socket), safe='')}/?replicaSet={_SET_NAME}"


def find_mongod() -> str:
    """The path of a mongod: the one on PATH, else the one of the extra ``embedded``.

    Raises:
        EmbeddedError: If there is neither.
    """
    found = shutil.which("mongod")
    if found:
        return found
    for entry in sys.path:
        carried = Path(entry, "fiftyone", "db", "bin", "mongod")
        if carried.is_file():
            # Some installers drop the executable bit.
            if not os.access(carried, os.X_OK):
                carried.chmod(carried.stat().st_mode | stat.S_IXUSR)
            return str(carried)
    machine = f"{platform.system()} {platform.machine()}"
    remedy = "install MongoDB 6 or newer, or set MONGODB_URI to one that runs."
    if machine == "Linux x86_64":
        remedy = "pip install 'kintoun[embedded]', " + remedy
    raise EmbeddedError(f"No mongod was found for this machine ({machine}): {remedy}")


def _command(program: str, folder: DataFolder, socket: Path) -> list[str]:
    parameters = {
        # A transaction of a killed server holds its buckets no longer than this.
        "transactionLifetimeLimitSeconds": "5",
        # There is no secondary to wait for.
        "shutdownTimeoutMillisForSignaledShutdown": "100",
        # 200 MB of measurements that nobody reads.
        "diagnosticDataCollectionEnabled": "false",
    }
    command = [program, "--dbpath", str(folder.database), "--replSet", _SET_NAME]
    command += ["--bind_ip", str(socket), "--wiredTigerCacheSizeGB", str(_CACHE_GB)]
    command += ["--logpath", str(folder.log), "--logappend"]
    for name, value in parameters.items():
        command += ["--setParameter", f"{name}={value}"]
    return command


def socket_path(data_dir: Path) -> Path:
    """A path for the socket that is short enough, the same at each start, and private."""
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16] + ".sock"
    candidates = [Path(tempfile.gettempdir()), Path("/tmp")]
    parent = next(
        (p for p in candidates if len(os.fsencode(p)) + 40 < _SOCKET_PATH_MAX_BYTES), candidates[1]
    )
    folder = parent / f"kintoun-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"The folder {folder} for mongod's socket cannot be made ({error.strerror}): "
            "set TMPDIR to a folder that can be written."
        ) from None
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not private or status.st_uid != os.geteuid():
        raise EmbeddedError(
            f"{folder} is not a folder of this user alone, so mongod's socket cannot lie there: "
            "remove it, or set TMPDIR to another folder."
        )
    return folder / name


async def _wait_until_writable(socket: Path) -> None:
    while True:
        if await _accepts(socket):
            break
        await asyncio.sleep(_POLL_SECONDS)
    uri = f"mongodb://{quote(str(socket), safe='')}/?directConnection=true"
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        while True:
            hello = await client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return
            if hello.get("isreplicaset"):
                await _configure(client, str(socket))
            await asyncio.sleep(_POLL_SECONDS)


async def _accepts(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _configure(client: AsyncMongoClient[dict[str, Any]], host: str) -> None:
    """Make the replica set, or tell it that its only member has moved."""
    config = {"_id": _SET_NAME, "members": [{"_id": 0, "host": host}]}
    try:
        await client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code != _ALREADY_INITIALIZED:
            raise EmbeddedError(f"mongod cannot be made a replica set: {error}.") from None
    else:
        return
    kept = (await client.admin.command("replSetGetConfig"))["config"]
    if kept["members"][0]["host"] != host:
        # The folder was moved. No majority can agree to it: the member no longer knows itself.
        kept["members"][0]["host"] = host
        await client.admin.command("replSetReconfig", kept, force=True)


def keep_log_small(log: Path) -> None:
    """Put a long log aside; one older one is kept."""
    if log.exists() and log.stat().st_size > _LOG_MAX_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _why_it_ended(program: str, printed: str, log: Path) -> str:
    missing = re.search(r"shared libraries: (\S+):", printed)
    if missing:
        library = missing[1]
        package = _PACKAGES.get(library)
        remedy = f"apt-get install {package}" if package else f"install {library}"
        return f"{program} needs {library}, which this system lacks: {remedy}, or set MONGODB_URI."
    last_words = printed.strip().splitlines() or ["no reason given"]
    cause = " ".join((_first_error(log) or last_words[-1]).split()).rstrip(".")
    return f"mongod ended at its start ({cause}): see {log}."


def _first_error(log: Path) -> str | None:
    """The first error of mongod's last run; what follows it are only its consequences.

    Args:
        log: lines that are JSON objects.
    """
    try:
        lines = log.read_text(errors="replace").splitlines()[-500:]
    except OSError:
        return None
    first: dict[str, Any] | None = None
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("id") == _RESTARTED:
            first = None
        elif entry.get("s") in ("E", "F") and first is None:
            first = entry
    if first is None:
        return None
    error = first.get("attr", {}).get("error")
    reason = error.get("errmsg") if isinstance(error, dict) else error
    return f"{first['msg']}: {reason}" if reason else str(first["msg"])
