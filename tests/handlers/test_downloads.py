import asyncio
import hashlib
from collections.abc import AsyncGenerator
from email.utils import formatdate
from typing import Any

import pytest

from handlers.downloads import spell_disposition
from server.storage.files.base import PIECE_BYTES, StoredFile
from server.storage.files.memory import MemoryFiles
from tests.handlers.conftest import ALICE, BOB, Fetch, Start, serving
from tests.handlers.forms import RECORD, attach, make_collection, storage_with, target_of

CONTENT = bytes(range(200))


class Served:
    """A file that is served.

    Attributes:
        path: below the version.
        etag: quoted.
    """

    def __init__(self, fetch: Fetch, location: str) -> None:
        self.fetch = fetch
        self.path = target_of(location)
        self.etag = f'"{hashlib.sha256(CONTENT).hexdigest()}"'

    async def get(self, method: str = "GET", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.fetch(f"{method} {self.path}", user=None, headers=named)


@pytest.fixture
def served(start: Start, io_loop: Any) -> Served:
    async def begin() -> Served:
        fetch = await start(includes="attachments", attachment__extensions="any")
        await make_collection(fetch)
        answer = await attach(fetch, CONTENT, "a.png", kind="image/png")
        return Served(fetch, answer.json["location"])

    return io_loop.run_sync(begin)  # type: ignore[no-any-return]


@pytest.mark.gen_test
async def test_file_comes_with_what_is_known_of_it_and_can_do_no_harm(served: Served) -> None:
    answer = await served.get()
    assert (answer.status, answer.body) == (200, CONTENT)
    expected = {
        "Accept-Ranges": "bytes",
        "Content-Length": "200",
        "Content-Type": "image/png",
        "ETag": served.etag,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "public, max-age=31536000, immutable",
        "Access-Control-Allow-Origin": "*",
        "Content-Disposition": "inline; filename=\"a.png\"; filename*=UTF-8''a.png",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.gen_test
async def test_head_tells_all_but_the_file(served: Served) -> None:
    whole, head = await served.get(), await served.get("HEAD")
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "Date": ""} == {**whole.headers, "Date": ""}


@pytest.mark.parametrize(
    ("asked", "first", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=190-", 190, 200),
        ("bytes=190-1000", 190, 200),
        ("bytes=-5", 195, 200),
        ("bytes=-1000", 0, 200),
        ("Bytes = 3-4", 3, 5),
    ],
)
@pytest.mark.gen_test
async def test_part_of_a_file_comes_alone(
    served: Served, asked: str, first: int, stop: int
) -> None:
    answer = await served.get(Range=asked)
    assert (answer.status, answer.body) == (206, CONTENT[first:stop])
    assert answer.headers["Content-Range"] == f"bytes {first}-{stop - 1}/200"
    assert answer.headers["Content-Length"] == str(stop - first)
    head = await served.get("HEAD", Range=asked)
    assert (head.status, head.headers["Content-Length"]) == (206, str(stop - first))


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,5-6",
        "bytes=9-3",
        "bytes=-",
        "bytes=a-b",
        "lines=0-1",
        "bytes",
        "bytes=1",
        "x" * 99,
    ],
)
@pytest.mark.gen_test
async def test_range_that_is_not_served_is_answered_by_the_whole(
    served: Served, asked: str
) -> None:
    answer = await served.get(Range=asked)
    assert (answer.status, answer.body) == (200, CONTENT)


@pytest.mark.parametrize(
    "asked", ["bytes=200-", "bytes=999999999999-", "bytes=200-300", "bytes=-0"]
)
@pytest.mark.gen_test
async def test_range_beyond_the_end_is_refused(served: Served, asked: str) -> None:
    answer = await served.get(Range=asked)
    assert (answer.status, answer.json["errno"]) == (416, 107)
    assert answer.headers["Content-Range"] == "bytes */200"


@pytest.mark.gen_test
async def test_part_of_an_empty_file_is_beyond_its_end(served: Served) -> None:
    location = (await attach(served.fetch, b"", "empty.txt")).json["location"]
    for asked, status in (("bytes=0-", 416), ("bytes=-1", 200)):
        answer = await served.fetch(f"GET {target_of(location)}", headers={"Range": asked})
        assert answer.status == status


@pytest.mark.parametrize("given", ["{}", "W/{}", '"other", {}', "*"])
@pytest.mark.gen_test
async def test_client_that_has_the_file_is_told_so(served: Served, given: str) -> None:
    answer = await served.get(If_None_Match=given.format(served.etag))
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == served.etag
    assert "Content-Type" not in answer.headers


@pytest.mark.gen_test
async def test_client_that_has_another_file_gets_this_one(served: Served) -> None:
    assert (await served.get(If_None_Match='"other"')).status == 200
    # The tag counts, where both are given.
    later = formatdate(2**31, usegmt=True)
    assert (await served.get(If_None_Match='"other"', If_Modified_Since=later)).status == 200


@pytest.mark.gen_test
async def test_date_tells_whether_the_client_has_the_file(served: Served) -> None:
    date = (await served.get()).headers["Last-Modified"]
    assert (await served.get(If_Modified_Since=date)).status == 304
    assert (await served.get(If_Modified_Since=formatdate(0, usegmt=True))).status == 200
    assert (await served.get(If_Modified_Since="yesterday")).status == 200


