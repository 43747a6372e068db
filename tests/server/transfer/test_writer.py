import asyncio
from collections.abc import AsyncGenerator, Mapping

import pytest

from server.core.commands import Flush, Loaded
from server.core.paths import object_path
from server.core.positions import timestamp_of
from server.storage.memory import MemoryStorage
from server.transfer import writer as writers
from server.transfer.entries import Item
from server.transfer.here import find_clock
from server.transfer.lines import LineSource
from server.transfer.writer import Loading, Writer
from tests.server.storage.scenes import list_path, put
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import (
    BUCKET,
    COLLECTION,
    PARENTS,
    RECORDS,
    STOCK,
    commit,
    find,
    load,
    row,
)

pytestmark = pytest.mark.gen_test


async def test_everything_is_loaded_with_its_date(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    writer, told = await load(storage, LineSource(write_lines(*STOCK)))
    assert told == []
    assert writer.tally.outcomes == {Loaded.CREATED: 5, Loaded.DELETED: 2}
    stored = await find(storage, f"{RECORDS}/r1")
    assert stored is not None
    assert stored.json == b'{"id":"r1","last_modified":300,"n":1}'
    assert stored.acl == {"write": ("account:b",)}
    clock = await find_clock(storage, list_path(f"{BUCKET}/groups"))
    assert clock is not None
    assert timestamp_of(clock.position) == 130


async def test_loading_again_changes_nothing(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    path = write_lines(*STOCK)
    await load(storage, LineSource(path))
    revisions = len(storage.revisions)
    writer, _ = await load(storage, LineSource(path))
    assert set(writer.tally.outcomes) == {Loaded.SAME}
    assert len(storage.revisions) == revisions


async def test_bad_line_is_told_and_the_rest_is_loaded(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    early = row(f"{BUCKET}/collections/late/records/r", 5)
    path = write_lines(PARENTS[0], "{", early, PARENTS[1], row(f"{RECORDS}/r", 300, {}))
    writer, told = await load(storage, LineSource(path))
    assert len(told) == 2
    assert told[0].startswith("line 2: Invalid JSON")
    words = "the collection late that it lies in does not exist here"
    assert told[1] == f"line 3, {early['uri']}: {words}"
    assert writer.tally.failed == 2
    assert await find(storage, f"{RECORDS}/r") is not None


async def test_dry_run_tells_the_same_and_writes_nothing(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    path = write_lines(*STOCK, row("/buckets/x/groups/g", 5, {}))
    dry, dry_told = await load(storage, LineSource(path), dry_run=True)
    assert storage.revisions == []
    real, told = await load(storage, LineSource(path))
    assert (dry.tally, dry_told) == (real.tally, told)
    again, _ = await load(storage, LineSource(path), dry_run=True)
    assert set(again.tally.outcomes) == {Loaded.SAME}


async def test_newer_object_here_is_left_unless_it_is_overwritten(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    path = write_lines(*STOCK)
    await load(storage, LineSource(path))
    later = write_lines(row(f"{RECORDS}/r1", 900, {}, n="new"), name="later.jsonl")
    await load(storage, LineSource(later))
    writer, _ = await load(storage, LineSource(path))
    assert writer.tally.outcomes[Loaded.NEWER] == 1
    writer, _ = await load(storage, LineSource(path), overwrite=True)
    assert writer.tally.outcomes[Loaded.UPDATED] == 1
    stored = await find(storage, f"{RECORDS}/r1")
    assert stored is not None
    assert stored.last_modified == 300


async def test_accounts_are_left_out_unless_they_are_asked_for(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    account = {"uri": "/accounts/a", "data": {"password": "$2b$04$hash", "last_modified": 5}}
    path = write_lines(account, {"uri": "/accounts", "timestamp": 5})
    writer, _ = await load(storage, LineSource(path))
    assert (writer.tally.left_out, await find(storage, "/accounts/a")) == (1, None)
    await load(storage, LineSource(path), accounts=True)
    stored = await find(storage, "/accounts/a")
    assert stored is not None
    assert (stored.secret, stored.acl) == ("$2b$04$hash", {"write": ("account:a",)})


async def test_objects_whose_permissions_are_not_shown_are_counted(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    path = write_lines(*PARENTS, row(f"{RECORDS}/r", 5))
    writer, _ = await load(storage, LineSource(path))
    assert writer.tally.hidden == 1


class Broken(LineSource):
    """A file that cannot be read beyond some of its items."""

    left = 0

    async def read(self, marks: Mapping[str, int]) -> AsyncGenerator[Item, None]:
        self.given: list[Item] = []
        async for item in super().read(marks):
            if self.left == 0:
                raise asyncio.CancelledError
            self.left -= 1
            self.given.append(item)
            yield item


async def test_import_that_was_broken_off_goes_on_and_skips_nothing(
    storage: MemoryStorage, write_lines: WriteLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "BATCH_OBJECTS", 3)
    rows = [row(f"{RECORDS}/r{n}", 300 + n, {}) for n in range(20)]
    source = Broken(write_lines(*PARENTS, "{", *rows))
    source.left = 10
    first = Writer(storage, source, Loading(tell=print))
    with pytest.raises(asyncio.CancelledError):
        await first.run()
    source.left = 100
    second = Writer(storage, source, Loading(tell=print))
    assert await second.resume()
    await second.run()
    assert first.tally.total < 12
    assert len(source.given) < 23
    assert second.tally.failed == 1
    assert set(second.tally.outcomes) == {Loaded.CREATED}
    for n in range(20):
        assert await find(storage, f"{RECORDS}/r{n}") is not None, n
    assert not await Writer(storage, source, Loading(tell=print)).resume()


@pytest.mark.parametrize("change", ["forget", "flush"])
async def test_import_begins_anew_where_it_is_told_to_or_all_is_gone(
    storage: MemoryStorage, write_lines: WriteLines, change: str
) -> None:
    source = Broken(write_lines(*STOCK))
    source.left = 5
    writer = Writer(storage, source, Loading(tell=print))
    with pytest.raises(asyncio.CancelledError):
        await writer.run()
    if change == "forget":
        await writer.forget()
    else:
        await commit(storage, Flush((BUCKET,), "another"))
    assert not await Writer(storage, source, Loading(tell=print)).resume()


async def test_what_clients_write_meanwhile_is_kept(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    acl = {"write": ["basicauth:alice"]}
    path = write_lines(row(BUCKET, 1, acl), row(COLLECTION, 2, {}), row(f"{RECORDS}/r", 3, {}))
    await load(storage, LineSource(path))
    await commit(storage, put(f"{RECORDS}/r", {"mine": 1}))
    await load(storage, LineSource(path))
    stored = await find(storage, object_path(f"{RECORDS}/r").uri)
    assert stored is not None
    assert stored.data["mine"] == 1
