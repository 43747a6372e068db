import pytest

from server.core.paths import object_path
from server.core.positions import timestamp_of
from server.storage.memory import MemoryStorage
from server.transfer.here import find_clock, find_here
from server.transfer.lines import LineSource
from tests.server.storage.scenes import delete, list_path, put
from tests.server.transfer.conftest import WriteLines
from tests.server.transfer.stocks import BUCKET, COLLECTION, RECORDS, STOCK, commit, load, row

pytestmark = pytest.mark.gen_test


async def test_objects_are_found_with_what_they_lie_in_and_tombstones(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    await load(storage, LineSource(write_lines(*STOCK)))
    paths = [object_path(f"{RECORDS}/{name}") for name in ("r1", "r2", "nothing")]
    found = await find_here(storage, paths)
    assert sorted(found) == [BUCKET, COLLECTION, f"{RECORDS}/r1", f"{RECORDS}/r2"]
    assert found[f"{RECORDS}/r2"].deleted


async def test_what_lay_in_a_former_collection_is_not_found(
    storage: MemoryStorage, write_lines: WriteLines
) -> None:
    owned = row(BUCKET, 100, {"write": ["basicauth:alice"]})
    await load(storage, LineSource(write_lines(owned, *STOCK[4:])))
    record = object_path(f"{RECORDS}/r1")
    await commit(storage, delete(COLLECTION))
    assert list(await find_here(storage, [record])) == [BUCKET, COLLECTION]
    assert await find_clock(storage, record.list) is None
    await commit(storage, put(COLLECTION))
    assert record.uri not in await find_here(storage, [record])


async def test_clocks_of_lists_are_found(storage: MemoryStorage, write_lines: WriteLines) -> None:
    await load(storage, LineSource(write_lines(*STOCK)))
    clock = await find_clock(storage, list_path(RECORDS))
    root = await find_clock(storage, list_path("/buckets"))
    assert clock is not None
    assert root is not None
    assert (timestamp_of(clock.position), clock.live, root.live) == (302, 2, 1)
