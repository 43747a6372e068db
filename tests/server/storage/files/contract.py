"""The contract suite of stores of files.

A store's test module makes a class of its own of ``FilesContract`` and gives the
fixture ``files``: a store, open in the test's loop, empty.
"""

import hashlib
import time
from typing import Any

import pytest

from server.storage.files.base import PIECE_BYTES, FileGone, FileStore, NameTaken, StoredFile

RECORD = "/buckets/b/collections/c/records/r"


def described(content: bytes, name: str = "b/one.txt", **given: Any) -> StoredFile:
    facts: dict[str, Any] = {"mimetype": "text/plain", "filename": "Ünë.txt", "uri": RECORD}
    facts |= {"date": time.time_ns() // 1_000_000, **given}
    return StoredFile(name, len(content), hashlib.sha256(content).hexdigest(), **facts)


async def put(
    files: FileStore, content: bytes, name: str = "b/one.txt", **given: Any
) -> StoredFile:
    file = described(content, name, **given)
    writer = await files.create()
    # As it comes over a socket, in pieces that fit nothing.
    for at in range(0, len(content), 70_001):
        await writer.write(content[at : at + 70_001])
    await writer.finish(file)
    return file


async def read(
    files: FileStore, file: StoredFile, start: int = 0, stop: int | None = None
) -> bytes:
    pieces = [one async for one in files.read(file, start, file.size if stop is None else stop)]
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


LARGE = bytes(range(251)) * (3 * PIECE_BYTES // 251 + 7)


@pytest.mark.gen_test
class FilesContract:
    """All that ``server/storage/files/base.py`` promises."""

    @pytest.mark.parametrize("content", [b"", b"x", LARGE[:PIECE_BYTES], LARGE], ids=len)
    async def test_file_is_read_as_it_was_written(self, files: FileStore, content: bytes) -> None:
        file = await put(files, content)
        assert await files.find("b/one.txt") == file
        assert await read(files, file) == content

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, 1),
            (5, 5),
            (PIECE_BYTES - 1, PIECE_BYTES + 1),
            (PIECE_BYTES, 2 * PIECE_BYTES),
            (7, len(LARGE) - 1),
            (len(LARGE) - 1, len(LARGE)),
        ],
    )
    async def test_part_of_a_file_is_read_alone(
        self, files: FileStore, start: int, stop: int
    ) -> None:
        file = await put(files, LARGE)
        assert await read(files, file, start, stop) == LARGE[start:stop]

    async def test_nobody_sees_a_file_before_it_is_finished(self, files: FileStore) -> None:
        writer = await files.create()
        await writer.write(LARGE)
        assert await files.page("", 10) == []
        await writer.finish(described(LARGE))
        assert [one.name for one in await files.page("", 10)] == ["b/one.txt"]

    async def test_name_of_another_file_is_refused_and_a_second_name_is_taken(
        self, files: FileStore
    ) -> None:
        first = await put(files, b"first")
        writer = await files.create()
        await writer.write(b"second")
        with pytest.raises(NameTaken):
            await writer.finish(described(b"second"))
        second = described(b"second", "b/one-1.txt")
        await writer.finish(second)
        assert await read(files, first) == b"first"
        assert await read(files, second) == b"second"

    async def test_file_that_was_removed_is_not_found_and_not_read(self, files: FileStore) -> None:
        file, other = await put(files, LARGE), await put(files, b"kept", "b/two.txt")
        await files.remove(file.name)
        await files.remove(file.name)
        assert await files.find(file.name) is None
        assert await files.page("", 10) == [other]
        assert await files.page("", 10, "/buckets/b") == [other]
        with pytest.raises(FileGone):
            await read(files, file)
        assert await read(files, other) == b"kept"

    async def test_name_of_a_removed_file_can_be_taken_again(self, files: FileStore) -> None:
        await put(files, LARGE)
        await files.remove("b/one.txt")
        again = await put(files, b"again")
        assert await read(files, again) == b"again"

    async def test_name_that_nothing_has_is_not_found(self, files: FileStore) -> None:
        await put(files, b"x")
        for name in ("", "b", "b/one", "../b/one.txt", "/etc/passwd", "x" * 5000, "a\0b"):
            assert await files.find(name) is None
            await files.remove(name)

    async def test_pages_show_every_file_once(self, files: FileStore) -> None:
        names = {f"{n % 3}/{n}.bin" for n in range(7)}
        for name in names:
            await put(files, name.encode(), name)
        seen: list[str] = []
        while page := await files.page(seen[-1] if seen else "", 3):
            assert len(page) <= 3
            seen += [one.name for one in page]
        assert sorted(seen) == sorted(names)

    async def test_page_after_a_file_that_is_gone_goes_on_where_it_was(
        self, files: FileStore
    ) -> None:
        for n in range(5):
            await put(files, b"x", f"{n}.bin")
        whole = [one.name for one in await files.page("", 10)]
        await files.remove(whole[2])
        assert [one.name for one in await files.page(whole[2], 10)] == whole[3:]

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("/buckets/b", ["1", "2", "3", "4"]),
            ("/buckets/b/collections/c", ["1", "2", "3"]),
            ("/buckets/b/collections/c/records/r", ["1", "2"]),
            ("/buckets/b/collections/c/records/other", []),
            ("/buckets/other", []),
        ],
    )
    async def test_page_of_an_object_shows_the_files_of_what_lies_in_it(
        self, files: FileStore, uri: str, expected: list[str]
    ) -> None:
        inside = "/buckets/b/collections/c/records"
        owners = [f"{inside}/r", f"{inside}/r", f"{inside}/r2"]
        owners += ["/buckets/b/collections/c2/records/r", "/buckets/b2/collections/c/records/r"]
        for number, owner in enumerate(owners, 1):
            await put(files, b"x", str(number), uri=owner)
        assert sorted(one.name for one in await files.page("", 10, uri)) == expected
        first = await files.page("", 1, uri)
        if first:
            rest = await files.page(first[0].name, 10, uri)
            assert sorted(one.name for one in [*first, *rest]) == expected

    async def test_ids_may_be_as_long_as_ids_are(self, files: FileStore) -> None:
        uri = f"/buckets/{'b' * 1024}/collections/{'c' * 1024}/records/{'r' * 1024}"
        file = await put(files, b"x", "one.txt", uri=uri, filename="n" * 255)
        assert await files.find("one.txt") == file
        assert await files.page("", 10, uri) == [file]

    async def test_nothing_is_left_of_what_was_discarded(self, files: FileStore) -> None:
        writer = await files.create()
        await writer.write(LARGE)
        await writer.discard()
        await writer.discard()
        assert await files.page("", 10) == []
        assert await self.leftovers(files) == 0

    async def test_discarding_what_is_finished_leaves_it(self, files: FileStore) -> None:
        writer = await files.create()
        await writer.write(LARGE)
        file = described(LARGE)
        await writer.finish(file)
        await writer.discard()
        assert await read(files, file) == LARGE

    async def test_what_nobody_finished_is_removed_after_a_while_and_nothing_else(
        self, files: FileStore
    ) -> None:
        file = await put(files, LARGE)
        writer = await files.create()
        await writer.write(LARGE)
        await files.tidy(file.date - 3_600_000)
        await files.tidy(file.date + 3_600_000)
        assert await self.leftovers(files) == 0
        await writer.discard()
        assert await read(files, file) == LARGE

    async def test_store_says_that_it_is_well(self, files: FileStore) -> None:
        assert await files.check()
        assert await self.leftovers(files) == 0

    async def leftovers(self, files: FileStore) -> int:
        """How much there is of files that are not finished; for the backends to look."""
        return 0