@pytest.mark.gen_test
async def test_rest_of_another_file_is_not_sent(served: Served) -> None:
    date = (await served.get()).headers["Last-Modified"]
    for validator, status in ((served.etag, 206), (date, 206), ('"other"', 200), ("W/x", 200)):
        answer = await served.get(Range="bytes=100-", If_Range=validator)
        assert answer.status == status, validator


@pytest.mark.parametrize(
    "path",
    ["none.png", "a/b/c", "../../etc/passwd", "%2e%2e/passwd", "%00", "x" * 3000],
)
@pytest.mark.gen_test
async def test_file_that_is_not_there_is_not_found(served: Served, path: str) -> None:
    answer = await served.fetch(f"GET /attachments/{path}")
    assert (answer.status, answer.json["errno"]) == (404, 110)


@pytest.mark.gen_test
async def test_files_are_only_read(served: Served) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        answer = await served.fetch(f"{method} {served.path}", None if method == "DELETE" else {})
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.gen_test
async def test_file_is_no_part_of_a_batch(served: Served) -> None:
    answer = await served.fetch("POST /batch", {"requests": [{"path": served.path}]})
    assert answer.json["responses"][0]["status"] == 400


@pytest.mark.parametrize(
    ("filename", "mimetype", "expected"),
    [
        ("a.pdf", "application/pdf", "inline; filename=\"a.pdf\"; filename*=UTF-8''a.pdf"),
        ("a.html", "text/html", "attachment; filename=\"a.html\"; filename*=UTF-8''a.html"),
        ("a.svg", "image/svg+xml", "attachment; filename=\"a.svg\"; filename*=UTF-8''a.svg"),
        ("a.xml", "text/xml", "attachment; filename=\"a.xml\"; filename*=UTF-8''a.xml"),
        (
            'é";.txt',
            "text/plain",
            "inline; filename=\"__;.txt\"; filename*=UTF-8''%C3%A9%22%3B.txt",
        ),
    ],
)
def test_what_could_run_is_saved_and_not_shown(filename: str, mimetype: str, expected: str) -> None:
    assert spell_disposition(filename, mimetype) == expected


@pytest.mark.gen_test
async def test_private_file_is_read_by_who_may_read_its_record(start: Start) -> None:
    fetch = await start(includes="attachments", attachment__private="true")
    await make_collection(fetch)
    path = target_of((await attach(fetch)).json["location"])
    own = await fetch(f"GET {path}")
    assert (own.status, own.headers["Cache-Control"]) == (200, "private, no-cache")
    assert (await fetch(f"GET {path}", user=BOB)).status == 403
    assert (await fetch(f"GET {path}", user=None)).status == 401
    assert (await fetch(f"HEAD {path}", user=BOB)).status == 403
    await fetch(f"PATCH {RECORD}", {"permissions": {"read": ["system.Authenticated"]}})
    assert (await fetch(f"GET {path}", user=BOB)).body == b"content"


@pytest.mark.gen_test
async def test_private_file_that_its_record_names_no_more_is_not_found(start: Start) -> None:
    given = {"attachment__private": "true", "attachment__keep_old_files": "true"}
    fetch = await start(includes="attachments", **given)
    await make_collection(fetch)
    path = target_of((await attach(fetch)).json["location"])
    await attach(fetch, b"newer")
    assert (await fetch(f"GET {path}")).status == 404


class Observed(MemoryFiles):
    """Counts the pieces that are read, and tells when a reader was let go of."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = 0
        self.closed = asyncio.Event()
        self.fails_at = -1

    async def read(self, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        try:
            async for piece in super().read(file, start, stop):
                if self.pieces == self.fails_at:
                    await self.remove(file.name)
                    continue
                self.pieces += 1
                yield piece
        finally:
            self.closed.set()


async def ask_for(root: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(root.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(f"GET /v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


PIECES = 60


@pytest.mark.gen_test(timeout=20)
async def test_no_more_is_read_than_the_client_takes_and_nothing_once_it_has_left(
    start: Start,
) -> None:
    files = Observed()
    storage = storage_with(files)
    fetch = await start(storage, includes="attachments")
    await make_collection(fetch)
    path = target_of((await attach(fetch, bytes(PIECES * PIECE_BYTES))).json["location"])
    async with serving(storage, includes="attachments") as root:
        reader, writer = await ask_for(root, path)
        await reader.readline()
        # Others are answered meanwhile.
        assert (await fetch(f"GET {RECORD}")).status == 200
        writer.close()
        await files.closed.wait()
        assert files.pieces < PIECES


@pytest.mark.gen_test
async def test_file_that_is_removed_while_it_is_read_does_not_end_as_if_it_were_whole(
    start: Start,
) -> None:
    files = Observed()
    storage = storage_with(files)
    fetch = await start(storage, includes="attachments")
    await make_collection(fetch)
    path = target_of((await attach(fetch, bytes(4 * PIECE_BYTES))).json["location"])
    files.fails_at = 2
    async with serving(storage, includes="attachments") as root:
        reader, writer = await ask_for(root, path)
        received = await reader.read()
        writer.close()
    head, _, body = received.partition(b"\r\n\r\n")
    assert f"Content-Length: {4 * PIECE_BYTES}".encode() in head
    assert len(body) == 2 * PIECE_BYTES
