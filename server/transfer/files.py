"""Files of records: fetched from where they lie, stored here under the same names."""

import asyncio
import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from server.config import Settings
from server.core.contents import Content
from server.core.json_text import dump_json
from server.core.targets import PREFIX
from server.storage.base import Storage
from server.storage.files.base import (
    PIECE_BYTES,
    FileStore,
    KeepsFiles,
    NameTaken,
    StoredFile,
)
from server.storage.files.folder import FolderFiles
from server.transfer.entries import Entry

FIELD = "attachment"
"""Of a record: what it says of its file."""

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the files of a source lie.

    Attributes:
        place: an address, ending in a slash, or a folder; empty if it is not known.
        headers: for requests to that address.
    """

    place: str = ""
    headers: Mapping[str, str] | None = None

    def find_name(self, location: str) -> str | None:
        """The name of the file of a location; None if it is none of these files."""
        if not self.is_address:
            return self._find_in_folder(location)
        if location.startswith(self.place):
            location = location.removeprefix(self.place)
        elif "://" in location or location.startswith("//"):
            return None
        name = unquote(location.lstrip("/"))
        return name if _is_name(name) else None

    @property
    def is_address(self) -> bool:
        """Whether it is no folder."""
        return not self.place or self.place.startswith(("http://", "https://"))

    def _find_in_folder(self, location: str) -> str | None:
        # What the location begins with is an address that nobody needs to know any more.
        segments = unquote(urlsplit(location).path).strip("/").split("/")
        names = ("/".join(segments[start:]) for start in range(len(segments)))
        found = (name for name in names if _is_name(name) and Path(self.place, name).is_file())
        return next(found, None)

    def open(self, name: str) -> IO[bytes]:
        """The bytes of a file.

        Raises:
            OSError | HTTPException: If it cannot be had.
        """
        if not self.is_address:
            return Path(self.place, name).open("rb")
        if not self.place:
            raise OSError("the source does not say where its files are: see --attachments")
        request = urllib.request.Request(
            urljoin(self.place, quote(name)), headers=dict(self.headers or {})
        )
        stream: IO[bytes] = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
        return stream


class Files:
    """The files of one import."""

    def __init__(self, store: FileStore, origin: Origin, base: str | None) -> None:
        """Begin.

        Args:
            store: where they go.
            origin: where they come from.
            base: what their locations begin with here, ending in a slash; None leaves
                locations as they are.
        """
        self.origin = origin
        self._store = store
        self._base = base

    def rewrite(self, entry: Entry) -> Entry:
        """The record with the location that its file has here."""
        found = self._find(entry)
        if found is None or self._base is None:
            return entry
        name, told = found
        fields = {**(entry.content.fields or {}), FIELD: told | {"location": self._spell(name)}}
        content: Content = replace(entry.content, fields=fields, text=dump_json(fields))
        return replace(entry, content=content)

    def _spell(self, name: str) -> str:
        return f"{self._base}{quote(name)}"

    def _find(self, entry: Entry) -> tuple[str, dict[str, Any]] | None:
        """The name of a record's file, and what the record says of it; None if it has none."""
        told = (entry.content.fields or {}).get(FIELD)
        if entry.deleted or entry.path.kind.name != "record" or not isinstance(told, dict):
            return None
        location = told.get("location")
        if not isinstance(location, str) or not isinstance(told.get("hash"), str):
            return None
        name = self.origin.find_name(location)
        return None if name is None else (name, told)

    async def differ(self, entry: Entry) -> str:
        """Why a record's file is not here; empty if it is, or there is none."""
        found = self._find(entry)
        if found is None:
            return ""
        stored = await self._store.find(found[0])
        if stored is None:
            return "its file is not here"
        return "" if stored.hash == found[1]["hash"] else "its file is another"

    async def bring(self, entry: Entry) -> bool:
        """Store a record's file, unless it is here; whether it was brought.

        Raises:
            BadFile: If it cannot be had, or is not what the record says.
            Unavailable: If it cannot be stored.
        """
        found = self._find(entry)
        if found is None or not await self.differ(entry):
            return False
        name, told = found
        try:
            with ExitStack() as stack:
                stream = stack.enter_context(await asyncio.to_thread(self.origin.open, name))
                await self._copy(entry, name, told, stream)
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise BadFile(f"its file {name} cannot be had: {reason}") from None
        return True

    async def _copy(
        self, entry: Entry, name: str, told: Mapping[str, Any], stream: IO[bytes]
    ) -> None:
        writer = await self._store.create()
        digest, size = hashlib.sha256(), 0
        try:
            while piece := await asyncio.to_thread(stream.read, PIECE_BYTES):
                digest.update(piece)
                size += len(piece)
                await writer.write(piece)
            if digest.hexdigest() != told["hash"]:
                raise BadFile(f"its file {name} is not the one that it tells the hash of")
            file = StoredFile(
                name,
                size,
                told["hash"],
                str(told.get("mimetype") or "application/octet-stream"),
                str(told.get("filename") or name.rpartition("/")[2]),
                entry.path.uri,
                time.time_ns() // 1_000_000,
            )
            await writer.finish(file)
        except NameTaken:
            raise BadFile(f"there is another file called {name} here") from None
        except BaseException:
            await writer.discard()
            raise


class BadFile(Exception):
    """A file that cannot be brought; the message says why."""


async def open_files(settings: Settings, storage: Storage) -> FileStore | None:
    """Where a server with these settings keeps files; None if it cannot."""
    if settings.attachments.base_path is not None:
        return FolderFiles(settings.attachments.base_path, settings.retry_after_seconds)
    return await storage.files() if isinstance(storage, KeepsFiles) else None


def find_base(settings: Settings) -> str | None:
    """What locations begin with on a server with these settings; None if they do not say."""
    given = settings.attachments.base_url
    if given is not None:
        return given if given.endswith("/") else f"{given}/"
    if settings.http_host is None or settings.http_scheme is None:
        return None
    return f"{settings.http_scheme}://{settings.http_host}{PREFIX}/attachments/"


def _is_name(name: str) -> bool:
    segments = name.split("/")
    return bool(name) and all(one not in ("", ".", "..") for one in segments) and "\0" not in name
