"""Forms as they come over the wire: whole, in pieces, cut short, and refused on the way."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from server.storage.files.memory import MemoryWriter
from server.storage.memory import MemoryStorage
from tests.handlers.conftest import ALICE, BOB, Fetch, Start, serving
from tests.handlers.forms import (
    FORM,
    RECORD,
    Watched,
    file_form,
    form,
    make_collection,
    part,
    storage_with,
    stored,
)

pytestmark = pytest.mark.gen_test


@pytest.fixture
def files() -> Watched:
    return Watched()


@pytest.fixture
def storage(files: Watched) -> MemoryStorage:
    return storage_with(files)


@pytest.fixture
def fetch(start: Start, storage: MemoryStorage, io_loop: Any) -> Fetch:
    async def begin() -> Fetch:
        asking = await start(storage, includes="attachments")
        await make_collection(asking)
        return asking

    return io_loop.run_sync(begin)  # type: ignore[no-any-return]


def head(root: str, *headers: str) -> bytes:
    lines = [f"POST /v1{RECORD}/attachment HTTP/1.1", f"Host: {root[7:]}"]
    lines += [f"Authorization: {ALICE}", f"Content-Type: {FORM['Content-Type']}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def connect(root: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(root.rpartition(":")[2]))


@pytest.fixture
def root(fetch: Fetch, storage: MemoryStorage, io_loop: Any) -> Iterator[str]:
    """Of a server for requests that are written by hand; the collection is there."""
    context = serving(storage, includes="attachments")
    yield io_loop.run_sync(context.__aenter__)
    io_loop.run_sync(lambda: context.__aexit__(None, None, None))


@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_sender_that_leaves_in_the_middle_leaves_nothing(
    root: str, storage: MemoryStorage, files: Watched, coding: str
) -> None:
    body = file_form(bytes(500_000))
    _, writer = await connect(root)
    if coding == "length":
        writer.write(head(root, f"Content-Length: {len(body)}") + body[:300_000])
    else:
        sent = b"%x\r\n%b\r\n" % (300_000, body[:300_000])
        writer.write(head(root, "Transfer-Encoding: chunked") + sent)
    await writer.drain()
    await files.until_begun()
    writer.close()
    await files.until_discarded()
    assert await stored(storage) == []


async def test_file_may_come_in_chunks(root: str, fetch: Fetch) -> None:
    body = file_form(b"content" * 10_000)
    pieces = [body[at : at + 999] for at in range(0, len(body), 999)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
    reader, writer = await connect(root)
    writer.write(head(root, "Transfer-Encoding: chunked", "Connection: close") + chunks)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 201")
    record = (await fetch(f"GET {RECORD}")).data
    assert record["attachment"]["size"] == 70_000


async def test_who_asks_first_is_told_before_the_file_is_sent(root: str, files: Watched) -> None:
    reader, writer = await connect(root)
    asked = head(root, "Content-Length: 209715200", "Expect: 100-continue").replace(
        ALICE.encode(), BOB.encode()
    )
    writer.write(asked)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403")
    assert files.begun == 0


async def test_refusal_in_the_middle_reaches_who_sends_on(root: str, files: Watched) -> None:
    body = form(part("attachment", bytes(3_000_000), "virus.exe"))
    reader, writer = await connect(root)
    writer.write(head(root, f"Content-Length: {len(body)}") + body)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"File extension is not allowed." in answer
    assert files.begun == 0


async def test_sender_waits_while_the_store_does(
    root: str, storage: MemoryStorage, files: Watched
) -> None:
    gate = asyncio.Event()
    written: list[int] = []
    create = files.create

    async def create_gated() -> MemoryWriter:
        writer = await create()
        write = writer.write

        async def write_gated(data: bytes) -> None:
            written.append(len(data))
            await gate.wait()
            await write(data)

        writer.write = write_gated  # type: ignore[method-assign]
        return writer

    files.create = create_gated  # type: ignore[method-assign]
    body = file_form(bytes(30_000_000))
    reader, writer = await connect(root)
    writer.write(head(root, f"Content-Length: {len(body)}", "Connection: close") + body)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await writer.drain()
    assert sum(written) <= 65_536
    gate.set()
    assert (await reader.read()).startswith(b"HTTP/1.1 201")
    writer.close()
    assert await stored(storage) == ["a.txt"]
