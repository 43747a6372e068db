from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from server.core.revisions import Revision
from server.storage.base import StorageOptions
from server.storage.memory import MemoryStorage, open_memory
from tests.server.storage.contract import StorageContract
from tests.server.storage.scenes import RULES, ReadLog, Scene, put


@pytest.fixture
def storage(io_loop: IOLoop) -> Iterator[MemoryStorage]:
    opened: MemoryStorage = io_loop.run_sync(lambda: open_memory(StorageOptions(RULES)))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def read_log(storage: MemoryStorage) -> ReadLog:
    async def read() -> list[Revision]:
        return storage.revisions

    return read


class TestMemory(StorageContract):
    """The storage of this process."""


@pytest.mark.gen_test
async def test_two_storages_share_nothing(scene: Scene) -> None:
    await scene.do(put("/buckets/b"))
    other = await open_memory(StorageOptions(RULES))
    async with other.snapshot() as snapshot:
        assert await snapshot.objects(["/buckets/b"]) == {}
    assert await other.secret("token") != await scene.storage.secret("token")


@pytest.mark.gen_test
async def test_snapshot_that_ended_keeps_nothing_aside(
    scene: Scene, storage: MemoryStorage
) -> None:
    async with storage.snapshot() as snapshot:
        await scene.do(put("/buckets/b"))
        assert await snapshot.objects(["/buckets/b"]) == {}
    await scene.do(put("/buckets/c"))
    assert list(await snapshot.objects(["/buckets/c"])) == ["/buckets/c"]
