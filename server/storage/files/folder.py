"""Files in a folder of the file system, as another server may serve them by their names.

Beside them, in ``.kintoun``, lies what is known of each (``files``, by the hash of
its name), which record has which (``records``), and what is being written
(``new``). A file without an entry in ``files`` is none of ours: it is neither
served nor removed. Whatever waits for the disk runs in a thread.
"""

import asyncio
import hashlib
import json
import logging
import os
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from server.core.errors import Unavailable
from server.storage.files.base import PIECE_BYTES, FileGone, NameTaken, StoredFile

logger = logging.getLogger(__name__)

T = TypeVar("T")

_OWN = ".kintoun"
_UNWRITABLE = "The file cannot be stored or read now."


class FolderFiles:
    """See ``FileStore``."""

    def __init__(self, base: Path, retry_after: int = 3) -> None:
        """Begin; the folder is made at the first use.

        Args:
            base: the folder.
            retry_after: seconds that a client is told to wait where the disk fails.
        """
        self._base = base
        self._infos = base / _OWN / "files"
        self._records = base / _OWN / "records"
        self._new = base / _OWN / "new"
        self._retry_after = retry_after

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            logger.warning("files in %s: %s", self._base, error)
            raise Unavailable(_UNWRITABLE, self._retry_after) from error

    async def create(self) -> "FolderWriter":
        """Begin a file; see ``FileStore``."""
        path = self._new / uuid.uuid4().hex
        return FolderWriter(self, path, await self._do(lambda: _open_new(path)))

    async def find(self, name: str) -> StoredFile | None:
        """The file of a name; see ``FileStore``."""

        def look() -> StoredFile | None:
            file = _load(self._info(name))
            return file if file is not None and (self._base / file.name).is_file() else None

        return await self._do(look)

    async def read(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a part; see ``FileStore``."""
        path = self._base / file.name
        if start >= stop:
            return
        try:
            source = await self._do_reading(lambda: path.open("rb"))
        except FileNotFoundError:
            raise FileGone from None
        try:
            for at in range(start, stop, PIECE_BYTES):
                size = min(PIECE_BYTES, stop - at)
                piece = await self._do(lambda at=at, size=size: os.pread(source.fileno(), size, at))  # type: ignore[misc]
                if len(piece) < size:
                    raise FileGone
                yield piece
        finally:
            source.close()

    async def _do_reading(self, work: Callable[[], T]) -> T:
        """As ``_do``; a missing file is the caller's."""
        try:
            return await asyncio.to_thread(work)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(_UNWRITABLE, self._retry_after) from error

    async def remove(self, name: str) -> None:
        """Remove a file; see ``FileStore``."""

        def unlink() -> None:
            file = _load(self._info(name))
            if file is None:
                return
            # The entry last: whoever is interrupted can be done again.
            (self._base / file.name).unlink(missing_ok=True)
            self._mark(file).unlink(missing_ok=True)
            self._info(name).unlink(missing_ok=True)

        await self._do(unlink)

    async def page(self, after: str, limit: int, uri: str | None = None) -> list[StoredFile]:
        """Files by the hash of their names; see ``FileStore``."""

        def list_them() -> list[StoredFile]:
            paths = self._walk(after) if uri is None else self._walk_records(after, uri)
            files = (_load(path) for path in paths)
            return list(islice((one for one in files if one is not None), limit))

        return await self._do(list_them)

    def _walk(self, after: str) -> Iterator[Path]:
        """Entries after that of a name, in the order of their hashes."""
        last = _hash(after) if after else ""
        for part in _names_in(self._infos):
            if part >= last[:2]:
                for name in _names_in(self._infos / part):
                    if name.removesuffix(".json") > last:
                        yield self._infos / part / name

    def _walk_records(self, after: str, uri: str) -> list[Path]:
        last = _hash(after) if after else ""
        found = {path.name for path in self._record(uri).rglob("*") if path.is_file()}
        return [self._entry(one) for one in sorted(found) if one > last]

    def _entry(self, key: str) -> Path:
        return self._infos / key[:2] / f"{key}.json"

    def _info(self, name: str) -> Path:
        return self._entry(_hash(name))

    def _record(self, uri: str) -> Path:
        """Folder of the marks of what lies in an object; ids may be too long for one."""
        ids = uri.split("/")[2::2]
        return self._records.joinpath(*(_hash(one) for one in ids))

    def _mark(self, file: StoredFile) -> Path:
        return self._record(file.uri) / _hash(file.name)

    async def publish(self, path: Path, file: StoredFile) -> None:
        """Give a written file its name.

        Raises:
            NameTaken: If there is another file of this name, ours or not.
            Unavailable: If the disk fails.
        """

        def link() -> None:
            info = self._info(file.name)
            for one in (info, self._mark(file), self._base / file.name):
                one.parent.mkdir(parents=True, exist_ok=True)
            with info.open("x") as entry:
                json.dump(asdict(file), entry)
            self._mark(file).touch()
            try:
                os.link(path, self._base / file.name)
            except FileExistsError:
                self._mark(file).unlink()
                info.unlink()
                raise
            path.unlink()

        try:
            await self._do_publishing(link)
        except FileExistsError:
            raise NameTaken from None

    async def _do_publishing(self, work: Callable[[], T]) -> T:
        """As ``_do``; a name that is taken is the caller's."""
        try:
            return await asyncio.to_thread(work)
        except FileExistsError:
            raise
        except OSError as error:
            logger.warning("files in %s: %s", self._base, error)
            raise Unavailable(_UNWRITABLE, self._retry_after) from error

    async def tidy(self, before: int) -> None:
        """Remove what was never finished; see ``FileStore``."""

        def unlink() -> None:
            for name in _names_in(self._new):
                path = self._new / name
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime * 1000 < before:
                        path.unlink()

        await self._do(unlink)

    async def check(self) -> bool:
        """Whether a file can be made in the folder; see ``FileStore``."""
        try:
            writer = await self.create()
            await writer.write(b"heartbeat")
            await writer.discard()
        except Unavailable:
            return False
        return True


class FolderWriter:
    """See ``FileWriter``."""

    def __init__(self, store: FolderFiles, path: Path, target: BinaryIO) -> None:
        self._store = store
        self._path = path
        self._target = target
        self._waiting = bytearray()

    async def write(self, data: bytes) -> None:
        """Add bytes; see ``FileWriter``."""
        self._waiting += data
        if len(self._waiting) >= PIECE_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        await self._store._do(lambda: self._target.write(waiting))

    async def finish(self, file: StoredFile) -> None:
        """Store it; see ``FileWriter``."""
        if not self._target.closed:
            await self._flush()
            await self._store._do(lambda: _sync(self._target))
        await self._store.publish(self._path, file)

    async def discard(self) -> None:
        """Forget it; see ``FileWriter``."""

        def unlink() -> None:
            with suppress(OSError):
                self._target.close()
            self._path.unlink(missing_ok=True)

        with suppress(OSError):
            await asyncio.to_thread(unlink)


def _open_new(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Unbuffered: it is written in large pieces.
    return path.open("xb", buffering=0)


def _sync(target: BinaryIO) -> None:
    os.fsync(target.fileno())
    target.close()


def _load(path: Path) -> StoredFile | None:
    """What an entry says; None where there is none, or one that was cut short."""
    try:
        return StoredFile(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return None


def _names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
