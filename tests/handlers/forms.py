"""Forms with files, as clients send them."""

import asyncio
import json
from typing import Any

from server.core.permissions import Rules
from server.storage.files.memory import MemoryFiles, MemoryWriter
from server.storage.memory import MemoryStorage
from tests.handlers.conftest import Answer, Fetch

BOUNDARY = "limit"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
RECORD = "/buckets/b/collections/c/records/r"


def part(name: str, content: bytes | str, filename: str | None = None, kind: str = "") -> bytes:
    """A part of a form; a file if it has a file's name."""
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    if kind:
        head += f"\r\nContent-Type: {kind}"
    text = content.encode() if isinstance(content, str) else content
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + text + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def file_form(
    content: bytes, filename: str = "a.txt", kind: str = "text/plain", **fields: Any
) -> bytes:
    """A form with a file; the other fields as JSON."""
    texts = [part(name, json.dumps(value)) for name, value in fields.items()]
    return form(*texts, part("attachment", content, filename, kind))


async def make_collection(fetch: Fetch) -> None:
    """The bucket and collection of ``RECORD``."""
    assert (await fetch("PUT /buckets/b", {})).status == 201
    assert (await fetch("PUT /buckets/b/collections/c", {})).status == 201


async def attach(
    fetch: Fetch,
    content: bytes = b"content",
    filename: str = "a.txt",
    path: str = RECORD,
    **given: Any,
) -> Answer:
    """Attach a file to a record; more headers and fields may be given."""
    headers = FORM | given.pop("headers", {})
    user = {"user": given.pop("user")} if "user" in given else {}
    kind = given.pop("kind", "text/plain")
    body = file_form(content, filename, kind, **given)
    return await fetch(f"POST {path}/attachment", body, headers=headers, **user)


def target_of(location: str) -> str:
    """The path of a location, below the version."""
    return location.partition("/v1")[2]


class Watched(MemoryFiles):
    """Tells when a file was removed, or one that was begun is discarded."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()
        self.begun = self.discarded = 0

    async def remove(self, name: str) -> None:
        await super().remove(name)
        self.changed.set()

    async def create(self) -> MemoryWriter:
        writer = await super().create()
        discard = writer.discard
        self.begun += 1
        self.changed.set()

        async def discard_and_tell() -> None:
            await discard()
            self.discarded += 1
            self.changed.set()

        writer.discard = discard_and_tell  # type: ignore[method-assign]
        return writer

    async def until_begun(self) -> None:
        """Wait until somebody has begun a file."""
        async with asyncio.timeout(5):
            while not self.begun:
                self.changed.clear()
                await self.changed.wait()

    async def until_discarded(self) -> None:
        """Wait until somebody who had begun a file has given up."""
        async with asyncio.timeout(5):
            while not self.discarded:
                self.changed.clear()
                await self.changed.wait()


def storage_with(files: MemoryFiles) -> MemoryStorage:
    """An empty storage that keeps its files there."""
    storage = MemoryStorage(Rules({"bucket:create": frozenset({"system.Authenticated"})}))
    storage._files = files
    return storage


async def stored(storage: MemoryStorage) -> list[str]:
    return [one.filename for one in await (await storage.files()).page("", 100)]


async def until_stored(storage: MemoryStorage, *filenames: str) -> None:
    """Wait until these files are there, and no others: they are collected in the background."""
    files = await storage.files()
    assert isinstance(files, Watched)
    async with asyncio.timeout(5):
        while await stored(storage) != list(filenames):
            files.changed.clear()
            await files.changed.wait()
